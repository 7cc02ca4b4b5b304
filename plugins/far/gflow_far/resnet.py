"""The residual networks of FAR, Tables 5-8 (after Mescheder et al. 2018), and their rule at other sizes.

With k doublings between 4x4 and the image, and w(j) = min(channels 2^j, max_channels) feature maps where the side
is 1/2^j of the image's:

    cifar      G: 4x4xw(k); at 1/2^j, j = k..1, a block w(j) -> w(j-1), then doubling; at last w(0) -> w(0)
               D: conv to w(0); at 1/2^j, j = 0..k-1, a block w(j) -> w(j+1), then halving; linear on 4x4xw(k)
    imagenet   two blocks a level. G: at 1/2^j, j = k..0, a block to w(j), then w(j) -> w(j); doubling between
               D: at 1/2^j, j = 0..k, a block w(j) -> w(j), then w(j) -> w(j+1) (w(k) at last); halving between

Written for speed at equal mathematics. The doubling before a block and the halving after one are done in it: a 3x3
convolution next to a twofold resampling is one strided 4x4 convolution (4/9 of the multiplications), and a skip's
1x1 convolution commutes with nearest-neighbour upsampling and with mean pooling, so it runs on the smaller side.

Labels enter as in the code of Mescheder et al. 2018, which has no batch norm to set by them: embedded beside z in the
sampler, and in the discriminator's last layer. There that code has a row for each class, of which y picks its own; a
projection (Miyato and Koyama 2018), w + embed(y), is the same set of functions, and reads real labels too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core import DownConv, Projection, SelfAttention, UpConv, as_vectors, base_maps, doubled, spectral_norms

__all__ = ["Block", "Discriminator", "Embedding", "Sampler", "blocks_down", "blocks_up"]

Resample = Literal["up", "down", "none"]


def blocks_up(doublings: int, per_level: int, channels: int, max_channels: int) -> Iterator[tuple[int, int, Resample]]:
    """The sampler's blocks from 4x4 upwards: feature maps in, feature maps out, whether it doubles first."""
    widths = _widths(doublings, channels, max_channels)[::-1]
    # One block a level narrows to the next level's width already; two reach their own level's first.
    after = widths if per_level == 2 else [*widths[1:], widths[-1]]
    inputs = widths[0]
    for level, outputs in enumerate(after):
        for i in range(per_level):
            yield inputs, outputs, "up" if level and not i else "none"
            inputs = outputs


def blocks_down(
    doublings: int, per_level: int, channels: int, max_channels: int
) -> Iterator[tuple[int, int, Resample]]:
    """The discriminator's blocks down to 4x4: feature maps in, feature maps out, whether it halves at its end."""
    widths = _widths(doublings, channels, max_channels)
    for here, below in pairwise(widths):
        if per_level == 2:
            yield here, here, "none"
        yield here, below, "down"
    if per_level == 2:
        yield widths[-1], widths[-1], "none"
        yield widths[-1], widths[-1], "none"


def _widths(doublings: int, channels: int, max_channels: int) -> list[int]:
    """w(0) .. w(doublings)."""
    return [min(channels << j, max_channels) for j in range(doublings + 1)]


class Block(nn.Module):
    """x -> skip(x) + scale conv(act(conv(act(x)))), of x doubled ("up") or itself halved ("down").

    [B, inputs, H, W] -> [B, outputs, H', W']; min(inputs, outputs) feature maps between the convolutions, and on the
    skip a 1x1 convolution without bias where inputs and outputs differ. Halving means over 2x2 pixels, or (pool = 3)
    over the 3x3 around every other one, of which those beyond the edge are 0.
    """

    def __init__(
        self, inputs: int, outputs: int, resample: Resample, *, scale: float, slope: float, pool: Literal[2, 3] = 2
    ) -> None:
        super().__init__()
        self.resample, self.scale, self.slope = resample, scale, slope
        self.wide = pool == 3 and resample == "down"
        hidden = min(inputs, outputs)
        self.conv1 = (UpConv if resample == "up" else nn.Conv2d)(inputs, hidden, 3, padding=1)
        self.conv2 = (DownConv if resample == "down" and not self.wide else nn.Conv2d)(hidden, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.wide:
            skip = self.skip(_wide_pool(x))
        else:
            skip = self.skip(F.avg_pool2d(x, 2) if self.resample == "down" else x)
        if self.resample == "up":
            skip = doubled(skip)
        h = self.conv1(F.leaky_relu(x, self.slope))
        h = self.conv2(F.leaky_relu(h, self.slope, inplace=True))
        return torch.add(skip, _wide_pool(h) if self.wide else h, alpha=self.scale)


def _wide_pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=2, padding=1)


