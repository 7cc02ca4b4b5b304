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

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core import as_vectors

__all__ = ["BoundedLinear", "Discriminator", "Maxout", "Sampler", "initialise"]


class BoundedLinear(nn.Linear):
    """x [..., inputs] -> [..., outputs]: affine maps whose weight vectors act as if of norm max_norm at most.

    The weights themselves are not shortened: beyond the bound their gradient is orthogonal to them.
    """

    def __init__(self, inputs: int, outputs: int, max_norm: float | None) -> None:
        super().__init__(inputs, outputs)
        self.max_norm = max_norm

    def forward(self, x: Tensor) -> Tensor:
        if self.max_norm is None:
            return super().forward(x)
        norm = self.weight.norm(dim=1, keepdim=True)
        return F.linear(x, self.weight * (self.max_norm / norm.clamp(min=self.max_norm)), self.bias)


class Maxout(nn.Module):
    """x [..., inputs] -> [..., units]: of each unit's `pieces` affine maps the largest (Goodfellow et al. 2013)."""

    def __init__(self, inputs: int, units: int, pieces: int, max_norm: float | None = None) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = BoundedLinear(inputs, units * pieces, max_norm)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x).unflatten(-1, (-1, self.pieces)).amax(-1)
        return out


def initialise(module: nn.Module, init_range: float | None) -> None:
    """Weights of linear layers U(-r, r), r = init_range or He's sqrt(6 / inputs); their biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            r = init_range or math.sqrt(6 / layer.in_features)
            nn.init.uniform_(layer.weight, -r, r)
            nn.init.zeros_(layer.bias)


class Sampler(nn.Module):
    """z [B, latent_dim] and labels y [B] or [B, label_size] -> x [B, *shape] in [low, high]."""

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
        self.latent = nn.Sequential(nn.Linear(latent_dim, z_width), nn.ReLU(), nn.Dropout(dropout))
        self.label = nn.Sequential(nn.Linear(label_size, label_width), nn.ReLU(), nn.Dropout(dropout))
        self.joint = nn.Sequential(nn.Linear(z_width + label_width, width), nn.ReLU(), nn.Dropout(dropout))
        self.out = nn.Linear(width, math.prod(shape))
        initialise(self, init_range)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        assert y is not None, "the sampler reads labels"
        h = torch.cat([self.latent(z), self.label(as_vectors(y, self.label_size, z))], 1)
        s = torch.sigmoid(self.out(self.joint(h)).to(z.dtype))
        x: Tensor = (self.low + (self.high - self.low) * s).unflatten(1, self.shape)
        return x


class Discriminator(nn.Module):
    """x [B, *shape] and labels y [B] or [B, label_size] -> logit [B]. Without a range x is read as it is."""

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
        self.item = nn.Sequential(Maxout(math.prod(shape), x_width, x_pieces, max_norm), nn.Dropout(dropout))
        self.label = nn.Sequential(Maxout(label_size, label_width, label_pieces, max_norm), nn.Dropout(dropout))
        self.joint = nn.Sequential(Maxout(x_width + label_width, width, pieces, max_norm), nn.Dropout(dropout))
        self.logit = BoundedLinear(width, 1, max_norm)
        initialise(self, init_range)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        assert y is not None, "the discriminator reads labels"
        unit = (x.flatten(1) - self.low) / (self.high - self.low)
        h = torch.cat([self.item(unit), self.label(as_vectors(y, self.label_size, x))], 1)
        h = self.joint(h).to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):  # logits are exponentiated: keep their digits
            logit: Tensor = self.logit(h)
        return logit.squeeze(1)
