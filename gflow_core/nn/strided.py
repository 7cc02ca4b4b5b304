"""Strided convolutional networks by the guidelines of DCGAN (Radford et al. 2015), with or without labels.

    sampler         z -> linear -> 4x4 -> transposed convolutions of stride 2 -> tanh
    discriminator   convolutions of stride 2 down to 4x4 -> linear, or mean over pixels and linear

Batch norm everywhere but on the sampler's output and the discriminator's input, ReLU in the sampler, leaky ReLU in
the discriminator, weights N(0, 0.02). With k doublings between 4x4 and the image, maps of 1/2^j of its side have
w(j) = min(width 2^(j-1), max_width) channels: 64 px at width 128 are the published 1024, 512, 256, 128.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import attrs
import torch
from torch import Tensor, nn

from gflow_core.nn.labels import as_vectors
from gflow_core.nn.strided_conv import StridedConv, StridedTransposedConv

__all__ = ["StridedDiscriminator", "StridedLabels", "StridedSampler", "normal_init", "widths"]


@attrs.frozen(kw_only=True)
class StridedLabels:
    """How a network reads labels (Mirza and Osindero 2014: by concatenation, y through its own layer first or not)."""

    size: int
    """Numbers in a label: one a class, or one a condition."""
    join: Literal["layer", "planes"]
    """layer: beside z, or beside the discriminator's last maps in a joint hidden layer of `joint` units.
    planes: constant maps, one a number, beside the sampler's 4x4 maps or beside the image."""
    width: int | None = None
    """Units of the label's own layer (ReLU or leaky ReLU, as the network's); None: the label as it is."""
    joint: int = 256

    @property
    def outputs(self) -> int:
        """Numbers that are concatenated."""
        return self.width or self.size


def widths(image_size: int, width: int, max_width: int) -> list[int]:
    """Channels w(k), ..., w(1) of the maps of 4, 8, ..., image_size / 2 pixels. image_size is 8, 16, 32, ..."""
    ratio = image_size // 4
    assert image_size % 4 == 0, "image_size is no multiple of 4"
    assert ratio >= 2, "image_size is below 8"
    assert ratio & (ratio - 1) == 0, "image_size is not 4 times a power of two"
    return [min(width << j, max_width) for j in reversed(range(ratio.bit_length() - 1))]


def normal_init(module: nn.Module) -> None:
    """Weights of convolutions and linear layers N(0, 0.02), their biases 0; batch norm as torch has it, 1 and 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class _Reader(nn.Module):
    """Labels y [B] or [B, size] -> what is concatenated, [B, outputs]. (torch's own initialisation: a layer of N(0,
    0.02) would make all labels look alike at first.)"""

    def __init__(self, labels: StridedLabels, activation: nn.Module) -> None:
        super().__init__()
        self.size = labels.size
        self.layer = nn.Sequential(nn.Linear(labels.size, labels.width), activation) if labels.width else nn.Identity()

    def forward(self, y: Tensor, like: Tensor) -> Tensor:
        out: Tensor = self.layer(as_vectors(y, self.size, like))
        return out.to(like.dtype)


def _beside(x: Tensor, y: Tensor) -> Tensor:
    """Maps x [B, C, H, W] and numbers y [B, k] as constant maps: [B, C + k, H, W], channels last."""
    planes = y[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, planes], 1).contiguous(memory_format=torch.channels_last)


class StridedSampler(nn.Module):
    """z [B, latent_dim] (and labels y) -> x [B, image_channels, image_size, image_size] in [-1, 1]."""

    def __init__(
        self,
        latent_dim: int,
        image_channels: int,
        image_size: int,
        *,
        width: int = 128,
        max_width: int = 1024,
        kernel_size: int = 5,
        use_batch_norm: bool = True,
        labels: StridedLabels | None = None,
    ) -> None:
        super().__init__()
        self.join = labels.join if labels else None
        sizes = widths(image_size, width, max_width)
        extra = labels.outputs if labels else 0
        inputs = latent_dim + (extra if self.join == "layer" else 0)
        self.linear = nn.Linear(inputs, 16 * sizes[0], bias=not use_batch_norm)
        self.start = nn.Sequential(nn.BatchNorm2d(sizes[0]) if use_batch_norm else nn.Identity(), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential()
        for i, (wide, narrow) in enumerate(pairwise([*sizes, image_channels])):
            wide += extra if self.join == "planes" and i == 0 else 0
            last = i == len(sizes) - 1
            normed = use_batch_norm and not last
            up = StridedTransposedConv(wide, narrow, kernel_size, bias=not normed)
            norm = [nn.BatchNorm2d(narrow)] if normed else []
            self.blocks.append(up if last else nn.Sequential(up, *norm, nn.ReLU(inplace=True)))
        normal_init(self)
        self.label = _Reader(labels, nn.ReLU()) if labels else None

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if self.join == "layer":
            assert self.label is not None
            z = torch.cat([z, self.label(y, z)], 1)
        # Read as [B, 4, 4, C] the linear layer's output is channels-last as it stands.
        x = self.start(self.linear(z).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2))
        if self.join == "planes":
            assert self.label is not None
            x = _beside(x, self.label(y, x))
        return torch.tanh(self.blocks(x).to(z.dtype))


class StridedDiscriminator(nn.Module):
    """x [B, image_channels, image_size, image_size] (and labels y) -> logit [B]."""

    def __init__(
        self,
        image_channels: int,
        image_size: int,
        *,
        width: int = 128,
        max_width: int = 1024,
        kernel_size: int = 5,
        use_batch_norm: bool = True,
        head: Literal["flatten", "mean"] = "flatten",
        slope: float = 0.2,
        labels: StridedLabels | None = None,
    ) -> None:
        super().__init__()
        self.join, self.head = labels.join if labels else None, head
        sizes = widths(image_size, width, max_width)[::-1]
        extra = labels.outputs if labels else 0
        first = image_channels + (extra if self.join == "planes" else 0)
        self.blocks = nn.Sequential()
        for i, (narrow, wide) in enumerate(pairwise([first, *sizes])):
            normed = use_batch_norm and i > 0
            down = StridedConv(narrow, wide, kernel_size, bias=not normed)
            norm = [nn.BatchNorm2d(wide)] if normed else []
            self.blocks.append(nn.Sequential(down, *norm, nn.LeakyReLU(slope, inplace=True)))
        features = sizes[-1] * (16 if head == "flatten" else 1)
        joint: list[nn.Module] = []
        if labels and self.join == "layer":
            joint = [nn.Linear(features + extra, labels.joint), nn.LeakyReLU(slope)]
            features = labels.joint
        self.logit = nn.Sequential(*joint, nn.Linear(features, 1))
        normal_init(self)
        self.label = _Reader(labels, nn.LeakyReLU(slope)) if labels else None

    def conv_features(self, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
        """The activations [B, C, H, W] of every convolutional layer, from the image upwards."""
        if self.join == "planes":
            assert self.label is not None
            x = _beside(x, self.label(y, x))
        layers = []
        for block in self.blocks:
            layers.append(x := block(x))
        return layers

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.conv_features(x, y)[-1]
        # In memory's own order where the layout is channels-last.
        h = h.permute(0, 2, 3, 1).flatten(1) if self.head == "flatten" else h.mean((2, 3))
        h = h.to(x.dtype)
        if self.join == "layer":
            assert self.label is not None
            h = torch.cat([h, self.label(y, x)], 1)
        with torch.autocast(x.device.type, enabled=False):  # logits are exponentiated: keep their digits
            logit: Tensor = self.logit(h)
        return logit.squeeze(1)
