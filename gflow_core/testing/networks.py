"""What the tiny parts build."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from gflow_core.machine.streams import derive
from gflow_core.nn.labels import as_vectors
from gflow_core.nn.mlp import Mlp, MlpLogit
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Source, fingerprint

__all__ = ["Discriminator", "Sampler", "tiny_source"]

_WIDTH = 8


def tiny_source(shape: DataShape, *, n: int, split: Literal["train", "test", "all"]) -> Source:
    """n items of the split (all: of both), bytes or floats, shifted by their labels."""
    splits = ("train", "test") if split == "all" else (split,)
    items, labels = [], []
    for one in splits:
        generator = torch.Generator().manual_seed(derive(0, f"tiny.{one}"))
        noise = torch.randn(n, *shape.shape, generator=generator)
        y = torch.arange(n) % (shape.classes or 3)  # the fingerprint reads them where there are no labels, too
        shift = y.float() - 1
        if shape.label_size and not shape.classes:
            y = torch.randn(n, shape.label_size, generator=generator)
            shift = y.sum(1)
        if shape.label_size:
            noise += shift.view(-1, *[1] * len(shape.shape))
        items.append(noise)
        labels.append(y)
    x = torch.cat(items)
    if shape.kind == "image":
        x = (128 + 40 * x).clamp(0, 255).to(torch.uint8)
    y = torch.cat(labels)
    return Source(x, shape, fingerprint(x, y), y if shape.label_size else None)


class Sampler(nn.Module):
    """z [..., inputs] (and y) -> x [..., *shape]."""

    def __init__(self, inputs: int, data: DataShape, *, labels: int) -> None:
        super().__init__()
        self.shape, self.labels = data.shape, labels
        self.layers = Mlp(inputs + labels, math.prod(data.shape), width=_WIDTH, depth=1)
        channels = data.shape[0]
        self.last = nn.Sequential()
        if data.kind == "image":
            self.last = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if self.labels:
            assert y is not None
            z = torch.cat([z, as_vectors(y, self.labels, z)], 1)
        x: Tensor = self.last(self.layers(z).unflatten(-1, self.shape))
        return x


class Discriminator(nn.Module):
    """x [..., *shape] (and y) -> logit [...]."""

    def __init__(self, data: DataShape, *, labels: int) -> None:
        super().__init__()
        self.labels = labels
        self.first, inputs = nn.Sequential(), math.prod(data.shape)
        if data.kind == "image":
            channels, height, width = data.shape
            convolution = nn.Conv2d(channels, _WIDTH, 3, stride=2, padding=1)
            self.first = nn.Sequential(convolution, nn.LeakyReLU(0.2), nn.Flatten())
            inputs = _WIDTH * math.ceil(height / 2) * math.ceil(width / 2)
        self.layers = MlpLogit(inputs + labels, width=_WIDTH, depth=1, activation="leaky_relu")

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.first(x)
        if self.labels:
            assert y is not None
            x = torch.cat([x, as_vectors(y, self.labels, x)], 1)
        logit: Tensor = self.layers(x)
        return logit
