"""A classifier of digits whose maps follow every pixel, trained on the 5,000 of gflow's dependencies."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import torch

from gflow_core.encoders.depths import Depths
from gflow_core.encoders.digits import Training, build_digits
from gflow_core.parts.nouns import Progress

if TYPE_CHECKING:
    from gflow_core.encoders.network import EncoderNetwork
    from gflow_core.parts.nouns import DataShape

__all__ = ["DIGITS_ENCODER", "build_digits_encoder"]


DIGITS_ENCODER = Training(name="digits_encoder", make=partial(Depths, channels=1, classes=10), epochs=4)


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
        depths=Depths.names,
        name="digits_encoder",
        progress=progress,
    )
