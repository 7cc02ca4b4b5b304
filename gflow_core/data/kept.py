"""A file of images that is made once and memory-mapped from then on: where it is, whether it is whole, and its notes.

The pixels get their name last, so the file is whole or not there. Each process checks it once, by the sha256 of its
pieces, on all cores; a damaged one is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import current_process
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gflow_core.data.places import first_line, locked
from gflow_core.data.preparing import cores
from gflow_core.data.processes import MAIN
from gflow_core.errors import DataError, GflowError
from gflow_core.files.cache import cache_folder
from gflow_core.files.inside import check_inside
from gflow_core.files.reading import fault, read_json
from gflow_core.files.sealed import SEAL, changed, sealed
from gflow_core.files.whole import written_aside
from gflow_core.parts.nouns import Progress, no_progress
from gflow_core.parts.source import fingerprint

__all__ = ["finish", "kept", "labels_of", "mapped"]

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


def kept(
    source: Path,
    stamp: str,
    what: str,
    options: Mapping[str, Any],
    prepare: Callable[[Path], None],
    progress: Progress,
) -> tuple[Path, dict[str, Any]]:
    """The cache of a source in this state by these options, made where there is none, and its notes."""
    digest = hashlib.sha256(json.dumps([stamp, options], sort_keys=True).encode()).hexdigest()[:16]
    name = f"{source.resolve().name.split('.')[0][:_STEM] or 'images'}-{what}-{digest}.npy"
    places = _places(source)
    found = next(
        ((place / name, notes) for place in places if (notes := _intact(place / name, progress, warn=True))), None
    )
    return found or _made(_writable(places) / name, prepare, progress)


def _made(file: Path, prepare: Callable[[Path], None], progress: Progress) -> tuple[Path, dict[str, Any]]:
    """The cache, made by one process while others wait for it, and its notes."""
    if getattr(current_process(), "_inheriting", False):  # a process that is to decode, running its parent's script
        raise DataError(f"data are prepared in processes, which begin by running this script again ({MAIN})")
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


def mapped(file: Path) -> Tensor:
    """The pixels, mapped copy-on-write: torch asks for writable memory, the file stays as it is."""
    return torch.from_numpy(np.load(file, mmap_mode="c"))


def labels_of(notes: Mapping[str, Any]) -> Tensor | None:
    return None if notes["labels"] is None else torch.tensor(notes["labels"], dtype=torch.int64)


def finish(file: Path, whole: Path, notes: Mapping[str, Any], progress: Progress) -> None:
    """Give the pixels in `whole` their name, after writing what is to be known of them beside it."""
    notes = {**notes, "pieces": _pieces(whole, no_progress)}
    progress("fingerprint", 0, 1)
    notes["fingerprint"] = fingerprint(mapped(whole), labels_of(notes))
    progress("fingerprint", 1, 1)
    with written_aside(file.with_suffix(".json")) as aside:
        aside.write_text(json.dumps(sealed(notes)))
    os.replace(whole, file)


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
            if len(mapped(file)) != notes["images"]:  # it may have come with the data
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
