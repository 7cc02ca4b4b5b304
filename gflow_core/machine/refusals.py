"""What the machine refuses: a file, memory, another process. No defect of gflow or of a plugin."""

from __future__ import annotations

import re

from gflow_core.errors import own_words
from gflow_core.files.cache import NO_HOME
from gflow_core.files.whole import is_full

__all__ = ["ended_elsewhere", "of_the_machine"]

_NO_MEMORY = "can't allocate|out of memory|failed to map segment"
"""As torch says it, and the loader of its libraries."""


def of_the_machine(error: BaseException) -> str | None:
    """What the machine refused, in one line; None for all else, which is a defect."""
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        if error.filename is None and is_full(error):  # files are named
            return f"standard output: {error.strerror}"
        return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
    if isinstance(error, ImportError | MemoryError | RuntimeError):
        text = own_words(error).strip()
        if "determine home directory" in text:
            return f"{NO_HOME}, or write the path out where ~ stands"
        if ended_elsewhere(error):
            return (
                "another process of this run has ended, and says why where it ran; once that is mended, gflow resume "
                "goes on from the newest checkpoint"
            )
        if isinstance(error, MemoryError) or re.search(_NO_MEMORY, text):
            return f"not enough memory: {text.splitlines()[-1] if text else 'allocation failed'}"
    return None


def ended_elsewhere(error: BaseException) -> bool:
    """Whether another process of this run has gone away."""
    text = own_words(error)
    return isinstance(error, OSError | RuntimeError) and ("closed by peer" in text or "reset by peer" in text)
