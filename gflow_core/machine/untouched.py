"""What a process has once and everybody computes by, as it was: the working folder, torch's defaults."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["untouched"]

_TORCH = {
    "get_default_dtype": "set_default_dtype",
    "get_default_device": "set_default_device",
    "is_grad_enabled": "set_grad_enabled",
    "get_float32_matmul_precision": "set_float32_matmul_precision",
    "are_deterministic_algorithms_enabled": "use_deterministic_algorithms",
    "get_num_threads": "set_num_threads",
}
"""torch's functions that tell -> those that set."""

_FRESH = {
    "is_grad_enabled": True,
    "get_float32_matmul_precision": "highest",
    "are_deterministic_algorithms_enabled": False,
}
"""What they tell where torch has just been imported."""


@contextmanager
def untouched() -> Iterator[None]:
    """What the block changes of the working folder and of torch's defaults is put back after it.

    Torch is not imported for that; where the block does, its defaults are its own, but for the number of threads.
    """
    try:
        folder = os.getcwd()
    except OSError:  # deleted
        folder = None
    before = _defaults()
    try:
        yield
    finally:
        if folder is not None:
            with suppress(OSError):
                os.chdir(folder)
        _put_back(before)


def _defaults() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    return {name: getattr(torch, name)() for name in _TORCH if hasattr(torch, name)}


def _put_back(before: dict[str, Any]) -> None:
    now = _defaults()
    torch = sys.modules.get("torch")
    if torch is not None and not before:
        before = _FRESH | {"get_default_dtype": torch.float32, "get_default_device": torch.device("cpu")}
    for name, value in before.items():
        if now.get(name, value) != value:
            # None is the processor without a function mode, which would cost every call.
            own = None if name == "get_default_device" and value.type == "cpu" else value
            getattr(torch, _TORCH[name])(own)
