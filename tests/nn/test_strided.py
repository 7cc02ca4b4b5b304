"""Strided networks: published counts and shapes, the guidelines, labels, layouts and precisions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gflow_core.nn.attention import SelfAttention
from gflow_core.nn.conditional import ConditionalBatchNorm2d
from gflow_core.nn.strided import StridedDiscriminator, StridedLabels, StridedSampler, widths

JOINS = [StridedLabels(size=3, join=join, width=width) for join in ("layer", "planes") for width in (None, 5)]


def count(module):
    return sum(p.numel() for p in module.parameters())


def shapes_of(module, x):
    """Name of every layer -> shape of its output, without the batch."""
    shapes = {}
    for name, layer in module.named_modules():
        layer.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    with torch.no_grad():
        module(x)
    return shapes


def pair(size=32, labels=None, **options):
    torch.manual_seed(0)
    options = {"width": 8, "labels": labels, **options}
    return StridedSampler(10, 3, size, **options), StridedDiscriminator(3, size, **options)


# ------------------------------------------------------------------ as published


@pytest.mark.parametrize(("kernel", "g", "d"), [(5, 18_855_043, 17_232_897), (4, 12_658_435, 11_036_289)])
def test_parameter_counts(kernel, g, d):
    """64 px at the published width: no bias before batch norm, biases on G's output, D's input and D's head."""
    with torch.device("meta"):
        assert count(StridedSampler(100, 3, 64, kernel_size=kernel)) == g
        assert count(StridedDiscriminator(3, 64, kernel_size=kernel)) == d


@pytest.mark.parametrize("kernel", [4, 5])
def test_every_shape_of_the_paper(kernel):
    """64 px, an eighth of the paper's feature maps."""
    g, d = (
        StridedSampler(100, 3, 64, width=16, kernel_size=kernel),
        StridedDiscriminator(3, 64, width=16, kernel_size=kernel),
    )
    shapes = shapes_of(g, torch.rand(2, 100))
    assert shapes["linear"] == (16 * 128,)
    maps = [shapes[name] for name in ("start", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "")]
    assert maps == [(128, 4, 4), (64, 8, 8), (32, 16, 16), (16, 32, 32), (3, 64, 64), (3, 64, 64)]
    x = torch.rand(2, 3, 64, 64)
    shapes = shapes_of(d, x)
    maps = [(16, 32, 32), (32, 16, 16), (64, 8, 8), (128, 4, 4)]
    assert [shapes[f"blocks.{i}"] for i in range(4)] == [tuple(h.shape[1:]) for h in d.conv_features(x)] == maps
    assert d.logit[0].in_features == 128 * 16
    assert shapes[""] == ()


@pytest.mark.parametrize(("size", "maps"), [(8, [4]), (16, [8, 4]), (32, [16, 8, 4]), (256, [24] * 3 + [16, 8, 4])])
def test_the_rule_at_other_sizes(size, maps):
    """Feature maps double as the side halves, up to max_width."""
    assert widths(len(maps), 4, 24) == maps
    g, d = pair(size, width=4, max_width=24)
    shapes, side = shapes_of(g, torch.rand(2, 10)), 4
    assert shapes["start"] == (maps[0], 4, 4)
    for i, wide in enumerate([*maps[1:], 3]):
        side *= 2
        assert shapes[f"blocks.{i}"] == (wide, side, side)
    assert [tuple(h.shape[1:]) for h in d.conv_features(torch.rand(2, 3, size, size))] == [
        (wide, size >> i, size >> i) for i, wide in enumerate(maps[::-1], 1)
    ]


@pytest.mark.parametrize("size", [24, 4, 30, (16, 30)])
def test_impossible_sizes(size):
    with pytest.raises(ValueError, match="image_size"):
        StridedDiscriminator(3, size)


