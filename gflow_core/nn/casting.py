"""Weights in bfloat16 for a forward, all of a network cast in one operation: autocast has one for each tensor.

On a GPU every operation costs its launch, which for a small tensor is longer than the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core.nn.resample import DownConv, UpConv
from gflow_core.nn.strided_conv import StridedConv, StridedTransposedConv

__all__ = ["Casting", "cast"]


class _Cast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # of what the forward does not use
        ctx.own = tensors[0].dtype
        copies = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
        torch._foreach_copy_(copies, tensors)
        return tuple(copies)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        found = iter(cast([one for one in gradients if one is not None], ctx.own))
        return None, *(None if one is None else next(found) for one in gradients)


def cast(tensors: Sequence[Tensor], dtype: torch.dtype) -> Sequence[Tensor]:
    """The tensors, all of one type, in another: one operation, and one for their gradients."""
    copies: Sequence[Tensor] = _Cast.apply(dtype, *tensors) if tensors else ()  # type: ignore[no-untyped-call]
    return copies


Computes = Callable[[Any, Tensor, Tensor, Tensor | None], Tensor]
"""What a layer makes of x with a weight and a bias in place of its own."""


def _linear(layer: nn.Linear, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x, weight, bias)


def _transposed(layer: nn.ConvTranspose2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding, extra = layer.padding, layer.output_padding
    return F.conv_transpose2d(x, weight, bias, layer.stride, padding, extra, layer.groups, layer.dilation)  # type: ignore[arg-type]


_COMPUTES: Mapping[Any, Computes] = MappingProxyType(
    {
        nn.Linear.forward: _linear,
        nn.Conv1d.forward: nn.Conv1d._conv_forward,
        nn.Conv2d.forward: nn.Conv2d._conv_forward,
        nn.ConvTranspose2d.forward: _transposed,
        StridedConv.forward: nn.Conv2d._conv_forward,
        StridedTransposedConv.forward: _transposed,
        UpConv.forward: UpConv.convolve,
        DownConv.forward: DownConv.convolve,
    }
)
"""By its forward: the layers whose weights are cast. Autocast sees to all others."""


@attrs.define(eq=False)
class _Layer:
    """A layer in its network, and what stands in place of its forward."""

    module: Any
    computes: Computes
    copies: tuple[Tensor, Tensor | None] | None = None
    """Its weight, as its convolution reads it, and its bias; None where it reads its own."""

    def own(self) -> list[Tensor]:
        """What is cast: its weight, and its bias where it has one."""
        weight = self.module.kernel() if isinstance(self.module, UpConv | DownConv) else self.module.weight
        return [weight] if self.module.bias is None else [weight, self.module.bias]

    def forward(self, x: Tensor, *others: Any, **named: Any) -> Tensor:
        if self.copies is None or others or named or not torch.is_autocast_enabled(x.device.type):
            plain: Tensor = type(self.module).forward(self.module, x, *others, **named)
            return plain
        return self.computes(self.module, x, *self.copies)


class Casting:
    """A network under autocast whose layers' weights are cast all at once.

    The numbers and the gradients are autocast's own: each forward that is differentiated has its own casts.
    """

    def __init__(self, network: nn.Module) -> None:
        self._layers = [
            _Layer(layer, computes)
            for layer in network.modules()
            if (computes := _COMPUTES.get(getattr(type(layer), "forward", None))) is not None and _plain(layer)
        ]
        self._depth = 0
        self._shared = False
        """Whether copies are in use that a block within may use as well: their own, if no gradient goes through."""

    @contextmanager
    def cast(self) -> Iterator[None]:
        """Within the block layers read copies of their weights, which are not to change in it.

        Without gradients for the weights, blocks within this one share its copies.
        """
        differentiated = torch.is_grad_enabled() and any(one.module.weight.requires_grad for one in self._layers)
        if self._shared and not differentiated:
            yield
            return
        before, shared = [layer.copies for layer in self._layers], self._shared
        own = [layer.own() for layer in self._layers]
        copies = iter(cast([tensor for tensors in own for tensor in tensors], torch.bfloat16))
        for layer, tensors in zip(self._layers, own, strict=True):
            layer.copies = next(copies), next(copies) if len(tensors) > 1 else None
            layer.module.__dict__["forward"] = layer.forward
        self._shared = True
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self._shared = shared
            for layer, copies_before in zip(self._layers, before, strict=True):
                layer.copies = copies_before
                if not self._depth:
                    del layer.module.__dict__["forward"]


def _plain(layer: nn.Module) -> bool:
    """Whether its weight and bias are parameters in float32, none computed anew at each look."""
    own = layer._parameters
    weight = own.get("weight")
    return weight is not None and weight.dtype == torch.float32 and "bias" in own and "forward" not in vars(layer)