class Embedding(nn.Module):
    """Labels y [B] or [B, size] -> [B, width], to stand beside z.

    Classes have a vector of length 1 each (Mescheder et al. 2018); real labels, whose size tells something, are mapped
    linearly.
    """

    def __init__(self, size: int, width: int, *, classes: bool) -> None:
        super().__init__()
        self.size, self.classes = size, classes
        self.embed = nn.Linear(size, width, bias=False)
        if classes:
            nn.init.normal_(self.embed.weight)  # as torch's own embeddings

    def forward(self, y: Tensor, like: Tensor) -> Tensor:
        with torch.autocast(like.device.type, enabled=False):
            out: Tensor = self.embed(as_vectors(y, self.size, like))
            return F.normalize(out, dim=1) if self.classes else out


def _with_attention(
    plan: Sequence[tuple[int, int, Resample]], blocks: Sequence[nn.Module], side: int, attention: Sequence[int]
) -> nn.Sequential:
    """The blocks of a plan, which are given maps of this side; self-attention behind the last that leaves maps of a
    side, or before all of them if that is where they are."""
    factor = {"up": 2.0, "down": 0.5, "none": 1.0}
    sides = [side]
    for _, _, resample in plan:
        sides.append(round(sides[-1] * factor[resample]))
    widths = [plan[0][0], *(outputs for _, outputs, _ in plan)]
    layers: list[nn.Module] = []
    for i, (here, width) in enumerate(zip(sides, widths, strict=True)):
        if i:
            layers.append(blocks[i - 1])
        if here in attention and here not in sides[i + 1 :]:
            layers.append(SelfAttention(width))
    return nn.Sequential(*layers)


class Sampler(nn.Module):
    """z [B, latent_dim] (and labels) -> x [B, image_channels, height, width] in [-1, 1] (Tables 5 and 7).

    Linear to 4x4, the blocks, leaky ReLU, conv, tanh. `base_maps` says which sizes, and what stands for 4x4 where
    images are not square.
    """

    def __init__(
        self,
        latent_dim: int,
        image_channels: int,
        image_size: int | tuple[int, int],
        *,
        per_level: int = 1,
        channels: int = 64,
        max_channels: int = 1024,
        residual_scale: float = 0.1,
        slope: float = 0.2,
        attention: Sequence[int] = (),
        spectral_norm: int = 0,
        labels: int = 0,
        classes: bool = True,
        label_width: int = 256,
    ) -> None:
        """`labels` classes, or as many real numbers (classes = False); 0 reads none."""
        super().__init__()
        self.slope = slope
        doublings, self.base = base_maps(image_size)
        plan = list(blocks_up(doublings, per_level, channels, max_channels))
        self.linear = nn.Linear(latent_dim + (label_width if labels else 0), math.prod(self.base) * plan[0][0])
        blocks = [Block(*p, scale=residual_scale, slope=slope) for p in plan]
        self.blocks = _with_attention(plan, blocks, 4, attention)
        self.conv = nn.Conv2d(plan[-1][1], image_channels, 3, padding=1)
        self.label = Embedding(labels, label_width, classes=classes) if labels else None
        spectral_norms(self, spectral_norm)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if self.label is not None:
            z = torch.cat([z, self.label(y, z)], 1)
        # Read as [B, H, W, C] the linear layer's output is channels-last as it stands.
        x = self.linear(z).unflatten(1, (*self.base, -1)).permute(0, 3, 1, 2)
        x = self.conv(F.leaky_relu(self.blocks(x), self.slope, inplace=True))
        return torch.tanh(x.to(z.dtype))


class Discriminator(nn.Module):
    """x [B, image_channels, height, width] (and labels) -> logit [B] (Tables 6 and 8).

    Conv, the blocks, leaky ReLU, linear on the last 4x4. Sizes as for the sampler.
    """

    def __init__(
        self,
        image_channels: int,
        image_size: int | tuple[int, int],
        *,
        per_level: int = 1,
        channels: int = 64,
        max_channels: int = 1024,
        residual_scale: float = 0.1,
        slope: float = 0.2,
        pool: Literal[2, 3] = 2,
        attention: Sequence[int] = (),
        spectral_norm: int = 0,
        labels: int = 0,
    ) -> None:
        """`labels` classes, or as many real numbers; 0 reads none."""
        super().__init__()
        self.slope = slope
        doublings, base = base_maps(image_size)
        plan = list(blocks_down(doublings, per_level, channels, max_channels))
        self.conv = nn.Conv2d(image_channels, plan[0][0], 3, padding=1)
        blocks = [Block(*p, scale=residual_scale, slope=slope, pool=pool) for p in plan]
        self.blocks = _with_attention(plan, blocks, 4 << doublings, attention)
        features = math.prod(base) * plan[-1][1]
        self.linear = nn.Linear(features, 1)
        self.projection = Projection(features, labels) if labels else None
        spectral_norms(self, spectral_norm)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = F.leaky_relu(self.blocks(self.conv(x)), self.slope, inplace=True)
        h = h.permute(0, 2, 3, 1).flatten(1).to(x.dtype)  # in memory's own order where the layout is channels-last
        with torch.autocast(x.device.type, enabled=False):  # logits are exponentiated: keep their digits
            logit: Tensor = self.linear(h).squeeze(1)
            if self.projection is not None:
                logit = logit + self.projection(h, y)
        return logit
