"""Finding and selecting the images of image_folder and celeba. Decoding them is `cache`'s work."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs
import torch
from torch import Tensor

from gflow_core.data.cache import Decoded, Selection, decoded
from gflow_core.data.decode import SUFFIXES, Decoding
from gflow_core.data.places import expand, fetch, first_line, not_found
from gflow_core.data.store import Store, common_folder, in_numbers, in_turn, open_store
from gflow_core.errors import DataError, did_you_mean
from gflow_core.parts.nouns import Progress
from gflow_core.parts.source import fingerprint

__all__ = ["read_attributes", "read_celeba", "read_image_folder", "read_partition"]


# ------------------------------------------------------------------ image_folder


def read_image_folder(
    root: str,
    decoding: Decoding,
    *,
    folder: str,
    classes: int | None,
    limit: int | None,
    skip_unreadable: bool,
    workers: int | None,
    progress: Progress,
) -> Decoded:
    """The first `limit` images of a folder or an archive, in turn over its folders.

    Only those below `folder`; labelled by so many class folders, or not where `classes` is None. Raises DataError.
    """
    path = expand(root)
    if not path.exists():
        raise not_found("image_folder: dataset.root", [path], "set it to a folder, zip or tar of images")
    store = open_store(path)
    return decoded(
        store,
        decoding,
        lambda: _select(store, folder, classes, limit),
        key={"folder": folder, "classes": classes, "limit": limit},
        skip_unreadable=skip_unreadable,
        workers=workers,
        progress=progress,
    )


def _select(store: Store, folder: str, classes: int | None, limit: int | None) -> Selection:
    names, prefix = _below(store, folder)
    if not names:
        where = f"{store.path}/{folder}" if folder else str(store.path)
        inside = sorted({name[len(prefix) :].split("/")[0] for name in store.names if name.count("/")})
        there = f"; it has the folders {', '.join(inside[:10])}" if folder and inside else ""
        kinds = ", ".join(sorted(SUFFIXES))
        raise DataError(
            f"{where}: no images ({kinds}) found{there}; set dataset.root or dataset.folder to where they are"
        )
    chosen = in_turn(names)[:limit]
    if classes is None:
        return Selection(chosen)
    folders, empty = _class_folders(classes, store, names, prefix)
    label_of = {folder: label for label, folder in enumerate(folders)}
    return Selection(chosen, [label_of[_top(name, prefix)] for name in chosen], folders, empty)


def _below(store: Store, folder: str) -> tuple[list[str], str]:
    """The images below `folder`, which counts from the root or from the folder that all images share;
    and what their names share."""
    wanted = folder.strip("/")
    shared = common_folder(store.names)
    for start in ("", shared):
        prefix = start + (f"{wanted}/" if wanted else "")
        names = [name for name in store.names if name.startswith(prefix)]
        if names:
            return names, common_folder(names) if not wanted else prefix + common_folder(
                [n[len(prefix) :] for n in names]
            )
    return [], shared


def _top(name: str, prefix: str) -> str:
    """The first folder of a name below the prefix that it begins with."""
    return name[len(prefix) :].split("/")[0]


def _class_folders(expected: int, store: Store, names: Sequence[str], prefix: str) -> tuple[list[str], list[str]]:
    """The class folders in the order of their labels, and those that hold no images."""
    classes = {_top(name, prefix) for name in names}
    there = {_top(f"{folder}/", prefix) for folder in store.folders if f"{folder}/".startswith(prefix)} - {""}
    empty = sorted(there - classes, key=in_numbers)
    loose = [name for name in names if "/" not in name[len(prefix) :]]
    above = prefix[:-1].rpartition("/")[0]
    above = f"{above}/" if above else ""
    beside = {_top(f"{folder}/", above) for folder in store.folders if f"{folder}/".startswith(above)} - {""}
    if loose and prefix and len(beside) == expected:  # all images lie in one of the classes that were expected
        raise _lacking(store, [_top(prefix, above)], sorted(beside - {_top(prefix, above)}, key=in_numbers))
    if loose:
        raise DataError(
            f"{store.path}: {loose[0]} lies in no class folder; put each image into the folder of its class, or leave "
            "out dataset.classes"
        )
    if len(classes) != expected:
        raise _lacking(store, sorted(classes, key=in_numbers), empty)
    return sorted(classes, key=in_numbers), empty


def _lacking(store: Store, classes: Sequence[str], empty: Sequence[str]) -> DataError:
    """The error for other class folders than were expected."""
    some = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    without = f", and {', '.join(empty[:10])} without images" if empty else ""
    fill = "put images into the empty ones, " if empty else ""
    return DataError(
        f"{store.path}: {len(classes)} class folders found ({some}){without}; {fill}set dataset.classes = "
        f"{len(classes)}, or dataset.folder to where the class folders are"
    )


# ------------------------------------------------------------------ celeba

SPLITS = {"train": 0, "valid": 1, "test": 2}
PARTITION = ("list_eval_partition.txt", "list_eval_partition.csv")
ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")


def read_celeba(
    root: str,
    decoding: Decoding,
    *,
    split: Literal["all", "train", "valid", "test"],
    attributes: Sequence[str],
    limit: int | None,
    download: bool,
    skip_unreadable: bool,
    workers: int | None,
    progress: Progress,
) -> Decoded:
    """The first `limit` of the aligned faces, all or those of one split, in the order of their names.

    With `attributes` they are labelled by real vectors [N, attributes] of 1 and -1. Raises DataError.
    """
    base = expand(root)
    places = _celeba_images(base)
    found = next((place for place in places if place.exists()), None)
    if found is None and download:
        _download_celeba(base)
        found = next((place for place in places if place.exists()), None)
    if found is None:
        raise not_found(
            "CelebA",
            places,
            "put one of them there, set dataset.root to its folder, or set dataset.download = true",
        )
    store = open_store(found)
    partition = None if split == "all" else _celeba_partition(split, base, found)
    codes = read_partition(partition) if partition else {}
    values = _celeba_attributes(attributes, base, found)
    images = decoded(
        store,
        decoding,
        lambda: _select_celeba(store, split, limit, partition, codes),
        key={
            "split": split,
            "partition": hashlib.sha256(repr(sorted(codes.items())).encode()).hexdigest(),
            "limit": limit,
        },
        skip_unreadable=skip_unreadable,
        workers=workers,
        progress=progress,
    )
    if not attributes:
        return images
    y = _rows_of(images.names, values, found)  # beside the decoded images, which other attributes share
    return attrs.evolve(images, y=y, fingerprint=_joined(images.fingerprint, y))


def _joined(images: str, y: Tensor) -> str:
    return hashlib.sha256(f"{images}{fingerprint(y)}".encode()).hexdigest()


def _bases(root: Path) -> list[Path]:
    return [root, root / "celeba", root / "CelebA"]


def _celeba_images(root: Path) -> list[Path]:
    """Where the images may be; the zip first, which is whole or visibly damaged."""
    if root.is_file() or root.name == "img_align_celeba":
        return [root]
    return [
        base / inside / name
        for base in _bases(root)
        for inside in ("", "Img")
        for name in ("img_align_celeba.zip", "img_align_celeba")
    ]


def _celeba_partition(split: str, root: Path, images: Path) -> Path:
    places = _lists(root, images, "Eval", PARTITION)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise not_found(
            f'CelebA: dataset.split = "{split}" needs the partition file, which was',
            places,
            'put list_eval_partition.txt beside the images, or set dataset.split = "all"',
        )
    return found


def _lists(root: Path, images: Path, folder: str, names: Sequence[str]) -> list[Path]:
    """Where a list that comes with the images may be: near root, or beside them; also below `folder`, as CelebA
    is distributed."""
    beside = [images.parent, images.parent / folder, images.parent.parent / folder]
    bases = [] if root.is_file() else [base / inside for base in _bases(root) for inside in ("", folder)]
    return list(dict.fromkeys(place / name for place in (*bases, *beside) for name in names))


def _celeba_attributes(names: Sequence[str], root: Path, images: Path) -> dict[str, list[float]]:
    """Image name -> its values of the named attributes."""
    if not names:
        return {}
    places = _lists(root, images, "Anno", ATTRIBUTES)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise not_found(
            "CelebA: dataset.attributes needs the list of attributes, which was",
            places,
            "put list_attr_celeba.txt beside the images, or leave out dataset.attributes",
        )
    return read_attributes(found, names)


def _rows_of(images: Sequence[str], attributes: Mapping[str, list[float]], store: Path) -> Tensor:
    names = [name.rpartition("/")[2] for name in images]
    if missing := [name for name in names if name not in attributes]:
        raise DataError(
            f"{store}: list_attr_celeba lacks {len(missing)} of the {len(names)} images, {missing[0]} first; fetch it "
            "again"
        )
    return torch.tensor([attributes[name] for name in names])


def _select_celeba(
    store: Store, split: str, limit: int | None, partition: Path | None, codes: Mapping[str, int]
) -> Selection:
    if not store.names:
        raise DataError(f"{store.path}: no images found; fetch img_align_celeba.zip again, or set dataset.root")
    by_name = {name.rpartition("/")[2]: name for name in store.names}
    if partition is None:
        wanted = sorted(by_name)[:limit]
    else:
        wanted = [name for name, code in sorted(codes.items()) if code == SPLITS[split]]
        if not wanted:
            raise DataError(f"{partition}: it names no image of the {split} split; fetch it again")
        wanted = wanted[:limit]
        missing = [name for name in wanted if name not in by_name]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise DataError(
                f"{store.path}: lacks {', '.join(missing[:3])}{more} of the {split} split in {partition}; unpack "
                'all of img_align_celeba.zip, or set dataset.split = "all" to take the images that are there'
            )
    return Selection([by_name[name] for name in wanted])


def read_partition(path: Path) -> dict[str, int]:
    """Image name -> 0 (train), 1 (valid) or 2 (test), from the .txt of CelebA or a .csv made of it."""
    codes = {}
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {first_line(error)}; fetch it again") from error
    for number, line in enumerate(lines, start=1):
        fields = line.replace(",", " ").split()
        if not fields or fields[0] == "image_id":
            continue
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise DataError(f'{path}: line {number}: expected "NAME.jpg 0", 1 or 2, found {line!r}; fetch it again')
        codes[fields[0]] = int(fields[1])
    return codes


def read_attributes(path: Path, wanted: Sequence[str]) -> dict[str, list[float]]:
    """Image name -> its values, 1 or -1, of the wanted attributes, from the .txt of CelebA or a .csv made of it.

    Raises DataError: an attribute that the file lacks, or a damaged line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {first_line(error)}; fetch it again") from error
    first = 1 if lines and lines[0].strip().isdigit() else 0  # the .txt begins with the number of images
    names = lines[first].replace(",", " ").split() if len(lines) > first else []
    names = names[1:] if names[:1] == ["image_id"] else names
    if unknown := [name for name in wanted if name not in names]:
        raise DataError(
            f"{path}: dataset.attributes: no attribute {unknown[0]!r}{did_you_mean(unknown[0], names)}; there are "
            f"{', '.join(names) or 'none'}"
        )
    columns = [names.index(name) + 1 for name in wanted]
    values = {}
    for number, line in enumerate(lines[first + 1 :], start=first + 2):
        fields = line.replace(",", " ").split()
        if not fields:
            continue
        if len(fields) != len(names) + 1 or any(fields[column] not in ("1", "-1") for column in columns):
            raise DataError(f"{path}: line {number}: expected NAME.jpg and {len(names)} of 1 or -1; fetch it again")
        values[fields[0]] = [float(fields[column]) for column in columns]
    return values


def _download_celeba(root: Path) -> None:
    from torchvision.datasets import CelebA

    fetch(
        "CelebA",
        root,
        lambda: CelebA(str(root), split="all", download=True),
        f"fetch img_align_celeba.zip (and list_eval_partition.txt for splits) yourself into {root / 'celeba'}",
    )
