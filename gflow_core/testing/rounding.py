"""A processor that rounds products in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["OwnRounding"]

_aten = torch.ops.aten
_MATRIX_PRODUCTS = {_aten.mm.default, _aten.addmm.default, _aten.bmm.default, _aten.baddbmm.default}


class OwnRounding(TorchDispatchMode):
    """Within it matrix products and convolutions round each row by its place and by how many rows there are.

    As some processors do, and no two kinds alike: the same call gives the same bits, but a row among others is not
    what it is alone, and equal rows are not equal afterwards. Float32 and float64 only, and no whole numbers, which
    every processor multiplies exactly. In this thread only.

        with OwnRounding():
            assert torch.allclose(network(x)[:1], network(x[:1]), atol=1e-5)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        product = func in _MATRIX_PRODUCTS
        if not (product or func is _aten.convolution.default) or out.dtype not in (torch.float32, torch.float64):
            return out
        tensors = [t for t in args if isinstance(t, Tensor)]
        if all(bool((t == t.round()).all()) for t in tensors):
            return out
        if product:  # errors are relative to the sum of magnitudes, also where signs cancel
            *added, a, b = tensors
            size = sum((t.abs() for t in added), start=a.abs() @ b.abs())
        else:
            size = out
        return out.add_(size * _steps(out, -2 if product else 0) * torch.finfo(out.dtype).eps)


def _steps(out: Tensor, rows: int) -> Tensor:
    """-1, 0 or 1 a row, by its place and the number of rows, to be multiplied with out."""
    n = out.shape[rows]
    place = torch.arange(n, device=out.device)
    steps = (place + place.square() % 11 + n) % 3 - 1
    return steps.to(out.dtype).view(-1, *[1] * (1 if rows else out.dim() - 1))