@pytest.mark.parametrize("size", [(16, 24), (40, 16)])
def test_images_that_are_not_square(size):
    height, width = size
    g, d = pair(size, width=4, attention=(8,))
    shapes = shapes_of(g, torch.rand(2, 10))
    assert [shapes["start"], shapes["blocks.0"]] == [(8, height // 4, width // 4), (4, height // 2, width // 2)]
    x = g(torch.rand(2, 10))
    assert x.shape == (2, 3, height, width)
    assert [tuple(h.shape[1:]) for h in d.conv_features(x)] == [shapes["blocks.0"], shapes["start"]]
    assert d(x).shape == (2,)
    for module in (g, d):  # a side of maps is their shorter one
        assert sum(isinstance(layer, SelfAttention) for layer in module.modules()) == 1


def test_guidelines():
    """No pooling, batch norm everywhere but on G's output and D's input, or nowhere; a bias where no norm follows."""
    for use_batch_norm in (True, False):
        g, d = pair(64, use_batch_norm=use_batch_norm)
        for module in (g, d):
            kinds = {type(layer).__name__ for layer in module.modules()}
            assert not any("Pool" in kind for kind in kinds)
            norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())
            assert norms == (4 if module is g else 3) * use_batch_norm
        normed = [isinstance(g.start[0], nn.BatchNorm2d), *(isinstance(b[1], nn.BatchNorm2d) for b in g.blocks[:-1])]
        assert normed == [use_batch_norm] * 4
        assert isinstance(g.blocks[-1], nn.ConvTranspose2d)
        assert [isinstance(b[1], nn.BatchNorm2d) for b in d.blocks] == [False, *[use_batch_norm] * 3]
        assert [g.linear.bias is None, *(b[0].bias is None for b in g.blocks[:-1])] == [use_batch_norm] * 4
        assert [b[0].bias is None for b in d.blocks] == [False, *[use_batch_norm] * 3]
        assert g.blocks[-1].bias is not None


def test_initialisation():
    """Weights N(0, 0.02), within five standard errors; biases 0, norms 1 and 0."""
    torch.manual_seed(0)
    for module in (StridedSampler(100, 3, 32, width=32), StridedDiscriminator(3, 32, width=32)):
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                weight, n = layer.weight.double(), layer.weight.numel()
                assert weight.mean().abs() < 5 * 0.02 / n**0.5
                assert abs(weight.std().item() / 0.02 - 1) < 5 / (2 * n) ** 0.5
                kurtosis = weight.pow(4).mean().item() / 0.02**4
                assert abs(kurtosis - 3) < 5 * (96 / n) ** 0.5
                assert layer.bias is None or not layer.bias.any()
            elif isinstance(layer, nn.BatchNorm2d):
                assert (layer.weight == 1).all()
                assert not layer.bias.any()


# ------------------------------------------------------------------ against the slow way


def subpixels(layer, x):
    """A transposed convolution by its definition: zeros between the pixels, convolved with the flipped kernel."""
    (k, _), (p, _), (extra, _) = layer.kernel_size, layer.padding, layer.output_padding
    b, c, h, w = x.shape
    spread = x.new_zeros(b, c, 2 * h - 1, 2 * w - 1)
    spread[:, :, ::2, ::2] = x
    around = k - 1 - p
    spread = F.pad(spread, (around, around + extra, around, around + extra))
    return F.conv2d(spread, layer.weight.flip(2, 3).transpose(0, 1), layer.bias)


def norm(layer, x):
    """Batch norm by its formula, in training mode."""
    if not isinstance(layer, nn.BatchNorm2d):
        return x
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
    scale, shift = (t[None, :, None, None] for t in (layer.weight, layer.bias))
    return (x - mean) / (var + layer.eps).sqrt() * scale + shift


def same(layer, x):
    """A convolution of stride 1 by the sum over its taps; maps keep their size, the longer margin is behind."""
    k, (h, w) = layer.kernel_size[0], x.shape[2:]
    before, after = (k - 1) // 2, k // 2
    x = F.pad(x, (before, after, before, after))
    taps = (
        torch.einsum("bchw,oc->bohw", x[:, :, i : i + h, j : j + w], layer.weight[:, :, i, j])
        for i in range(k)
        for j in range(k)
    )
    return sum(taps) + (0 if layer.bias is None else layer.bias[:, None, None])


def literal_sampler(g, z, upsample):
    """The paper's rows one by one, with g's weights."""

    def up(layer, x):
        twice = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return subpixels(layer, x) if upsample == "transposed" else same(layer, twice)

    x = F.linear(z, g.linear.weight, g.linear.bias).view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
    x = norm(g.start[0], x).relu()
    for block in g.blocks[:-1]:
        x = norm(block[1], up(block[0], x)).relu()
    last = g.blocks[-1]
    return torch.tanh(norm(last[1], up(last[0], x)) if isinstance(last, nn.Sequential) else up(last, x))


def literal_discriminator(d, x, slope, downsample):
    for block in d.blocks:
        conv = block[0]
        if downsample == "strided":
            x = F.conv2d(x, conv.weight, conv.bias, padding=conv.padding)[:, :, ::2, ::2]
        else:
            four = same(conv, x).unflatten(2, (-1, 2)).unflatten(4, (-1, 2))
            x = four.amax((3, 5)) if downsample == "max" else four.mean((3, 5))
        x = norm(block[1], x)
        x = torch.where(x > 0, x, slope * x)
    h = x.mean((2, 3)) if d.head == "mean" else x.permute(0, 2, 3, 1).reshape(len(x), -1)
    return (h @ d.logit[0].weight.T + d.logit[0].bias)[:, 0]


@pytest.mark.parametrize(
    ("kernel", "norms", "head", "upsample", "downsample"),
    [
        (4, {}, "flatten", "transposed", "strided"),
        (5, {}, "mean", "transposed", "strided"),
        (5, {"use_batch_norm": False}, "flatten", "transposed", "strided"),
        (5, {"norm_ends": True}, "flatten", "nearest", "max"),
        (4, {"norm_ends": True}, "flatten", "nearest", "average"),
        (4, {"norm_ends": True}, "flatten", "transposed", "strided"),
    ],
)
def test_networks_are_the_paper_line_by_line(kernel, norms, head, upsample, downsample):
    """Values and gradients in float64; also of what the guidelines speak against."""
    options = {"kernel_size": kernel, "width": 3, **norms}
    torch.manual_seed(0)
    g = StridedSampler(4, 2, 16, upsample=upsample, **options).double()
    d = StridedDiscriminator(2, 16, head=head, slope=0.1, downsample=downsample, **options).double()
    z, x = torch.rand(3, 4, dtype=torch.double), torch.rand(3, 2, 16, 16, dtype=torch.double, requires_grad=True)
    for module, given, slow in (
        (g, z, lambda z: literal_sampler(g, z, upsample)),
        (d, x, lambda x: literal_discriminator(d, x, 0.1, downsample)),
    ):
        found = []
        for out in (module(given), slow(given)):
            wanted = [*module.parameters(), *([x] if given is x else [])]
            found.append([out, *torch.autograd.grad((out + 1).pow(3).sum(), wanted)])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


# ------------------------------------------------------------------ labels


@pytest.mark.parametrize("labels", JOINS, ids=lambda labels: f"{labels.join}-{labels.width}")
def test_labels_change_the_output_and_learn(labels):
    g, d = pair(16, labels)
    z, x = torch.rand(4, 10), torch.rand(4, 3, 16, 16)
    y = torch.tensor([0, 1, 2, 0])
    for module, given in ((g.eval(), z), (d.eval(), x)):
        out = module(given, y)
        assert out.shape[0] == 4
        # A one-hot vector and the index say the same; other labels say something else, for their own items only.
        assert torch.equal(module(given, F.one_hot(y, 3).float()), out)
        other = module(given, torch.tensor([0, 2, 2, 0]))
        changed = [bool((a != b).any()) for a, b in zip(out, other, strict=True)]
        assert changed == [False, True, False, False]
        real = torch.randn(4, 3, requires_grad=True)
        out = module(given, real)
        gradients = torch.autograd.grad(out.square().sum(), [real, *module.parameters()], allow_unused=True)
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
        assert gradients[0].any(1).all()


def test_where_labels_join():
    """layer: beside z, and in a joint hidden layer beside the last maps. planes: beside the first maps."""
    y = torch.tensor([[0.5, -2.0, 3.0]])
    g, d = pair(16, StridedLabels(size=3, join="layer", width=None, joint=7))
    assert g.linear.in_features == 13
    assert (d.logit[0].in_features, d.logit[0].out_features, d.logit[-1].in_features) == (16 * 16 + 3, 7, 7)
    g, d = pair(16, StridedLabels(size=3, join="planes", width=None))
    assert (g.linear.in_features, g.blocks[0][0].in_channels, d.blocks[0][0].in_channels) == (10, 16 + 3, 3 + 3)
    seen = []
    d.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = torch.rand(1, 3, 16, 16)
    d(x, y)
    assert torch.equal(seen[0], torch.cat([x, y[:, :, None, None].expand(1, 3, 16, 16)], 1))
    wide = pair(16, StridedLabels(size=3, join="planes", width=5))[1]
    assert wide.label.layer[0].weight.shape == (5, 3)
    assert wide.blocks[0][0].in_channels == 3 + 5


# ------------------------------------------------------------------ by option

NORM, PROJECTION = (StridedLabels(size=3, join=join) for join in ("norm", "projection"))
WHOLE = {"norm_init": "normal", "spectral_norm": 1, "attention": (4, 16)}


def modern(**options):
    """Sampler and discriminator with every option on."""
    torch.manual_seed(0)
    options = {"width": 8, **WHOLE, **options}
    g = StridedSampler(10, 3, 32, labels=NORM, **options)
    return g, StridedDiscriminator(3, 32, labels=PROJECTION, **options)


def started(module):
    """With attention and labels as after training, not as at the start."""
    for layer in module.modules():
        if isinstance(layer, SelfAttention):
            nn.init.ones_(layer.gamma)
        elif isinstance(layer, ConditionalBatchNorm2d):
            nn.init.normal_(layer.scale)
            nn.init.normal_(layer.shift)
    return module


def test_drawn_norms():
    """norm_init = "normal": scales N(1, 0.02) within five standard errors, shifts 0; by labels, too."""
    torch.manual_seed(0)
    options = {"width": 32, "norm_init": "normal"}
    g = StridedSampler(10, 3, 64, labels=NORM, **options)
    for module in (g, StridedSampler(10, 3, 64, **options), StridedDiscriminator(3, 64, **options)):
        norms = [layer for layer in module.modules() if isinstance(layer, ConditionalBatchNorm2d)]
        pairs = [(layer.scale, layer.shift) for layer in norms] or [
            (layer.weight, layer.bias) for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)
        ]
        assert len(pairs) == (3 if isinstance(module, StridedDiscriminator) else 4)
        scales = torch.cat([scale.flatten() for scale, _ in pairs])
        assert abs(scales.mean().item() - 1) < 5 * 0.02 / len(scales) ** 0.5
        assert abs(scales.std().item() / 0.02 - 1) < 5 / (2 * len(scales)) ** 0.5
        assert not any(shift.any() for _, shift in pairs)


