"""What parts return, against their contracts: looked at where it first comes, and never again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gflow_core.errors import PluginError, shown
from gflow_core.parts.plugins import name_of
from gflow_core.parts.source import Source

__all__ = ["kind_fault", "named", "promise_fault", "refuse", "source_fault", "tensor_fault", "what"]


def named(kind: str, part: Any) -> str:
    """`sampler mine.unet`."""
    return f"{kind} {name_of(kind, part)}"


def refuse(kind: str, part: Any, method: str, fault: str | None) -> None:
    """PluginError that names the part and its method, where what that returned has a fault."""
    if fault:
        raise PluginError(f"{named(kind, part)}: its {method} returns {fault}")


def tensor_fault(value: Any, shape: tuple[int, ...], of: str = "", *, finite: bool = True) -> str | None:
    """Why `value` is not a tensor of real numbers and this shape, in words that follow "returns"; None where it is.

    `of` says of what, such as " for two items". Whether values are finite is asked unless it cannot be known.
    """
    if not isinstance(value, Tensor):
        return f"{what(value)}{of}, a tensor is expected"
    if not value.is_floating_point():
        return f"{value.dtype}{of}, real floats are expected"
    if value.is_meta:
        return f"a tensor on the meta device{of}, which holds no numbers"
    if tuple(value.shape) != tuple(shape):
        return f"{list(value.shape)}{of}, {list(shape)} is expected"
    if finite and not bool(value.isfinite().all()):
        return f"NaN or infinite values{of}"
    return None


def kind_fault(value: Any, kind: type, expected: str) -> str | None:
    """Why `value` is no instance of `kind`, in words that follow "returns"; None where it is."""
    return None if isinstance(value, kind) else f"{what(value)}, {expected} is expected"


def what(value: Any) -> str:
    """What it is, in words."""
    if value is None:
        return "nothing (None)"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    name = type(value).__name__
    return f"a {name}" if isinstance(value, list | tuple | dict) else f"a {name}, {shown(value)}"


def promise_fault(part: Any, source: Source) -> str | None:
    """What the class attributes of a data set promise of its items, and they lack, or the other way round."""
    for promise, has, what in (
        ("has_modes", source.modes is not None, "modes"),
        ("has_density", source.log_density is not None, "log_density"),
    ):
        stated = getattr(part, promise, False)
        if not isinstance(stated, bool):
            return f"{promise} is {shown(stated)}; it is True or False"
        if stated != has:
            return f"{promise} is {stated}, and its Source has {'' if has else 'no '}{what}="
    return None


def source_fault(source: Source) -> str | None:
    """What is wrong with loaded items; None where nothing is."""
    shape = source.shape
    if not isinstance(source.x, Tensor):
        return f"its items are no tensor but {what(source.x)}"
    if len(source) == 0:
        return "loaded no items"
    if tuple(source.x.shape[1:]) != shape.shape:
        return f"promised items of shape {list(shape.shape)}, loaded {list(source.x.shape)}"
    if shape.kind == "image" and source.x.dtype != torch.uint8:
        return f"images are torch.uint8, 0 to 255; loaded {source.x.dtype}"
    if shape.kind == "vector" and not source.x.is_floating_point():
        return f"vectors are floats; loaded {source.x.dtype}"
    if shape.kind == "vector" and not bool(source.x.isfinite().all()):
        return "it holds NaN or infinite values; leave those items out"
    return None
