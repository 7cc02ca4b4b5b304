"""The networks against the paper's numbers, slow versions of themselves, and what labels must do."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gflow_cgan.mlp import BoundedLinear, Dropout, Maxout
from gflow_cgan.parts import ConvDiscriminator, ConvSampler, MlpDiscriminator, MlpSampler
from gflow_core import ConditionalBatchNorm2d, DataShape, RecipeError, SelfAttention
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build

DIGITS = DataShape("image", (1, 28, 28), -1.0, 1.0, classes=10)
SMALL = DataShape("image", (1, 16, 16), -1.0, 1.0, classes=10)
FACES = DataShape("image", (3, 16, 16), -1.0, 1.0, conditions=("Smiling", "Male"))
BOX = DataShape("vector", (5,), 0.0, 3.0, classes=4)
JOINS = [(join, width) for join in ("layer", "planes") for width in (None, 7)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def count(module):
    return sum(p.numel() for p in module.parameters())


def items(shape, n=4):
    low, high = (-1.0, 1.0) if shape.low is None else (shape.low, shape.high)
    return torch.rand(n, *shape.shape) * (high - low) + low


def labels(shape, n=4):
    """Different ones, of the kind that the data has."""
    return torch.arange(n) % shape.classes if shape.classes else torch.randn(n, shape.label_size)


def shapes_of(module, *given):
    """Name of every layer -> shape of its output, without the batch."""
    shapes = {}
    for name, layer in module.named_modules():
        layer.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    with torch.no_grad():
        module.eval()(*given)
    return shapes


def small(part, **options):
    """A part with narrow layers."""
    sizes = {"width": 4} if part in (ConvSampler, ConvDiscriminator) else {"width": 16, "label_width": 8}
    return part(**sizes | options)


# ------------------------------------------------------------------ the paper's networks


def test_parameter_counts():
    with torch.device("meta"):
        assert count(MlpSampler().build(DIGITS)) == 2_413_984
        assert count(MlpDiscriminator().build(DIGITS)) == 1_224_351
        assert count(MlpSampler(conditional=False).build(DIGITS)) == 1_202_984  # without what reads y
        assert count(MlpDiscriminator(conditional=False).build(DIGITS)) == 1_173_601


def test_every_layer_is_the_papers():
    g, d = MlpSampler(), MlpDiscriminator()
    seen = shapes_of(g.build(DIGITS), torch.rand(2, 100), labels(DIGITS, 2))
    wide = {"latent": (200,), "label": (1000,), "joint": (1200,), "out": (784,), "": (1, 28, 28)}
    assert {name: seen[name] for name in wide} == wide
    seen = shapes_of(d.build(DIGITS), items(DIGITS, 2), labels(DIGITS, 2))
    assert seen[""] == ()
    # Its layers have items as columns.
    tall = {"item.0.linear": 1200, "label.0.linear": 250, "joint.0.linear": 960}
    tall |= {"item": 240, "label": 50, "joint": 240, "logit": 1}
    rows = {}
    for name, layer in (built := d.build(DIGITS)).named_modules():
        layer.register_forward_hook(lambda _, __, out, name=name: rows.update({name: len(out)}))
    built(items(DIGITS, 2), labels(DIGITS, 2))
    assert {name: rows[name] for name in tall} == tall


def test_the_latent_is_uniform_on_the_unit_cube():
    z = MlpSampler().latent.draw(1000, torch.Generator().manual_seed(0))
    assert z.shape == (1000, 100)
    assert 0 <= z.min() < 0.01
    assert 0.99 < z.max() <= 1


def test_maxout_is_the_largest_of_its_pieces():
    layer, x = Maxout(5, 4, 3).double(), torch.randn(5, 2, dtype=torch.double, requires_grad=True)
    w, b = layer.linear.weight.view(4, 3, 5), layer.linear.bias.view(4, 3)
    for unit, item in torch.cartesian_prod(torch.arange(4), torch.arange(2)).tolist():
        slow = max((w[unit, k] @ x[:, item] + b[unit, k]).item() for k in range(3))
        assert layer(x)[unit, item].item() == pytest.approx(slow, abs=1e-12)
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)
    with torch.no_grad():
        layer.linear.weight.copy_(layer.linear.weight[:1].clone())
    (slope,) = torch.autograd.grad(layer(x).sum(), x)  # pieces that tie share the gradient
    torch.testing.assert_close(slope, 4 * layer.linear.weight[0].unsqueeze(1).expand(5, 2))


def test_long_weight_vectors_are_shortened():
    layer, x = BoundedLinear(3, 2, 1.5).double(), torch.randn(4, 3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 0.0, 4.0], [0.3, -0.4, 0.0]]))  # norms 5 and 0.5
    kept = torch.stack([0.3 * layer.weight[0], layer.weight[1]])
    torch.testing.assert_close(layer(x.T), (x @ kept.T + layer.bias).T)

    def bounded(*given):
        return torch.func.functional_call(layer, dict(zip(("weight", "bias"), given[:2], strict=True)), given[2])

    given = layer.weight, layer.bias, x.T.clone().requires_grad_()
    assert torch.autograd.gradcheck(bounded, given)
    assert torch.autograd.gradgradcheck(bounded, given)
    d = MlpDiscriminator(max_norm=0.3, init_range=10.0).build(BOX)
    bounded = [module for module in d.modules() if isinstance(module, nn.Linear)]
    assert len(bounded) == 4
    assert all(isinstance(module, BoundedLinear) and module.max_norm == 0.3 for module in bounded)


def test_the_mlps_written_out():
    """Without dropout, in float64, from the weights of the layers in turn."""
    z, y = torch.rand(4, 100).double(), labels(BOX)
    g = MlpSampler(z_width=3, label_width=4, width=5).build(BOX).double().eval()
    (wz, bz, wy, by, wj, bj, wo, bo), hot = g.parameters(), torch.eye(4).double()[y]
    h = torch.cat([(z @ wz.T + bz).relu(), (hot @ wy.T + by).relu()], 1)
    torch.testing.assert_close(g(z, y), 3 / (1 + torch.exp(-((h @ wj.T + bj).relu() @ wo.T + bo))))

    d = MlpDiscriminator(x_width=3, x_pieces=2, label_width=4, width=5, pieces=3, init_range=1.0)
    d = d.build(BOX).double().eval()
    x = items(BOX).double()
    wx, bx, wy, by, wj, bj, wo, bo = d.parameters()

    def most(t, pieces):
        return torch.stack([t[:, k::pieces] for k in range(pieces)]).amax(0)

    h = torch.cat([most(x / 3 @ wx.T + bx, 2), most(hot @ wy.T + by, 5)], 1)
    torch.testing.assert_close(d(x, y), (most(h @ wj.T + bj, 3) @ wo.T + bo)[:, 0])


def test_initial_weights():
    """The sampler's keep the size of what passes through; the discriminator's are small."""
    for part, r in ((MlpSampler(), None), (MlpDiscriminator(), 0.005), (MlpSampler(init_range=0.02), 0.02)):
        for layer in part.build(DIGITS).modules():
            if isinstance(layer, nn.Linear):
                bound = r or (6 / layer.in_features) ** 0.5
                assert not layer.bias.any()
                assert layer.weight.abs().max() <= bound
                assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)


def test_dropout_is_for_hidden_layers_in_training():
    z, x, y = torch.rand(4, 100), items(DIGITS), labels(DIGITS)
    for part, given in ((MlpSampler, z), (MlpDiscriminator, x)):
        module = part().build(DIGITS)
        assert not torch.equal(module(given, y), module(given, y))
        module.eval()
        assert torch.equal(module(given, y), module(given, y))
        assert not part(dropout=0.0).build(DIGITS)(given, y).isnan().any()
        # The hidden layers' outputs, those of the first two at once: half of them 0, the others doubled.
        seen = []
        for layer in module.train().modules():
            if isinstance(layer, nn.Dropout):
                layer.register_forward_hook(lambda _, given, out, seen=seen: seen.append((*given, out)))
        module(given, y)
        assert len(seen) == 2
        for before, after in seen:
            dropped = (after == 0) & (before != 0)
            assert 0.3 < dropped.sum() / (before != 0).sum() < 0.7
            torch.testing.assert_close(after[~dropped], 2 * before[~dropped])


@pytest.mark.parametrize("p", [0.25, 0.5, 0.3])  # 0.3 is no whole number of 256ths
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dropout_drops_its_share(p, dtype):
    out = Dropout(p)(torch.ones(999, 101, dtype=dtype))
    dropped = out == 0
    assert dropped.double().mean().item() == pytest.approx(p, abs=0.01)  # seven standard deviations
    assert dropped.double().mean(0).std() == pytest.approx((p * (1 - p) / 999) ** 0.5, rel=0.4)
    torch.testing.assert_close(out[~dropped], torch.full_like(out[~dropped], 1 / (1 - p)))


def test_items_are_judged_each_by_itself():
    d = MlpDiscriminator(init_range=0.5).build(DIGITS).double().eval()
    x, y = items(DIGITS, 6).double(), labels(DIGITS, 6)
    torch.testing.assert_close(d(x, y), torch.cat([d(x[:2], y[:2]), d(x[2:], y[2:])]))


# ------------------------------------------------------------------ every network


@pytest.mark.parametrize("part", [MlpSampler, ConvSampler])
@pytest.mark.parametrize("shape", [SMALL, FACES], ids=["classes", "conditions"])
def test_samples_lie_in_the_datas_range(part, shape):
    module = small(part).build(shape).eval()
    for p in module.parameters():
        p.data *= 30  # so that the range is filled
    x = module(torch.randn(8, 100), labels(shape, 8))
    assert x.shape == (8, *shape.shape)
    assert -1 <= x.min() < -0.9
    assert 0.9 < x.max() <= 1


def test_vectors_keep_their_own_range():
    module = small(MlpSampler, init_range=3.0).build(BOX).eval()
    x = module(torch.rand(100, 100), labels(BOX, 100))
    assert x.shape == (100, 5)
    assert 0 <= x.min() < 0.3
    assert 2.7 < x.max() <= 3


NETWORKS = (
    [(part, {}) for part in (MlpSampler, MlpDiscriminator)]
    + [
        (part, {"join": join, "label_width": width})
        for part in (ConvSampler, ConvDiscriminator)
        for join, width in JOINS
    ]
    + [(ConvDiscriminator, {"join": "projection", "label_width": width}) for width in (None, 7)]
)


@pytest.mark.parametrize("shape", [SMALL, FACES], ids=["classes", "conditions"])
@pytest.mark.parametrize(("part", "options"), NETWORKS, ids=str)
def test_labels_move_the_output_and_learn(part, options, shape):
    module = small(part, **options).build(shape).eval()
    sampler = part in (MlpSampler, ConvSampler)
    given = torch.rand(1, 100).expand(4, -1) if sampler else items(shape, 1).expand(4, -1, -1, -1)
    out = module(given, y := labels(shape))
    assert out.shape == ((4, *shape.shape) if sampler else (4,))
    for one in range(3):
        assert not torch.equal(out[one], out[one + 1])
    if shape.classes:  # a class is the vector that has 1 at its place
        torch.testing.assert_close(module(given, F.one_hot(y, 10).float()), out)
    out.square().sum().backward()
    for name, p in module.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all()
        if name.startswith("label"):
            assert p.grad.any(), name


@pytest.mark.parametrize(("part", "options"), NETWORKS, ids=str)
def test_bf16_gives_float32(part, options):
    """Logits keep the digits of float32: some differ by less than bf16 resolves."""
    module = small(part, **options).build(SMALL).eval()
    given = torch.rand(64, 100) if part in (MlpSampler, ConvSampler) else items(SMALL, 64)
    y = labels(SMALL, 64)
    plain = module(given, y)
    with torch.autocast("cpu", torch.bfloat16):
        out = module(given, y)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, plain, rtol=0.1, atol=0.05)
    if part in (MlpDiscriminator, ConvDiscriminator):
        assert (out != out.bfloat16()).any()


def test_second_derivatives_for_gradient_penalties():
    for part in (MlpDiscriminator, ConvDiscriminator):
        module = small(part).build(SMALL).double().eval()
        x = items(SMALL, 2).double().requires_grad_()
        (slope,) = torch.autograd.grad(module(x, labels(SMALL, 2)).sum(), x, create_graph=True)
        slope.square().sum().backward()
        assert any(p.grad is not None and p.grad.any() for p in module.parameters())


# ------------------------------------------------------------------ convolutions


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_every_map_is_the_guidelines(size):
    """64 px at width 128 are DCGAN's 1024, 512, 256, 128; here a 64th of that."""
    shape = DataShape("image", (3, size, size), -1.0, 1.0, classes=5)
    widths = [min(2 * 2**j, 16) for j in range(size.bit_length() - 3)]
    g = ConvSampler(width=2, max_width=16, join="planes").build(shape)
    seen = shapes_of(g, torch.rand(2, 100), labels(shape, 2))
    assert seen["start"] == (widths[-1], 4, 4)
    for i, w in enumerate([*widths[-2::-1], 3]):
        assert seen[f"blocks.{i}"] == (w, 8 << i, 8 << i)
    assert g.blocks[0][0].in_channels == widths[-1] + 5
    d = ConvDiscriminator(width=2, max_width=16).build(shape)
    seen = shapes_of(d, items(shape, 2), labels(shape, 2))
    for i, w in enumerate(widths):
        assert seen[f"blocks.{i}"] == (w, size >> i + 1, size >> i + 1)
    assert d.blocks[0][0].in_channels == 3 + 5


