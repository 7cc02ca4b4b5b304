"""Refinement: one move against finite differences of the paper's own form, and flows whose end is known."""

from __future__ import annotations

import math

import attrs
import pytest
import torch
from torch import nn

from gflow_core.data.augmentations import Flip
from gflow_core.errors import GflowError
from gflow_core.machine.runtime import Runtime
from gflow_core.methods.refinement import FACTORS, Refined, Refinement, numbered, refine, refinement_faults
from gflow_core.nn.latents import Bernoulli, Normal, TruncatedNormal, Uniform
from gflow_core.recipes.recipe import load

# f' of each divergence.
FIRST = {
    "kl": lambda u: u.log() + 1,
    "js": lambda u: (2 * u / (u + 1)).log(),
    "logd": lambda u: (u + 1).log() + 1,
}

GAME = """
gflow = 1
dataset = { use = "ring", n = 50 }
sampler = { use = "vgrow.mlp", width = 4 }
discriminator = { use = "vgrow.mlp", width = 4 }
objective = { use = "adversarial" }
optimizer = { sampler = { use = "sgd", lr = 0.1 }, discriminator = { use = "sgd", lr = 0.1 } }
train = { steps = 2, batch_size = 8, device = "cpu" }
"""


def networks(dim=3):
    torch.manual_seed(0)
    sampler = nn.Sequential(nn.Linear(dim, 8), nn.Tanh(), nn.Linear(8, 5)).double()
    return sampler, nn.Sequential(nn.Linear(5, 8), nn.Softplus(), nn.Linear(8, 1), nn.Flatten(0)).double()


def still():
    raise AssertionError("without a temperature nothing is drawn")


@pytest.mark.parametrize("divergence", list(FACTORS))
def test_one_move_is_the_papers(divergence):
    """z - eta grad_z f'(exp(-d(G(z)))), the gradient by central differences."""
    sampler, discriminator = networks()
    z = torch.randn(100, 3, dtype=torch.float64)

    @torch.no_grad()
    def variation(z):
        return FIRST[divergence]((-discriminator(sampler(z))).exp())

    h = 1e-5
    shifts = h * torch.eye(3, dtype=torch.float64)
    slope = torch.stack([(variation(z + e) - variation(z - e)) / (2 * h) for e in shifts], 1)
    rule = Refinement(steps=1, eta=0.3, temperature=0, divergence=divergence)
    found, logits = refine(z, lambda rows, z: discriminator(sampler(z)), rule, Normal(dim=3).project, still)
    torch.testing.assert_close(found, z - 0.3 * slope, rtol=1e-8, atol=1e-9)
    with torch.no_grad():
        torch.testing.assert_close(logits, torch.stack([discriminator(sampler(z)), discriminator(sampler(found))]))
    assert all(parameter.grad is None for parameter in discriminator.parameters())


class Ratio(nn.Module):
    """log p/q of p = N(m, v I) and q = N(0, I), up to a constant."""

    def forward(self, x):
        return x.square().sum(1) / 2 - (x - 1).square().sum(1) / (2 * 0.5)


def test_along_a_gaussians_log_ratio_z_has_the_law_of_the_recursion():
    """grad d = (1 - 1/v) z + m/v: z_k - z* = a^k (z_0 - z*), and noise of variance 2 T eta in each move."""
    rule = Refinement(steps=7, eta=0.2, temperature=0.3)
    a, fixed = 1 + 0.2 * (1 - 1 / 0.5), (1 / 0.5) / (1 / 0.5 - 1)
    work = Refined(nn.Identity(), Ratio(), Normal(dim=2), False, rule)
    z = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1))
    (moved, _), logits = work.moved(Runtime(torch.device("cpu")), (5, (z, None)))
    assert logits.shape == (8, 20_000)
    mean = fixed + a**7 * (z.mean() - fixed)
    own = 2 * 0.3 * 0.2 * (1 - a**14) / (1 - a**2)
    error = moved - (fixed + a**7 * (z - fixed))
    assert float(moved.mean()) == pytest.approx(float(mean), abs=5 * math.sqrt(own / 40_000))
    assert float(error.var()) == pytest.approx(own, rel=5 * math.sqrt(2 / 40_000))
    noiseless = Refined(nn.Identity(), Ratio(), Normal(dim=2), False, Refinement(steps=7, eta=0.2, temperature=0))
    (moved, _), _ = noiseless.moved(Runtime(torch.device("cpu")), (5, (z, None)))
    torch.testing.assert_close(moved, fixed + a**7 * (z - fixed))


