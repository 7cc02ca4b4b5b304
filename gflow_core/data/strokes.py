"""How thick and how slanted the strokes of a digit are, and captions that say so."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gflow_core.data.pixels import Pixels

__all__ = ["DIGITS", "LEANS", "STROKES", "asked", "caption", "every_caption", "seen", "slant", "thickness"]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STROKES = ("thin", "", "thick")
LEANS = ("leaning left", "", "leaning right")
"""What is said of strokes and of their slant; nothing of those in between."""

_STROKES = (2.25, 2.7)
"""Widths below and above which strokes are thin and thick, in pixels: about the thirds of mnist5k."""
_LEANS = (0.0, 15.0)
"""Degrees to the right below and above which a digit leans: about the thirds of mnist5k, which leans to the right."""

Numbers = npt.NDArray[np.float64]


def thickness(images: Pixels) -> Numbers:
    """Width [N] of the strokes of white digits [N, 1, H, W], in pixels.

    A stroke of length l and width w has the area l w and, its ends aside, two sides of length l: w is twice the area
    over the length of the sides, which is the total variation.
    """
    ink = images[:, 0].astype(np.float64) / 255
    padded = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    down, across = np.diff(padded, axis=1), np.diff(padded, axis=2)
    # Between four pixels, so that no direction counts more than its mirror image.
    sides = np.hypot(down[:, :, 1:] + down[:, :, :-1], across[:, 1:] + across[:, :-1]).sum((1, 2)) / 2
    width: Numbers = 2 * ink.sum((1, 2)) / np.maximum(sides, 1e-9)
    return width


def slant(images: Pixels) -> Numbers:
    """How far [N] white digits [N, 1, H, W] lean to the right of upright, in degrees, by their second moments."""
    ink = images[:, 0].astype(np.float64)
    mass = np.maximum(ink.sum((1, 2)), 1e-9)[:, None, None]
    rows, columns = np.mgrid[: ink.shape[1], : ink.shape[2]].astype(np.float64)
    y = rows - (ink * rows).sum((1, 2), keepdims=True) / mass
    x = columns - (ink * columns).sum((1, 2), keepdims=True) / mass
    along, height = (ink * x * y).sum((1, 2)), (ink * y * y).sum((1, 2))
    angle: Numbers = np.degrees(np.arctan(-along / np.maximum(height, 1e-9)))
    return angle


def seen(images: Pixels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which of STROKES and which of LEANS [N] the white digits [N, 1, H, W] show, of MNIST's size or padded."""
    return np.digitize(thickness(images), _STROKES), np.digitize(slant(images), _LEANS)


def caption(digit: int, stroke: int, lean: int) -> str:
    """ "a thick three leaning left", "an eight": what a picture of a digit shows, in words."""
    words = " ".join(word for word in (STROKES[stroke], DIGITS[digit], LEANS[lean]) if word)
    return f"{'an' if words.startswith('eight') else 'a'} {words}"


def every_caption() -> list[str]:
    """All that `caption` can write."""
    return list(_ASKED)


def asked(text: str) -> tuple[int, int, int]:
    """(digit, stroke, lean) of a caption. Raises KeyError where `caption` would not write it."""
    return _ASKED[text]


_ASKED = {
    caption(digit, stroke, lean): (digit, stroke, lean)
    for digit in range(len(DIGITS))
    for stroke in range(len(STROKES))
    for lean in range(len(LEANS))
}
