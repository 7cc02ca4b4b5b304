"""A classifier of digits whose maps follow every pixel, trained on the 5,000 of gflow's dependencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from gflow_core.encoders.digits import Training, build_digits
from gflow_core.parts.nouns import Progress

if TYPE_CHECKING:
    from gflow_core.encoders.network import EncoderNetwork
    from gflow_core.parts.nouns import DataShape

__all__ = ["DIGITS_ENCODER", "DigitsEncoder", "build_digits_encoder"]


class DigitsEncoder(nn.Module):
    """x [B, 1, 28, 28] -> logits [B, 10]; the input of `head` are the features [B, 128].

    Four 3x3 convolutions with SiLU, of strides 1, 2, 2 and 1, make three maps, 32 x 28 x 28, 64 x 14 x 14 and
    128 x 7 x 7; the features are the last one's means. As nothing is cut off or chosen by a maximum, every pixel has a
    gradient.
    """

    def __init__(self) -> None:
        super().__init__()
        self.depth1 = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.SiLU())
        self.depth2 = nn.Sequential(nn.Conv2d(32, 64, 3, 2, padding=1), nn.SiLU())
        self.depth3 = nn.Sequential(
            nn.Conv2d(64, 128, 3, 2, padding=1), nn.SiLU(), nn.Conv2d(128, 128, 3, padding=1), nn.SiLU()
        )
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.depth3(self.depth2(self.depth1(x)))
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


DIGITS_ENCODER = Training(name="digits_encoder", make=DigitsEncoder, epochs=4)


def build_digits_encoder(
    data: DataShape, device: torch.device, *, weights: Literal["embedded", "random"], progress: Progress
) -> EncoderNetwork:
    """The encoder of `data` on its device, in eval mode; trained first where the cache has none. Raises DataError."""
    return build_digits(
        data,
        device,
        DIGITS_ENCODER,
        weights=weights,
        head="head",
        depths=("depth1", "depth2", "depth3"),
        name="digits_encoder",
        progress=progress,
    )