@pytest.mark.parametrize(("join", "label_width"), JOINS)
def test_where_labels_join(join, label_width):
    extra = label_width or 10
    g = ConvSampler(width=4, join=join, label_width=label_width).build(SMALL)
    assert g.linear.in_features == 100 + (extra if join == "layer" else 0)
    assert g.blocks[0][0].in_channels == 8 + (extra if join == "planes" else 0)
    d = ConvDiscriminator(width=4, join=join, label_width=label_width, joint=6).build(SMALL)
    assert d.blocks[0][0].in_channels == 1 + (extra if join == "planes" else 0)
    assert [layer.in_features for layer in d.logit if isinstance(layer, nn.Linear)] == (
        [8 * 16 + extra, 6] if join == "layer" else [8 * 16]
    )
    for module in (g, d):
        own = [p.shape for name, p in module.named_parameters() if name.startswith("label")]
        assert own == ([(label_width, 10), (label_width,)] if label_width else [])


@pytest.mark.parametrize("label_width", [None, 7])
@pytest.mark.parametrize("shape", [SMALL, FACES], ids=["classes", "conditions"])
def test_labels_by_norm_and_projection(shape, label_width):
    """Nothing is concatenated. A class has scales of its own; conditions, and what a layer makes of y, set them."""
    k = label_width or shape.label_size
    rows = k if shape.classes and label_width is None else k + 1
    g = ConvSampler(width=4, join="norm", label_width=label_width).build(shape)
    assert g.linear.in_features == 100
    assert [layer.scale.shape[0] for layer in g.modules() if isinstance(layer, ConditionalBatchNorm2d)] == [rows] * 2
    d = ConvDiscriminator(width=4, join="projection", label_width=label_width).build(shape).eval()
    assert d.blocks[0][0].in_channels == shape.shape[0]
    assert d.projection.embed.weight.shape == (8 * 16, k)
    # The logit is psi(phi) + <embed(y), phi>.
    x, y = items(shape), labels(shape)
    phi = d.conv_features(x, y)[-1].permute(0, 2, 3, 1).flatten(1)
    projected = d.logit(phi)[:, 0] + ((d.label(y, x) @ d.projection.embed.weight.T) * phi).sum(1)
    torch.testing.assert_close(d(x, y), projected)


