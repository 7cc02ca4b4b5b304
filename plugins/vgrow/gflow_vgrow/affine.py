"""An affine sampler."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Affine"]


class Affine(nn.Module):
    """z [..., inputs] -> A z + b [..., len(start)], beginning at the identity (padded by zeros) and b = `start`."""

    def __init__(self, inputs: int, *, start: Sequence[float]) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, len(start))
        with torch.no_grad():
            nn.init.eye_(self.layer.weight)
            self.layer.bias.copy_(torch.tensor(start))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x: Tensor = self.layer(z)
        return x
