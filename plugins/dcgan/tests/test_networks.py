"""The networks' options, what they refuse, and the discriminator of the feature experiment."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gflow_core import ConditionalBatchNorm2d, DataShape, SelfAttention
from gflow_dcgan.parts.networks import ConvDiscriminator, ConvSampler, SixConvDiscriminator

VECTORS = DataShape("vector", (2,), classes=3)


def image(size, channels=3, **labels):
    return DataShape("image", (channels, size, size), -1.0, 1.0, **labels)


def count(module):
    return sum(p.numel() for p in module.parameters())


# ------------------------------------------------------------------ dcgan.conv


@pytest.mark.parametrize(
    ("options", "g", "d"), [({}, 18_855_043, 17_232_897), ({"kernel_size": 4}, 12_658_435, 11_036_289)]
)
def test_the_defaults_are_the_papers(options, g, d):
    sampler, discriminator = ConvSampler(**options), ConvDiscriminator(**options)
    with torch.device("meta"):
        assert count(sampler.build(image(64))) == g
        assert count(discriminator.build(image(64))) == d
    z = sampler.latent.draw(1000, torch.Generator().manual_seed(0))
    assert z.shape == (1000, 100)
    assert -1 <= z.min() < -0.99
    assert 0.99 < z.max() <= 1


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_trains(size, channels):
    """Images in range, finite gradients for every parameter."""
    torch.manual_seed(0)
    options = {"width": 2, "max_width": 8, "kernel_size": 4}
    g = ConvSampler(**options).build(image(size, channels))
    d = ConvDiscriminator(**options).build(image(size, channels))
    x = g(torch.rand(4, 100))
    assert x.shape == (4, channels, size, size)
    assert x.abs().max() <= 1
    gradients = torch.autograd.grad(F.softplus(-d(x)).mean(), [*g.parameters(), *d.parameters()])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert sum(bool(gradient.any()) for gradient in gradients) > 0.9 * len(gradients)


def test_options_reach_the_networks():
    data = image(16)
    d = ConvDiscriminator(width=2, head="mean", slope=1.0, use_batch_norm=False).build(data)
    assert d.logit[0].in_features == 4
    x = torch.randn(2, 3, 16, 16)
    zero = d(torch.zeros_like(x))
    torch.testing.assert_close(d(x) + d(-x), 2 * zero)  # slope 1 leaves an affine map
    g = ConvSampler(width=2, max_width=3, use_batch_norm=False).build(data)
    assert g.linear.out_features == 3 * 16
    assert not any(isinstance(layer, nn.BatchNorm2d) for module in (g, d) for layer in module.modules())
    g = ConvSampler(width=2, upsample="nearest", norm_ends=True).build(data)
    d = ConvDiscriminator(width=2, downsample="average", norm_ends=True).build(data)
    assert not any(isinstance(layer, nn.ConvTranspose2d) for layer in g.modules())
    assert {layer.stride for layer in d.modules() if isinstance(layer, nn.Conv2d)} == {(1, 1)}
    assert [sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()) for module in (g, d)] == [3, 2]


@pytest.mark.parametrize("labels", [{"classes": 3}, {"conditions": ("Smiling", "Male", "Young")}])
def test_labels_are_read(labels):
    """One-hot or real, as many numbers as the data's labels have; without `conditional` they are not."""
    data = image(16, **labels)
    y = torch.tensor([0, 1]) if "classes" in labels else torch.tensor([[1.0, -1.0, 1.0], [1.0, 1.0, 1.0]])
    for part, given in ((ConvSampler, torch.rand(2, 100)), (ConvDiscriminator, torch.rand(2, 3, 16, 16))):
        with torch.no_grad():
            conditional, plain = (part(width=2, conditional=flag).build(data).eval() for flag in (True, False))
            assert (conditional(given, y) != conditional(given, y.flip(0))).reshape(2, -1).any(1).all()
            assert torch.equal(plain(given, y), plain(given))
    assert conditional.blocks[0][0].in_channels == 3 + 3


@pytest.mark.parametrize("labels", [{"classes": 3}, {"conditions": ("Smiling", "Male", "Young")}])
def test_blocks_reach_the_networks(labels):
    """Conditional batch norm and projection for labels of both kinds; attention, spectral norm and drawn scales."""
    data, classes = image(32, **labels), "classes" in labels
    blocks = {"width": 2, "norm_init": "normal", "spectral_norm": 2, "attention": (8,), "conditional": True}
    g = ConvSampler(join="norm", **blocks).build(data)
    d = ConvDiscriminator(join="projection", head="mean", **blocks).build(data)
    norms = [layer for layer in g.modules() if isinstance(layer, ConditionalBatchNorm2d)]
    assert len(norms) == 3
    assert {layer.scale.shape[0] for layer in norms} == {3 if classes else 4}
    assert not any((layer.scale == 1).all(1)[-1] for layer in norms)
    assert (g.linear.in_features, d.blocks[0][0].in_channels, d.projection.embed.weight.shape) == (100, 3, (8, 3))
    for module in (g, d):
        assert sum(isinstance(layer, SelfAttention) for layer in module.modules()) == 1
        normed = [layer for layer in module.modules() if parametrize.is_parametrized(layer)]
        assert len(normed) == (8 if module is g else 3 + 4 + 2)
        assert {layer.parametrizations.weight[0].iterations for layer in normed} == {2}


