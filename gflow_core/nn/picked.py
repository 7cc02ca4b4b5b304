"""Particles in a sampler's place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Picked", "rows_at"]


def rows_at(index: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    """What takes rows of x [N, ...], at `index` [B], or of replicas [R, N, ...] each one's own, at `index` [R, B]."""
    return index if index.dim() == 1 else (torch.arange(len(index), device=index.device)[:, None], index)


class Picked(nn.Module):
    """A fixed number of particles [N, *shape]; z [B, 1] in [0, 1) picks number floor(N z): [B, *shape].

    With replicas all have an axis before: particles [R, N, *shape] and z [R, B, 1].
    """

    particles: Tensor
    """Whoever moves them writes them here."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.particles = nn.Parameter(start, requires_grad=False)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        count = self.particles.shape[z.dim() - 2]
        return self.particles[rows_at((z[..., 0].float() * count).to(torch.int64).clamp(0, count - 1))]
