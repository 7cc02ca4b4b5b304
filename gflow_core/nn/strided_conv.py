"""k x k convolutions that halve or double maps: of stride 2 and their transposes, or of stride 1 beside resizing.

Those of stride 2 are fast on small maps with large kernels as well. Parameters, initialisation, results and gradients
are those of torch's own layers.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PooledConv", "ResizedConv", "StridedConv", "StridedTransposedConv"]

_LARGE = 2**20
"""Numbers in a kernel that no longer stays in a core's cache."""


def _multiplies(x: Tensor, side: int, weight: Tensor) -> bool:
    """Whether a layer between 4x4 and 8x8 is computed as one matrix product.

    On maps this small, with a kernel that no cache holds (52 MB at the published width), torch's float32 convolution
    takes three times as long as one product over the batch.
    """
    plain = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return plain and x.shape[2:] == (side, side) and weight.numel() >= _LARGE


class StridedConv(nn.Conv2d):
    """k x k convolution of stride 2: [B, C, 2H, 2W] -> [B, C', H, W]."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, *, bias: bool) -> None:
        super().__init__(inputs, outputs, kernel_size, stride=2, padding=(kernel_size - 1) // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight  # once: under spectral normalisation each look is a power iteration
        if not _multiplies(x, 8, weight):
            return F.conv2d(x, weight, self.bias, self.stride, int(self.padding[0]))
        k, p = self.kernel_size[0], int(self.padding[0])
        after = k - 2 - p
        windows = _windows(F.pad(x.permute(0, 2, 3, 1), (0, 0, p, after, p, after)), k)
        # Channels-last, the kernel is that matrix already.
        matrix = weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(windows.flatten(3), matrix, self.bias).permute(0, 3, 1, 2)


class StridedTransposedConv(nn.ConvTranspose2d):
    """k x k transposed convolution of stride 2: [B, C, H, W] -> [B, C', 2H, 2W]."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, *, bias: bool) -> None:
        p, extra = (kernel_size - 1) // 2, kernel_size % 2
        super().__init__(inputs, outputs, kernel_size, stride=2, padding=p, output_padding=extra, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert output_size is None, "the output's size is twice the input's"
        weight = self.weight  # once, as above
        k, p, extra = self.kernel_size[0], int(self.padding[0]), self.output_padding
        if not _multiplies(x, 4, weight):
            return F.conv_transpose2d(x, weight, self.bias, self.stride, p, extra)
        matrix = weight.permute(0, 2, 3, 1).flatten(1)
        windows = (x.permute(0, 2, 3, 1) @ matrix).unflatten(3, (k, k, -1))
        out = _overlay(windows, k)[:, p : p + 8, p : p + 8]
        if self.bias is not None:
            out = out + self.bias
        return out.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


class _SameConv(nn.Conv2d):
    """k x k convolution of stride 1 whose maps keep their size; of an even k the longer margin comes behind."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, *, bias: bool) -> None:
        super().__init__(inputs, outputs, kernel_size, padding=(kernel_size - 1) // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        extra = 1 - self.kernel_size[0] % 2
        return super().forward(F.pad(x, (0, extra, 0, extra)) if extra else x)


class ResizedConv(_SameConv):
    """Every pixel twice a side, then a k x k convolution (Odena et al. 2016): [B, C, H, W] -> [B, C', 2H, 2W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class PooledConv(_SameConv):
    """A k x k convolution, then the largest or the mean of each 2 x 2 pixels: [B, C, 2H, 2W] -> [B, C', H, W]."""

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int, *, pool: Literal["max", "average"], bias: bool
    ) -> None:
        super().__init__(inputs, outputs, kernel_size, bias=bias)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return F.max_pool2d(x, 2) if self.pool == "max" else F.avg_pool2d(x, 2)


# ------------------------------------------------------------------ windows


class _Windows(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, k: int) -> Tensor:
        return x.unfold(1, k, 2).unfold(2, k, 2).permute(0, 1, 2, 4, 5, 3).contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.k = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _overlay(gradients[0], ctx.k), None


class _Overlay(torch.autograd.Function):
    @staticmethod
    def forward(windows: Tensor, k: int) -> Tensor:
        b, h, w, _, _, c = windows.shape
        x = windows.new_zeros(b, 2 * h + k - 2, 2 * w + k - 2, c)
        for i in range(k):
            for j in range(k):
                x[:, i : i + 2 * h : 2, j : j + 2 * w : 2] += windows[:, :, :, i, j]
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.k = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _windows(gradients[0], ctx.k), None


def _windows(x: Tensor, k: int) -> Tensor:
    """x [B, 2H + k - 2, 2W + k - 2, C] -> its k x k windows at stride 2, [B, H, W, k, k, C]."""
    windows: Tensor = _Windows.apply(x, k)  # type: ignore[no-untyped-call]
    return windows


def _overlay(windows: Tensor, k: int) -> Tensor:
    """The adjoint of `_windows`: windows laid where they came from, and summed."""
    x: Tensor = _Overlay.apply(windows, k)  # type: ignore[no-untyped-call]
    return x
