"""Multilayer perceptrons for vector data (FAR, Tables 3 and 4)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

__all__ = ["Mlp", "MlpLogit"]


class Mlp(nn.Module):
    """z [B, inputs] -> x [B, outputs]: `depth` hidden layers of `width` ReLU units; the last layer is linear."""

    def __init__(self, inputs: int, outputs: int, *, width: int = 64, depth: int = 3) -> None:
        super().__init__()
        sizes = [inputs] + [width] * depth
        layers = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), nn.ReLU(inplace=True))]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x: Tensor = self.layers(z)
        return x


class MlpLogit(Mlp):
    """x [B, inputs] -> logit [B]."""

    def __init__(self, inputs: int, *, width: int = 64, depth: int = 3) -> None:
        super().__init__(inputs, 1, width=width, depth=depth)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        logit: Tensor = self.layers(x)
        return logit.squeeze(-1)
