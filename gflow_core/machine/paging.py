"""Reading ahead of what is memory-mapped."""

from __future__ import annotations

import ctypes
import mmap

from torch import Tensor

__all__ = ["read_ahead"]

_WILL_NEED: int | None = getattr(mmap, "MADV_WILLNEED", None)
_madvise = getattr(ctypes.CDLL(None), "madvise", None) if _WILL_NEED is not None else None


def read_ahead(x: Tensor, index: Tensor) -> None:
    """Have the system read items `index` [B] of a memory-mapped tensor [N, ...] from disk, without waiting for them.

    Touched without that, they come page by page, each waited for. Does nothing on systems without `madvise`.
    """
    if _madvise is None or not x.is_contiguous() or not len(index):
        return
    index = index.cpu()
    size = x[0].nbytes
    starts = x.data_ptr() + index * size
    pages = starts // mmap.PAGESIZE * mmap.PAGESIZE
    for start, length in zip(pages.tolist(), (starts + size - pages).tolist(), strict=True):
        _madvise(
            ctypes.c_void_p(start), ctypes.c_size_t(length), _WILL_NEED
        )  # a hint: whether it was taken, is all one