def test_blocks_reach_the_convolutions():
    blocks = {"width": 4, "norm_init": "normal", "spectral_norm": 2, "attention": (4, 8)}
    for part in (ConvSampler, ConvDiscriminator):
        module = part(**blocks).build(SMALL)
        assert sum(isinstance(layer, SelfAttention) for layer in module.modules()) == 2
        kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
        layers = [layer for layer in module.modules() if isinstance(layer, kinds)]
        assert {layer.parametrizations.weight[0].iterations for layer in layers} == {2}
        assert all((layer.weight != 1).all() for layer in module.modules() if isinstance(layer, nn.BatchNorm2d))


def test_options_reach_the_convolutions():
    d = ConvDiscriminator(width=4, kernel_size=4, use_batch_norm=False, head="mean", slope=0.3).build(SMALL)
    assert d.blocks[0][0].kernel_size == (4, 4)
    assert not list(d.buffers())
    assert d.logit[0].in_features == 8
    assert {layer.negative_slope for layer in d.modules() if isinstance(layer, nn.LeakyReLU)} == {0.3}
    g = ConvSampler(width=4, kernel_size=4, use_batch_norm=False, max_width=5).build(SMALL)
    assert g.linear.out_features == 5 * 16
    assert g.blocks[0][0].kernel_size == (4, 4)
    assert not list(g.buffers())


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("part", [MlpSampler, MlpDiscriminator, ConvSampler, ConvDiscriminator])
def test_what_they_cannot_do_is_refused(part):
    image = {"kind": "image", "low": -1.0, "high": 1.0}
    assert not list(part().check(DataShape(shape=(3, 32, 32), classes=10, **image)))
    assert not list(part().check(DataShape(shape=(1, 64, 64), conditions=("a", "b"), **image)))
    assert any("[dataset]" in reason for reason in part().check(None))
    if part in (ConvSampler, ConvDiscriminator):
        small = DataShape(shape=(3, 16, 16), classes=10, **image)
        (reason,) = part(attention=(16, 4)).check(small)
        assert reason == "attention = 16: no maps have this side; at this image_size they have 4 or 8 pixels"
        (reason,) = part(use_batch_norm=False, norm_init="normal").check(
            DataShape(shape=(3, 16, 16), classes=2, **image)
        )
        assert "use_batch_norm = false" in reason
        for shape in ((1, 28, 28), (1, 8, 8), (1, 32, 36), (1, 512, 512)):
            (reason,) = part().check(DataShape(shape=shape, classes=10, **image))
            assert "16, 32, 64, 128 or 256" in reason
        (reason,) = part().check(DataShape("vector", (2,), classes=3))
        assert "works on images" in reason


