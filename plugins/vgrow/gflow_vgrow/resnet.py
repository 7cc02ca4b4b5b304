"""The residual networks of Gao et al. 2019, supplement, Tables 2-5, as printed or as the authors' code has them.

Written for speed at equal mathematics. A 3x3 convolution next to a twofold resampling is one strided 4x4
convolution (4/9 of the multiplications), and the skips' 1x1 convolutions, which commute with nearest-neighbour
upsampling and with mean pooling, run on the smaller side. All of it is linear, so spectral norms, gradients and
parameters are those of the tables. What nothing reads again is overwritten: fresh memory costs more than the
arithmetic of a ReLU. Table 4's last block is read as 32, 64, 64, 64 (a slip in print).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core import DownConv, UpConv, base_maps, doubled, spectral_norm
from gflow_vgrow.style import Style

__all__ = ["Discriminator", "DownBlock", "Sampler", "UpBlock"]


class UpBlock(nn.Module):
    """ReLU, upsampling, conv, BN, ReLU, conv, plus the upsampled skip: [B, C, H, W] -> [B, C, 2H, 2W]."""

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        self.relu_skip = style.relu_skip
        self.conv1 = UpConv(channels, channels, 3, padding=1, bias=style.conv_bias)
        self.norm = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=style.conv_bias)
        self.skip = _skip(channels, channels, True, style)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(x)
        skip = doubled(self.skip(h if self.relu_skip else x))
        out: Tensor = self.conv2(F.relu(self.norm(self.conv1(h)), inplace=True))
        return out.add_(skip)


class DownBlock(nn.Module):
    """[ReLU,] conv, ReLU, conv[, mean pooling], plus the skip: [B, C, H, W] -> [B, C', H/2, W/2] (H, W without).

    The first block of a discriminator reads images: it begins without ReLU, on its skip as well.
    """

    def __init__(self, inputs: int, channels: int, style: Style, *, down: bool, first: bool) -> None:
        super().__init__()
        self.down = down
        self.first = first
        self.relu_skip = style.relu_skip
        self.conv1 = nn.Conv2d(inputs, channels, 3, padding=1, bias=style.conv_bias)
        self.conv2 = (DownConv if down else nn.Conv2d)(channels, channels, 3, padding=1, bias=style.conv_bias)
        self.skip = _skip(inputs, channels, down, style)

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.first else F.relu(x)
        short = h if self.relu_skip else x
        skip: Tensor = self.skip(F.avg_pool2d(short, 2) if self.down else short)
        out: Tensor = self.conv2(F.relu(self.conv1(h), inplace=True))
        return out.add_(skip)


class Sampler(nn.Module):
    """z [B, latent_dim] -> x [B, image_channels, height, width] in [-1, 1] (Tables 2 and 4).

    Linear to 4x4, one UpBlock per doubling, ReLU, conv, tanh. `base_maps` says which sizes, and what stands for 4x4
    where images are not square.
    """

    def __init__(
        self, latent_dim: int, image_channels: int, image_size: int | tuple[int, int], channels: int, style: Style
    ) -> None:
        super().__init__()
        doublings, self.base = base_maps(image_size)
        self.linear = nn.Linear(latent_dim, math.prod(self.base) * channels)
        self.blocks = nn.Sequential(*(UpBlock(channels, style) for _ in range(doublings)))
        self.conv = nn.Conv2d(channels, image_channels, 3, padding=1, bias=style.conv_bias)
        _finish(self, style)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        # Read as [B, H, W, C] the linear layer's output is channels-last as it stands.
        x = self.linear(z).unflatten(1, (*self.base, -1)).permute(0, 3, 1, 2)
        x = self.conv(F.relu(self.blocks(x), inplace=True))
        return torch.tanh(x.to(z.dtype))


class Discriminator(nn.Module):
    """x [B, image_channels, height, width] -> logit [B] (Tables 3 and 5).

    Blocks that halve down to 8x8 (or to a shorter side of 8), then plain ones, four in all and at least one plain;
    ReLU, sum over pixels, linear.
    """

    def __init__(self, image_channels: int, image_size: int | tuple[int, int], channels: int, style: Style) -> None:
        super().__init__()
        halvings = base_maps(image_size)[0] - 1
        blocks = [
            DownBlock(channels if i else image_channels, channels, style, down=i < halvings, first=i == 0)
            for i in range(max(4, halvings + 1))
        ]
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(channels, 1)
        _finish(self, style)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = F.relu(self.blocks(x), inplace=True).sum((2, 3), dtype=x.dtype)
        with torch.autocast(x.device.type, enabled=False):  # logits are exponentiated: keep their digits
            logit: Tensor = self.linear(h)
        return logit.squeeze(1)


def _skip(inputs: int, channels: int, resamples: bool, style: Style) -> nn.Module:
    """The skip path's 1x1 convolution where the style has one, or where the number of channels changes."""
    if inputs != channels or resamples == (style.skip == "authors"):
        return nn.Conv2d(inputs, channels, 1, bias=style.conv_bias)
    return nn.Identity()


def _finish(module: nn.Module, style: Style) -> None:
    """Initialise every convolution and linear layer, then normalise it: the order matters (see spectral_norm)."""
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if style.init == "normal":
                nn.init.normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            if style.spectral_norm:
                spectral_norm(layer, style.spectral_norm)
