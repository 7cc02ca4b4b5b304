"""Strided convolutional networks by the guidelines of DCGAN (Radford et al. 2015), with or without labels.

    sampler         z -> linear -> 4x4 -> transposed convolutions of stride 2 -> tanh
    discriminator   convolutions of stride 2 down to 4x4 -> linear, or mean over pixels and linear

Batch norm everywhere but on the sampler's output and the discriminator's input, ReLU in the sampler, leaky ReLU in
the discriminator, weights N(0, 0.02). With k doublings between 4x4 and the image, maps of 1/2^j of its side have
w(j) = min(width 2^(j-1), max_width) channels: 64 px at width 128 are the published 1024, 512, 256, 128. Of
images that are not square the smallest maps are not either: their shorter side, which names maps, is 4 (`base_maps`).

What the guidelines speak against is there by option, to be compared: batch norm at the ends as well, pooling and
resizing with convolutions of stride 1. So is what later networks added: spectral normalisation of every layer,
self-attention behind the layer that makes maps of a given side, labels by conditional batch norm in the sampler and by
projection in the discriminator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import attrs
import torch
from torch import Tensor, nn

from gflow_core.nn.attention import SelfAttention
from gflow_core.nn.conditional import ConditionalBatchNorm2d, LabelledSequential, Projection
from gflow_core.nn.fits import base_maps
from gflow_core.nn.labels import as_vectors
from gflow_core.nn.spectral import spectral_norms
from gflow_core.nn.strided_conv import PooledConv, ResizedConv, StridedConv, StridedTransposedConv

__all__ = ["StridedDiscriminator", "StridedLabels", "StridedSampler", "normal_init", "widths"]


@attrs.frozen(kw_only=True)
class StridedLabels:
    """How a network reads labels, y through its own layer first or not.

    Mirza and Osindero 2014 concatenate; the other two ways are those of Miyato and Koyama 2018.
    """

    size: int
    """Numbers in a label: one a class, or one a condition."""
    join: Literal["layer", "planes", "norm", "projection"]
    """layer: beside z, or beside the discriminator's last maps in a joint hidden layer of `joint` units.
    planes: constant maps, one a number, beside the sampler's 4x4 maps or beside the image.
    norm: in the scales and shifts of the sampler's batch norm.
    projection: <embed(y), phi> is added to the discriminator's logit, phi what the latter is linear in."""
    width: int | None = None
    """Units of the label's own layer (ReLU or leaky ReLU, as the network's); None: the label as it is."""
    joint: int = 256
    classes: bool = True
    """Whether y is of classes: then each has scales and shifts of its own, else they are affine in y."""

    @property
    def outputs(self) -> int:
        """Numbers that are concatenated."""
        return self.width or self.size


def widths(doublings: int, width: int, max_width: int) -> list[int]:
    """Channels w(k), ..., w(1) of the maps of 1/2^k, ..., 1/2 of the image's side; k doublings."""
    return [min(width << j, max_width) for j in reversed(range(doublings))]


