"""Labels of a store's images from a file inside of it or beside it, joined to what is decoded image by image.

Nothing here reads an image: the same decoded images serve every labelling.
"""

from __future__ import annotations

import logging
import math
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import attrs
import torch
from torch import Tensor

from gflow_core.data.archives import LARGEST, reading
from gflow_core.data.places import expand, not_found
from gflow_core.data.store import Store, in_numbers
from gflow_core.data.tables import Table, Value, as_number, as_text, column_names, plain, read_table
from gflow_core.errors import DataError
from gflow_core.files.reading import read_bytes

__all__ = ["Labelled", "Labelling", "labels_of", "labels_there"]

_USUAL = ("metadata.csv", "metadata.jsonl", "metadata.tsv", "dataset.json")
"""Names that files of labels have: Hugging Face's, and StyleGAN's."""

logger = logging.getLogger("gflow")

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Labelling:
    """Which columns of which file are the labels of images."""

    file: str
    """Inside the store or beside it: .csv, .tsv, .jsonl or .json (StyleGAN's)."""
    file_name: str = "file_name"
    """The column of names."""
    label: str = "label"
    """The column of classes."""
    classes: int | None = None
    """How many there are; None where labels are `conditions`."""
    conditions: tuple[str, ...] = ()
    """Columns of real numbers."""
    caption: str | None = None
    """The column of texts, which then are the labels."""
    unmatched: Literal["refuse", "skip"] = "refuse"
    """What becomes of images without a label, and of labels without an image."""

    @property
    def columns(self) -> dict[str, str]:
        """The columns to read, and the option that asks for each."""
        if self.caption is not None:
            return {self.caption: "dataset.caption"}
        asked = {self.label: "dataset.label"} if self.classes is not None else {}
        return asked | dict.fromkeys(self.conditions, "dataset.conditions")


@attrs.frozen(eq=False)
class Labelled:
    """Images with their labels."""

    labels: Mapping[str, int | tuple[float, ...] | str]
    """Image, as the store names it -> its class, its numbers or its caption."""
    left_out: Sequence[str]
    """Images without a label, in order."""
    class_names: Sequence[str] = ()

    def rows(self, names: Sequence[str]) -> Tensor:
        """The labels of these images: int64 [N], or [N, k]."""
        return torch.tensor([self.labels[name] for name in names])

    def captions(self, names: Sequence[str]) -> list[str]:
        """The captions of these images."""
        return [str(self.labels[name]) for name in names]


def labels_of(store: Store, names: Sequence[str], prefix: str, labelling: Labelling) -> Labelled:
    """The labels of the named images of the store; their file may name others of it.

    The file is looked for in the folder `prefix` and in those above it, then beside the store. Names in it count from
    its folder or from one of these. Raises DataError.
    """
    where, content, starts = _found(store, prefix, labelling.file)
    suffix = PurePosixPath(labelling.file).suffix.lower()
    with reading(Path(where), "mend the file, or dataset.labels"):
        table = read_table(content, suffix, labelling.columns, labelling.file_name)
        rows, strays = _matched(store, table, starts)
        known = {image: row for image, row in rows.items() if all(c[row] is not None for c in table.columns.values())}
        lacking = [name for name in names if name not in known]
        _check_matches(where, lacking, names, [f"{table.names[row]} ({table.lines[row]})" for row in strays], labelling)
        if labelling.caption is not None:
            texts = _each(table, labelling.caption, known.values(), as_text)
            return Labelled(dict(zip(known, (" ".join(text.split()) for text in texts), strict=True)), lacking)
        if labelling.classes is None:
            numbers = [_each(table, name, known.values(), as_number) for name in labelling.conditions]
            return Labelled(dict(zip(known, zip(*numbers, strict=True), strict=True)), lacking)
        of = dict(zip(known, _each(table, labelling.label, known.values(), as_text), strict=True))
        classes = _in_order(set(of.values()))
        if len(classes) != labelling.classes:
            some = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
            raise DataError(
                f"{where}: the column {labelling.label!r} holds {len(classes)} classes ({some}); set dataset.classes = "
                f"{len(classes)}, or dataset.label to the column of classes"
            )
        index = {name: i for i, name in enumerate(classes)}
        return Labelled({image: index[name] for image, name in of.items()}, lacking, classes)


