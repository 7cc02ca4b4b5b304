"""A small convolutional sampler without batch statistics: it makes the same in eval and in training mode."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core import UpConv, as_vectors

__all__ = ["ConvSampler", "levels"]

GROUPS = 8
"""Groups of every group norm."""


def levels(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of the maps, smallest first: an image halved until a side is odd, or none is above 8; without its own."""
    sizes = []
    while height % 2 == width % 2 == 0 and max(height, width) > 8:
        height, width = height // 2, width // 2
        sizes.append((height, width))
    return sizes[::-1]


class ConvSampler(nn.Module):
    """z [B, latent], and labels y where it reads them -> images [B, C, H, W] in [-1, 1].

    A linear layer to the smallest maps; at each of the `levels` a residual 3x3 convolution, and one that doubles the
    size and halves the channels, down to `channels` at half the image's size; the last convolution makes 2x2 blocks of
    pixels of those. Group norm and SiLU before each. `labels` numbers stand beside z.
    """

    def __init__(self, latent: int, shape: tuple[int, int, int], *, channels: int, labels: int = 0) -> None:
        super().__init__()
        colours, height, width = shape
        self.labels = labels
        self.sizes = levels(height, width)
        counts = [channels << i for i in range(len(self.sizes))][::-1]
        (tall, wide), most = self.sizes[0], counts[0]
        self.linear = nn.Linear(latent + labels, tall * wide * most)
        self.residuals = nn.ModuleList(_before(nn.Conv2d(n, n, 3, padding=1), n) for n in counts)
        self.doublings = nn.ModuleList(_before(UpConv(n, half, 3, padding=1), n) for n, half in pairwise(counts))
        self.last = _before(nn.Conv2d(channels, 4 * colours, 3, padding=1), channels)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        given = z if y is None or not self.labels else torch.cat([z, as_vectors(y, self.labels, z)], 1)
        # Read as [B, H, W, C] the linear layer's output is channels-last as it stands.
        x = self.linear(given).unflatten(1, (*self.sizes[0], -1)).permute(0, 3, 1, 2)
        for number, residual in enumerate(self.residuals):
            x = x + residual(x)
            if number < len(self.doublings):
                x = self.doublings[number](x)
        return torch.tanh(F.pixel_shuffle(self.last(x), 2).to(z.dtype))


def _before(layer: nn.Module, channels: int) -> nn.Module:
    return nn.Sequential(nn.GroupNorm(GROUPS, channels), nn.SiLU(), layer)