def normal_init(module: nn.Module, *, norms: bool = False) -> None:
    """Weights of convolutions and linear layers N(0, 0.02), their biases 0; batch norm as torch has it, 1 and 0.

    `norms` draws the scales of batch norm from N(1, 0.02), as DCGAN's authors do.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif norms and isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, 0.02)
        elif norms and isinstance(layer, ConditionalBatchNorm2d):
            layer.draw_scales(0.02)


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


def _norm(features: int, labels: StridedLabels | None) -> nn.Module:
    """Batch norm, by labels where they join there."""
    if labels is None or labels.join != "norm":
        return nn.BatchNorm2d(features)
    return ConditionalBatchNorm2d(features, labels.outputs, classes=labels.classes and labels.width is None)


def _attention(features: int, side: int, attention: Sequence[int]) -> list[nn.Module]:
    """Self-attention on maps of this side, if it is asked for there."""
    return [SelfAttention(features)] if side in attention else []


class StridedSampler(nn.Module):
    """z [B, latent_dim] (and labels y) -> x [B, image_channels, height, width] in [-1, 1]."""

    def __init__(
        self,
        latent_dim: int,
        image_channels: int,
        image_size: int | tuple[int, int],
        *,
        width: int = 128,
        max_width: int = 1024,
        kernel_size: int = 5,
        upsample: Literal["transposed", "nearest"] = "transposed",
        use_batch_norm: bool = True,
        norm_ends: bool = False,
        norm_init: Literal["ones", "normal"] = "ones",
        spectral_norm: int = 0,
        attention: Sequence[int] = (),
        labels: StridedLabels | None = None,
    ) -> None:
        super().__init__()
        self.join = labels.join if labels else None
        assert self.join != "projection", "projection is of discriminators"
        assert use_batch_norm or self.join != "norm", 'join = "norm" is of batch norm'
        doublings, self.base = base_maps(image_size)
        sizes = widths(doublings, width, max_width)
        extra = labels.outputs if labels else 0
        inputs = latent_dim + (extra if self.join == "layer" else 0)
        self.linear = nn.Linear(inputs, math.prod(self.base) * sizes[0], bias=not use_batch_norm)
        self.start = LabelledSequential(
            _norm(sizes[0], labels) if use_batch_norm else nn.Identity(),
            nn.ReLU(inplace=True),
            *_attention(sizes[0], 4, attention),
        )
        self.blocks = LabelledSequential()
        for i, (wide, narrow) in enumerate(pairwise([*sizes, image_channels])):
            wide += extra if self.join == "planes" and i == 0 else 0
            last = i == len(sizes) - 1
            normed = use_batch_norm and (norm_ends or not last)
            resize = StridedTransposedConv if upsample == "transposed" else ResizedConv
            up = resize(wide, narrow, kernel_size, bias=not normed)
            norm = [_norm(narrow, labels)] if normed else []
            look = _attention(narrow, 8 << i, attention)
            behind = norm if last else [*norm, nn.ReLU(inplace=True), *look]
            self.blocks.append(LabelledSequential(up, *behind) if behind else up)
        normal_init(self, norms=norm_init == "normal")
        self.label = _Reader(labels, nn.ReLU()) if labels else None
        spectral_norms(self, spectral_norm)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if self.join == "layer":
            assert self.label is not None
            z = torch.cat([z, self.label(y, z)], 1)
        style = None
        if self.join == "norm":
            assert self.label is not None
            style = self.label(y, z)
        # Read as [B, H, W, C] the linear layer's output is channels-last as it stands.
        x = self.start(self.linear(z).unflatten(1, (*self.base, -1)).permute(0, 3, 1, 2), style)
        if self.join == "planes":
            assert self.label is not None
            x = _beside(x, self.label(y, x))
        return torch.tanh(self.blocks(x, style).to(z.dtype))


class StridedDiscriminator(nn.Module):
    """x [B, image_channels, height, width] (and labels y) -> logit [B]."""

    def __init__(
        self,
        image_channels: int,
        image_size: int | tuple[int, int],
        *,
        width: int = 128,
        max_width: int = 1024,
        kernel_size: int = 5,
        downsample: Literal["strided", "max", "average"] = "strided",
        use_batch_norm: bool = True,
        norm_ends: bool = False,
        head: Literal["flatten", "mean"] = "flatten",
        slope: float = 0.2,
        norm_init: Literal["ones", "normal"] = "ones",
        spectral_norm: int = 0,
        attention: Sequence[int] = (),
        labels: StridedLabels | None = None,
    ) -> None:
        super().__init__()
        self.join, self.head = labels.join if labels else None, head
        assert self.join != "norm", "conditional batch norm is of samplers"
        doublings, base = base_maps(image_size)
        sizes = widths(doublings, width, max_width)[::-1]
        extra = labels.outputs if labels else 0
        first = image_channels + (extra if self.join == "planes" else 0)
        self.blocks = nn.Sequential()
        for i, (narrow, wide) in enumerate(pairwise([first, *sizes])):
            normed = use_batch_norm and (norm_ends or i > 0)
            if downsample == "strided":
                down: nn.Module = StridedConv(narrow, wide, kernel_size, bias=not normed)
            else:
                down = PooledConv(narrow, wide, kernel_size, pool=downsample, bias=not normed)
            norm = [nn.BatchNorm2d(wide)] if normed else []
            look = _attention(wide, 2 << doublings - i, attention)
            self.blocks.append(nn.Sequential(down, *norm, nn.LeakyReLU(slope, inplace=True), *look))
        features = sizes[-1] * (math.prod(base) if head == "flatten" else 1)
        joint: list[nn.Module] = []
        if labels and self.join == "layer":
            joint = [nn.Linear(features + extra, labels.joint), nn.LeakyReLU(slope)]
            features = labels.joint
        self.logit = nn.Sequential(*joint, nn.Linear(features, 1))
        self.projection = Projection(features, labels.outputs) if labels and self.join == "projection" else None
        normal_init(self, norms=norm_init == "normal")
        self.label = _Reader(labels, nn.LeakyReLU(slope)) if labels else None
        spectral_norms(self, spectral_norm)

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
            logit: Tensor = self.logit(h).squeeze(1)
            if self.projection is not None:
                assert self.label is not None
                logit = logit + self.projection(h, self.label(y, x))
        return logit
