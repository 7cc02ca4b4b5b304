"""Importing torchvision beside a CPU-only torch.

torchvision's usual wheel is compiled against CUDA. Beside a CPU-only torch its compiled operators cannot be
loaded, and then its import stops at "operator torchvision::nms does not exist", because two Python functions
are attached to operators that were never declared. Declaring their schemas first is enough for datasets,
models, transforms and utils to work. `import gflow_core` sees to it that whoever imports torchvision, in a plugin or
a notebook, has them declared just before; until then nothing here imports torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["install"]

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def install() -> None:
    """From here on torchvision's import begins with `declare_operators`."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds torchvision as Python does, and what it finds declares the operators before it runs."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == "torchvision" else None
        if spec is None or spec.loader is None or spec.origin is None:
            return None
        origin, execute = spec.origin, spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            declare_operators(Path(origin).parent)
            execute(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_libraries: list[Any] = []  # a library lives as long as the object: what it defines belongs to the process


def declare_operators(package: Path) -> None:
    """Declare what torchvision's Python functions are attached to, unless its compiled operators do so themselves."""
    import torch

    for file in package.glob("_C.*"):
        try:
            torch.ops.load_library(str(file))
        except OSError:
            continue
        return
    missing = [name for name in ("nms", "qnms") if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        _libraries.append(library)
        for name in missing:
            library.define(name + _SCHEMA)
