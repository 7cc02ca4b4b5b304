"""CGAN's networks on MNIST (Mirza and Osindero 2014, Section 4.1), for items of any shape.

    sampler         z -> 200 ReLU, y -> 1000 ReLU; both -> 1200 ReLU -> sigmoid
    discriminator   x -> 240 maxout units of 5 pieces, y -> 50 of 5; both -> 240 of 4 -> logit

Dropout follows each of these hidden layers, and no input. Both networks work on the unit interval, as published:
pixels in [low, high] are stretched on their way in and out. The published discriminator's sigmoid is part of the loss.
With `max_norm` the discriminator's weight vectors act as if shortened to that length (`BoundedLinear`).
The paper does not print the initial weights. Here the sampler's are He's, so that its first samples already differ by
z and y, and the discriminator's are small, so that it does not win before the sampler has moved.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core import as_vectors

__all__ = ["BoundedLinear", "Discriminator", "Maxout", "Sampler", "initialise"]


class BoundedLinear(nn.Linear):
    """x [inputs, B] -> [outputs, B]: affine maps whose weight vectors act as if of norm max_norm at most.

    The weights themselves are not shortened: beyond the bound their gradient is orthogonal to them.
    """

    def __init__(self, inputs: int, outputs: int, max_norm: float | None) -> None:
        super().__init__(inputs, outputs)
        self.max_norm = max_norm

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias.unsqueeze(1)
        if self.max_norm is None:
            return torch.addmm(bias, self.weight, x)
        # The outputs are shortened instead: they are fewer numbers than the weights.
        out: Tensor = _Bounded.apply(self.weight @ x, self.weight, bias, self.max_norm)  # type: ignore[no-untyped-call]
        return out


class _Bounded(torch.autograd.Function):
    """z [outputs, B], which is w x; w [outputs, inputs]; bias [outputs, 1] -> w x + bias as if w's rows were shortened.

    With L = max(|w|, longest) for each row that is longest / L z + bias. Written out, it passes over w once.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, w: Tensor, bias: Tensor, longest: float) -> Tensor:
        length = _length(w, longest)
        ctx.save_for_backward(z, w, length)
        ctx.longest = longest
        return torch.addcdiv(bias, z, length, value=longest)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        z, w, length = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient penalty differentiates what follows: by w, too
            length = _length(w, ctx.longest)
        by_z = slope / length * ctx.longest
        by_w = by_bias = None
        if ctx.needs_input_grad[1]:
            beyond = F.threshold(length, ctx.longest, math.inf)  # a row within the bound does not move the factor
            by_w = w * -((by_z * z).sum(1, keepdim=True) / beyond.square())
        if ctx.needs_input_grad[2]:
            by_bias = slope.sum(1, keepdim=True)
        return by_z.to(z.dtype), by_w, by_bias, None


def _length(w: Tensor, least: float) -> Tensor:
    length: Tensor = w.norm(dim=1, keepdim=True).clamp(min=least)
    return length


class _Largest(torch.autograd.Function):
    """x [units, pieces, B] -> [units, B]: amax(1), where those that tie share the gradient; in half of torch's time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        largest = x.amax(1)
        ctx.save_for_backward(x, largest)
        return largest

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        x, largest = ctx.saved_tensors
        chosen = torch.empty_like(x)  # numbers: vector instructions make no bools
        with torch.no_grad():
            torch.eq(x, largest.unsqueeze(1), out=chosen)
        return chosen * (slope / chosen.sum(1)).unsqueeze(1)


class Maxout(nn.Module):
    """x [inputs, B] -> [units, B]: of each unit's `pieces` affine maps the largest (Goodfellow et al. 2013).

    Items are columns, so that a unit's pieces are compared for many items at a time.
    """

    def __init__(self, inputs: int, units: int, pieces: int, max_norm: float | None = None) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = BoundedLinear(inputs, units * pieces, max_norm)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Largest.apply(self.linear(x).unflatten(0, (-1, self.pieces)))  # type: ignore[no-untyped-call]
        return out


class Dropout(nn.Dropout):
    """nn.Dropout, whose masks are drawn on the CPU as random bytes: in a twentieth of its time."""

    def forward(self, x: Tensor) -> Tensor:
        kept = 256 * (1 - self.p)
        if not self.training or x.device.type != "cpu" or not kept.is_integer():
            return super().forward(x)
        drawn = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        mask = drawn.view(torch.uint8)[: x.numel()].view(x.shape).to(x.dtype).lt_(kept).mul_(256 / kept)
        return x * mask


def initialise(module: nn.Module, init_range: float | None) -> None:
    """Weights of linear layers U(-r, r), r = init_range or He's sqrt(6 / inputs); their biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            r = init_range or math.sqrt(6 / layer.in_features)
            nn.init.uniform_(layer.weight, -r, r)
            nn.init.zeros_(layer.bias)