def test_every_layer_is_spectrally_normalised():
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    for module in modern():
        layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, kinds)}
        assert all(parametrize.is_parametrized(layer, "weight") for layer in layers.values())
        assert any(name.endswith(".query") for name in layers)
    assert "projection.embed" in layers


def test_where_attention_stands():
    """Behind the layer that makes maps of that side, as the last of its block."""
    g, d = pair(64, attention=(4, 8, 32))
    assert [isinstance(block[-1], SelfAttention) for block in (g.start, *g.blocks[:-1])] == [True, True, False, True]
    assert [isinstance(block[-1], SelfAttention) for block in d.blocks] == [True, False, True, True]
    for module, given in ((g, torch.rand(2, 10)), (d, torch.rand(2, 3, 64, 64))):
        sides = []
        for layer in module.modules():
            if isinstance(layer, SelfAttention):
                layer.register_forward_hook(lambda _, given, out, sides=sides: sides.append(given[0].shape[2]))
        module(given)
        assert sorted(sides) == [4, 8, 32]
    x = torch.rand(2, 3, 64, 64)
    assert [h.shape[2] for h in d.conv_features(x)] == [32, 16, 8, 4]


def test_at_first_attention_is_not_seen():
    plain, looking = pair(), pair(attention=(8,))
    for module, other, given in zip(plain, looking, (torch.rand(4, 10), torch.rand(4, 3, 32, 32)), strict=True):
        other.load_state_dict(module.state_dict(), strict=False)
        torch.testing.assert_close(other(given), module(given), rtol=0, atol=0)


