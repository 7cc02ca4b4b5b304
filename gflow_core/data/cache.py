"""Decoding a store of images once, in parallel, into a file that is memory-mapped from then on.

Of one preparation there are three files, named after the source, the size and a key (source and options):

    photos-64px-3ch-0123456789abcdef.npy        the pixels, uint8 [N, C, H, W]
    photos-64px-3ch-0123456789abcdef.json       which images they are, which were skipped, fingerprints
    photos-64px-3ch-0123456789abcdef.npy.lock   held by the process that prepares

While it is prepared, the pixels are in `.npy.part` and `.npy.journal` has one line for each finished chunk: an
interrupted preparation goes on where it stopped. The pixels get their name last, so a cache is whole or not there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from gflow_core.data.decode import Chunk, Decoding, Job, decode_chunk, start_worker
from gflow_core.data.pixels import Pixels
from gflow_core.data.places import first_line, locked
from gflow_core.data.store import Store
from gflow_core.errors import DataError
from gflow_core.parts.nouns import Progress
from gflow_core.parts.source import fingerprint

__all__ = ["Decoded", "Selection", "decoded"]

FORMAT = 1
"""Part of the key: raise it when the same options give other pixels or another layout."""

CHUNK = 256
"""Images decoded and journalled at once."""

logger = logging.getLogger("gflow")


@attrs.frozen
class Selection:
    """The images wanted of a store, in order."""

    names: Sequence[str]
    labels: Sequence[int] | None = None


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
    stem = store.path.resolve().name.split(".")[0] or "images"
    name = f"{stem}-{decoding.size}px-{decoding.channels}ch-{digest}.npy"
    places = _places(store.path)
    file = next((place / name for place in places if _notes(place / name)), None)
    if file is None:
        file = _writable(places) / name
        lock = file.with_name(name + ".lock")
        try:
            with locked(lock):
                if not _notes(file):  # another process may have made it meanwhile
                    _prepare(file, store, decoding, select(), options, skip_unreadable, workers, progress)
                lock.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{file}: {first_line(error)}; set GFLOW_CACHE to a folder with room for it") from error
    notes = _notes(file)
    assert notes is not None
    _report_unreadable(store, notes["skipped"], notes["images"], skip_unreadable)
    # Mapped copy-on-write: torch asks for writable memory, the file stays as it is.
    x = torch.from_numpy(np.load(file, mmap_mode="c"))
    y = None if notes["labels"] is None else torch.tensor(notes["labels"], dtype=torch.int64)
    return Decoded(x, y, notes["names"], _fingerprint(file, notes, x, y, progress), file)


# ------------------------------------------------------------------ where


def _places(source: Path) -> list[Path]:
    """Folders for the cache of `source`, best first."""
    if own := os.environ.get("GFLOW_CACHE"):
        return [Path(own).expanduser()]
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gflow"
    return [source.resolve().parent / "gflow-cache", user]


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


def _notes(file: Path) -> dict[str, Any] | None:
    """What was noted beside a whole cache; None where there is no cache or it is not whole."""
    try:
        notes = json.loads(file.with_suffix(".json").read_text())
        return notes if notes["size"] == file.stat().st_size else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_notes(file: Path, notes: Mapping[str, Any]) -> None:
    aside = file.with_suffix(f".json.{os.getpid()}")
    aside.write_text(json.dumps(notes))
    os.replace(aside, file.with_suffix(".json"))


def _fingerprint(file: Path, notes: dict[str, Any], x: Tensor, y: Tensor | None, progress: Progress) -> str:
    """data.fingerprint(x, y), computed once for as long as the cache's size and time stay as they are."""
    time = file.stat().st_mtime_ns
    if notes["mtime_ns"] != time or not notes["fingerprint"]:
        progress("fingerprint", 0, 1)
        notes.update(mtime_ns=time, fingerprint=fingerprint(x, y))
        progress("fingerprint", 1, 1)
        try:
            _write_notes(file, notes)
        except OSError:  # somebody else's cache: computed again next time
            logger.debug("%s: the fingerprint could not be noted", file)
    return str(notes["fingerprint"])


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
    part, journal = file.with_suffix(".npy.part"), file.with_suffix(".npy.journal")
    shape = (len(selection.names), decoding.channels, decoding.size, decoding.size)
    done, skipped = _resume(part, journal)
    offset = _allocate(part, shape) if not done else _offset(part)
    job = Job(store.path, decoding, part, offset)
    total, count = len(selection.names), 0
    chunks = _chunks(store, selection.names, done)
    with open(journal, "a") as log:
        count = min(len(done) * CHUNK, total)
        progress("decoding images", count, total)
        for number, rows, unreadable in _decoded_chunks(job, chunks, _workers(workers, total - count)):
            skipped.update(unreadable)
            log.write(json.dumps({"chunk": number, "unreadable": unreadable}) + "\n")
            log.flush()
            count = min(count + rows, total)
            progress("decoding images", count, total)
    names = {selection.names[row]: reason for row, reason in sorted(skipped.items())}
    keep = [row for row in range(total) if row not in skipped]
    # Refused here, the decoded part stays: with skip_unreadable = true nothing is decoded again.
    _report_unreadable(store, names, len(keep), skip_unreadable)
    whole = _compacted(part, keep) if skipped else part
    stat = whole.stat()
    _write_notes(
        file,
        {
            "source": str(store.path.resolve()),
            "options": options,
            "images": len(keep),
            "names": [selection.names[row] for row in keep],
            "labels": None if selection.labels is None else [selection.labels[row] for row in keep],
            "skipped": names,
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "fingerprint": "",
        },
    )
    os.replace(whole, file)
    journal.unlink()
    part.unlink(missing_ok=True)


