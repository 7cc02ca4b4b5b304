"""The discriminator whose features the paper gives to a linear classifier: six convolutions at three sizes.

    3x3 convolutions of w, w, 2w, 2w, 4w, 4w maps, strides 1, 2, 1, 2, 1, 2 -> linear

With w = 128 every layer of a 32 px image max-pooled to 4x4 gives the paper's 28,672 features: 1792 maps times 16. Its
text does not print kernels and strides: those are ours. The guidelines hold: no pooling inside, batch norm on all
layers but the first, leaky ReLU 0.2, weights N(0, 0.02).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from gflow_core import normal_init

__all__ = ["SixConv"]

_STRIDES = (1, 2, 1, 2, 1, 2)


class SixConv(nn.Module):
    """x [B, image_channels, height, width] -> logit [B]; maps of this size and 1/2, 1/4, 1/8 of it."""

    def __init__(self, image_channels: int, image_size: tuple[int, int], *, width: int = 128) -> None:
        super().__init__()
        widths = [width, width, 2 * width, 2 * width, 4 * width, 4 * width]
        self.blocks = nn.Sequential()
        for i, ((narrow, wide), stride) in enumerate(zip(pairwise([image_channels, *widths]), _STRIDES, strict=True)):
            conv = nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=i == 0)
            norm = [nn.BatchNorm2d(wide)] if i else []
            self.blocks.append(nn.Sequential(conv, *norm, nn.LeakyReLU(0.2, inplace=True)))
        height, width = (-(-side // 8) for side in image_size)
        self.logit = nn.Linear(widths[-1] * height * width, 1)
        normal_init(self)

    def conv_features(self, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
        """The activations [B, C, H, W] of every convolutional layer, from the image upwards."""
        layers = []
        for block in self.blocks:
            layers.append(x := block(x))
        return layers

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.blocks(x).permute(0, 2, 3, 1).flatten(1).to(x.dtype)  # in memory's own order where channels-last
        with torch.autocast(x.device.type, enabled=False):  # logits are exponentiated: keep their digits
            logit: Tensor = self.logit(h)
        return logit.squeeze(1)
