"""Repeats of an experiment kept in a file as they come, to go on from after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gflow_core import GflowError

__all__ = ["journal"]

Row = dict[str, Any]


@contextmanager
def journal(work: Path | None, key: Mapping[str, Any]) -> Iterator[tuple[list[Row], Callable[[Row], None]]]:
    """The repeats found under this key, and the function that adds one, in a file of the key's own or only in memory.

    work/repeats-HASH.jsonl: a header with the key, then a line a repeat, in order, on the disk before the next one is
    looked at. From a line that was cut short or damaged on, the file is dropped. GflowError where it cannot be read or
    written.
    """
    rows: list[Row] = []
    if work is None:
        yield rows, rows.append
        return
    header = json.dumps(key, sort_keys=True, default=str).encode() + b"\n"
    path = work / f"repeats-{hashlib.sha256(header).hexdigest()[:8]}.jsonl"
    with _refusing(path):
        work.mkdir(parents=True, exist_ok=True)
        rows, whole = _read(path, header)
        file = path.open("ab")
        file.truncate(whole)
    with file:

        def write(line: bytes) -> None:
            with _refusing(path):
                file.write(line)
                file.flush()
                os.fsync(file.fileno())

        def append(row: Row) -> None:
            write(json.dumps(row).encode() + b"\n")
            rows.append(row)

        if not whole:
            write(header)
        yield rows, append


def _read(path: Path, header: bytes) -> tuple[list[Row], int]:
    """The repeats in a journal with this header, up to the first line that is not whole, and the bytes they take."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if not lines or lines[0] != header:
        return [], 0
    rows: list[Row] = []
    whole = len(header)
    for line in lines[1:]:
        try:
            row = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or row.get("repeat") != len(rows):
            break
        rows.append(row)
        whole += len(line)
    return rows, whole


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GflowError(
            f"{path}: {error.strerror}; it keeps the repeats, make room for it or let it be written"
        ) from error