def test_spectral_norms_after_enough_forwards():
    """Largest singular values of all layers are 1."""
    for module, given in zip(modern(), (torch.rand(2, 10), torch.rand(2, 3, 32, 32)), strict=True):
        with torch.no_grad():
            for _ in range(150):
                module(given, torch.tensor([0, 1]))
        module.eval()
        for name, layer in module.named_modules():
            if parametrize.is_parametrized(layer, "weight"):
                dim = int(isinstance(layer, nn.ConvTranspose2d))
                value = torch.linalg.matrix_norm(layer.weight.movedim(dim, 0).flatten(1), ord=2).item()
                assert value == pytest.approx(1, abs=0.02), name


@pytest.mark.parametrize("width", [None, 5])
def test_labels_by_norm_and_projection(width):
    """Nothing is concatenated; every norm of the sampler reads y; the logit is psi + <embed(y), phi>."""
    g, d = (
        StridedSampler(10, 3, 16, width=8, labels=StridedLabels(size=3, join="norm", width=width)),
        StridedDiscriminator(3, 16, width=8, head="mean", labels=StridedLabels(size=3, join="projection", width=width)),
    )
    assert g.linear.in_features == 10
    norms = [layer for layer in g.modules() if isinstance(layer, ConditionalBatchNorm2d)]
    assert len(norms) == 2
    assert all(layer.scale.shape[0] == (3 if width is None else 6) for layer in norms)
    assert d.blocks[0][0].in_channels == 3
    x, y = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    phi = d.eval().conv_features(x, y)[-1].mean((2, 3))
    v = d.label(y, x)
    slow = d.logit(phi)[:, 0] + torch.stack([(d.projection.embed.weight @ v[i]) @ phi[i] for i in range(4)])
    torch.testing.assert_close(d(x, y), slow)
    assert d.projection.embed.weight.std() < 0.03


