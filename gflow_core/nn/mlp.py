"""Multilayer perceptrons for vector data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

__all__ = ["Mlp", "MlpLogit"]


def _activation(name: str) -> nn.Module:
    layers = {"relu": nn.ReLU(inplace=True), "leaky_relu": nn.LeakyReLU(0.2), "tanh": nn.Tanh(), "silu": nn.SiLU()}
    return layers[name]


class Mlp(nn.Module):
    """z [..., inputs] -> [..., outputs]: hidden layers, `depth` of `width` units or of the `widths` given; the last
    layer is linear."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int,
        depth: int,
        widths: Sequence[int] = (),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        sizes = [inputs, *(widths or [width] * depth)]
        layers = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), _activation(activation))]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x: Tensor = self.layers(z)
        return x


class MlpLogit(Mlp):
    """x [..., inputs] -> logit [...]."""

    def __init__(
        self, inputs: int, *, width: int, depth: int, widths: Sequence[int] = (), activation: str = "relu"
    ) -> None:
        super().__init__(inputs, 1, width=width, depth=depth, widths=widths, activation=activation)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        logit: Tensor = self.layers(x)
        return logit.squeeze(-1)
