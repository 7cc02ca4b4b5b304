"""Particles in a sampler's place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Picked"]


class Picked(nn.Module):
    """A fixed number of particles [N, *shape]; z [B, 1] in [0, 1) picks number floor(N z): [B, *shape]."""

    particles: Tensor
    """[N, *shape]; whoever moves them writes them here."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.particles = nn.Parameter(start, requires_grad=False)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        count = len(self.particles)
        return self.particles[(z[:, 0].float() * count).to(torch.int64).clamp(0, count - 1)]
