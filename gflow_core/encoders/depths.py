"""A small convolutional network with maps at three depths, whose every pixel has a gradient."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

__all__ = ["Depths"]


class Depths(nn.Module):
    """x [B, channels, H, W] -> logits [B, classes], or without classes the features [B, 128] themselves.

    Four 3x3 convolutions with SiLU, of strides 1, 2, 2 and 1, make maps of 32 x H x W, 64 x H/2 x W/2 and
    128 x H/4 x W/4; the features are the means of the last. Nothing is cut off or chosen by a maximum.
    """

    names: ClassVar[tuple[str, ...]] = ("depth1", "depth2", "depth3")
    dim: ClassVar[int] = 128

    def __init__(self, channels: int, classes: int | None = None) -> None:
        super().__init__()
        self.depth1 = nn.Sequential(nn.Conv2d(channels, 32, 3, padding=1), nn.SiLU())
        self.depth2 = nn.Sequential(nn.Conv2d(32, 64, 3, 2, padding=1), nn.SiLU())
        self.depth3 = nn.Sequential(
            nn.Conv2d(64, self.dim, 3, 2, padding=1), nn.SiLU(), nn.Conv2d(self.dim, self.dim, 3, padding=1), nn.SiLU()
        )
        self.head = nn.Identity() if classes is None else nn.Linear(self.dim, classes)

    def deepest(self, x: Tensor) -> Tensor:
        """The last map [B, 128, H/4, W/4]."""
        maps: Tensor = self.depth3(self.depth2(self.depth1(x)))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.deepest(x).mean((2, 3)))
        return made
