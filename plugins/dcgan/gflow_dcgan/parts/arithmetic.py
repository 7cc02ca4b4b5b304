"""What a transposed convolution does: options of transposed_conv."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core import Result, Subject, option

if TYPE_CHECKING:
    from gflow_core import Spec

__all__ = ["TransposedConv"]


@attrs.frozen(kw_only=True)
class TransposedConv:
    """Transposed convolution, checked in exact arithmetic: its size, its matrix, its gradient, and its checkerboard.

    Compares torch's layer with an explicit sparse matrix, with the convolution of the zero-stuffed input and with
    gradients, and counts the kernel taps that reach each pixel. Needs no data and no training. The defaults are the
    first such layer of DCGAN's sampler.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    input_size: int = option(4, doc="Side of the input.", unit="pixels", ge=1, le=16)
    kernel_size: int = option(5, doc="Side of the kernel.", unit="pixels", ge=1, le=8)
    stride: int = option(2, doc="Output pixels from one input pixel to the next.", unit="pixels", ge=1, le=4)
    padding: int = option(2, doc="Pixels that are left out on each side; below kernel_size.", unit="pixels", ge=0)
    output_padding: int = option(1, doc="Pixels that are added on the far sides; below stride.", unit="pixels", ge=0)
    channels: int = option(1, doc="Maps in and out of the layers that are checked; figures draw one.", ge=1, le=8)

    def check(self, spec: Spec) -> Iterable[str]:
        size = (self.input_size - 1) * self.stride - 2 * self.padding + self.kernel_size + self.output_padding
        if self.padding >= self.kernel_size:
            yield f"padding {self.padding} must be below kernel_size {self.kernel_size}"
        elif size < 1:
            yield f"the output has {size} pixels a side; lower padding or raise input_size"
        if self.output_padding >= self.stride:
            yield f"output_padding {self.output_padding} must be below stride {self.stride}"

    def build(self) -> Callable[[Subject], Result]:
        from gflow_dcgan.transposed_conv import transposed_conv

        return lambda subject: transposed_conv(
            subject,
            input_size=self.input_size,
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            channels=self.channels,
        )