def test_samplers_need_a_range():
    (reason,) = MlpSampler().check(DataShape("vector", (2,), classes=3))
    assert "unbounded" in reason
    (reason,) = ConvSampler().check(DataShape("image", (3, 32, 32), 0.0, 1.0, classes=3))
    assert "tanh" in reason
    unbounded = DataShape("vector", (2,), classes=3)
    assert not list(MlpDiscriminator().check(unbounded))
    x = torch.randn(4, 2)
    near, far = (MlpDiscriminator(init_range=0.5).build(unbounded).eval() for _ in range(2))
    far.load_state_dict(near.state_dict())
    far.item[0].linear.weight.data /= 10
    torch.testing.assert_close(far(10 * x, labels(unbounded)), near(x, labels(unbounded)))


# ------------------------------------------------------------------ whole steps

GAME = """
gflow = 1
[dataset]
use = "mnist5k"
image_size = 16
fit = "resize"
limit = 40
[sampler]
use = "cgan.mlp"
width = 8
[discriminator]
use = "cgan.mlp"
width = 8
[objective]
use = "adversarial"
[optimizer.sampler]
use = "adam"
lr = 1e-3
[optimizer.discriminator]
use = "adam"
lr = 1e-3
[train]
steps = 2
batch_size = 10
"""


