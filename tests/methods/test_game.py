"""What the game is asked for beyond one loss and one penalty, against programs that know nothing of gflow."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gflow_core import AdversarialObjective, GameRules, Hinge
from gflow_core.errors import RecipeError
from gflow_core.optim.schedules import Cosine

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
use = "adam"
lr = 2e-3
[train]
steps = 5
batch_size = 24
"""


def run(experiment, steps: int = 5) -> list[dict[str, float]]:
    seen = []
    for step in range(1, steps + 1):
        for player in experiment.players.values():
            player.set_rates(step - 1)
        *_, last = experiment.objective.step(step)
        seen.append({name: float(value) for name, value in last.items()})
    return seen


def steps(experiment, number: int = 3) -> None:
    for step in range(1, number + 1):
        for player in experiment.players.values():
            player.set_rates(step - 1)
        list(experiment.objective.step(step))


def same(ours, theirs, tolerance: float = 1e-10) -> None:
    for a, b in ((ours.sampler, theirs.sampler), (ours.discriminator, theirs.discriminator)):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=tolerance)


RELATIVISTIC = (
    "objective.loss=relativistic",
    'objective.penalty=[{ use = "r1", weight = { use = "cosine", start = 0.5, end = 0.1, steps = 4 } },'
    ' { use = "r2", weight = 0.3, interval = 2 }]',
)


