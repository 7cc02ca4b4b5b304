"""Who is at work on a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["held", "in_use"]


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Claim a file within the block. Raises BlockingIOError if another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with path.open("r+b") as handle:  # open for writing, without which NFS gives no exclusive lock
        for patience in (0.05, 0.05, None):  # `in_use` may be looking, for microseconds
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if patience is None:
                    raise
                time.sleep(patience)
            except OSError:  # a file system without locks
                break
        yield


def in_use(path: Path) -> bool:
    """Whether a process holds the file; False where the system cannot tell."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    with path.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            pass
    return False