def test_checks():
    for part in (ConvSampler(), ConvDiscriminator(), SixConvDiscriminator()):
        assert list(part.check(image(32))) == []
        (message,) = part.check(None)
        assert "needs a [dataset]" in message
        (message,) = part.check(VECTORS)
        assert "works on images, the data is vector 2" in message
        (message,) = part.check(image(8))
        assert "works on images" in message
        assert "set dataset.image_size" in message
        assert list(part.check(DataShape("image", (3, 32, 48), -1.0, 1.0))) == []
    for part in (ConvSampler(), ConvDiscriminator()):
        for size in (28, 48, 512):
            assert "16, 32, 64, 128 or 256 pixels" in " ".join(part.check(image(size)))
        (message,) = part.check(DataShape("image", (3, 32, 36), -1.0, 1.0))
        assert "whose longer side is a multiple of a quarter of that, the data is image 3x32x36" in message
    assert list(SixConvDiscriminator().check(image(28))) == []
    bounded = DataShape("image", (3, 32, 32), 0.0, 1.0)
    assert "ends in tanh" in " ".join(ConvSampler().check(bounded))
    assert list(ConvDiscriminator().check(bounded)) == []
    for part in (ConvSampler(conditional=True), ConvDiscriminator(conditional=True)):
        assert list(part.check(image(32, classes=10))) == list(part.check(image(32, conditions=("Male",)))) == []
    for part in (ConvSampler, ConvDiscriminator):
        (message,) = part(attention=(8, 32)).check(image(32))
        assert message == "attention = 32: no maps have this side; at this image_size they have 4, 8 or 16 pixels"
        assert list(part(attention=(8, 32)).check(image(64))) == []
        (message,) = part(use_batch_norm=False, norm_init="normal").check(image(32))
        assert "use_batch_norm = false" in message
        (message,) = part(join="norm" if part is ConvSampler else "projection").check(image(32))
        assert "set conditional = true" in message
    (message,) = ConvSampler(conditional=True, join="norm", use_batch_norm=False).check(image(32, classes=2))
    assert message.startswith('join = "norm"')
    for bad in ({"width": 0}, {"max_width": 0}, {"slope": -0.1}, {"spectral_norm": -1}):
        with pytest.raises(ValueError, match="must be"):
            ConvDiscriminator(**bad)


# ------------------------------------------------------------------ dcgan.six_conv


def test_six_convolutions_at_the_paper_s_size():
    """28,672 features: each layer max-pooled to 4x4. Batch norm on all layers but the first; nothing pooled inside."""
    torch.manual_seed(0)
    d = SixConvDiscriminator().build(image(32))
    with torch.no_grad():
        layers = d.conv_features(torch.rand(2, 3, 32, 32))
    maps = [(128, 32, 32), (128, 16, 16), (256, 16, 16), (256, 8, 8), (512, 8, 8), (512, 4, 4)]
    assert [tuple(h.shape[1:]) for h in layers] == maps
    assert torch.cat([F.adaptive_max_pool2d(h, 4).flatten(1) for h in layers], 1).shape == (2, 28_672)
    assert [block[0].kernel_size for block in d.blocks] == [(3, 3)] * 6
    assert [isinstance(block[1], nn.BatchNorm2d) for block in d.blocks] == [False] + [True] * 5
    wide = DataShape("image", (3, 16, 21), -1.0, 1.0)
    assert SixConvDiscriminator(width=2).build(wide)(torch.rand(2, 3, 16, 21)).shape == (2,)
    assert [block[0].bias is None for block in d.blocks] == [False] + [True] * 5
    assert not any("Pool" in type(layer).__name__ for layer in d.modules())
    for layer in d.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            error = 5 / (2 * layer.weight.numel()) ** 0.5
            assert layer.weight.std().item() == pytest.approx(0.02, rel=error)
    weights = 9 * (3 * 128 + 128 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 512 * 512)
    norms = 2 * (128 + 256 + 256 + 512 + 512)
    assert count(d) == weights + 128 + norms + 512 * 16 + 1


@pytest.mark.parametrize(
    ("size", "sides"), [(16, [16, 8, 8, 4, 4, 2]), (28, [28, 14, 14, 7, 7, 4]), (64, [64, 32, 32, 16, 16, 8])]
)
def test_six_convolutions_at_other_sizes(size, sides):
    d = SixConvDiscriminator(width=2).build(image(size, 1))
    x = torch.rand(3, 1, size, size)
    assert [h.shape[2] for h in d.conv_features(x)] == [h.shape[3] for h in d.conv_features(x)] == sides
    assert d(x).shape == (3,)


def test_six_convolutions_layouts_and_precisions():
    torch.manual_seed(0)
    d = SixConvDiscriminator(width=8).build(image(32)).eval()
    x = torch.rand(4, 3, 32, 32)
    plain = d(x)
    d.to(memory_format=torch.channels_last)
    fast = x.contiguous(memory_format=torch.channels_last)
    assert all(h.is_contiguous(memory_format=torch.channels_last) for h in d.conv_features(fast))
    torch.testing.assert_close(d(fast), plain, rtol=1e-4, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        low = d(fast)
    assert low.dtype == torch.float32
    assert (low - plain).norm() <= 0.03 * plain.norm()
