"""FAR's choice and its mixed batch, against an independent computation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from gflow_core import R1, Batch, Judged, RecipeError, spectral_norm
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build
from gflow_far.fake_as_real import lowest

GAME = """
gflow = 1
[dataset]
use = "ring"
n = 300
convention = "vgrow"
[sampler]
use = "far.mlp"
width = 16
[discriminator]
use = "far.mlp"
width = 16
[objective]
use = "far.fake_as_real"
fake_as_real = 6
candidates = 40
[optimizer.sampler]
use = "adam"
lr = 1e-3
[optimizer.discriminator]
use = "rmsprop"
lr = 2e-3
[train]
steps = 5
batch_size = 24
"""


@pytest.fixture
def game(tmp_path):
    def make(*words: str):
        path = tmp_path / "game.toml"
        path.write_text(GAME)
        return build(load(path, words).spec)

    return make


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=20), st.data())
def test_the_lowest_are_chosen_and_ties_go_to_the_first_drawn(logits, data):
    n = data.draw(st.integers(0, len(logits)))
    expected = sorted(range(len(logits)), key=lambda i: (logits[i], i))[:n]
    assert lowest(torch.tensor(logits, dtype=torch.float32), n).tolist() == expected


def test_each_replica_chooses_among_its_own():
    d = torch.tensor([[3.0, 1.0, 2.0], [0.0, 0.0, -1.0]])
    assert lowest(d, 2).tolist() == [[1, 2], [2, 0]]


def eq12(experiment, steps: int) -> list[tuple[float, float]]:
    """Equation 12 with a loop over the items, and the non-saturating sampler."""
    sampler, critic = experiment.sampler, experiment.discriminator
    adam = torch.optim.Adam(sampler.parameters(), 1e-3)
    rmsprop = torch.optim.RMSprop(critic.parameters(), 2e-3)
    streams, latent, seen = experiment.streams, experiment.spec.sampler.latent, []
    for _ in range(steps):
        y = sampler(latent.draw(24, streams["adversarial.latent"])).detach()
        x = experiment.feed.next(18).x
        f = sampler(latent.draw(40, streams["far.latent"])).detach()
        order = sorted(range(40), key=lambda i: critic(f[i : i + 1]).item())
        c = torch.cat([x, f[order[:6]]])
        objective, penalty = 0.0, 0.0
        for item in c:
            item = item.clone().requires_grad_()
            d = critic(item[None])[0]
            (g,) = torch.autograd.grad(d, item, create_graph=True)
            objective = objective + torch.log(torch.sigmoid(d)) / 24
            penalty = penalty + g.dot(g) / 24
        for item in y:
            objective = objective + torch.log(1 - torch.sigmoid(critic(item[None])[0])) / 24
        rmsprop.zero_grad()
        (-objective + 10 * penalty).backward()
        rmsprop.step()
        adam.zero_grad()
        F.softplus(-critic(sampler(latent.draw(24, streams["adversarial.latent"])))).mean().backward()
        adam.step()
        seen.append((-objective.item(), penalty.item()))
    return seen


def test_a_step_is_equation_12(game, float64):
    ours, theirs = game(), game()
    seen = []
    for step in range(1, 5):
        (metrics,) = ours.objective.step(step)
        seen.append((float(metrics["discriminator_loss"]), float(metrics["penalty"])))
    torch.testing.assert_close(torch.tensor(seen), torch.tensor(eq12(theirs, 4)), rtol=1e-9, atol=0)
    for a, b in ((ours.sampler, theirs.sampler), (ours.discriminator, theirs.discriminator)):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-11)


def test_none_counted_as_real_is_plain_r1_bit_for_bit(game):
    far = game("objective.fake_as_real=0")
    r1 = game("objective.use=adversarial", "objective.penalty.use=r1")
    for experiment in (far, r1):
        for step in range(1, 6):
            list(experiment.objective.step(step))
    for a, b in ((far.sampler, r1.sampler), (far.discriminator, r1.discriminator)):
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_r1_leaves_the_counted_fakes_out_of_the_penalty(game):
    experiment = game("objective.penalty.use=r1")
    objective = experiment.objective
    batch, true = objective.real_batch()
    assert (true, len(batch.x)) == (18, 24)
    x = batch.x.detach().requires_grad_()
    d = objective.judge(x, None)
    penalty = R1().value(Judged(Batch(x), batch, d, d, true, objective.judge, torch.rand))
    real = x[:18].detach().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.judge(real, None).sum(), real)
    assert penalty.item() == pytest.approx(float(gradient.square().sum(1).mean()), rel=1e-5)


class Normed(nn.Module):
    """A discriminator with batch norm and spectral norm: both remember what they see in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Linear(2, 8), 1), nn.BatchNorm1d(8), nn.ReLU(), spectral_norm(nn.Linear(8, 1), 1)
        )

    def forward(self, x):
        return self.layers(x).squeeze(-1)


def test_choosing_leaves_no_trace_in_the_discriminator(game):
    """Running statistics and spectral-norm vectors are those of the batches it learns from."""
    experiment = game()
    module = experiment.players["discriminator"].module = Normed()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    batch, _ = experiment.objective.real_batch()
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    module(batch.x)
    changed = {name for name, value in module.state_dict().items() if not torch.equal(before[name], value)}
    assert {"layers.1.running_mean", "layers.0.parametrizations.weight.0.u"} <= changed, "learning would leave one"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["objective.fake_as_real=41"], "cannot be chosen from candidates = 40"),
        (["objective.fake_as_real=24"], "leaves no real item in train.batch_size = 24"),
        (["objective.fake_as_real=-1"], "must be >= 0"),
        (["objective.candidates=0"], "must be >= 1"),
        (["objective.penalty.weight=-10"], "must be >= 0"),
        (["dataset=mnist5k"], "works on vectors"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_refused_at_validation(game, words, message):
    with pytest.raises(RecipeError, match=message):
        game(*words)