def relativistic(experiment, steps: int) -> None:
    """RpGAN with R1 and R2 (Huang et al. 2024, eqs. 2 and 6) as one writes it first."""
    g, d = experiment.sampler, experiment.discriminator
    streams, latent = experiment.streams, experiment.spec.sampler.latent
    adam_g, adam_d = torch.optim.Adam(g.parameters(), 1e-3), torch.optim.Adam(d.parameters(), 2e-3)
    for step in range(steps):
        y = g(latent.draw(24, streams["adversarial.latent"])).detach().requires_grad_()
        x = experiment.feed.next(24).x.requires_grad_()
        loss = F.softplus(-(d(x) - d(y))).mean()
        (at_x,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
        falling = 0.1 + 0.4 * (1 + torch.cos(torch.tensor(torch.pi * min(step, 4) / 4))) / 2
        loss = loss + falling * at_x.square().sum(1).mean()
        if step % 2 == 0:
            (at_y,) = torch.autograd.grad(d(y).sum(), y, create_graph=True)
            loss = loss + 2 * 0.3 * at_y.square().sum(1).mean()
        adam_d.zero_grad()
        loss.backward()
        adam_d.step()
        y = g(latent.draw(24, streams["adversarial.latent"]))
        loss = F.softplus(-(d(y) - d(x.detach()).detach())).mean()
        adam_g.zero_grad()
        loss.backward()
        adam_g.step()


def test_relativistic_pairs_with_both_penalties(game, float64):
    ours, theirs = game(*RELATIVISTIC), game(*RELATIVISTIC)
    seen = run(ours)
    relativistic(theirs, 5)
    same(ours, theirs)
    assert ["penalty_r2" in metrics for metrics in seen] == [True, False, True, False, True]
    assert all("penalty_r1" in metrics for metrics in seen)


def test_it_would_notice_another_weight(game, float64):
    words = (RELATIVISTIC[0], RELATIVISTIC[1].replace("0.3", "0.301"))
    ours, theirs = game(*words), game(*RELATIVISTIC)
    run(ours)
    relativistic(theirs, 5)
    with pytest.raises(AssertionError):
        same(ours, theirs)


def test_rules_make_the_game_without_its_part(game, float64):
    ours, theirs = game("objective.loss=hinge", "objective.discriminator_steps=2"), game()
    theirs.objective = AdversarialObjective(theirs, GameRules(loss=Hinge(), discriminator_steps=2))
    steps(ours)
    steps(theirs)
    same(ours, theirs)
    assert theirs.feed.position == 3 * 2 * 24


# ------------------------------------------------------------------ batches in pieces

PIECES = [
    (),
    RELATIVISTIC,
    ("objective.penalty=wgan_gp", "objective.loss=wasserstein", "objective.discriminator_steps=2"),
    ("objective.use=far.fake_as_real", "objective.fake_as_real=8", "objective.candidates=30"),
    ("objective.use=far.fake_as_real", "objective.fake_as_real=8", "objective.candidates=30", "objective.penalty=r1"),
    ("objective.use=far.fake_as_real", "objective.fake_as_real=8", "objective.candidates=30", RELATIVISTIC[0]),
    (
        "objective.use=far.fake_as_real",
        "objective.fake_as_real=8",
        "objective.candidates=30",
        "objective.penalty=interpolation",
    ),
    ("objective.pack=2",),
    ("objective.use=vgrow.flow", "objective.pool_size=56", "objective.inner_loops=2", "objective.projection_passes=2"),
]


@pytest.mark.parametrize("words", PIECES, ids=" ".join)
def test_a_batch_in_pieces_is_the_same_step(game, float64, words):
    whole, pieces = game(*words), game(*words, "train.accumulate=4")
    for a, b in zip(run(whole, 3), run(pieces, 3), strict=True):
        assert a == pytest.approx(b, abs=1e-9)
    same(whole, pieces)


def test_pieces_that_cannot_be(game):
    for words, message in (
        (["train.accumulate=5"], "24 items do not divide into 5 equal pieces"),
        (["train.accumulate=4", "objective.use=far.fake_as_real", "objective.fake_as_real=6"], "train.accumulate = 4"),
        (["train.accumulate=4", "objective.pack=4"], "pack = 4 does not divide train.batch_size = 24 in 4 pieces"),
    ):
        with pytest.raises(RecipeError, match=message):
            game(*words)


# ------------------------------------------------------------------ packs, augmentations, clipping


def test_packs_are_judged_as_one(game, float64):
    """The discriminator reads twice the dimensions; the game is that of pairs put behind one another."""
    ours, theirs = game("objective.pack=2", "objective.penalty=r1"), game("objective.pack=2", "objective.penalty=r1")
    assert next(ours.discriminator.parameters()).shape[1] == 4
    run(ours, 1)
    g, d, streams = theirs.sampler, theirs.discriminator, theirs.streams
    latent = theirs.spec.sampler.latent
    fake = g(latent.draw(24, streams["adversarial.latent"])).detach().reshape(12, 4)
    real = theirs.feed.next(24).x.reshape(12, 4).requires_grad_()
    (slope,) = torch.autograd.grad(d(real).sum(), real, create_graph=True)
    adam_g, adam_d = torch.optim.Adam(g.parameters(), 1e-3), torch.optim.Adam(d.parameters(), 2e-3)
    (F.softplus(-d(real)).mean() + F.softplus(d(fake)).mean() + 10 * slope.square().sum(1).mean()).backward()
    adam_d.step()
    g.zero_grad()
    F.softplus(-d(g(latent.draw(24, streams["adversarial.latent"])).reshape(12, 4))).mean().backward()
    adam_g.step()
    same(ours, theirs)


def test_channels_of_images_are_packed(game):
    words = ["dataset=mnist5k", "dataset.image_size=16", "dataset.fit=resize", "dataset.limit=48"]
    words += ["sampler=vgrow.resnet", "sampler.channels=4", "discriminator=vgrow.resnet", "discriminator.channels=4"]
    experiment = game(*words, "objective.pack=2")
    first = next(m for m in experiment.discriminator.modules() if isinstance(m, nn.Conv2d))
    assert first.in_channels == 2
    assert all(torch.isfinite(torch.tensor(list(run(experiment, 1)[0].values()))))


def test_what_packs_do_not_go_with(game):
    for words, message in (
        (["objective.pack=5"], "pack = 5 does not divide train.batch_size = 24"),
        (["objective.use=far.fake_as_real", "objective.pack=2"], "chooses items one by one"),
    ):
        with pytest.raises(RecipeError, match=message):
            game(*words)


@attrs.frozen
class Shift:
    """x + u, u ~ U(0, 1) in each direction."""

    def check(self, data):
        return ()

    def draw(self, n, data, generator, done):
        return torch.rand(n, *data.shape, generator=generator)

    def apply(self, x, drawn):
        return x + drawn.to(x.dtype)


def test_both_players_see_augmented_items_and_penalties_look_before(game, float64):
    ours, theirs = game("objective.penalty=r1"), game("objective.penalty=r1")
    part = attrs.evolve(ours.spec.objective, augment=(Shift(),))
    ours.objective = part.build(ours)
    run(ours, 1)
    g, d, streams = theirs.sampler, theirs.discriminator, theirs.streams
    latent, drawn = theirs.spec.sampler.latent, streams["adversarial.augment"]
    fake = g(latent.draw(24, streams["adversarial.latent"])).detach()
    real = theirs.feed.next(24).x.requires_grad_()
    u, v = torch.rand(24, 2, generator=drawn), torch.rand(24, 2, generator=drawn)
    (slope,) = torch.autograd.grad(d(real + u).sum(), real, create_graph=True)
    adam_g, adam_d = torch.optim.Adam(g.parameters(), 1e-3), torch.optim.Adam(d.parameters(), 2e-3)
    (F.softplus(-d(real + u)).mean() + F.softplus(d(fake + v)).mean() + 10 * slope.square().sum(1).mean()).backward()
    adam_d.step()
    g.zero_grad()
    w = torch.rand(24, 2, generator=drawn)
    F.softplus(-d(g(latent.draw(24, streams["adversarial.latent"])) + w)).mean().backward()
    adam_g.step()
    same(ours, theirs)


@attrs.frozen
class Louder(Shift):
    """x + u n: n is the number of updates, plus the sum of the signs that were seen."""

    def begin(self):
        return torch.zeros(2)

    def decided(self, drawn, state):
        return drawn * state[..., 0, None, None]

    def adapted(self, state, real_sign, n):
        return torch.stack([state[..., 0] + 1, state[..., 1] + real_sign * n], -1)


def adaptive(game, *words):
    experiment = game("objective.discriminator_steps=2", *words)
    part = attrs.evolve(experiment.spec.objective, augment=(Shift(), Louder()))
    experiment.objective = part.build(experiment)
    return experiment


def test_an_augmentation_that_follows_the_discriminator_has_a_state(game):
    whole, halves = adaptive(game), adaptive(game)
    seen = run(whole, 4)
    assert [line["augment_p"] for line in seen] == [1.5, 3.5, 5.5, 7.5]  # means over two updates each
    (state,) = whole.objective.state.augment
    assert state.tolist() == pytest.approx([8, 24 * 2 * sum(line["real_sign"] for line in seen)])
    run(halves, 2)
    kept, objective = halves.objective.state, halves.objective
    objective.state = type(kept)(augment=[kept.augment[0].clone()])
    for step in (3, 4):
        list(objective.step(step))
    same(whole, halves, 0)


def test_replicas_are_followed_each_by_itself(game):
    together = adaptive(game, "train.replicas=2")
    steps(together)
    for index in range(2):
        alone = adaptive(game, f"train.seed={index}")
        steps(alone)
        torch.testing.assert_close(together.objective.state.augment[0][index], alone.objective.state.augment[0])
        for name, value in alone.sampler.state_dict().items():
            torch.testing.assert_close(together.sampler.state_dict()[name][index], value, rtol=1e-4, atol=1e-6)


def test_data_cannot_be_augmented_by_what_the_discriminator_says(game):
    with pytest.raises(RecipeError, match="ada follows the discriminator; move it"):
        game("train.augment=ada")


def test_gradients_are_clipped_to_a_length(game, float64):
    free, clipped = (game("optimizer.sampler=sgd", "optimizer.sampler.lr=1", *w) for w in ((), ("train.clip=1e-3",)))
    before = torch.cat([p.detach().flatten().clone() for p in clipped.sampler.parameters()])
    run(free, 1)
    run(clipped, 1)
    moved = torch.cat([p.detach().flatten() for p in clipped.sampler.parameters()]) - before
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-2)
    far = torch.cat([p.detach().flatten() for p in free.sampler.parameters()]) - before
    assert float(far.norm()) > 1e-2


