"""Files that are whole or not there, and what tells whether one is as it was."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gflow_core.files.reading import opened

__all__ = ["LEFTOVERS", "beside", "is_full", "sha256_of", "written_aside"]

LEFTOVERS = ".gflow-*.tmp"
"""What a process that was killed while it wrote leaves behind."""


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, read piece by piece. OSError where it cannot be read, or is no file."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_full(error: OSError) -> bool:
    """Whether there is no room on the disk, or none left for its user."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def beside(path: Path) -> Path:
    """A path beside `path` that nobody could have foreseen, and put a link there."""
    return path.with_name(f".gflow-{secrets.token_hex(8)}.tmp")


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """An empty file beside `path` to write to; renamed to it when the block ends well, deleted when it does not.

    So a link at `path` is replaced, never written through. OSErrors name `path`.
    """
    aside = beside(path)
    try:
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield aside
            os.replace(aside, path)
        finally:
            with suppress(OSError):  # what went wrong before is what is told
                aside.unlink(missing_ok=True)
    except OSError as error:
        # What was asked for, not what it was to be renamed from; writing itself (a full disk) names nothing.
        if error.filename is None or str(error.filename) == str(aside):
            error.filename = str(path)
        raise
