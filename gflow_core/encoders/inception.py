"""The network behind FID: InceptionV3 as TensorFlow released it on 2015-12-05.

It is torchvision's InceptionV3 with 1008 classes and without the auxiliary head, except for the pool branches:
averages leave the border's padding out of their count, and the last block takes the maximum. Names of tensors are
those of the ports by pytorch-fid and torch-fidelity, whose file of weights this reads.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import inception as tv

from gflow_core.encoders.network import EncoderNetwork, grey_as_rgb
from gflow_core.encoders.weights import pretrained

if TYPE_CHECKING:
    from gflow_core.parts.nouns import DataShape

__all__ = ["SIZE", "URL", "build_inception", "fid_inception", "pixels", "resize_tf1"]

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
ALIASES = ("pt_inception-2015-12-05-6726825d.pth",)
"""The name under which pytorch-fid publishes the same file."""

SIZE = 299


def build_inception(data: DataShape, device: torch.device, *, weights: str, download: bool) -> EncoderNetwork:
    """The encoder of `data` on its device, in eval mode; `weights` as in `pretrained`. Raises DataError."""
    network, name = pretrained("inception", fid_inception, weights, URL, aliases=ALIASES, download=download)
    resizer = (
        f"{grey_as_rgb(data)}[-1, 1] to [0, 255], rounded and clipped to 8 bits; bilinear to {SIZE}x{SIZE} as in "
        "TensorFlow 1 (source = target * in / out, not antialiased); (x - 128) / 128"
    )
    encoder = EncoderNetwork(name, network, "fc", _prepare, resizer, device)
    encoder.head.register_parameter("bias", None)  # the Inception Score's logits leave it out
    return encoder


# ------------------------------------------------------------------ input


def _prepare(x: Tensor) -> Tensor:
    return (resize_tf1(pixels(x), SIZE) - 128).div_(128).expand(-1, 3, -1, -1)


def pixels(x: Tensor) -> Tensor:
    """[-1, 1] -> whole numbers 0 to 255: what would be in the image's file, which is what FID compares."""
    return ((x + 1) * 127.5).round_().clamp_(0, 255)


def resize_tf1(x: Tensor, size: int) -> Tensor:
    """x [B, C, H, W] -> [B, C, size, size] by TensorFlow 1's resize_bilinear: source = target * in / out."""
    return _stretch(_stretch(x, -1, size), -2, size)


def _stretch(x: Tensor, axis: int, size: int) -> Tensor:
    n = x.shape[axis]
    source = torch.arange(size, dtype=x.dtype, device=x.device) * (n / size)
    low = source.long()
    share = (source - low).view(-1, *[1] * (-1 - axis))
    a, b = (x.index_select(axis, index) for index in (low, (low + 1).clamp_max_(n - 1)))
    return a + (b - a) * share


# ------------------------------------------------------------------ network


def fid_inception() -> nn.Module:
    """The whole classifier, [B, 3, 299, 299] -> [B, 1008], with He's initialisation."""
    blocks = [tv.BasicConv2d, _A, tv.InceptionB, _C, tv.InceptionD, _E, tv.InceptionAux]
    network: nn.Module = tv.Inception3(1008, aux_logits=False, inception_blocks=blocks, init_weights=False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # torch's own initialisation would let activations die out over 47 layers.
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network


_average = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
_maximum = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)


class _A(tv.InceptionA):  # type: ignore[misc]
    def _forward(self, x: Tensor) -> list[Tensor]:
        return [
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.branch_pool(_average(x)),
        ]


class _C(tv.InceptionC):  # type: ignore[misc]
    def _forward(self, x: Tensor) -> list[Tensor]:
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        return [
            self.branch1x1(x),
            self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
            self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
            self.branch_pool(_average(x)),
        ]


class _E(tv.InceptionE):  # type: ignore[misc]
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.pool = _maximum if in_channels == 2048 else _average  # Mixed_7c and Mixed_7b

    def _forward(self, x: Tensor) -> list[Tensor]:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return [
            self.branch1x1(x),
            torch.cat([self.branch3x3_2a(single), self.branch3x3_2b(single)], 1),
            torch.cat([self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)], 1),
            self.branch_pool(self.pool(x)),
        ]
