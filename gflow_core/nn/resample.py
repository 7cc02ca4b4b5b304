"""3x3 convolutions next to a twofold resampling, as one strided 4x4 convolution: the same linear map, 4/9 of the work.

Parameters, initialisation, spectral norms and gradients are those of the 3x3 convolution.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DownConv", "UpConv", "doubled"]

C = TypeVar("C", nn.Conv2d, nn.ConvTranspose2d)


def doubled(x: Tensor) -> Tensor:
    """x doubled by nearest neighbours, in its own type: [B, C, H, W] -> [B, C, 2H, 2W]."""
    with torch.autocast(x.device.type, enabled=False):  # on CUDA it makes float32 of it, and of what it is added to
        return F.interpolate(x, scale_factor=2, mode="nearest")


class UpConv(nn.Conv2d):
    """3x3 convolution of the input doubled by nearest neighbours: [B, C, H, W] -> [B, C', 2H, 2W].

    A pixel's two copies meet neighbouring weights, so the sums of neighbours, 4x4 in all, act on the pixel itself.
    """

    def kernel(self) -> Tensor:
        """The sums of neighbours, [C, C', 4, 4]."""
        sums = F.avg_pool2d(self.weight, 2, stride=1, padding=1, divisor_override=1)
        return sums.flip(2, 3).transpose(0, 1)

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """What it makes of x with that kernel."""
        return F.conv_transpose2d(x, kernel, bias, stride=2, padding=1)

    def plain(self) -> nn.ConvTranspose2d:
        """A layer of torch's own that makes the same of x, with the weights as they are now."""
        layer = nn.ConvTranspose2d(self.in_channels, self.out_channels, 4, 2, 1, bias=self.bias is not None)
        return _with(layer, self.kernel(), self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.kernel(), self.bias)


class DownConv(nn.Conv2d):
    """3x3 convolution followed by 2x2 mean pooling: [B, C, H, W] -> [B, C', H/2, W/2].

    The mean over 2x2 shifts of the output is a convolution with the mean over 2x2 shifts of the kernel, 4x4 in all.
    """

    def kernel(self) -> Tensor:
        """The means over 2x2 shifts, [C', C, 4, 4]."""
        return F.avg_pool2d(self.weight, 2, stride=1, padding=1)

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """What it makes of x with that kernel."""
        return F.conv2d(x, kernel, bias, stride=2, padding=1)

    def plain(self) -> nn.Conv2d:
        """A layer of torch's own that makes the same of x, with the weights as they are now."""
        layer = nn.Conv2d(self.in_channels, self.out_channels, 4, 2, 1, bias=self.bias is not None)
        return _with(layer, self.kernel(), self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.kernel(), self.bias)


def _with(layer: C, kernel: Tensor, bias: Tensor | None) -> C:
    """The layer with this kernel and bias as its own."""
    layer.weight = nn.Parameter(kernel.detach())
    layer.bias = None if bias is None else nn.Parameter(bias.detach())
    return layer
