"""The networks against Tables 3-8, pinned parameter counts, and the literal order of operations."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gflow_core import DataShape, Mlp, MlpLogit, SelfAttention
from gflow_core.optim.replicas import stack
from gflow_far.parts import MlpDiscriminator, MlpSampler, ResnetDiscriminator, ResnetSampler
from gflow_far.resnet import Block, Discriminator, Sampler

# Tables 5 to 8 as printed: (feature maps in, between, out) of a block, None for a resampling.
CIFAR_G = [(512, 256, 256), None, (256, 128, 128), None, (128, 64, 64), None, (64, 64, 64)]
CIFAR_D = [(64, 64, 128), None, (128, 128, 256), None, (256, 256, 512), None]
IMAGENET_G = [
    *[(1024, 1024, 1024), (1024, 1024, 1024), None],
    *[(1024, 512, 512), (512, 512, 512), None],
    *[(512, 256, 256), (256, 256, 256), None],
    *[(256, 128, 128), (128, 128, 128), None],
    *[(128, 64, 64), (64, 64, 64)],
]
IMAGENET_D = [
    *[(64, 64, 64), (64, 64, 128), None],
    *[(128, 128, 128), (128, 128, 256), None],
    *[(256, 256, 256), (256, 256, 512), None],
    *[(512, 512, 512), (512, 512, 1024), None],
    *[(1024, 1024, 1024), (1024, 1024, 1024)],
]
TABLES = {("cifar", 32): (CIFAR_G, CIFAR_D), ("imagenet", 64): (IMAGENET_G, IMAGENET_D)}


def image(size, channels=3, **labels):
    return DataShape("image", (channels, size, size), -1.0, 1.0, **labels)


def count(module):
    return sum(p.numel() for p in module.parameters())


# ------------------------------------------------------------------ Tables 5 to 8


@pytest.mark.parametrize(
    ("table", "size", "latent", "g", "d"),
    [("cifar", 32, 128, 3_627_715, 2_505_793), ("imagenet", 64, 256, 58_332_611, 54_139_329)],
)
def test_parameter_counts(table, size, latent, g, d):
    with torch.device("meta"):
        assert count(Sampler(latent, 3, size, per_level=1 + (table == "imagenet"))) == g
        assert count(Discriminator(3, size, per_level=1 + (table == "imagenet"))) == d
    assert ResnetSampler().latent.dim == 128


def shapes_of(module, x):
    """Name of every layer and block -> shape of its output, without the batch."""
    shapes = {}
    for name, layer in module.named_modules():
        layer.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    with torch.no_grad():
        module(x)
    return shapes


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(("table", "size"), TABLES)
def test_every_shape_is_the_tables(table, size, images):
    """A quarter of the tables' feature maps. A resampling of the tables happens in the block beside it."""
    rows_g, rows_d = TABLES[table, size]
    width, options = 16, {"table": table, "channels": 16}
    g = ResnetSampler(**options).build(image(size, images))
    shapes = shapes_of(g, torch.randn(1, 128))
    assert shapes["linear"] == (rows_g[0][0] * width // 64 * 16,)
    side, i = 4, 0
    for row in rows_g:
        if row is None:
            side *= 2
            continue
        inputs, hidden, outputs = (n * width // 64 for n in row)
        block = g.blocks[i]
        assert block.conv1.weight.shape == (hidden, inputs, 3, 3)
        assert block.conv2.weight.shape == (outputs, hidden, 3, 3)
        assert shapes[f"blocks.{i}.conv1"] == (hidden, side, side)
        assert shapes[f"blocks.{i}.conv2"] == shapes[f"blocks.{i}"] == (outputs, side, side)
        assert isinstance(block.skip, nn.Conv2d if inputs != outputs else nn.Identity)
        i += 1
    assert len(g.blocks) == i
    assert side == size
    assert shapes["conv"] == shapes[""] == (images, size, size)

    d = ResnetDiscriminator(**options).build(image(size, images))
    shapes = shapes_of(d, torch.randn(1, images, size, size))
    assert shapes["conv"] == (width, size, size)
    i = 0
    for row, after in zip(rows_d, [*rows_d[1:], ()], strict=True):
        if row is None:
            continue
        inputs, hidden, outputs = (n * width // 64 for n in row)
        block = d.blocks[i]
        assert block.conv1.weight.shape == (hidden, inputs, 3, 3)
        assert block.conv2.weight.shape == (outputs, hidden, 3, 3)
        assert shapes[f"blocks.{i}.conv1"] == (hidden, side, side)
        side //= 2 if after is None else 1
        assert shapes[f"blocks.{i}.conv2"] == shapes[f"blocks.{i}"] == (outputs, side, side)
        assert isinstance(block.skip, nn.Conv2d if inputs != outputs else nn.Identity)
        i += 1
    assert len(d.blocks) == i
    assert side == 4
    assert d.linear.in_features == rows_d[-2 if rows_d[-1] is None else -1][2] * width // 64 * 16
    assert shapes[""] == ()


def test_biases():
    """Linear layers and 3x3 convolutions have them, skips do not; nothing is normalised."""
    for module in (Sampler(8, 3, 16, channels=4), Discriminator(3, 16, channels=4)):
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                assert (layer.bias is None) == (layer.weight.shape[2:] == (1, 1))
        assert not list(module.buffers())


def test_the_rule_at_other_sizes():
    """Feature maps double as the side halves, up to max_channels, and the whole is the tables' with levels added."""
    g, d = Sampler(16, 3, 128, channels=4, max_channels=64), Discriminator(3, 128, channels=4, max_channels=64)
    assert [b.conv2.out_channels for b in g.blocks] == [64, 32, 16, 8, 4, 4]
    assert [b.conv2.out_channels for b in d.blocks] == [8, 16, 32, 64, 64]
    assert isinstance(d.blocks[-1].skip, nn.Identity)
    assert g.linear.out_features == d.linear.in_features == 64 * 16
    g, d = Sampler(16, 3, 16, channels=4, per_level=2), Discriminator(3, 16, channels=4, per_level=2)
    assert [b.conv2.out_channels for b in g.blocks] == [16, 16, 8, 8, 4, 4]
    assert [b.conv2.out_channels for b in d.blocks] == [4, 8, 8, 16, 16, 16]


# ------------------------------------------------------------------ the literal order


def conv(layer, x):
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)


def literal(block, x):
    """A block of the tables: skip + 0.1 conv(act(conv(act(x)))), with no resampling in it."""
    h = conv(block.conv2, F.leaky_relu(conv(block.conv1, F.leaky_relu(x, 0.2)), 0.2))
    return (conv(block.skip, x) if isinstance(block.skip, nn.Conv2d) else x) + 0.1 * h


def literal_sampler(g, z, rows):
    """Tables 5 and 7 line by line, with g's weights."""
    x, blocks = g.linear(z).view(len(z), 4, 4, -1).permute(0, 3, 1, 2), iter(g.blocks)
    for row in rows:
        x = F.interpolate(x, scale_factor=2, mode="nearest") if row is None else literal(next(blocks), x)
    return torch.tanh(conv(g.conv, F.leaky_relu(x, 0.2)))


def window_means(x, side):
    """Means over windows of 2x2, or of 3x3 that begin a pixel earlier, zeros beyond the edge counted."""
    if side == 2:
        return F.avg_pool2d(x, 2)
    padded = F.pad(x, (1, 1, 1, 1))
    height, width = x.shape[2:]
    return sum(padded[:, :, i : i + height : 2, j : j + width : 2] for i in range(3) for j in range(3)) / 9


def literal_discriminator(d, x, rows, pool):
    """Tables 6 and 8 line by line, with d's weights."""
    x, blocks = conv(d.conv, x), iter(d.blocks)
    for row in rows:
        x = window_means(x, pool) if row is None else literal(next(blocks), x)
    return d.linear(F.leaky_relu(x, 0.2).permute(0, 2, 3, 1).reshape(len(x), -1)).squeeze(1)


@pytest.mark.parametrize(("table", "size"), TABLES)
def test_samplers_are_the_tables(table, size):
    """Values and gradients, in float64."""
    torch.manual_seed(0)
    g = ResnetSampler(table=table, channels=4).build(image(size)).double()
    z = torch.randn(2, 128, dtype=torch.double)
    a, b = g(z), literal_sampler(g, z, TABLES[table, size][0])
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(x.square().sum(), list(g.parameters())) for x in (a, b)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("pool", [2, 3])
@pytest.mark.parametrize(("table", "size"), TABLES)
def test_discriminators_are_the_tables(table, size, pool):
    """Values, gradients, and those of a penalty on the gradient in x, in float64."""
    torch.manual_seed(0)
    d = ResnetDiscriminator(table=table, channels=4, pool=pool).build(image(size)).double()
    x = torch.randn(2, 3, size, size, dtype=torch.double, requires_grad=True)
    found = []
    for logit in (d(x), literal_discriminator(d, x, TABLES[table, size][1], pool)):
        (slope,) = torch.autograd.grad(logit.sum(), x, create_graph=True)
        penalty = slope.square().sum()
        # The last layer's bias does not move the slope.
        gradients = torch.autograd.grad(penalty + logit.square().sum(), list(d.parameters()))
        found.append([logit, slope, penalty, *gradients])
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-12)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_second_derivatives():
    """Of whole blocks, against finite differences of the first ones."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 4, dtype=torch.double, requires_grad=True)
    for resample, pool in (("up", 2), ("down", 2), ("down", 3), ("none", 2)):
        assert torch.autograd.gradgradcheck(Block(3, 2, resample, scale=0.1, slope=0.2, pool=pool).double(), x)


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_gradients_are_finite(size):
    torch.manual_seed(0)
    g = ResnetSampler(channels=2).build(image(size, 1))
    d = ResnetDiscriminator(channels=2).build(image(size, 1))
    x = g(torch.randn(2, 128))
    assert x.shape == (2, 1, size, size)
    assert x.abs().max() <= 1
    logit = d(x)
    (slope,) = torch.autograd.grad(logit.sum(), x, create_graph=True)
    gradients = torch.autograd.grad((slope.square().sum() + logit.sum()), [*g.parameters(), *d.parameters()])
    assert all(p.isfinite().all() for p in gradients)
    assert sum(bool(p.any()) for p in gradients) > 0.9 * len(gradients)


def test_the_pools_have_the_same_weights():
    """pool = 3 is the public code's AvgPool2d(3, stride=2, padding=1)."""
    networks = []
    for pool in (2, 3):
        torch.manual_seed(0)
        networks.append(Discriminator(3, 16, channels=4, pool=pool))
    one, other = networks
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(window_means(x, 3), nn.AvgPool2d(3, stride=2, padding=1)(x))
    assert (one(x) != other(x)).all()


# ------------------------------------------------------------------ by option


@pytest.mark.parametrize("part", [ResnetSampler, ResnetDiscriminator])
@pytest.mark.parametrize(("table", "size"), TABLES)
def test_where_attention_stands(table, size, part):
    """Behind the last block that leaves maps of its side; D's first maps come from a convolution."""
    every = [4 << j for j in range((size // 4).bit_length())]
    module, plain = (part(table=table, channels=4, attention=sides).build(image(size)) for sides in (tuple(every), ()))
    looks = [i for i, layer in enumerate(module.blocks) if isinstance(layer, SelfAttention)]
    inside = {id(value) for i in looks for value in module.blocks[i].state_dict(keep_vars=True).values()}
    outside = [value for value in module.state_dict(keep_vars=True).values() if id(value) not in inside]
    plain.load_state_dict(dict(zip(plain.state_dict(), outside, strict=True)))
    # Before it has learned anything it is not seen.
    given = torch.randn(1, 128) if part is ResnetSampler else torch.randn(1, 3, size, size)
    torch.testing.assert_close(module(given), plain(given), rtol=0, atol=0)
    sides = []
    for layer in module.blocks:
        layer.register_forward_hook(lambda _, __, out: sides.append(out.shape[2]))
    module(given)
    assert [sides[i] for i in looks] == sorted(every, reverse=part is ResnetDiscriminator)
    assert all(side not in sides[i + 1 :] for i, side in enumerate(sides) if i in looks)


def test_spectral_norm_is_on_every_layer():
    shape = image(16, classes=3)
    for part in (ResnetSampler, ResnetDiscriminator):
        module = part(channels=4, spectral_norm=1, attention=(8,), conditional=True).build(shape)
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        assert all(parametrize.is_parametrized(layer, "weight") for layer in layers)
        given = torch.randn(2, 128) if part is ResnetSampler else torch.randn(2, 3, 16, 16)
        with torch.no_grad():
            for _ in range(300):
                module(given, torch.tensor([0, 1]))
        for layer in layers:
            value = torch.linalg.matrix_norm(layer.eval().weight.flatten(1), ord=2).item()
            assert value == pytest.approx(1, abs=0.02)


def test_classes_as_the_public_code_reads_them():
    """A vector of length 1 for each stands beside z; each has a last layer of its own."""
    torch.manual_seed(0)
    shape = image(16, classes=3)
    g = ResnetSampler(channels=4, conditional=True, label_width=6).build(shape)
    plain = Sampler(128 + 6, 3, 16, channels=4)
    plain.load_state_dict({name: value for name, value in g.state_dict().items() if not name.startswith("label")})
    z, y = torch.randn(4, 128), torch.tensor([0, 2, 1, 0])
    vectors = F.embedding(y, g.label.embed.weight.T)
    torch.testing.assert_close(g(z, y), plain(torch.cat([z, vectors / vectors.norm(dim=1, keepdim=True)], 1)))

    d = ResnetDiscriminator(channels=4, conditional=True).build(shape)
    x = torch.randn(4, 3, 16, 16)
    phi = F.leaky_relu(d.blocks(d.conv(x)), 0.2).permute(0, 2, 3, 1).flatten(1)
    rows = phi @ (d.linear.weight + d.projection.embed.weight.T).T + d.linear.bias  # a logit for each class
    torch.testing.assert_close(d(x, y), rows[range(4), y])


def test_real_labels_stand_beside_z_by_their_size():
    g = ResnetSampler(channels=4, conditional=True).build(image(16, conditions=("a", "b")))
    assert g.linear.in_features == 128 + 256
    y = torch.randn(3, 2)
    torch.testing.assert_close(g.label(2 * y, y), 2 * g.label(y, y))


@pytest.mark.parametrize("labels", [{"classes": 3}, {"conditions": ("a", "b", "c")}])
def test_labels_move_their_own_items_and_learn(labels):
    """With every option on; penalties train all that can move the slope."""
    torch.manual_seed(0)
    options = {"channels": 4, "conditional": True, "spectral_norm": 1, "attention": (8,)}
    g = ResnetSampler(label_width=6, **options).build(image(16, **labels))
    d = ResnetDiscriminator(pool=3, **options).build(image(16, **labels))
    for layer in (*g.modules(), *d.modules()):
        if isinstance(layer, SelfAttention):
            nn.init.ones_(layer.gamma)
    y, other = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 2, 2, 0])
    if "conditions" in labels:
        y, other = (1.5 * F.one_hot(labels, 3) - 0.5 for labels in (y, other))
    z = torch.randn(4, 128)
    x = g(z, y).detach().requires_grad_()
    for module, given in ((g.eval(), z), (d.eval(), x)):
        changed = [bool((a != b).any()) for a, b in zip(module(given, y), module(given, other), strict=True)]
        assert changed == [False, True, False, False]
    logit = d.train()(x, y)
    (slope,) = torch.autograd.grad(logit.sum(), x, create_graph=True)
    gradients = [
        *torch.autograd.grad(logit.sum() + slope.square().sum(), list(d.parameters())),
        *torch.autograd.grad(g.train()(z, y).square().sum(), list(g.parameters())),
    ]
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


# ------------------------------------------------------------------ as modules


def pair(channels=8, size=32):
    torch.manual_seed(0)
    return Sampler(128, 3, size, channels=channels), Discriminator(3, size, channels=channels)


def test_layouts_agree():
    """Channels-last weights and images give what contiguous ones give, and stay channels-last throughout."""
    g, d = pair(16)
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


def test_bfloat16_autocast():
    """Outputs are float32, near the float32 ones; so is the gradient in x, and it can be differentiated again."""
    g, d = pair(16)
    z, x = torch.randn(4, 128), torch.rand(4, 3, 32, 32).mul(2).sub(1).requires_grad_()

    def outputs():
        logit = d(x)
        (slope,) = torch.autograd.grad(logit.sum(), x, create_graph=True)
        penalty = slope.square().sum()
        return g(z), logit, slope, torch.autograd.grad(penalty, d.conv.weight)[0]

    exact = outputs()
    with torch.autocast("cpu", torch.bfloat16):
        fast = outputs()
    for one, other, bound in zip(fast, exact, (0.02, 0.02, 0.1, 0.2), strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() <= bound * other.norm()


def test_the_input_is_left_alone():
    """What is overwritten inside is nobody else's."""
    for module, x in zip(pair(), (torch.randn(2, 128), torch.randn(2, 3, 32, 32)), strict=True):
        before = x.clone()
        first = module(x)
        assert torch.equal(x, before)
        assert torch.equal(module(x), first)
        twin = copy.deepcopy(module)
        assert torch.equal(twin(x), first)
    block = Block(4, 4, "none", scale=0.1, slope=0.2)
    x = torch.randn(1, 4, 8, 8)
    before = x.clone()
    block(x)
    assert torch.equal(x, before)


def test_residual_scale_and_slope():
    """Scale 0 leaves the skips; slope 1 leaves nothing but linear maps."""
    torch.manual_seed(0)
    d = Discriminator(3, 16, channels=4, residual_scale=0.0)
    x = torch.randn(2, 3, 16, 16)
    skips = F.conv2d(
        F.avg_pool2d(F.conv2d(F.avg_pool2d(d.conv(x), 2), d.blocks[0].skip.weight), 2), d.blocks[1].skip.weight
    )
    logit = d.linear(F.leaky_relu(skips, 0.2).permute(0, 2, 3, 1).flatten(1)).squeeze(1)
    torch.testing.assert_close(d(x), logit)
    linear = Discriminator(3, 16, channels=4, slope=1.0)
    one, other, both = linear(x), linear(-x), linear(torch.zeros_like(x))
    torch.testing.assert_close(one + other, 2 * both)


@pytest.mark.parametrize("size", [24, 4, 30, (16, 30)])
def test_impossible_sizes(size):
    with pytest.raises(ValueError, match="image_size"):
        Discriminator(3, size)


def test_images_that_are_not_square():
    """Maps of the image's aspect ratio; an attention's side is the shorter one."""
    data = DataShape("image", (3, 16, 24), -1.0, 1.0)
    for table in ("cifar", "imagenet"):
        g, d = (part(table=table, channels=4, attention=(8,)) for part in (ResnetSampler, ResnetDiscriminator))
        assert [*g.check(data), *d.check(data)] == []
        g, d = g.build(data), d.build(data)
        x = g(torch.randn(2, 128))
        assert x.shape == (2, *data.shape)
        assert d(x).shape == (2,)
        for module, inputs in ((g, torch.randn(2, 128)), (d, x)):
            names = [name for name, layer in module.named_modules() if isinstance(layer, SelfAttention)]
            shapes = shapes_of(module, inputs)
            assert [shapes[name][1:] for name in names] == [(8, 12)]


# ------------------------------------------------------------------ perceptrons


def test_mlps_are_the_tables():
    plane = DataShape("vector", (2,))
    g, d = MlpSampler().build(plane), MlpDiscriminator().build(plane)
    assert (count(g), count(d)) == (8_642, 8_577)
    assert [tuple(p.shape) for p in g.parameters() if p.dim() == 2] == [(64, 2), (64, 64), (64, 64), (2, 64)]
    assert [tuple(p.shape) for p in d.parameters() if p.dim() == 2] == [(64, 2), (64, 64), (64, 64), (1, 64)]
    x = torch.randn(5, 2)
    h = x
    for layer in d.layers[:-1:2]:
        h = layer(h).relu()
    torch.testing.assert_close(d(x), d.layers[-1](h)[:, 0])
    assert g(x, None).shape == (5, 2)
    assert count(Mlp(3, 4, width=5, depth=1)) == 3 * 5 + 5 + 5 * 4 + 4


def test_many_mlps_at_once():
    """Stacked layers, or parameters under vmap, give what the networks give one by one, with penalties."""
    torch.manual_seed(0)
    networks = [MlpLogit(2, width=8, depth=3) for _ in range(3)]
    parameters, buffers = stack_module_state(networks)
    assert not buffers
    x = torch.randn(3, 5, 2)

    def penalty(parameters, x):
        def logit(x):
            return functional_call(networks[0], parameters, (x,)).sum()

        return torch.func.grad(logit)(x).square().sum()

    def wanted(network, x):
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network(x).sum(), x)
        return slope.square().sum()

    together = vmap(lambda p, x: functional_call(networks[0], p, (x,)))(parameters, x)
    torch.testing.assert_close(together, torch.stack([net(a) for net, a in zip(networks, x, strict=True)]))
    torch.testing.assert_close(stack("discriminator", networks, x[0])(x), together)
    found = vmap(penalty)(parameters, x)
    torch.testing.assert_close(found, torch.stack([wanted(net, a) for net, a in zip(networks, x, strict=True)]))


# ------------------------------------------------------------------ checks


def test_checks():
    plane = DataShape("vector", (2,))
    bounded = DataShape("image", (3, 32, 32), 0.0, 1.0)
    for part in (MlpSampler(), MlpDiscriminator()):
        assert list(part.check(plane)) == []
        assert "far.resnet works on images" in " ".join(part.check(image(32)))
        assert "needs a [dataset]" in " ".join(part.check(None))
    for part in (ResnetSampler(), ResnetDiscriminator(table="imagenet")):
        assert list(part.check(image(64))) == []
        assert "far.mlp works on vectors" in " ".join(part.check(plane))
        assert "needs a [dataset]" in " ".join(part.check(None))
        assert "set dataset.image_size" in " ".join(part.check(image(48)))
        assert "set dataset.image_size" in " ".join(part.check(DataShape("image", (3, 32, 36), -1.0, 1.0)))
    assert "tanh" in " ".join(ResnetSampler().check(bounded))
    assert list(ResnetDiscriminator().check(bounded)) == []
    for part in (ResnetSampler, ResnetDiscriminator):
        (message,) = part(attention=(32, 64)).check(image(32))
        assert message == "attention = 64: no maps have this side; at this image_size they have 4, 8, 16 or 32 pixels"
        assert list(part(conditional=True, attention=(4,)).check(image(32, classes=3))) == []
    for bad in ({"channels": 0}, {"slope": -0.1}, {"max_channels": 0}, {"spectral_norm": -1}, {"label_width": 0}):
        with pytest.raises(ValueError, match="must be"):
            ResnetSampler(**bad)
