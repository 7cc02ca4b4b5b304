"""Images that are decoded once, in parallel, or copied from other files, into one that is memory-mapped from then on.

Of one preparation there are three files, named after the source, the size and a key (source and options):

    photos-64px-3ch-0123456789abcdef.npy        the pixels, uint8 [N, C, H, W]
    photos-64px-3ch-0123456789abcdef.json       which images they are, their labels, which were skipped, checksums
    photos-64px-3ch-0123456789abcdef.npy.lock   held by the process that prepares

The pixels get their name last (see `preparing`), so a cache is whole or not there. Each process checks it once, by the
sha256 of its pieces, on all cores; a damaged one is made again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from torch import Tensor

from gflow_core.data.decode import Decoding
from gflow_core.data.kept import finish, kept, labels_of, mapped
from gflow_core.data.pixels import Pixels
from gflow_core.data.preparing import compacted, copy_all, decode_all, part_of
from gflow_core.data.store import Store
from gflow_core.errors import DataError
from gflow_core.parts.nouns import Progress
from gflow_core.parts.source import fingerprint

__all__ = ["Decoded", "Selection", "copied", "decoded", "labelled"]

FORMAT = 4
"""Part of the key: raise it when the same options give other pixels, labels or another layout."""

logger = logging.getLogger("gflow")


@attrs.frozen
class Selection:
    """The images wanted of a store, in order."""

    names: Sequence[str]
    labels: Sequence[int] | None = None
    class_names: Sequence[str] = ()
    """What the labels stand for."""
    empty: Sequence[str] = ()
    """Class folders without images."""
    unused: str = ""
    """Which labels are there beside these."""


@attrs.frozen(eq=False)
class Decoded:
    """Prepared images."""

    x: Tensor
    """uint8 [N, C, H, W], mapped from `file`."""
    y: Tensor | None
    names: Sequence[str]
    """Which image each is: its name in the store [N]."""
    fingerprint: str
    file: Path
    class_names: Sequence[str] = ()
    unused: str = ""
    captions: Sequence[str] = ()
    """A text each, in place of `y`."""


def decoded(
    store: Store,
    decoding: Decoding,
    select: Callable[[], Selection],
    *,
    key: Mapping[str, Any],
    skip_unreadable: bool,
    workers: int | None,
    progress: Progress,
) -> Decoded:
    """The selected images, from the cache where they are there already.

    `key` holds all that `select` depends on beside the store. `select` is called only to decode.
    """
    options = {"format": FORMAT, **attrs.asdict(decoding), **key}
    px = decoding.size if isinstance(decoding.size, int) else "{}x{}".format(*decoding.size)
    file, notes = kept(
        store.path,
        store.stamp,
        f"{px}px-{decoding.channels}ch",
        options,
        lambda file: _prepare(file, store, decoding, select(), options, skip_unreadable, workers, progress),
        progress,
    )
    _report_unreadable(store, notes["skipped"], notes["images"], skip_unreadable)
    if notes["empty"]:
        more = f" and {len(notes['empty']) - 10} more" if len(notes["empty"]) > 10 else ""
        some = ", ".join(notes["empty"][:10]) + more
        logger.warning("%s: no images in the class folders %s; no class", store.path, some)
    return _found(file, notes)


def labelled(images: Decoded, y: Tensor, class_names: Sequence[str] = ()) -> Decoded:
    """The images with labels [N] or [N, k] that lie beside the cache, which other labels share."""
    both = hashlib.sha256(f"{images.fingerprint}{fingerprint(y)}".encode()).hexdigest()
    return attrs.evolve(images, y=y, fingerprint=both, class_names=class_names)


def copied(
    source: Path,
    stamp: str,
    read: Callable[[], tuple[tuple[int, ...], list[int] | None, Iterator[Pixels]]],
    *,
    size: int,
    key: Mapping[str, Any],
    progress: Progress,
) -> Decoded:
    """Images of a size that lie as bytes in other files, near `source`, in a copy that is made where there is none yet.

    `read` is called only to copy: the shape [N, C, H, W] of all of them, their labels, and the pieces they come in.
    `stamp` changes when the files do, and `key` holds all else that `read` depends on.
    """
    options = {"format": FORMAT, **key}

    def make(file: Path) -> None:
        shape, labels, pieces = read()
        part = copy_all(file, shape, pieces, progress)
        notes = {"source": str(source.resolve()), "options": options, "images": shape[0], "labels": labels}
        finish(file, part, notes | {"names": [], "class_names": [], "empty": [], "skipped": {}}, progress)

    return _found(*kept(source, stamp, f"{size}px-3ch", options, make, progress))


def _found(file: Path, notes: Mapping[str, Any]) -> Decoded:
    labels, names = labels_of(notes), tuple(notes["class_names"])
    unused = notes.get("unused", "")
    return Decoded(mapped(file), labels, notes["names"], notes["fingerprint"], file, names, unused)


def _report_unreadable(store: Store, skipped: Mapping[str, str], readable: int, skip: bool) -> None:
    if not skipped:
        return
    some = ", ".join(f"{name} ({reason})" for name, reason in list(skipped.items())[:10])
    more = f" and {len(skipped) - 10} more" if len(skipped) > 10 else ""
    said = f"{store.path}: {len(skipped)} of {len(skipped) + readable} images cannot be read: {some}{more}"
    if not skip:
        raise DataError(f"{said}; replace or remove them, or set dataset.skip_unreadable = true")
    if not readable:
        raise DataError(f"{said}; none is left")
    logger.warning("%s; skipped", said)


# ------------------------------------------------------------------ preparing


def _prepare(
    file: Path,
    store: Store,
    decoding: Decoding,
    selection: Selection,
    options: Mapping[str, Any],
    skip_unreadable: bool,
    workers: int | None,
    progress: Progress,
) -> None:
    """Decode into `file`, going on where an interrupted preparation stopped."""
    unreadable = decode_all(file, store, decoding, selection.names, workers, progress)
    part, journal = part_of(file)
    skipped = {selection.names[row]: reason for row, reason in unreadable.items()}
    keep = [row for row in range(len(selection.names)) if row not in unreadable]
    # Refused here, the decoded part stays: with skip_unreadable = true nothing is decoded again.
    if not (skip_unreadable and keep):
        _report_unreadable(store, skipped, len(keep), skip_unreadable)
    whole = compacted(part, keep) if skipped else part
    notes = {
        "source": str(store.path.resolve()),
        "options": options,
        "images": len(keep),
        "names": [selection.names[row] for row in keep],
        "labels": None if selection.labels is None else [selection.labels[row] for row in keep],
        "class_names": list(selection.class_names),
        "empty": list(selection.empty),
        "unused": selection.unused,
        "skipped": skipped,
    }
    finish(file, whole, notes, progress)
    journal.unlink()
    part.unlink(missing_ok=True)
