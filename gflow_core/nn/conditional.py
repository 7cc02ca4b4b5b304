"""How labels enter networks other than by concatenation: conditional batch norm, and projection."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core.nn.labels import as_vectors

__all__ = ["ConditionalBatchNorm2d", "LabelledSequential", "Projection"]


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm of maps x [B, C, H, W] whose scale and shift follow from labels y [B] or [B, size].

        classes      a scale and a shift of its own for each class (Dumoulin et al. 2017; Miyato and Koyama 2018)
        conditions   both affine in y: s_0 + sum_k y_k s_k

    Scales start at 1 and shifts at 0, whatever y is.
    """

    def __init__(self, features: int, size: int, *, classes: bool) -> None:
        """`size` classes, or `size` real numbers (classes = False)."""
        super().__init__()
        self.size, self.classes = size, classes
        rows = size if classes else size + 1  # the last one is s_0
        # A module of its own, so that what treats batch norm (statistics shared by processes) treats this one too.
        self.norm = nn.BatchNorm2d(features, affine=False)
        self.scale = nn.Parameter(torch.ones(rows, features))
        self.shift = nn.Parameter(torch.zeros(rows, features))
        if not classes:
            nn.init.zeros_(self.scale[:-1])

    def draw_scales(self, std: float) -> None:
        """Let scales start at N(1, std) instead, where y is of classes or 0."""
        nn.init.normal_(self.scale if self.classes else self.scale[-1], 1.0, std)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        rows = as_vectors(y, self.size, self.scale)
        if not self.classes:
            rows = F.pad(rows, (0, 1), value=1.0)
        with torch.autocast(x.device.type, enabled=False):
            scale, shift = rows @ self.scale, rows @ self.shift
        out: Tensor = self.norm(x)
        return out * scale.to(out.dtype)[:, :, None, None] + shift.to(out.dtype)[:, :, None, None]


class LabelledSequential(nn.Sequential):
    """Layers one after the other; those that read labels are given them."""

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, y) if isinstance(layer, ConditionalBatchNorm2d | LabelledSequential) else layer(x)
        return x


class Projection(nn.Module):
    """<embed(y), phi>, which a discriminator adds to its logit psi(phi) (Miyato and Koyama 2018).

    phi [B, features], and y [B] of `size` classes or [B, size] of real numbers, in which embed is linear. -> [B]
    """

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.embed = nn.Linear(size, features, bias=False)
        # Each class's row as torch initialises psi's own.
        nn.init.uniform_(self.embed.weight, -(features**-0.5), features**-0.5)

    def forward(self, phi: Tensor, y: Tensor) -> Tensor:
        inner: Tensor = (self.embed(as_vectors(y, self.size, phi)) * phi).sum(1)
        return inner
