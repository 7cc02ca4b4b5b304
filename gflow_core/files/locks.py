"""Who is at work on a file, or in the folder that it stands for."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["held", "holder", "in_use"]


@contextmanager
def held(path: Path, doing: str = "", waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Claim a file within the block, which is made where it is missing.

    Where another process holds it: BlockingIOError, or with `waiting` its end is waited for, once that was called.
    `doing`, such as "gflow resume", is written into the file with the process, for `holder` to read.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    # For writing, without which NFS gives no exclusive lock; never through a link.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        for patience in (0.05, 0.05, None):  # `in_use` may be looking, for microseconds
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if patience is not None:
                    time.sleep(patience)
                elif waiting is None:
                    raise
                else:
                    waiting()
                    fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError:  # a file system without locks
                break
        with _signed(handle, doing if os.fstat(handle).st_nlink == 1 else ""):  # one with other names is somebody's
            yield
    finally:
        os.close(handle)


def holder(path: Path) -> str:
    """Who holds the file, as they say themselves."""
    with suppress(OSError), _opened(path) as handle:
        return os.read(handle, 500).decode(errors="replace").strip() or "another process"
    return "another process"


def in_use(path: Path) -> bool:
    """Whether a process holds the file; False where there is none, or the system cannot tell."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    with suppress(FileNotFoundError), _opened(path) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            pass
    return False


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # also where it is a pipe
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _signed(handle: int, doing: str) -> Iterator[None]:
    """The file says who holds it within the block; nothing is written where there is nothing to say."""

    def write(text: str) -> None:
        with suppress(OSError):  # a full disk: then it says nothing
            os.ftruncate(handle, 0)
            os.pwrite(handle, text.encode(), 0)

    if doing:
        write(f"{doing} (process {os.getpid()} on {platform.node()})")
    try:
        yield
    finally:
        if doing:
            write("")
