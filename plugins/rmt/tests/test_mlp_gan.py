"""The MLP GAN's networks: written out, on every kind of data, with and without labels."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gflow_core import DataShape, RecipeError
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build
from gflow_rmt.parts.networks import MlpDiscriminator, MlpSampler

DIGITS = DataShape("image", (1, 28, 28), -1.0, 1.0, classes=10)
TINY = DataShape("image", (3, 4, 4), 0.0, 3.0, classes=4)
FACES = DataShape("image", (1, 4, 4), -1.0, 1.0, conditions=("Smiling", "Male"))
RING = DataShape("vector", (2,))
KINDS = [TINY, FACES, RING]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def labels(data, n):
    return torch.arange(n) % data.classes if data.classes else torch.randn(n, data.label_size)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts():
    """Five hidden layers of weights and biases, batch norm's two numbers a unit, and the last layer."""
    g = [(110, 128), (128, 256), (256, 512), (512, 1024), (1024, 1024)]
    d = [(794, 1024), (1024, 512), (512, 256), (256, 128), (128, 64)]
    with torch.device("meta"):
        assert count(MlpSampler().build(DIGITS)) == sum((a + 3) * b for a, b in g) + 1025 * 784 == 2_563_216
        assert count(MlpDiscriminator().build(DIGITS)) == sum((a + 1) * b for a, b in d) + 65 == 1_511_425


def test_layers_stand_in_the_papers_order():
    """Leaky ReLU, followed with a batch normalization; none in the discriminator."""
    g, d = MlpSampler().build(DIGITS), MlpDiscriminator().build(DIGITS)
    assert [type(layer) for layer in g.hidden.layers] == [nn.Linear, nn.LeakyReLU, nn.BatchNorm1d] * 5
    assert [type(layer) for layer in d.hidden.layers] == [nn.Linear, nn.LeakyReLU] * 5
    assert MlpSampler().latent.dim == 100


def test_the_networks_written_out():
    """From the weights of the layers in turn, in float64, on pixels in [0, 3]."""
    y, z = labels(TINY, 6), torch.randn(6, 5).double()
    hot = F.one_hot(y, 4).double()
    part = MlpSampler(widths=(3, 2), slope=0.3, latent=MlpSampler().latent.__class__(dim=5))
    g = part.build(TINY).double().train()
    w1, b1, s1, o1, w2, b2, s2, o2, w3, b3 = g.parameters()
    h = torch.cat([z, hot], 1)
    for w, b, s, o in ((w1, b1, s1, o1), (w2, b2, s2, o2)):
        h = F.leaky_relu(h @ w.T + b, 0.3)
        h = (h - h.mean(0)) / (h.var(0, correction=0) + 1e-5).sqrt() * s + o
    x = 1.5 * (torch.tanh(h @ w3.T + b3) + 1)
    torch.testing.assert_close(g(z, y), x.view(6, 3, 4, 4))

    d = MlpDiscriminator(widths=(3, 2), label_width=5, slope=0.3).build(TINY).double()
    wy, by, w1, b1, w2, b2, w3, b3 = d.parameters()
    h = torch.cat([x / 1.5 - 1, F.leaky_relu(hot @ wy.T + by, 0.3)], 1)
    for w, b in ((w1, b1), (w2, b2)):
        h = F.leaky_relu(h @ w.T + b, 0.3)
    torch.testing.assert_close(d(x.view(6, 3, 4, 4), y), (h @ w3.T + b3).squeeze(1))


@pytest.mark.parametrize("data", KINDS, ids=str)
@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("label_width", [None, 3])
def test_every_kind_of_data(data, conditional, label_width):
    options = {"widths": (8, 8), "conditional": conditional, "label_width": label_width}
    g, d = MlpSampler(**options), MlpDiscriminator(**options)
    assert [*g.check(data), *d.check(data)] == []
    if conditional and not data.label_size:
        return  # the core refuses it: see below
    g, d = g.build(data), d.build(data)
    given = (labels(data, 4),) if conditional else ()
    x = g(torch.randn(4, 100), *given)
    assert x.shape == (4, *data.shape)
    if data.low is not None:
        assert data.low < x.min()
        assert x.max() < data.high
    logit = d(x, *given)
    assert logit.shape == (4,)
    logit.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in g.parameters())
    if conditional:
        other = given[0].roll(1, 0)
        assert not torch.allclose(d(x, other), logit)
        assert not torch.allclose(g.eval()(torch.zeros(4, 100), other), g(torch.zeros(4, 100), *given))


def test_vectors_are_not_bounded():
    """Neither by tanh, nor by a range that the data states."""
    data = DataShape("vector", (2,), -1.0, 1.0)
    g = MlpSampler(widths=(8,), conditional=False).build(data)
    nn.init.constant_(g.out.bias, 50.0)
    assert (g(torch.randn(4, 100)) > 40).all()


def test_hidden_layers_keep_the_size_of_what_they_read():
    """He's initial weights: an input of unit variance has about the same mean square after five layers."""
    h = MlpDiscriminator(widths=(512,) * 5, conditional=False).build(DataShape("vector", (512,))).hidden
    assert h(torch.randn(64, 512), None).square().mean().item() == pytest.approx(1, rel=0.4)


def test_logits_keep_their_digits_under_autocast():
    d = MlpDiscriminator(widths=(8,), conditional=False).build(RING)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert d(torch.randn(4, 2)).dtype == torch.float32


def test_refusals():
    strange = DataShape("image", (1, 4, 4), classes=2)
    assert list(MlpSampler().check(strange)) == [f"works on images of a known range, the data is {strange}"]
    assert list(MlpDiscriminator().check(None)) == ["needs a [dataset] that says what to make"]
    with pytest.raises(ValueError, match="needs at least one hidden layer"):
        MlpSampler(widths=())


RECIPE = """
gflow = 1
dataset = { use = "ring" }
sampler = { use = "rmt.mlp_gan", conditional = false, widths = [16, 16] }
discriminator = { use = "rmt.mlp_gan", conditional = false, widths = [16, 16] }
objective = { use = "adversarial" }
optimizer = { sampler = { use = "adam", lr = 1e-3 }, discriminator = { use = "adam", lr = 1e-3 } }
train = { steps = 2, batch_size = 16 }
"""


def test_it_trains_without_labels(tmp_path):
    path = tmp_path / "ring.toml"
    path.write_text(RECIPE)
    experiment = build(load(path).spec)
    before = [p.detach().clone() for p in experiment.sampler.parameters()]
    for step in (1, 2):
        (metrics,) = experiment.objective.step(step)
        assert all(value.isfinite() for value in metrics.values())
    assert all((a != b).any() for a, b in zip(before, experiment.sampler.parameters(), strict=True))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sampler.conditional=true"], "sampler: reads labels, and the .* set sampler.conditional = false"),
        (["dataset.use=mnist5k", "discriminator.conditional=true"], "the discriminator reads labels, which an uncond"),
    ],
)
def test_recipes_that_do_not_fit_say_why(tmp_path, words, message):
    path = tmp_path / "ring.toml"
    path.write_text(RECIPE)
    with pytest.raises(RecipeError, match=message):
        load(path, words)
