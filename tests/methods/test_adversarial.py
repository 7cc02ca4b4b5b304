"""`adversarial` against the game written out plainly, and the choices it offers."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from gflow_core.errors import RecipeError
from gflow_core.parts.training import Phase
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build

GAME = """
gflow = 1
[dataset]
use = "ring"
n = 300
convention = "vgrow"
[sampler]
use = "vgrow.mlp"
width = 16
[discriminator]
use = "vgrow.mlp"
width = 16
activation = "tanh"
[objective]
use = "adversarial"
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


def run(experiment, steps: int) -> list[dict[str, float]]:
    seen = []
    for step in range(1, steps + 1):
        for event in experiment.objective.step(step):
            last = event
        assert not isinstance(last, Phase)
        seen.append({name: float(value) for name, value in last.items()})
    return seen


def plain(experiment, steps: int, *, kind: str, on: str = "logit", k: int = 1, interval: int = 1, weight=10.0):
    """The non-saturating game as one writes it first, on the experiment's networks, data and streams."""
    sampler, critic = experiment.sampler, experiment.discriminator
    adam = torch.optim.Adam(sampler.parameters(), 1e-3)
    rmsprop = torch.optim.RMSprop(critic.parameters(), 2e-3)
    streams, latent, count = experiment.streams, experiment.spec.sampler.latent, 0

    def norm(x, gradient_of):
        x = x.detach().clone().requires_grad_()
        out = gradient_of(x)
        out = torch.sigmoid(out) if on == "probability" else out
        (g,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        return g.pow(2).sum(1)

    for _ in range(steps):
        for _ in range(k):
            fake = sampler(latent.draw(24, streams["adversarial.latent"])).detach()
            real = experiment.feed.next(24).x
            loss = -F.logsigmoid(critic(real)).mean() - torch.log(1 - torch.sigmoid(critic(fake))).mean()
            if kind in ("interpolation", "wgan_gp") and count % interval == 0:
                a = torch.rand(24, generator=streams["adversarial.between"])[:, None]
                square = norm(a * real + (1 - a) * fake, critic)
                term = square if kind == "interpolation" else (square.sqrt() - 1) ** 2
                loss = loss + weight * interval * term.mean()
            elif kind != "none" and count % interval == 0:
                at = {"r1": real, "mixed": real, "r2": fake}[kind]
                loss = loss + weight * interval * norm(at, critic).mean()
            rmsprop.zero_grad()
            loss.backward()
            rmsprop.step()
            count += 1
        z = latent.draw(24, streams["adversarial.latent"])
        adam.zero_grad()
        (-F.logsigmoid(critic(sampler(z))).mean()).backward()
        adam.step()


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {"kind": "none"}),
        (["objective.penalty.use=r1"], {"kind": "r1"}),
        (["objective.penalty.use=mixed"], {"kind": "mixed"}),
        (["objective.penalty.use=r2", "objective.penalty.weight=0.5"], {"kind": "r2", "weight": 0.5}),
        (
            ["objective.penalty.use=interpolation", "objective.penalty.on=probability"],
            {"kind": "interpolation", "on": "probability"},
        ),
        (["objective.penalty.use=wgan_gp"], {"kind": "wgan_gp"}),
        (
            ["objective.penalty.use=r1", "objective.penalty.interval=3", "objective.discriminator_steps=2"],
            {"kind": "r1", "interval": 3, "k": 2},
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_it_is_the_game_written_out(game, float64, words, options):
    ours, theirs = game(*words), game(*words)
    run(ours, 5)
    plain(theirs, 5, **options)
    for a, b in ((ours.sampler, theirs.sampler), (ours.discriminator, theirs.discriminator)):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("loss", ["nonsaturating", "minimax", "hinge", "least_squares"])
def test_every_loss_trains_and_states_its_equilibrium(game, loss):
    experiment = game(f"objective.loss={loss}")
    before = [p.detach().clone() for p in experiment.sampler.parameters()]
    (metrics,) = run(experiment, 1)
    assert set(experiment.spec.objective.equilibrium()) <= set(metrics)
    assert any((a != b).any() for a, b in zip(before, experiment.sampler.parameters(), strict=True))


def test_reference_lines_of_the_logistic_game(game):
    lines = game().spec.objective.equilibrium()
    assert lines == {"discriminator_loss": 2 * math.log(2), "sampler_loss": math.log(2)}


def test_the_discriminator_gets_no_gradient_from_the_samplers_update(game):
    experiment = game("objective.discriminator_steps=1")
    run(experiment, 1)
    taught = [p.grad.clone() for p in experiment.discriminator.parameters()]
    experiment.objective._improve()
    for before, p in zip(taught, experiment.discriminator.parameters(), strict=True):
        assert torch.equal(before, p.grad)
        assert p.requires_grad


def test_the_penalty_is_logged_when_it_is_due(game):
    seen = run(game("objective.penalty.use=r1", "objective.penalty.interval=2"), 4)
    assert ["penalty" in metrics for metrics in seen] == [True, False, True, False]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["objective.loss=wasserstein"], "no minimum without a penalty"),
        (["objective.penalty=r1", "objective.penalty.weight=-1"], "must be >= 0"),
        (["objective.penalty=r1", "objective.penalty.interval=0"], "must be >= 1"),
        (["objective.penalty.use=r3"], "r1"),
        (["objective.penalty=r1", "objective.penalty.on=loss"], "probability"),
        (["objective.discriminator_steps=0"], "must be >= 1"),
        (["train.replicas=2", "train.devices=2"], "share one process"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_refused_at_validation(game, words, message):
    with pytest.raises(RecipeError, match=message):
        game(*words)


def test_labelled_images_train_without_a_conditional_network(tmp_path):
    path = tmp_path / "digits.toml"
    path.write_text(
        GAME.replace(
            'use = "ring"\nn = 300\nconvention = "vgrow"',
            'use = "mnist5k"\nimage_size = 16\nfit = "resize"\nlimit = 40',
        )
        .replace("vgrow.mlp", "vgrow.resnet")
        .replace("width = 16", "channels = 4")
        .replace('activation = "tanh"\n', "")
    )
    experiment = build(load(path, ["train.batch_size=8"]).spec)
    assert experiment.data.y is not None
    before = [p.detach().clone() for p in experiment.sampler.parameters()]
    run(experiment, 1)
    assert any((a != b).any() for a, b in zip(before, experiment.sampler.parameters(), strict=True))