def test_labels_by_norm_of_one_class_are_that_norm():
    """A sampler whose items are all of one class is an unconditional one with that class's scales and shifts."""
    g, plain = started(StridedSampler(10, 3, 16, width=8, labels=NORM)), StridedSampler(10, 3, 16, width=8)
    for y in range(3):
        states = {}
        for name, value in g.state_dict().items():
            of_a_class = name.endswith((".scale", ".shift"))
            name = name.replace(".norm.", ".").replace(".scale", ".weight").replace(".shift", ".bias")
            states[name] = value[y] if of_a_class else value
        plain.load_state_dict(states)
        z = torch.rand(4, 10)
        torch.testing.assert_close(g(z, torch.full((4,), y)), plain(z))


@pytest.mark.parametrize("classes", [True, False])
def test_every_option_at_once(classes):
    """Labels of both kinds move the output of their own items, and all parameters learn, by penalties too."""
    labels = [StridedLabels(size=3, join=join, classes=classes) for join in ("norm", "projection")]
    torch.manual_seed(0)
    g = started(StridedSampler(10, 3, 32, width=8, labels=labels[0], **WHOLE))
    d = started(
        StridedDiscriminator(3, 32, width=8, labels=labels[1], use_batch_norm=False, spectral_norm=1, attention=(8,))
    )
    z, y = torch.rand(4, 10), torch.tensor([0, 1, 2, 0])
    other = torch.tensor([0, 2, 2, 0])
    if not classes:
        y, other = (F.one_hot(labels, 3) * 1.5 - 0.5 for labels in (y, other))
    x = g(z, y).detach().requires_grad_()
    for module, given in ((g.eval(), z), (d.eval(), x)):
        changed = [bool((a != b).any()) for a, b in zip(module(given, y), module(given, other), strict=True)]
        assert changed == [False, True, False, False]
    gradients = torch.autograd.grad(g.train()(z, y).square().sum(), list(g.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)
    logit = d.train()(x, y)
    (slope,) = torch.autograd.grad(logit.sum(), x, create_graph=True)
    gradients = torch.autograd.grad(logit.sum() + slope.square().sum(), list(d.parameters()))
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


def test_options_that_cannot_be():
    for part, labels, more in (
        (StridedDiscriminator, NORM, {}),
        (StridedSampler, PROJECTION, {}),
        (StridedSampler, NORM, {"use_batch_norm": False}),
    ):
        sizes = (10, 3, 16) if part is StridedSampler else (3, 16)
        with pytest.raises(AssertionError):
            part(*sizes, labels=labels, **more)


@pytest.mark.parametrize("what", ["layout", "bfloat16"])
def test_every_option_in_other_layouts_and_precisions(what):
    y = torch.tensor([0, 1, 2, 0])
    g, d = (started(module).eval() for module in modern())
    z, x = torch.rand(4, 10), torch.rand(4, 3, 32, 32)
    plain = g(z, y), d(x, y)
    for module in (g, d):
        module.to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
    outs = []
    for block in (g.start, *g.blocks, *d.blocks):
        block.register_forward_hook(lambda _, __, out: outs.append(out))
    with torch.autocast("cpu", torch.bfloat16, enabled=what == "bfloat16"):
        other = g(z, y), d(x, y)
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in outs)
    for one, two in zip(other, plain, strict=True):
        assert one.dtype == torch.float32
        assert (one - two).norm() <= (0.05 if what == "bfloat16" else 1e-4) * two.norm()


