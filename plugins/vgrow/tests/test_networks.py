"""The networks against Tables 2-5, pinned parameter counts, and the literal order of operations."""

import copy

import attrs
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from gflow_core import DataShape, Mlp, MlpLogit
from gflow_vgrow.parts import AffineSampler, MlpDiscriminator
from gflow_vgrow.resnet import Discriminator, Sampler
from gflow_vgrow.style import STYLES

SEED, AUTHORS = STYLES["seed"], STYLES["authors"]


def sampler(channels=128, size=32, images=3, style=SEED):
    return Sampler(latent_dim=128, image_channels=images, image_size=size, channels=channels, style=style)


def discriminator(channels=128, size=32, images=3, style=SEED):
    return Discriminator(image_channels=images, image_size=size, channels=channels, style=style)


# ------------------------------------------------------------------ sizes


@pytest.mark.parametrize(
    ("variant", "size", "images", "g", "d"),
    [
        ("authors", 32, 1, 1_200_000, 1_049_985),
        ("authors", 32, 3, 1_202_304, 1_052_545),
        ("authors", 64, 1, 1_511_552, 1_066_369),
        ("authors", 64, 3, 1_513_856, 1_068_929),
        ("seed", 32, 1, 1_151_617, 1_067_777),
        ("seed", 32, 3, 1_153_923, 1_070_337),
        ("seed", 64, 1, 1_447_041, 1_051_265),
        ("seed", 64, 3, 1_449_347, 1_053_825),
    ],
)
def test_parameter_counts(variant, size, images, g, d):
    style = STYLES[variant]
    assert sum(p.numel() for p in sampler(size=size, images=images, style=style).parameters()) == g
    assert sum(p.numel() for p in discriminator(size=size, images=images, style=style).parameters()) == d


