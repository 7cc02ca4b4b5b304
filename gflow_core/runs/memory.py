"""Memory in words, and how much of it this process has. Needs no torch: where that is not loaded, no GPU is in use."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["gigabytes", "memory_in_use"]


def gigabytes(size: float) -> str:
    """`1.5 GB`, `2.3 MB` where it is less than one, or `256 bytes`."""
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= length:
            return f"{size / length:.3g} {unit}"
    return f"{size:.0f} bytes"


def memory_in_use() -> str:
    """`1.3 GB of memory, 2.1 GB of the GPU's`: what this process has at the moment; empty where nobody tells."""
    found = []
    with suppress(OSError, ValueError, IndexError, AttributeError):  # other systems than Linux
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        found.append(f"{gigabytes(pages * os.sysconf('SC_PAGE_SIZE'))} of memory")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        found.append(f"{gigabytes(torch.cuda.memory_reserved())} of the GPU's")
    return ", ".join(found)