def _resume(part: Path, journal: Path) -> tuple[set[int], dict[int, str]]:
    """Chunks already decoded, and the rows among them that could not be read."""
    done: set[int] = set()
    skipped: dict[int, str] = {}
    if part.exists() and journal.exists():
        for line in journal.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # cut short by the interruption
                continue
            done.add(entry["chunk"])
            skipped.update((row, reason) for row, reason in entry["unreadable"])
    if not done:
        journal.unlink(missing_ok=True)
    elif not journal.read_bytes().endswith(b"\n"):
        with open(journal, "a") as log:
            log.write("\n")
    return done, skipped


def _allocate(part: Path, shape: tuple[int, ...]) -> int:
    """Make the .npy file of zeros; returns where its rows begin."""
    need, free = int(np.prod(shape)), shutil.disk_usage(part.parent).free
    if need > free:
        raise DataError(
            f"{part.parent}: the decoded images need {need / 2**30:.2f} GiB, {free / 2**30:.2f} GiB are free; "
            "make room or set GFLOW_CACHE to another folder"
        )
    with open(part, "wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        offset = out.tell()
        out.truncate(offset + need)
    return offset


def _offset(part: Path) -> int:
    with open(part, "rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return file.tell()


def _compacted(part: Path, keep: Sequence[int]) -> Path:
    """A copy without the rows that could not be read. `part` stays: the journal speaks of its rows."""
    rows: Pixels = np.load(part, mmap_mode="r")
    aside = part.with_suffix(".compact")
    offset = _allocate(aside, (len(keep), *rows.shape[1:]))
    with open(aside, "r+b") as out:
        out.seek(offset)
        for row in keep:
            out.write(rows[row].tobytes())
        out.flush()
        os.fsync(out.fileno())
    return aside


def _chunks(store: Store, names: Sequence[str], done: set[int]) -> Iterator[Chunk]:
    """The chunks still to decode. A tar is read here, once, in its own order; workers read everything else."""
    if store.kind != "tar":
        for number, start in enumerate(range(0, len(names), CHUNK)):
            if number not in done:
                rows = range(start, min(start + CHUNK, len(names)))
                yield Chunk(number, rows, names[start : start + CHUNK])
        return
    row_of = {name: row for row, name in enumerate(names)}
    order = [name for name in store.names if name in row_of]
    wanted = [name for i, name in enumerate(order) if i // CHUNK not in done]
    files = store.read(wanted)
    for number, start in enumerate(range(0, len(order), CHUNK)):
        if number not in done:
            members = order[start : start + CHUNK]
            contents = dict(next(files) for _ in members)
            yield Chunk(number, [row_of[n] for n in members], members, [contents[n] for n in members])


def _workers(wanted: int | None, images: int) -> int:
    if wanted is None:
        affinity = getattr(os, "sched_getaffinity", None)
        wanted = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(wanted, images // CHUNK))


def _decoded_chunks(
    job: Job, chunks: Iterator[Chunk], workers: int
) -> Iterator[tuple[int, int, list[tuple[int, str]]]]:
    """Decode in `workers` processes: (chunk number, its rows, what was unreadable), as chunks finish."""
    if workers == 1:
        for chunk in chunks:
            yield chunk.number, len(chunk.rows), decode_chunk(job, chunk)[1]
        return
    # Spawned, not forked: this process may hold a device, and threads.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), start_worker)
    waiting: dict[Future[tuple[int, list[tuple[int, str]]]], Chunk] = {}
    try:
        while True:
            # A few chunks ahead of the workers, no more: those of a tar are in memory.
            for chunk in islice(chunks, 2 * workers - len(waiting)):
                waiting[pool.submit(decode_chunk, job, chunk)] = chunk
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                chunk = waiting.pop(future)
                yield chunk.number, len(chunk.rows), future.result()[1]
    except BrokenProcessPool as error:
        raise DataError(
            f"{job.store}: a decoding process died; run it again, it goes on where it stopped, or set "
            'dataset.workers = 1 (from a script of your own: call it under if __name__ == "__main__")'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
