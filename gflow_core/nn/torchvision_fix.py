"""Importing torchvision beside a CPU-only torch.

torchvision's usual wheel is compiled against CUDA. Beside a CPU-only torch its compiled operators cannot be
loaded, and then its import stops at "operator torchvision::nms does not exist", because two Python functions
are attached to operators that were never declared. Declaring their schemas first is enough for datasets,
models, transforms and utils to work.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

__all__ = ["import_torchvision"]

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@cache
def import_torchvision() -> ModuleType:
    """The module torchvision. Call this before anything else imports it (torchmetrics does)."""
    if "torchvision" not in sys.modules and not _operators_load():
        # A library lives as long as the object: `define` belongs to the process from here on.
        library = torch.library.Library("torchvision", "DEF")
        _libraries.append(library)
        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):
                library.define(name + _SCHEMA)
    return importlib.import_module("torchvision")


_libraries: list[torch.library.Library] = []


def _operators_load() -> bool:
    """Whether torchvision's compiled operators work with this torch; loads them if so."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # not installed: the import says so
    for file in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(file))
        except OSError:
            continue
        return True
    return False
