"""Files that are whole or not there, and what tells whether one is as it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["sha256_of", "written_aside"]


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, read piece by piece. OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed to it when the block ends well, deleted when it does not.

    OSErrors name `path`.
    """
    aside = path.with_name(f".{path.name}.tmp")
    try:
        yield aside
        os.replace(aside, path)
    except OSError as error:
        if str(error.filename) == str(aside):  # what was asked for, not what it was to be renamed from
            error.filename = str(path)
        raise
    finally:
        aside.unlink(missing_ok=True)