class Sampler(nn.Module):
    """z [B, latent_dim] and labels y [B] or [B, label_size] -> x [B, *shape] in [low, high]; y only if label_size."""

    def __init__(
        self,
        latent_dim: int,
        label_size: int,
        shape: tuple[int, ...],
        *,
        low: float = -1.0,
        high: float = 1.0,
        z_width: int = 200,
        label_width: int = 1000,
        width: int = 1200,
        dropout: float = 0.5,
        init_range: float | None = None,
    ) -> None:
        super().__init__()
        self.label_size, self.shape, self.low, self.high = label_size, shape, low, high
        self.latent = nn.Sequential(nn.Linear(latent_dim, z_width))
        self.label = nn.Sequential(nn.Linear(label_size, label_width)) if label_size else None
        self.both = nn.Sequential(nn.ReLU(), Dropout(dropout))
        joint = z_width + (label_width if label_size else 0)
        self.joint = nn.Sequential(nn.Linear(joint, width), nn.ReLU(), Dropout(dropout))
        self.out = nn.Linear(width, math.prod(shape))
        initialise(self, init_range)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.latent(z)
        if self.label is not None:
            assert y is not None, "the sampler reads labels"
            h = torch.cat([h, self.label(as_vectors(y, self.label_size, z))], 1)
        s = torch.sigmoid(self.out(self.joint(self.both(h))).to(z.dtype))
        x: Tensor = (self.low + (self.high - self.low) * s).unflatten(1, self.shape)
        return x


class Discriminator(nn.Module):
    """x [B, *shape] and labels y [B] or [B, label_size], y only if label_size -> logit [B].

    Without a range x is read as it is.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        label_size: int,
        *,
        low: float | None = -1.0,
        high: float | None = 1.0,
        x_width: int = 240,
        x_pieces: int = 5,
        label_width: int = 50,
        label_pieces: int = 5,
        width: int = 240,
        pieces: int = 4,
        dropout: float = 0.5,
        init_range: float | None = 0.005,
        max_norm: float | None = None,
    ) -> None:
        super().__init__()
        self.label_size = label_size
        self.low, self.high = (0.0, 1.0) if low is None or high is None else (low, high)
        self.item = nn.Sequential(Maxout(math.prod(shape), x_width, x_pieces, max_norm))
        self.label = nn.Sequential(Maxout(label_size, label_width, label_pieces, max_norm)) if label_size else None
        self.both = Dropout(dropout)
        joint = x_width + (label_width if label_size else 0)
        self.joint = nn.Sequential(Maxout(joint, width, pieces, max_norm), Dropout(dropout))
        self.logit = BoundedLinear(width, 1, max_norm)
        initialise(self, init_range)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        unit = (x.flatten(1) - self.low) / (self.high - self.low)
        h = self.item(unit.T)
        if self.label is not None:
            assert y is not None, "the discriminator reads labels"
            h = torch.cat([h, self.label(as_vectors(y, self.label_size, x).T)])
        h = self.joint(self.both(h)).to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):  # logits are exponentiated: keep their digits
            logit: Tensor = self.logit(h)
        return logit.squeeze(0)