# ------------------------------------------------------------------ as modules


@pytest.mark.parametrize("labels", [None, JOINS[1], JOINS[2]], ids=["plain", "layer", "planes"])
@pytest.mark.parametrize("kernel", [4, 5])
def test_layouts_agree(kernel, labels):
    """Channels-last weights and images give what contiguous ones give, and stay channels-last throughout."""
    y = None if labels is None else torch.tensor([0, 1, 2, 0])
    g, d = pair(labels=labels, kernel_size=kernel)
    z, x = torch.rand(4, 10), torch.rand(4, 3, 32, 32)
    plain = g(z, y), d(x, y)
    outs = []
    for module in (g, d):
        module.to(memory_format=torch.channels_last)
        for block in module.blocks:
            block.register_forward_hook(lambda _, __, out: outs.append(out))
    fast = g(z, y), d(x.contiguous(memory_format=torch.channels_last), y)
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in outs)
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", [None, JOINS[1], JOINS[2]], ids=["plain", "layer", "planes"])
def test_bfloat16_autocast(labels):
    """Outputs are float32, near the float32 ones."""
    y = None if labels is None else torch.tensor([0, 1, 2, 0])
    g, d = (module.to(memory_format=torch.channels_last) for module in pair(labels=labels, width=16))
    z, x = torch.rand(4, 10), torch.rand(4, 3, 32, 32)
    exact = g(z, y), d(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        fast = g(z, y), d(x, y)
    for one, other in zip(fast, exact, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() <= 0.03 * other.norm()


def test_the_input_is_left_alone_and_eval_mode_is_item_by_item():
    for module, x in zip(pair(), (torch.rand(4, 10), torch.rand(4, 3, 32, 32)), strict=True):
        before = x.clone()
        module(x)
        assert torch.equal(x, before)
        module.eval()
        torch.testing.assert_close(torch.cat([module(x[:1]), module(x[1:])]), module(x), rtol=1e-4, atol=1e-6)