def labels_there(store: Store, prefix: str) -> str:
    """Which labels are there in a file with one of the usual names, and how to use them; empty where none are."""
    found = None
    with suppress(DataError):  # whatever is wrong with a file that nobody asked for
        found = store.file([folder + name for folder in _above(prefix) for name in _USUAL], start=1 << 16)
    if found is None:
        return ""
    name, start = PurePosixPath(found[0]).name, found[1]
    said = f'{found[0]} is there: set dataset.labels = "{name}" to use its'
    if name == "dataset.json":
        return f"{said} labels" if b'"labels"' in start else ""
    columns = column_names(start, PurePosixPath(name).suffix, "file_name")
    return f"{said} columns {', '.join(columns[:20])}" if columns else ""


# ------------------------------------------------------------------ the file


def _found(store: Store, prefix: str, file: str) -> tuple[str, bytes, list[Callable[[str], str]]]:
    """What to call the file, its content, and how its names may become those of the store."""
    outside = plain(file).startswith(("/", "~", "../"))
    inside = [] if outside else [folder + file for folder in _above(prefix)]
    beside = store.path.parent / expand(file)
    starts = [_joined(folder) for folder in _above(prefix)]
    if found := store.file(inside):
        name, content = found
        return f"{store.path}/{name}", content, [_joined(posixpath.dirname(name)), *starts]
    if not beside.exists():
        raise not_found(
            "image_folder: dataset.labels",
            [*(Path(f"{store.path}/{name}") for name in inside), beside],
            "set it to a file of labels in root or beside it",
        )
    own = store.path.name if store.kind == "folder" else store.path.name.split(".")[0]
    with reading(beside, "put a file there that can be read"):
        return str(beside), read_bytes(beside, LARGEST), [*starts, lambda name: name.removeprefix(f"{own}/")]


def _above(prefix: str) -> list[str]:
    """A folder with its closing "/", and those above it: "a/b/" -> "a/b/", "a/", ""."""
    parts = prefix.split("/")[:-1]
    return ["".join(f"{part}/" for part in parts[:n]) for n in range(len(parts), -1, -1)]


def _joined(folder: str) -> Callable[[str], str]:
    return lambda name: plain(posixpath.join(folder, name))


# ------------------------------------------------------------------ whose labels they are


def _matched(store: Store, table: Table, starts: Sequence[Callable[[str], str]]) -> tuple[dict[str, int], list[int]]:
    """Image of the store -> its row, in the order of the rows, and the rows without an image.

    Of the folders that names may count from, the one where most are found.
    """
    images = {plain(name): name for name in store.names}
    if len(images) < len(store.names):
        raise ValueError("two images have the same name, but for how it is written; rename one")
    start = max(starts, key=lambda start: sum(start(name) in images for name in table.names))
    at = [images.get(start(name)) for name in table.names]
    return {name: row for row, name in enumerate(at) if name}, [row for row, name in enumerate(at) if not name]


def _check_matches(
    where: str, lacking: Sequence[str], images: Sequence[str], strays: Sequence[str], labelling: Labelling
) -> None:
    """Refuse, or name, images without a label and labels without an image."""
    said = []
    if lacking:
        said.append(f"{len(lacking)} of {len(images)} images have no label there: {_some(lacking)}")
    if strays:
        said.append(f"{len(strays)} names there are no images: {_some(strays)}")
    if not said:
        return
    text = f"{where}: {'; '.join(said)}"
    if len(lacking) == len(images):
        raise DataError(f"{text}; names count from the folder of the file, or from root")
    if labelling.unmatched == "refuse":
        raise DataError(f'{text}; mend the file, or set dataset.unmatched = "skip"')
    logger.warning("%s; left out", text)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _each(table: Table, column: str, rows: Iterable[int], read: Callable[[Value], T]) -> list[T]:
    values, found = table.columns[column], []
    for row in rows:
        try:
            found.append(read(values[row]))
        except ValueError as error:
            raise ValueError(f"{table.lines[row]}: {column}: {error}") from None
    return found


def _in_order(classes: set[str]) -> list[str]:
    """By number where all are numbers, or else by name, in which numbers are numbers."""
    with suppress(ValueError):
        numbers = {name: float(name) for name in classes}
        if all(map(math.isfinite, numbers.values())):
            return sorted(classes, key=lambda name: (numbers[name], name))
    return sorted(classes, key=in_numbers)
