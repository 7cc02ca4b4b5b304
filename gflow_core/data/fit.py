"""How images of another size become those of the size asked for; known without reading one."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["Fit"]

Fit: TypeAlias = Literal["pad", "resize", "bilinear"]
"""Black around them, Pillow's bicubic, or Pillow's bilinear."""
