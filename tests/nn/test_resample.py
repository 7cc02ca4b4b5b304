"""One strided convolution against resampling and convolution in their literal order."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gflow_core.nn.resample import DownConv, UpConv, doubled


@pytest.mark.parametrize("side", [1, 2, 5])
def test_resampling_convolutions(side):
    """Odd sides and the borders, with different numbers of channels."""
    torch.manual_seed(0)
    up, halve = UpConv(3, 4, 3, padding=1).double(), DownConv(3, 4, 3, padding=1).double()
    x = torch.randn(2, 3, side, side, dtype=torch.double)
    literal = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), up.weight, up.bias, padding=1)
    torch.testing.assert_close(up(x), literal, rtol=0, atol=1e-12)
    x = torch.randn(2, 3, 2 * side, 2 * side, dtype=torch.double)
    literal = F.avg_pool2d(F.conv2d(x, halve.weight, halve.bias, padding=1), 2)
    torch.testing.assert_close(halve(x), literal, rtol=0, atol=1e-12)


def test_doubling_stays_in_its_type():
    x = torch.arange(4.0).view(1, 1, 2, 2).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        twice = doubled(x)
    assert twice.dtype == torch.bfloat16
    assert twice.tolist() == [[[[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]]]


@pytest.mark.parametrize("layer", [UpConv, DownConv])
def test_second_derivatives(layer):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer(3, 2, 3, padding=1).double(), x)
