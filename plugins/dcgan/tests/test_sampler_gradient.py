"""dcgan.sampler_gradient against gradients that are known, and against a step of training."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from gflow_core import DataShape, Diverged, GflowError, Normal, Runtime, Source, Spec, Streams, Subject, fingerprint
from gflow_dcgan.parts.judgement import SamplerGradient
from gflow_dcgan.parts.networks import ConvDiscriminator, ConvSampler

N = 60


class Part:
    def __init__(self, dim: int = 2, conditional: bool = False) -> None:
        self.latent, self.conditional = Normal(dim=dim), conditional


class Data:
    def __init__(self, shape: DataShape) -> None:
        self.shape = shape

    def data_shape(self) -> DataShape:
        return self.shape

    def load(self) -> Source:
        x = torch.zeros(6, *self.shape.shape)
        y = torch.arange(6) % self.shape.classes if self.shape.classes else None
        return Source(x, self.shape, fingerprint(x), y=y)


PLANE = DataShape("vector", (2,))
IMAGES = DataShape("image", (1, 16, 16), -1.0, 1.0)
LABELLED = DataShape("image", (1, 16, 16), -1.0, 1.0, classes=3)


class Shift(nn.Module):
    """z + b."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.tensor([0.3, -0.2]))

    def forward(self, z: Tensor) -> Tensor:
        return z + self.b


class Linear(nn.Module):
    """d(x) = w.x + c."""

    def __init__(self, c: float) -> None:
        super().__init__()
        self.w, self.c = torch.tensor([1.5, 2.0]), c

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w + self.c


def run(sampler, discriminator, *, shape=PLANE, parts=None, **options):
    part = SamplerGradient(**{"samples": N, "batch_size": N, **options})
    g, d = parts or (Part(), Part())
    data = Data(shape)
    spec = Spec(dataset=data, sampler=g, discriminator=d)
    assert list(part.check(spec)) == []
    subject = Subject(spec, Runtime(torch.device("cpu")), Streams(1), 7, data.load(), sampler, discriminator)
    return part.build()(subject)


@pytest.mark.parametrize("batch_size", [7, N])
@pytest.mark.parametrize("c", [-1.0, 2.0])
def test_a_shift_under_a_plane(c, batch_size):
    """Of log(1 - D) the gradient in b is -E D w, of -log D it is -E (1 - D) w."""
    result = run(Shift(), Linear(c), batch_size=batch_size)
    z = Normal(dim=2).draw(N, Streams(1)["latent"])
    d = Linear(c)(Shift()(z)).sigmoid().mean().item()
    assert result.scores["gradient_minimax"] == pytest.approx(2.5 * d, rel=1e-5)
    assert result.scores["gradient_nonsaturating"] == pytest.approx(2.5 * (1 - d), rel=1e-5)
    assert result.scores["ratio"] == pytest.approx(d / (1 - d), rel=1e-5)
    assert result.scores["probability"] == pytest.approx(d, rel=1e-5)


def test_where_the_discriminator_is_sure_one_gradient_vanishes():
    scores = run(Shift(), Linear(-20.0)).scores
    assert scores["ratio"] < 1e-5
    assert scores["gradient_nonsaturating"] == pytest.approx(2.5, rel=1e-3)
    assert run(Shift(), Linear(math.log(1))).scores["ratio"] > 0.1


@pytest.mark.parametrize("labels", [False, True])
def test_networks_play_as_in_training(labels):
    """Both gradients are those that a step from the same z would take; weights and statistics stay as they were."""
    torch.manual_seed(0)
    shape = LABELLED if labels else IMAGES
    parts = (
        ConvSampler(width=2, latent=Normal(dim=5), conditional=labels),
        ConvDiscriminator(width=2, conditional=labels),
    )
    g, d = (part.build(shape).eval() for part in parts)
    before = deepcopy((g.state_dict(), d.state_dict()))
    for weight in g.parameters():  # as averaged weights have none
        weight.requires_grad_(False)
    result = run(g, d, shape=shape, parts=parts)
    for module, state in zip((g, d), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
        assert not module.training
    streams = Streams(1)
    given = [parts[0].latent.draw(N, streams["latent"])]
    if labels:
        from gflow_core import draw_labels, label_pool

        given.append(draw_labels(label_pool(Data(shape).load(), shape), N, streams["label"]))
    g.train().requires_grad_(True)
    d.train()
    for name, loss in (("minimax", lambda p: (1 - p).log()), ("nonsaturating", lambda p: -p.log())):
        p = d(g(*given), *given[1:]).double().sigmoid()
        gradients = torch.autograd.grad(loss(p).mean(), list(g.parameters()))
        whole = math.sqrt(sum(float(grad.double().square().sum()) for grad in gradients))
        assert result.scores[f"gradient_{name}"] == pytest.approx(whole, rel=1e-4)
        by_layer = [row[f"gradient_{name}"] for row in result.tables["layers"]]
        assert math.hypot(*by_layer) == pytest.approx(whole, rel=1e-4)
    assert result.tables["layers"][0]["layer"] == "linear"
    assert {row["layer"] for row in result.tables["layers"]} >= {"start.0", "blocks.0.0", "blocks.1"}


def test_what_it_cannot_measure():
    class Identity(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z

    with pytest.raises(GflowError, match="has no parameters"):
        run(Identity(), Linear(0.0))
    with pytest.raises(Diverged, match="step 7: logits are NaN"):
        run(Shift(), Linear(float("nan")))


def test_a_discriminator_that_is_flat_pulls_nowhere():
    flat = Linear(1.0)
    flat.w = torch.zeros(2)
    scores = run(Shift(), flat).scores
    assert (scores["gradient_minimax"], scores["ratio"]) == (0.0, None)
