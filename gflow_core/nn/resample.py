"""3x3 convolutions next to a twofold resampling, as one strided 4x4 convolution: the same linear map, 4/9 of the work.

Parameters, initialisation, spectral norms and gradients are those of the 3x3 convolution.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DownConv", "UpConv"]


class UpConv(nn.Conv2d):
    """3x3 convolution of the input doubled by nearest neighbours: [B, C, H, W] -> [B, C', 2H, 2W].

    A pixel's two copies meet neighbouring weights, so the sums of neighbours, 4x4 in all, act on the pixel itself.
    """

    def forward(self, x: Tensor) -> Tensor:
        kernel = F.avg_pool2d(self.weight, 2, stride=1, padding=1, divisor_override=1)
        return F.conv_transpose2d(x, kernel.flip(2, 3).transpose(0, 1), self.bias, stride=2, padding=1)


class DownConv(nn.Conv2d):
    """3x3 convolution followed by 2x2 mean pooling: [B, C, H, W] -> [B, C', H/2, W/2].

    The mean over 2x2 shifts of the output is a convolution with the mean over 2x2 shifts of the kernel, 4x4 in all.
    """

    def forward(self, x: Tensor) -> Tensor:
        kernel = F.avg_pool2d(self.weight, 2, stride=1, padding=1)
        return F.conv2d(x, kernel, self.bias, stride=2, padding=1)
