"""Images as arrays: channels, padding, resizing. All arrays are uint8 [N, C, H, W]."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from gflow_core.data.fit import Fit, Size, height_width

__all__ = ["BILINEAR", "RESAMPLE", "Pixels", "fitted", "pad", "resize", "with_channels"]

Pixels = npt.NDArray[np.uint8]

RESAMPLE = Image.Resampling.BICUBIC
"""Pillow's bicubic: antialiased, its support grows with the shrinking factor."""
BILINEAR = Image.Resampling.BILINEAR
"""The same with a triangle's weights, torchvision's default."""


def fitted(x: Pixels, size: Size, channels: int, fit: Fit) -> Pixels:
    """x with the given channels, padded or resized to the size."""
    x = with_channels(x, channels)
    if x.shape[2:] != height_width(size):
        x = pad(x, size) if fit == "pad" else resize(x, size, BILINEAR if fit == "bilinear" else RESAMPLE)
    return x


def with_channels(x: Pixels, channels: int) -> Pixels:
    """Grey to RGB by repetition; RGB to grey by the ITU-R 601-2 luma, rounded as Pillow rounds it."""
    if x.shape[1] == channels:
        return x
    if x.shape[1] == 1:
        return np.repeat(x, channels, axis=1)
    red, green, blue = (x[:, i].astype(np.uint32) for i in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[:, None]


def pad(x: Pixels, size: Size) -> Pixels:
    """Black around the image; where the border is odd, the larger half goes below and to the right."""
    missing = [wanted - there for wanted, there in zip(height_width(size), x.shape[2:], strict=True)]
    return np.pad(x, [(0, 0), (0, 0), *((more // 2, more - more // 2) for more in missing)])


def resize(x: Pixels, size: Size, resample: Image.Resampling = RESAMPLE) -> Pixels:
    """Each image resized to the size by Pillow, each axis by its own factor."""
    height, width = height_width(size)
    out = np.empty((*x.shape[:2], height, width), np.uint8)
    for image, place in zip(x, out, strict=True):
        for plane, target in zip(image, place, strict=True):
            target[:] = Image.fromarray(plane).resize((width, height), resample)
    return out
