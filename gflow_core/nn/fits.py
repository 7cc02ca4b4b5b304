"""Whether the options of networks fit their data and each other, without torch: what parts say in `check`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from gflow_core.parts.nouns import DataShape

__all__ = ["attention_faults", "autoencoder_faults", "base_maps", "batch_norm_faults", "image_size_faults"]


def base_maps(image_size: int | tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """How often small maps are doubled into images of this height and width; and (height, width) of these maps.

    Their shorter side is 4: that of the image is 8, 16, 32, ..., and its longer side a multiple of a quarter of that.
    One number is the side of a square. Raises ValueError for all other sizes.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    shorter = min(height, width)
    factor = shorter // 4
    if factor < 2 or factor & (factor - 1) or shorter % 4 or height % factor or width % factor:
        raise ValueError(f"image_size = {image_size} is no doubling of maps whose shorter side is 4")
    return factor.bit_length() - 1, (height // factor, width // factor)


def image_size_faults(data: DataShape, smallest: int = 8, largest: int | None = None) -> Iterable[str]:
    """Why images have no `base_maps`, or a shorter side below `smallest` or above `largest` pixels."""
    try:
        base_maps((data.shape[1], data.shape[2]))
        fits = smallest <= min(data.shape[1:]) <= (largest or math.inf)
    except ValueError:
        fits = False
    if not fits:
        sides = [smallest << j for j in range((largest // smallest).bit_length())] if largest else []
        listed = _words(sides) if sides else f"{smallest}, {2 * smallest}, {4 * smallest}, ..."
        yield (
            f"works on images whose shorter side is {listed} pixels and whose longer side is a multiple of a quarter "
            f"of that, the data is {data}; set dataset.image_size"
        )


def attention_faults(attention: Sequence[int], smallest: int, largest: int) -> Iterable[str]:
    """Sides at which self-attention cannot stand, where maps have `smallest`, twice that, ... `largest` pixels.

    The shorter sides, of maps that are not square.
    """
    sides = [smallest << j for j in range((largest // smallest).bit_length())]
    for side in sorted(set(attention)):
        if side not in sides:
            yield f"attention = {side}: no maps have this side; at this image_size they have {_words(sides)} pixels"
        elif list(attention).count(side) > 1:
            yield f"attention names {side} twice"


def batch_norm_faults(
    *, use_batch_norm: bool, norm_init: str, join: str = "", norm_ends: bool = False
) -> Iterable[str]:
    """Options about batch norm where there is none."""
    if not use_batch_norm:
        if norm_ends:
            yield "norm_ends = true is of batch norm, which use_batch_norm = false leaves out"
        if norm_init != "ones":
            yield f'norm_init = "{norm_init}" is of batch norm, which use_batch_norm = false leaves out'
        if join == "norm":
            yield 'join = "norm" has labels set batch norm, which use_batch_norm = false leaves out'


def _words(numbers: Sequence[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}" if most else last


def autoencoder_faults(data: DataShape) -> Iterable[str]:
    """Why no autoencoder learns such items; nothing if one does."""
    if data.kind != "image" or (data.low, data.high) != (-1.0, 1.0):
        yield f"an autoencoder learns images in [-1, 1], the data is {data}"
    elif any(side % 4 for side in data.shape[1:]):
        yield f"an autoencoder learns images whose sides are multiples of 4, the data is {data}"
