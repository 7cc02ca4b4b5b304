"""Self-attention against loops, its start, layouts, precisions and derivatives."""

from __future__ import annotations

import pytest
import torch

from gflow_core.nn.attention import SelfAttention


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def block(channels=16, gamma=0.7):
    module = SelfAttention(channels)
    torch.nn.init.constant_(module.gamma, gamma)
    return module


def looking(module, x):
    """Place by place: the softmax over pooled places of q . k weighs their values."""

    def conv(layer, item):
        return torch.einsum("oi,ihw->ohw", layer.weight[:, :, 0, 0], item)

    out = torch.empty_like(x)
    for b, item in enumerate(x):
        query, key, value = (conv(layer, item) for layer in (module.query, module.key, module.value))
        _, height, width = item.shape
        windows = [(2 * i, 2 * j) for i in range(height // 2) for j in range(width // 2)]
        keys, values = (
            torch.stack([t[:, i : i + 2, j : j + 2].amax((1, 2)) for i, j in windows]) for t in (key, value)
        )
        for i in range(height):
            for j in range(width):
                weight = torch.exp(keys @ query[:, i, j])
                seen = (weight[:, None] * values).sum(0) / weight.sum()
                out[b, :, i, j] = item[:, i, j] + module.gamma * (module.out.weight[:, :, 0, 0] @ seen)
    return out


@pytest.mark.parametrize(("height", "width"), [(4, 4), (2, 6)])
def test_it_is_the_loops(height, width):
    """Values and gradients, in float64."""
    module = block().double()
    x = torch.randn(2, 16, height, width, dtype=torch.double, requires_grad=True)
    found = []
    for out in (module(x), looking(module, x)):
        found.append([out, *torch.autograd.grad(out.pow(3).sum(), [x, *module.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_widths():
    """An eighth for queries and keys, a half for values; no less than one; no biases."""
    for channels, narrow, half in ((64, 8, 32), (16, 2, 8), (4, 1, 2), (1, 1, 1)):
        module = SelfAttention(channels)
        assert module.query.out_channels == module.key.out_channels == narrow
        assert (module.value.out_channels, module.out.in_channels, module.out.out_channels) == (half, half, channels)
        assert sum(p.numel() for p in module.parameters()) == 2 * channels * narrow + 2 * channels * half + 1
        assert module(torch.randn(2, channels, 4, 4)).shape == (2, channels, 4, 4)


def test_it_starts_as_the_identity_and_learns_to_look():
    module, x = SelfAttention(8), torch.randn(2, 8, 4, 4)
    assert torch.equal(module(x), x)
    module(x).pow(3).sum().backward()
    assert module.gamma.grad.abs() > 0


def test_second_derivatives():
    module = block(4).double()
    x = torch.randn(1, 4, 2, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(module, x)


def test_layouts_agree():
    module, x = block(), torch.randn(2, 16, 8, 8)
    plain = module(x)
    out = module.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, plain, rtol=1e-4, atol=1e-5)


def test_bfloat16_autocast():
    """The result is near the float32 one; the weights over places still add up to one."""
    module, x = block(), torch.randn(2, 16, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        low = module(x)
    assert (low - module(x)).norm() <= 0.02 * module(x).norm()
    torch.nn.init.ones_(module.value.weight)
    flat = torch.ones_like(x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module(flat).float(), module(flat), rtol=0.01, atol=0.01)
