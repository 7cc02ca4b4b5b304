"""Decoding the images of a store into a .npy, in parallel, going on where an interrupted preparation stopped.

While it is made, the pixels are in `.npy.part`, and `.npy.journal` has a line for each finished chunk, with its sha256:
what is not there as it was decoded is decoded again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np

from gflow_core.data.decode import Chunk, Decoding, Job, Outcome, decode_chunk
from gflow_core.data.fit import height_width
from gflow_core.data.pixels import Pixels
from gflow_core.data.places import DAMAGED
from gflow_core.data.processes import MAIN, processes
from gflow_core.data.store import Store
from gflow_core.errors import DataError
from gflow_core.files.reading import parse_json
from gflow_core.files.whole import written_aside
from gflow_core.parts.nouns import Progress

__all__ = ["CHUNK", "compacted", "copy_all", "cores", "decode_all", "part_of"]

CHUNK = 256
"""Images decoded and journalled at once."""


def part_of(file: Path) -> tuple[Path, Path]:
    """Where the pixels of the .npy `file` and the journal are while it is made."""
    return file.with_suffix(".npy.part"), file.with_suffix(".npy.journal")


def decode_all(
    file: Path, store: Store, decoding: Decoding, names: Sequence[str], workers: int | None, progress: Progress
) -> dict[int, str]:
    """Decode the named images into the part of `file`; which rows could not be read, and why."""
    part, journal = part_of(file)
    total = len(names)
    shape = (total, decoding.channels, *height_width(decoding.size))
    layout = _layout(store, names)
    done, unreadable = _resume(part, journal, shape, layout)
    offset = len(_header(shape)) if done else _allocate(part, shape)
    chunks = _chunks(store, names, layout, done)
    count = sum(len(layout[number]) for number in done)
    with open(journal, "a") as log:
        progress("decoding images", count, total)
        for number, (faults, digest) in _decoded_chunks(
            Job(store.path, store.kind, decoding, part, offset), chunks, _workers(workers, total - count)
        ):
            unreadable.update(faults)
            log.write(json.dumps({"chunk": number, "unreadable": faults, "sha256": digest}) + "\n")
            log.flush()
            count += len(layout[number])
            progress("decoding images", count, total)
    return dict(sorted(unreadable.items()))


def copy_all(file: Path, shape: tuple[int, ...], pieces: Iterator[Pixels], progress: Progress) -> Path:
    """The part of `file`, with the images of this shape [N, C, H, W] that come in pieces; gone where these fail."""
    part, _ = part_of(file)
    offset, done = _allocate(part, shape), 0
    try:
        with open(part, "r+b") as out:
            out.seek(offset)
            for piece in pieces:
                out.write(piece.tobytes())
                done += len(piece)
                progress("copying images", done, shape[0])
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        part.unlink()
        raise
    return part


def _resume(
    part: Path, journal: Path, shape: tuple[int, ...], layout: Sequence[Sequence[int]]
) -> tuple[set[int], dict[int, str]]:
    """Chunks already decoded, as `part` holds them still, and the rows among them that could not be read."""
    done: dict[int, str] = {}
    unreadable: dict[int, str] = {}
    with suppress(OSError, ValueError), open(part, "rb") as pixels:  # there is none, or not of this layout
        lines = journal.read_text().splitlines()
        header, row_bytes = _header(shape), math.prod(shape[1:])
        if pixels.read(len(header)) != header or os.fstat(pixels.fileno()).st_size != len(header) + math.prod(shape):
            lines = []
        for line in lines:
            with suppress(ValueError, KeyError, TypeError, IndexError):  # cut short by the interruption
                entry = parse_json(line.encode())
                faults, digest = dict(entry["unreadable"]), hashlib.sha256()
                for row in layout[entry["chunk"]]:
                    if row not in faults:
                        pixels.seek(len(header) + row * row_bytes)
                        digest.update(pixels.read(row_bytes))
                if digest.hexdigest() == entry["sha256"]:
                    done[entry["chunk"]] = line
                    unreadable.update(faults)
    with written_aside(journal) as aside:
        aside.write_text("".join(f"{line}\n" for line in done.values()))
    return set(done), unreadable


def _allocate(part: Path, shape: tuple[int, ...]) -> int:
    """Make the .npy file of zeros; returns where its rows begin."""
    need, free = int(np.prod(shape)), shutil.disk_usage(part.parent).free
    if need > free:
        raise DataError(
            f"{part.parent}: the decoded images need {need / 2**30:.2f} GiB, {free / 2**30:.2f} GiB are free; "
            "make room or set GFLOW_CACHE to another folder"
        )
    header = _header(shape)
    part.unlink(missing_ok=True)  # it may have another name elsewhere
    with open(part, "wb") as out:
        out.write(header)
        out.truncate(len(header) + need)
    return len(header)


def _header(shape: tuple[int, ...]) -> bytes:
    """How a .npy of these bytes begins."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def compacted(part: Path, keep: Sequence[int]) -> Path:
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


def _layout(store: Store, names: Sequence[str]) -> list[Sequence[int]]:
    """The rows of each chunk: in order, or, of a tar, in the order in which its files come."""
    order: Sequence[int] = range(len(names))
    if store.kind == "tar":
        row_of = {name: row for row, name in enumerate(names)}
        order = [row_of[name] for name in store.names if name in row_of]
    return [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]


def _chunks(store: Store, names: Sequence[str], layout: Sequence[Sequence[int]], done: set[int]) -> Iterator[Chunk]:
    """The chunks still to decode. A tar is read here, once, in its own order; workers read everything else."""
    wanted = [(number, rows, [names[row] for row in rows]) for number, rows in enumerate(layout) if number not in done]
    if store.kind != "tar":
        for number, rows, members in wanted:
            yield Chunk(number, rows, members)
        return
    files = store.read([name for _, _, members in wanted for name in members])
    for number, rows, members in wanted:
        contents = dict(next(files) for _ in members)
        yield Chunk(number, rows, members, [contents[name] for name in members])


def cores() -> int:
    """Processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _workers(wanted: int | None, images: int) -> int:
    return max(1, min(wanted or cores(), images // CHUNK))


def _decoded_chunks(job: Job, chunks: Iterator[Chunk], workers: int) -> Iterator[tuple[int, Outcome]]:
    """Decode in `workers` processes: (chunk number, what came of it), as chunks finish."""
    if workers == 1 and job.kind != "lmdb":  # whose damage ends a process
        for chunk in chunks:
            yield chunk.number, decode_chunk(job, chunk)
        return
    waiting: dict[Future[Outcome], Chunk] = {}
    try:
        with processes(workers) as submit:
            while True:
                # A few chunks ahead of the workers, no more: those of a tar are in memory.
                for chunk in islice(chunks, 2 * workers - len(waiting)):
                    waiting[submit(decode_chunk, job, chunk)] = chunk
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    chunk = waiting.pop(future)
                    yield chunk.number, future.result()
    except BrokenProcessPool as error:
        mend = f"; if it dies again, {DAMAGED}" if job.kind == "lmdb" else ", or set dataset.workers = 1"
        raise DataError(
            f"{job.store}: a decoding process died; run it again, it goes on where it stopped{mend} ({MAIN})"
        ) from error
