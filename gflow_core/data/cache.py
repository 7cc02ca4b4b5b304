"""Decoding a store of images once, in parallel, into a file that is memory-mapped from then on.

Of one preparation there are three files, named after the source, the size and a key (source and options):

    photos-64px-3ch-0123456789abcdef.npy        the pixels, uint8 [N, C, H, W]
    photos-64px-3ch-0123456789abcdef.json       which images they are, their labels, which were skipped, checksums
    photos-64px-3ch-0123456789abcdef.npy.lock   held by the process that prepares

The pixels get their name last (see `preparing`), so a cache is whole or not there. Each process checks it once, by the
sha256 of its pieces, on all cores; a damaged one is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from gflow_core.data.decode import Decoding
from gflow_core.data.places import first_line, locked
from gflow_core.data.preparing import compacted, cores, decode_all, part_of
from gflow_core.data.store import Store
from gflow_core.errors import DataError, GflowError
from gflow_core.files.cache import cache_folder
from gflow_core.files.inside import check_inside
from gflow_core.files.reading import fault, read_json
from gflow_core.files.sealed import SEAL, changed, sealed
from gflow_core.files.whole import written_aside
from gflow_core.parts.nouns import Progress, no_progress
from gflow_core.parts.source import fingerprint

__all__ = ["Decoded", "Selection", "decoded", "labelled"]

FORMAT = 4
"""Part of the key: raise it when the same options give other pixels, labels or another layout."""

PIECE = 1 << 24
"""Bytes of a cache that have a sha256 of their own."""

_STEM = 40  # letters of the source's name in the cache's: a file's name has at most 255 bytes
_NOTES = {
    "images": int,
    "names": [str],
    "labels": (list, NoneType),
    "class_names": [str],
    "empty": [str],
    "unused?": str,
    "skipped": {"*": str},
    "pieces": [str],
    "fingerprint": str,
}

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
    digest = hashlib.sha256(json.dumps([store.stamp, options], sort_keys=True).encode()).hexdigest()[:16]
    stem = store.path.resolve().name.split(".")[0][:_STEM] or "images"
    name = f"{stem}-{decoding.size}px-{decoding.channels}ch-{digest}.npy"
    places = _places(store.path)
    found = next(
        ((place / name, notes) for place in places if (notes := _intact(place / name, progress, warn=True))), None
    )
    file, notes = found or _made(
        _writable(places) / name,
        lambda file: _prepare(file, store, decoding, select(), options, skip_unreadable, workers, progress),
        progress,
    )
    _report_unreadable(store, notes["skipped"], notes["images"], skip_unreadable)
    if notes["empty"]:
        more = f" and {len(notes['empty']) - 10} more" if len(notes["empty"]) > 10 else ""
        some = ", ".join(notes["empty"][:10]) + more
        logger.warning("%s: no images in the class folders %s; no class", store.path, some)
    labels, names = _labels(notes), tuple(notes["class_names"])
    unused = notes.get("unused", "")
    return Decoded(_mapped(file), labels, notes["names"], notes["fingerprint"], file, names, unused)


def labelled(images: Decoded, y: Tensor, class_names: Sequence[str] = ()) -> Decoded:
    """The images with labels [N] or [N, k] that lie beside the cache, which other labels share."""
    both = hashlib.sha256(f"{images.fingerprint}{fingerprint(y)}".encode()).hexdigest()
    return attrs.evolve(images, y=y, fingerprint=both, class_names=class_names)


def _made(file: Path, prepare: Callable[[Path], None], progress: Progress) -> tuple[Path, dict[str, Any]]:
    """The cache, made by one process while others wait for it, and its notes."""
    lock = file.with_name(file.name + ".lock")
    try:
        with locked(lock):
            notes = _intact(file, progress)  # another process may have made it meanwhile
            if notes is None:
                prepare(file)
                notes = _intact(file, progress)
            lock.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{file}: {first_line(error)}; set GFLOW_CACHE to a folder with room for it") from error
    if notes is None:
        raise DataError(
            f"{file}: what is read back is not what was written; set GFLOW_CACHE to a folder on another disk"
        )
    return file, notes


def _mapped(file: Path) -> Tensor:
    """The pixels, mapped copy-on-write: torch asks for writable memory, the file stays as it is."""
    return torch.from_numpy(np.load(file, mmap_mode="c"))


def _labels(notes: Mapping[str, Any]) -> Tensor | None:
    return None if notes["labels"] is None else torch.tensor(notes["labels"], dtype=torch.int64)


# ------------------------------------------------------------------ where


def _places(source: Path) -> list[Path]:
    """Folders for the cache of `source`, best first."""
    folders = []
    if not os.environ.get("GFLOW_CACHE"):
        check_inside(source.resolve().parent, "gflow-cache")  # it may have come with the data
        folders.append(source.resolve().parent / "gflow-cache")
    with suppress(GflowError):  # nobody's home
        folders.append(cache_folder())
    return folders


def _writable(places: Sequence[Path]) -> Path:
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(place, os.W_OK):
            return place
    tried = " nor ".join(str(place) for place in places)
    raise DataError(f"decoded images can be kept neither in {tried}: not writable; set GFLOW_CACHE to a folder that is")


# ------------------------------------------------------------------ as it was written

_checked: set[tuple[str, int, int]] = set()
"""Caches that this process has checked, by path and what changes with the file."""


def _intact(file: Path, progress: Progress, *, warn: bool = False) -> dict[str, Any] | None:
    """What was noted of a cache that is as it was written; None where there is none, or it is damaged."""
    try:
        state = file.stat()
    except OSError:
        return None
    try:
        notes = read_json(file.with_suffix(".json"))
        if SEAL not in notes or changed(notes):
            raise ValueError("its .json does not match its sha256")
        if wrong := fault(notes, _NOTES) or fault(notes["labels"] or [], [int]):
            raise ValueError(wrong)
        key = (str(file), state.st_ino, state.st_ctime_ns)
        if key not in _checked:
            if _pieces(file, progress) != notes["pieces"]:
                raise ValueError("its pixels do not match their sha256")
            if len(_mapped(file)) != notes["images"]:  # it may have come with the data
                raise ValueError(f"it does not hold {notes['images']} images")
            _checked.add(key)
    except (OSError, ValueError, TypeError, KeyError) as error:
        if warn:
            logger.warning("%s: the decoded images are damaged (%s); they are made again", file, first_line(error))
        return None
    return dict(notes)


def _pieces(file: Path, progress: Progress) -> list[str]:
    """The sha256 of each PIECE of the file, on all cores."""

    def digest(start: int) -> str:
        with open(file, "rb") as opened:
            opened.seek(start)
            return hashlib.sha256(opened.read(PIECE)).hexdigest()

    starts = range(0, file.stat().st_size, PIECE)
    found: list[str] = []
    with ThreadPoolExecutor(cores()) as pool:
        for one in pool.map(digest, starts):
            found.append(one)
            progress("checking the decoded images", len(found), len(starts))
    return found


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
        "pieces": _pieces(whole, no_progress),
    }
    progress("fingerprint", 0, 1)
    notes["fingerprint"] = fingerprint(_mapped(whole), _labels(notes))
    progress("fingerprint", 1, 1)
    with written_aside(file.with_suffix(".json")) as aside:
        aside.write_text(json.dumps(sealed(notes)))
    os.replace(whole, file)
    journal.unlink()
    part.unlink(missing_ok=True)
