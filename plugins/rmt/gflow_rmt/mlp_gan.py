"""The MLP GAN of the paper's MNIST extension (sections 7.1 and 7.2), for items of any shape.

    sampler         z, y -> five times (linear, leaky ReLU, batch norm) -> linear, tanh
    discriminator   x, y -> five times (linear, leaky ReLU) -> linear, logit

The order is the paper's: "leaky ReLU activation followed with a batch normalization"; it does not print widths, slope,
initial weights (here He's) or the last layer. Labels, which it does not mention either, stand one-hot beside z and x,
through a layer of their own where `label_width` says so. Pixels lie in [-1, 1] inside both networks, whatever range the
data states; vectors leave the last linear layer, and enter the first, as they are.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from gflow_core import DataShape, as_vectors

__all__ = ["Discriminator", "Hidden", "Sampler", "build_discriminator", "build_sampler"]

Limits = tuple[float, float] | None
"""Range of the pixels; None for vectors, which have none."""


def build_sampler(
    data: DataShape,
    *,
    latent_dim: int,
    conditional: bool,
    widths: tuple[int, ...],
    label_width: int | None,
    slope: float,
) -> Sampler:
    """The sampler of what `data` describes, freshly initialised."""
    label_size = data.label_size if conditional else 0
    hidden = Hidden(latent_dim, label_size, widths, label_width, slope, batch_norm=True)
    return Sampler(hidden, data.shape, _limits(data))


def build_discriminator(
    data: DataShape, *, conditional: bool, widths: tuple[int, ...], label_width: int | None, slope: float
) -> Discriminator:
    """The discriminator of what `data` describes, freshly initialised."""
    label_size = data.label_size if conditional else 0
    size = math.prod(data.shape)
    hidden = Hidden(size, label_size, widths, label_width, slope, batch_norm=False)
    return Discriminator(hidden, _limits(data))


class Hidden(nn.Module):
    """x [B, inputs] and labels y [B] or [B, label_size], unread where label_size is 0 -> [B, widths[-1]]."""

    def __init__(
        self,
        inputs: int,
        label_size: int,
        widths: tuple[int, ...],
        label_width: int | None,
        slope: float,
        *,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        self.label_size, self.width = label_size, widths[-1]
        self.label: nn.Module = nn.Identity()
        if label_size and label_width:
            self.label = nn.Sequential(nn.Linear(label_size, label_width), nn.LeakyReLU(slope))
        beside = (label_width or label_size) if label_size else 0
        self.layers = nn.Sequential()
        for before, after in pairwise((inputs + beside, *widths)):
            self.layers.extend([nn.Linear(before, after), nn.LeakyReLU(slope)])
            if batch_norm:
                self.layers.append(nn.BatchNorm1d(after))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, a=slope)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        if self.label_size:
            assert y is not None, "the network reads labels"
            x = torch.cat([x, self.label(as_vectors(y, self.label_size, x))], 1)
        h: Tensor = self.layers(x)
        return h


class Sampler(nn.Module):
    """z [B, latent_dim], and labels where it reads them, -> x [B, *shape], within `limits` where there are any."""

    def __init__(self, hidden: Hidden, shape: tuple[int, ...], limits: Limits) -> None:
        super().__init__()
        self.shape, self.limits = shape, limits
        self.hidden = hidden
        self.out = nn.Linear(hidden.width, math.prod(shape))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.out(self.hidden(z, y)).to(z.dtype)
        if self.limits is not None:
            low, high = self.limits
            x = low + (high - low) * (torch.tanh(x) + 1) / 2
        items: Tensor = x.unflatten(1, self.shape)
        return items


class Discriminator(nn.Module):
    """x [B, *shape], and labels where it reads them, -> logit [B]."""

    def __init__(self, hidden: Hidden, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.hidden = hidden
        self.logit = nn.Linear(hidden.width, 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        flat = x.flatten(1)
        if self.limits is not None:
            low, high = self.limits
            flat = (flat - low) * (2 / (high - low)) - 1
        h = self.hidden(flat, y).to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):  # logits are exponentiated: keep their digits
            logit: Tensor = self.logit(h)
        return logit.squeeze(1)


def _limits(data: DataShape) -> Limits:
    if data.kind != "image":
        return None
    assert data.low is not None
    assert data.high is not None
    return data.low, data.high