def test_replicas_are_clipped_each_by_itself(game):
    words = ["train.clip=0.01", "optimizer.discriminator.lr=0.5"]
    together = game(*words, "train.replicas=2")
    steps(together)
    for index in range(2):
        alone = game(*words, f"train.seed={index}")
        steps(alone)
        for name, value in alone.sampler.state_dict().items():
            torch.testing.assert_close(together.sampler.state_dict()[name][index], value, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------ numbers that follow the steps


def test_what_changes_is_named_by_its_place(game):
    spec = game(
        *RELATIVISTIC,
        'train.clip={ use = "linear", start = 2.0, end = 1.0, steps = 4 }',
        'optimizer.sampler.betas=[0.0, { use = "cosine", start = 0.9, end = 0.99, steps = 4 }]',
        "optimizer.discriminator.schedule=linear",
        "optimizer.discriminator.schedule.steps=4",
    ).spec
    assert spec.scheduled(0) == {
        "objective.penalty.0.weight": 0.5,
        "train.clip": 2.0,
        "optimizer.sampler.betas.1": 0.9,
        "optimizer.discriminator.lr": 2e-3,
    }
    end = spec.scheduled(4)
    assert end["objective.penalty.0.weight"] == pytest.approx(0.1)
    assert end["optimizer.sampler.betas.1"] == pytest.approx(0.99)
    assert end["optimizer.discriminator.lr"] == 0.0


def test_adams_betas_follow(game):
    experiment = game('optimizer.sampler.betas=[0.0, { use = "cosine", start = 0.9, end = 0.99, steps = 4 }]')
    player = experiment.players["sampler"]
    for done in (0, 2, 4):
        player.set_rates(done)
        assert player.optimizer.param_groups[0]["betas"] == (0.0, Cosine(start=0.9, end=0.99, steps=4).at(done))


def test_a_schedule_that_leaves_the_bounds_is_refused(game):
    falling = '{ use = "linear", start = 1.0, end = -1.0, steps = 4 }'
    with pytest.raises(RecipeError, match=r"train\.clip: at step 3: must be > 0, got 0\.0"):
        game(f"train.clip={falling}")
