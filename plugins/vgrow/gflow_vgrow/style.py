"""The choices that a residual network of VGrow is built by."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["STYLES", "Style"]


@attrs.frozen
class Style:
    """The choices in which the paper's tables and the authors' public code differ."""

    skip: Literal["seed", "authors"]
    spectral_norm: int
    conv_bias: bool
    init: Literal["default", "normal"]
    relu_skip: bool


STYLES = {
    "seed": Style(skip="seed", spectral_norm=0, conv_bias=True, init="default", relu_skip=False),
    "authors": Style(skip="authors", spectral_norm=5, conv_bias=False, init="normal", relu_skip=True),
}