def test_z_stays_where_its_law_lives():
    runtime = Runtime(torch.device("cpu"))
    for law, bound in ((Uniform(dim=2, low=-0.5, high=0.5), 0.5), (TruncatedNormal(dim=2, bound=1.5, scale=0.5), 0.75)):
        z = law.draw(50, torch.Generator().manual_seed(0))
        work = Refined(nn.Identity(), Ratio(), law, False, Refinement(steps=30, eta=0.5))
        (moved, _), _ = work.moved(runtime, (0, (z, None)))
        assert float(moved.abs().max()) <= bound
        assert float(moved.mean()) > 0.8 * bound, "it goes to z* = 2, as far as it may"


def test_each_piece_has_noise_of_its_own_and_a_shorter_one_the_first_of_it():
    from gflow_core.machine.streams import Streams

    runtime, rule = Runtime(torch.device("cpu")), Refinement(steps=3)
    work = Refined(nn.Identity(), Ratio(), Normal(dim=2), False, rule)
    z = torch.zeros(10, 2)
    first, second = numbered([(z, None), (z, None)], Streams(0))
    (again,) = numbered([(z[:4], None)], Streams(0), 1)
    one, two, short = (work.moved(runtime, item)[0][0] for item in (first, second, again))
    assert not torch.equal(one, two)
    torch.testing.assert_close(two[:4], short)


def test_what_cannot_be_refined_is_said(tmp_path):
    def faults(*words):
        (tmp_path / "game.toml").write_text(GAME)
        return list(refinement_faults(load(tmp_path / "game.toml", words).spec))

    assert faults() == faults("objective.loss=minimax") == []
    assert faults("objective={ use = 'vgrow.flow', pool_size = 8 }") == []
    assert faults("objective={ use = 'far.fake_as_real', fake_as_real = 0 }") == []
    spec = load(tmp_path / "game.toml").spec
    augmented = attrs.evolve(spec, objective=attrs.evolve(spec.objective, augment=(Flip(),)))
    assert ["another number" in fault for fault in refinement_faults(augmented)] == [True]
    for words in (
        ["objective.loss=hinge"],
        ["objective.loss=least_squares"],
        ["objective.loss=relativistic"],
        ["objective.loss=wasserstein", "objective.penalty=wgan_gp"],
        ["objective.pack=2"],
        ["objective={ use = 'far.fake_as_real', fake_as_real = 2, candidates = 8 }"],
    ):
        (fault,) = faults(*words)
        assert "nonsaturating and minimax" in fault
    (fault,) = faults("objective={ use = 'flow', velocity = 'mmd', pool_size = 8 }", "~optimizer.discriminator")
    assert "the recipe trains none" in fault
    (fault,) = faults(
        "objective={ use = 'vgrow.flow', pool_size = 8, sampler = 'none' }",
        "sampler={ use = 'cloud', particles = 8 }",
        "~optimizer.sampler",
    )
    assert "has particles" in fault
    (fault,) = faults("sampler.latent={ use = 'bernoulli', dim = 4 }")
    assert "its law bernoulli is discrete" in fault
    assert not hasattr(Bernoulli(dim=2), "project")


def test_what_is_not_differentiable_or_goes_too_far_is_one_message():
    z, rule = torch.ones(4, 2), Refinement(steps=50, eta=1e8)
    for judge in (lambda rows, z: z.detach().sum(1), lambda rows, z: nn.Linear(1, 1)(z.detach()[:, :1]).sum(1)):
        with pytest.raises(GflowError, match="no gradient goes"):
            refine(z, judge, rule, Normal(dim=2).project, lambda: torch.zeros(4, 2))
    with pytest.raises(GflowError, match="lower eta"):
        refine(z, lambda rows, z: z.square().sum(1), rule, Normal(dim=2).project, lambda: torch.zeros(4, 2))
