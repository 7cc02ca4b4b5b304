"""Convolutions of stride 2 as matrix products: torch's own results and derivatives."""

from __future__ import annotations

import pytest
import torch

from gflow_core.nn import strided_conv


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_convolutions(kernel, bias, monkeypatch):
    """Between 4x4 and 8x8: values, channels-last, first and second derivatives."""
    torch.manual_seed(0)
    for layer, side in (
        (strided_conv.StridedConv(3, 2, kernel, bias=bias), 8),
        (strided_conv.StridedTransposedConv(3, 2, kernel, bias=bias), 4),
    ):
        layer = layer.double()
        x = torch.randn(2, 3, side, side, dtype=torch.double, requires_grad=True)
        found = []
        for large in (2**20, 0):
            monkeypatch.setattr(strided_conv, "_LARGE", large)
            out = layer(x)
            found.append([out, *torch.autograd.grad(out.pow(3).sum(), [x, *layer.parameters()])])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
        assert out.is_contiguous(memory_format=torch.channels_last)
        assert "Overlay" in repr(_graph(out)) or "Windows" in repr(_graph(out))
        assert torch.autograd.gradgradcheck(
            lambda x, layer=layer: layer(x).square(), x[:1].detach().requires_grad_(), fast_mode=True
        )


def _graph(x):
    """The names of the steps that made x."""
    seen, names = [x.grad_fn], []
    while seen:
        node = seen.pop()
        if node is not None:
            names.append(node.name())
            seen += [parent for parent, _ in node.next_functions]
    return names


def test_large_kernels_only():
    """The published 4x4 to 8x8 layers are products; small ones and other sizes are torch's convolutions."""
    with torch.no_grad():
        weight = torch.empty(1024, 512, 5, 5)
        for side in (4, 8):
            x = torch.empty(1, 1, side, side)
            assert strided_conv._multiplies(x, side, weight)
            assert not strided_conv._multiplies(x, side, weight[:8])
            assert not strided_conv._multiplies(torch.empty(1, 1, 16, 16), side, weight)
            with torch.autocast("cpu", torch.bfloat16):
                assert not strided_conv._multiplies(x, side, weight)