def shapes_of(module: nn.Module, x: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Name of every layer and block -> shape of its output, without the batch."""
    shapes = {}
    for name, layer in module.named_modules():
        layer.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    with torch.no_grad():
        module.eval()(x)
    return shapes


@pytest.mark.parametrize("variant", STYLES)
@pytest.mark.parametrize(("size", "images"), [(8, 1), (32, 1), (32, 3), (64, 3), (128, 3)])
def test_sampler_shapes(variant, size, images):
    """Tables 2 and 4: 4x4, then each block doubles, in its first convolution; the slip in Table 4 read as meant."""
    shapes = shapes_of(sampler(size=size, images=images, style=STYLES[variant]), torch.randn(1, 128))
    assert shapes["linear"] == (2048,)
    side = 4
    for i in range({8: 1, 32: 3, 64: 4, 128: 5}[size]):
        assert shapes[f"blocks.{i}.skip"] == (128, side, side)  # before it is doubled
        side *= 2
        for layer in ("conv1", "norm", "conv2"):
            assert shapes[f"blocks.{i}.{layer}"] == (128, side, side)
        assert shapes[f"blocks.{i}"] == (128, side, side)
    assert f"blocks.{i + 1}" not in shapes
    assert side == size
    assert shapes["conv"] == shapes[""] == (images, size, size)


@pytest.mark.parametrize("variant", STYLES)
@pytest.mark.parametrize(
    ("size", "images", "sides"),
    [
        (8, 1, [8, 8, 8, 8]),
        (32, 1, [16, 8, 8, 8]),
        (32, 3, [16, 8, 8, 8]),
        (64, 3, [32, 16, 8, 8]),
        (128, 3, [64, 32, 16, 8, 8]),
    ],
)
def test_discriminator_shapes(variant, size, images, sides):
    """Tables 3 and 5: down to 8x8, then plain blocks; conv2 of a block that halves is already pooled."""
    shapes = shapes_of(
        discriminator(size=size, images=images, style=STYLES[variant]), torch.randn(1, images, size, size)
    )
    side = size
    for i, after in enumerate(sides):
        assert shapes[f"blocks.{i}.conv1"] == (128, side, side)
        side = after
        for layer in ("conv2", "skip"):
            assert shapes[f"blocks.{i}.{layer}"][-2:] == (side, side)
        assert shapes[f"blocks.{i}"] == (128, side, side)
    assert f"blocks.{len(sides)}" not in shapes
    assert shapes["linear"] == (1,)
    assert shapes[""] == ()


# ------------------------------------------------------------------ the literal order


def conv(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)


def literal_sampler(g: Sampler, z: torch.Tensor, style, seen: list) -> torch.Tensor:
    """Tables 2 and 4 line by line, in the tables' order, with g's weights; every line's shape goes to `seen`."""

    def line(x):
        seen.append(tuple(x.shape[1:]))
        return x

    x = line(line(g.linear(z)).view(len(z), 4, 4, -1).permute(0, 3, 1, 2))
    for block in g.blocks:
        h = line(F.relu(x))
        skip = F.interpolate(h if style.relu_skip else x, scale_factor=2, mode="nearest")
        if isinstance(block.skip, nn.Conv2d):
            skip = conv(block.skip, skip)
        h = line(F.interpolate(h, scale_factor=2, mode="nearest"))
        h = line(F.relu(block.norm(conv(block.conv1, h))))
        x = line(conv(block.conv2, h)) + skip
    return line(torch.tanh(conv(g.conv, F.relu(x))))


def literal_discriminator(d: Discriminator, x: torch.Tensor, style, seen: list) -> torch.Tensor:
    """Tables 3 and 5 line by line, in the tables' order, with d's weights."""

    def line(x):
        seen.append(tuple(x.shape[1:]))
        return x

    for i, block in enumerate(d.blocks):
        h = x if i == 0 else F.relu(x)
        skip = h if style.relu_skip else x
        if isinstance(block.skip, nn.Conv2d):
            skip = conv(block.skip, skip)
        h = line(conv(block.conv1, h))
        x = line(conv(block.conv2, F.relu(h)))
        if block.down:
            x, skip = line(F.avg_pool2d(x, 2)), F.avg_pool2d(skip, 2)
        x = x + skip
    return line(d.linear(line(F.relu(x).sum((2, 3))))).squeeze(1)


def block(before: int, after: int) -> list:
    """A sampler's block in Tables 2 and 4."""
    return [(128, before, before), *[(128, after, after)] * 3]


def down(side: int) -> list:
    """A classifier's block that halves, in Tables 3 and 5."""
    return [(128, side, side)] * 2 + [(128, side // 2, side // 2)]


PLAIN = [(128, 8, 8)] * 2
TABLES = {
    32: (
        [(2048,), (128, 4, 4), *block(4, 8), *block(8, 16), *block(16, 32), (3, 32, 32)],
        [*down(32), *down(16), *PLAIN, *PLAIN, (128,), (1,)],
    ),
    64: (
        [(2048,), (128, 4, 4), *block(4, 8), *block(8, 16), *block(16, 32), *block(32, 64), (3, 64, 64)],
        [*down(64), *down(32), *down(16), *PLAIN, (128,), (1,)],
    ),
}


@pytest.mark.parametrize("variant", STYLES)
@pytest.mark.parametrize("size", [32, 64])
def test_equals_the_tables_literally(variant, size):
    """Values and gradients of the resampling convolutions and moved skips, against the tables' own order."""
    torch.manual_seed(0)
    style = STYLES[variant]
    g, d = sampler(size=size, style=style).double(), discriminator(size=size, style=style).double()
    for module in (g, d):
        module.eval()  # so that spectral norm's vectors are the same in both passes
    for norm in (block.norm for block in g.blocks):
        norm.train()
        norm.momentum = 0.0
        nn.init.normal_(norm.weight, 1, 0.1)
        nn.init.normal_(norm.bias, 0, 0.1)
    z = torch.randn(2, 128, dtype=torch.double)
    table_g, table_d = TABLES[size]

    seen: list = []
    x, expected = g(z), literal_sampler(g, z, style, seen)
    assert seen == table_g
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-10)
    assert x.abs().max() <= 1
    compare_gradients(x, expected, list(g.parameters()))

    seen = []
    x = torch.randn(2, 3, size, size, dtype=torch.double, requires_grad=True)
    logit, expected = d(x), literal_discriminator(d, x, style, seen)
    assert seen == table_d
    torch.testing.assert_close(logit, expected, rtol=0, atol=1e-10 * max(1, expected.abs().max().item()))
    compare_gradients(logit, expected, [x, *d.parameters()])


def compare_gradients(a: torch.Tensor, b: torch.Tensor, inputs: list) -> None:
    for one, other in zip(*(torch.autograd.grad(t.square().sum(), inputs) for t in (a, b)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10 * max(1, other.abs().max().item()))


# ------------------------------------------------------------------ variants


def skips(module: nn.Module) -> list[bool]:
    """Which blocks have a 1x1 convolution on their skip."""
    return [isinstance(block.skip, nn.Conv2d) for block in module.blocks]


def test_skips():
    """The seed: only blocks that do not resample; the authors: only those that do. A change of channels needs one."""
    assert skips(sampler(8)) == [False] * 3
    assert skips(sampler(8, style=AUTHORS)) == [True] * 3
    assert skips(discriminator(8)) == [True, False, True, True]
    assert skips(discriminator(8, style=AUTHORS)) == [True, True, False, False]


@pytest.mark.parametrize("make", [sampler, discriminator])
def test_biases(make):
    for bias in (True, False):
        module = make(8, style=attrs.evolve(SEED, conv_bias=bias))
        assert {m.bias is not None for m in module.modules() if isinstance(m, nn.Conv2d)} == {bias}
        assert module.linear.bias is not None


@pytest.mark.parametrize("make", [sampler, discriminator])
@pytest.mark.parametrize("spectral", [0, 5])
def test_normal_initialisation(make, spectral):
    """It reaches the weights under the parametrization too."""
    torch.manual_seed(0)
    module = make(64, style=attrs.evolve(SEED, init="normal", spectral_norm=spectral))
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = layer.parametrizations.weight.original if spectral else layer.weight
            assert weight.std().item() == pytest.approx(0.02, rel=0.3)
            assert not layer.bias.any()
    default = make(64)
    assert default.linear.weight.abs().max() > 0.06


@pytest.mark.parametrize("make", [sampler, discriminator])
def test_relu_skip(make):
    """One option, same weights, another function; in the discriminator's first block there is no ReLU to carry."""
    torch.manual_seed(0)
    off, on = make(8), make(8, style=attrs.evolve(SEED, relu_skip=True))
    on.load_state_dict(off.state_dict())
    x = torch.randn(2, 128) if make is sampler else torch.randn(2, 3, 32, 32)
    assert not torch.allclose(off.eval()(x), on.eval()(x))
    if make is discriminator:
        assert torch.equal(off.blocks[0](x), on.blocks[0](x))
        h = torch.randn(2, 8, 16, 16)
        difference = on.blocks[1](h) - off.blocks[1](h)
        torch.testing.assert_close(difference, F.avg_pool2d(F.relu(h) - h, 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [sampler, discriminator])
def test_spectral_norms(make):
    """Every convolution and linear layer of the authors' variant, the resampling ones at their 3x3 weights."""
    torch.manual_seed(0)
    module = make(32, style=AUTHORS)
    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 11
    assert all(len(layer.parametrizations.weight) == 1 for layer in layers)
    for layer in layers:
        torch_own = parametrizations.spectral_norm(nn.Linear(layer.weight[0].numel(), len(layer.weight), bias=False))
        torch_own.parametrizations.weight.original.data = layer.parametrizations.weight.original.detach().flatten(1)
        for _ in range(300):
            weight, own = layer.weight, torch_own.weight
        assert torch.linalg.matrix_norm(weight.detach().flatten(1), ord=2).item() == pytest.approx(1, abs=1e-3)
        torch.testing.assert_close(weight.flatten(1), own, rtol=1e-3, atol=1e-5)
    assert not any(hasattr(m, "parametrizations") for m in make(8).modules())


# ------------------------------------------------------------------ as modules


@pytest.mark.parametrize("variant", STYLES)
@pytest.mark.parametrize("make", [sampler, discriminator])
def test_copies_state_dicts_and_eval(make, variant):
    torch.manual_seed(0)
    module = make(8, style=STYLES[variant])
    x = torch.randn(2, 128) if make is sampler else torch.randn(2, 3, 32, 32)
    module(x)
    twin, other = copy.deepcopy(module), make(8, style=STYLES[variant])
    other.load_state_dict(module.state_dict())
    before = copy.deepcopy(module.state_dict())
    for m in (module, twin, other):
        m.eval()
    assert torch.equal(module(x), module(x))
    assert torch.equal(module(x), twin(x))
    assert torch.equal(module(x), other(x))
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    module.train()(x)
    if variant == "authors" or make is sampler:
        assert any(not torch.equal(before[k], v) for k, v in module.state_dict().items())


@pytest.mark.parametrize("variant", STYLES)
def test_layouts_agree(variant):
    """Channels-last weights and images give what contiguous ones give, and stay channels-last throughout."""
    torch.manual_seed(0)
    g, d = sampler(32, style=STYLES[variant]).eval(), discriminator(32, style=STYLES[variant]).eval()
    z, x = torch.randn(4, 128), torch.randn(4, 3, 32, 32)
    plain = g(z), d(x)
    for module in (g, d):
        module.to(memory_format=torch.channels_last)
        for block in module.blocks:
            block.register_forward_hook(
                lambda _, __, out: (
                    pytest.fail("left channels-last")
                    if not out.is_contiguous(memory_format=torch.channels_last)
                    else None
                )
            )
    torch.testing.assert_close(g(z), plain[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(d(x.contiguous(memory_format=torch.channels_last)), plain[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", STYLES)
def test_bfloat16_autocast(variant):
    """Outputs are float32, near the float32 ones; so are the particles' gradients."""
    torch.manual_seed(0)
    g, d = sampler(64, style=STYLES[variant]).eval(), discriminator(64, style=STYLES[variant]).eval()
    z = torch.randn(4, 128)
    x = torch.rand(4, 3, 32, 32).mul(2).sub(1).requires_grad_()

    def outputs():
        logit = d(x)
        return g(z), logit, torch.autograd.grad(logit.sum(), x)[0]

    exact = outputs()
    with torch.autocast("cpu", torch.bfloat16):
        fast = outputs()
    # Gradients jump where rounding flips a ReLU, in any order of operations: they get a wider bound.
    for one, other, bound in zip(fast, exact, (0.02, 0.02, 0.15), strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() <= bound * other.norm()


@pytest.mark.parametrize("size", [24, 48, 4])
def test_impossible_sizes(size):
    with pytest.raises(ValueError, match="image_size"):
        discriminator(8, size=size)


def test_images_that_are_not_square():
    g, d = sampler(4, size=(16, 24)), discriminator(4, size=(16, 24))
    z = torch.randn(2, 128)
    assert shapes_of(g, z)["blocks.0"] == (4, 8, 12)
    x = g(z)
    assert x.shape == (2, 3, 16, 24)
    assert shapes_of(d, x)["blocks"] == (4, 8, 12)
    assert d(x).shape == (2,)


# ------------------------------------------------------------------ perceptrons


VECTOR = DataShape("vector", (2,))


def test_an_affine_sampler_begins_at_the_latent_moved():
    part = AffineSampler(start=(1.0, -2.0))
    net = part.build(VECTOR)
    assert sum(p.numel() for p in net.parameters()) == 6
    z = torch.randn(5, 2)
    torch.testing.assert_close(net(z), z + torch.tensor([1.0, -2.0]))
    assert "start has 3 numbers, the data 2" in list(AffineSampler(start=(0.0,) * 3).check(VECTOR))


def test_widths_are_the_hidden_layers_by_themselves():
    net = MlpDiscriminator(widths=(512, 256), activation="leaky_relu").build(VECTOR)
    assert [tuple(p.shape) for p in net.parameters()][::2] == [(512, 2), (256, 512), (1, 256)]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh"])
def test_mlp(activation):
    torch.manual_seed(0)
    net = Mlp(2, 5, width=7, depth=3, activation=activation)
    assert sum(p.numel() for p in net.parameters()) == 3 * 7 + 2 * 8 * 7 + 8 * 5
    x = torch.randn(6, 2)
    assert net(x).shape == (6, 5)
    act = {"relu": torch.relu, "leaky_relu": lambda t: F.leaky_relu(t, 0.2), "tanh": torch.tanh}[activation]
    h = x
    for layer in list(net.layers)[:-1:2]:
        h = act(layer(h))
    torch.testing.assert_close(net(x), net.layers[-1](h))
    logit = MlpLogit(2, width=7, depth=1, activation=activation)
    assert logit(x).shape == (6,)
    assert logit(x, None).requires_grad
