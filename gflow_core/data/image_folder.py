"""Finding and selecting the images of image_folder. Decoding them is `cache`'s work."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import attrs

from gflow_core.data.cache import Decoded, Selection, decoded, labelled
from gflow_core.data.decode import SUFFIXES, Decoding
from gflow_core.data.labelled import Labelling, labels_of, labels_there
from gflow_core.data.places import expand, not_found
from gflow_core.data.store import Store, common_folder, in_numbers, in_turn, open_store
from gflow_core.errors import DataError
from gflow_core.parts.nouns import Progress

__all__ = ["read_image_folder"]

logger = logging.getLogger("gflow")


def read_image_folder(
    root: str,
    decoding: Decoding,
    *,
    folder: str,
    classes: int | None,
    labelling: Labelling | None,
    limit: int | None,
    skip_unreadable: bool,
    workers: int | None,
    progress: Progress,
) -> Decoded:
    """The first `limit` images of a folder or an archive, in turn over its folders.

    Only those below `folder`; labelled by so many class folders, by a file (`labelling`), or not where both are None.
    Raises DataError.
    """
    path = expand(root)
    if not path.exists():
        raise not_found("image_folder: dataset.root", [path], "set it to a folder, zip or tar of images")
    store = open_store(path)
    labels = None
    if labelling is not None:
        names, prefix = _images(store, folder)
        labels, classes = labels_of(store, names, prefix, labelling), None
    left_out = labels.left_out if labels else []
    named = {"left_out": hashlib.sha256(repr(left_out).encode()).hexdigest()} if left_out else {}
    images = decoded(
        store,
        decoding,
        lambda: _select(store, folder, classes, limit, left_out),
        key={"folder": folder, "classes": classes, "limit": limit, **named},
        skip_unreadable=skip_unreadable,
        workers=workers,
        progress=progress,
    )
    if labels is not None and labelling is not None and labelling.caption is not None:
        return attrs.evolve(images, captions=labels.captions(images.names))
    if labels is not None:
        return labelled(images, labels.rows(images.names), tuple(labels.class_names))
    if images.unused:
        logger.info("%s", images.unused)
    return images


def _select(store: Store, folder: str, classes: int | None, limit: int | None, left_out: Sequence[str]) -> Selection:
    """The first `limit` of the images, without those left out, and their class folders."""
    names, prefix = _images(store, folder)
    without = set(left_out)
    chosen = in_turn([name for name in names if name not in without])[:limit]
    unused = labels_there(store, prefix)
    if classes is None:
        return Selection(chosen, unused=unused)
    folders, empty = _class_folders(classes, store, names, prefix)
    label_of = {folder: label for label, folder in enumerate(folders)}
    return Selection(chosen, [label_of[_top(name, prefix)] for name in chosen], folders, empty, unused)


def _images(store: Store, folder: str) -> tuple[list[str], str]:
    """As `_below`. Raises DataError where there are none."""
    names, prefix = _below(store, folder)
    if names:
        return names, prefix
    where = f"{store.path}/{folder}" if folder else str(store.path)
    inside = sorted({name[len(prefix) :].split("/")[0] for name in store.names if name.count("/")})
    there = f"; it has the folders {', '.join(inside[:10])}" if folder and inside else ""
    kinds = ", ".join(sorted(SUFFIXES))
    raise DataError(f"{where}: no images ({kinds}) found{there}; set dataset.root or dataset.folder to where they are")


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