@pytest.fixture
def game(tmp_path):
    def make(*words):
        path = tmp_path / "game.toml"
        path.write_text(GAME)
        return load(path, words).spec

    return make


WITHOUT = ["sampler.conditional=false", "discriminator.conditional=false"]


@pytest.mark.parametrize(
    ("sampler", "discriminator", "words"),
    [("mlp", "mlp", []), ("mlp", "mlp", WITHOUT), ("conv", "conv", []), ("conv", "mlp", [])],
)
def test_both_networks_train(game, sampler, discriminator, words):
    experiment = build(game(f"sampler.use=cgan.{sampler}", f"discriminator.use=cgan.{discriminator}", *words))
    networks = (experiment.sampler, experiment.discriminator)
    before = [{name: p.detach().clone() for name, p in module.named_parameters()} for module in networks]
    for step in (1, 2):
        (metrics,) = experiment.objective.step(step)
        assert all(value.isfinite() for value in metrics.values())
    for module, start in zip(networks, before, strict=True):
        for name, p in module.named_parameters():
            assert not torch.equal(p, start[name]), name


@pytest.mark.parametrize("words", [[], ["train.accumulate=2"]], ids=str)
def test_one_forward_for_real_and_generated_is_as_good_as_two(game, monkeypatch, words):
    seen = []
    for itemwise in (True, False):
        monkeypatch.setattr(MlpDiscriminator, "itemwise", itemwise)
        experiment = build(game("sampler.dropout=0.0", "discriminator.dropout=0.0", "train.precision=float32", *words))
        calls = []
        experiment.discriminator.register_forward_hook(lambda _, given, __, calls=calls: calls.append(len(given[0])))
        metrics = [next(iter(experiment.objective.step(step))) for step in (1, 2)]
        seen.append((metrics, sum(calls), len(calls)))
    (joined, items, forwards), (apart, same, more) = seen
    assert items == same
    assert forwards < more
    for a, b in zip(joined, apart, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["sampler", "discriminator"])
def test_data_without_labels_is_refused_at_validation(game, kind):
    other = "discriminator" if kind == "sampler" else "sampler"
    with pytest.raises(RecipeError, match=rf"{kind}: reads labels.*dataset.attributes"):
        game("dataset=celeba", f"{other}=vgrow.resnet")
