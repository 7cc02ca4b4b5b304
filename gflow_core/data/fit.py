"""What size images are to have, and how those of another become it; known without reading one."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["Fit", "Size", "height_width", "largest_within", "plain_size"]

Fit: TypeAlias = Literal["pad", "resize", "bilinear"]
"""Black around them, Pillow's bicubic, or Pillow's bilinear."""

Size: TypeAlias = int | tuple[int, int]
"""Height and width in pixels, or the side of a square."""


def height_width(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def plain_size(size: Size) -> Size:
    """A square's side, whichever way it is given: one size has one form in the names and keys of caches."""
    height, width = height_width(size)
    return height if height == width else (height, width)


def largest_within(area: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the largest rectangle of the aspect ratio of `shape` that fits into `area`, to a pixel."""
    (height, width), (tall, wide) = area, shape
    if height * wide <= width * tall:
        return height, max(1, (2 * height * wide + tall) // (2 * tall))
    return max(1, (2 * width * tall + wide) // (2 * wide)), width
