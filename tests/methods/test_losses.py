"""Losses against their formulas written out, and at the values they settle at."""

from __future__ import annotations

import math

import pytest
import torch

from gflow_core.errors import GflowError
from gflow_core.methods.losses import Monoflow, Relativistic
from gflow_core.parts.plugins import plugins

LOSSES = {name: plugins().get("loss", name)() for name in plugins().registries["loss"]}

D_REAL = torch.tensor([1.5, -0.5, 3.0], dtype=torch.float64)
D_FAKE = torch.tensor([-2.0, 0.3, 1.0], dtype=torch.float64)


def log_sigmoid(d: float) -> float:
    return -math.log(1 + math.exp(-d))


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


# (discriminator's loss, sampler's loss), in plain Python from the papers' formulas.
WRITTEN_OUT = {
    "nonsaturating": (
        lambda r, f: -mean(map(log_sigmoid, r)) - mean(log_sigmoid(-d) for d in f),
        lambda f: -mean(map(log_sigmoid, f)),
    ),
    "minimax": (
        lambda r, f: -mean(map(log_sigmoid, r)) - mean(log_sigmoid(-d) for d in f),
        lambda f: mean(log_sigmoid(-d) for d in f),
    ),
    "monoflow": (
        lambda r, f: -mean(map(log_sigmoid, r)) - mean(log_sigmoid(-d) for d in f),
        lambda f: -mean(f),
    ),
    "hinge": (lambda r, f: mean(max(0, 1 - d) for d in r) + mean(max(0, 1 + d) for d in f), lambda f: -mean(f)),
    "least_squares": (
        lambda r, f: mean((d - 1) ** 2 for d in r) / 2 + mean(d**2 for d in f) / 2,
        lambda f: mean((d - 1) ** 2 for d in f) / 2,
    ),
    "wasserstein": (lambda r, f: mean(f) - mean(r), lambda f: -mean(f)),
    "relativistic": (
        lambda r, f: -mean(log_sigmoid(x - y) for x, y in zip(r, f, strict=True)),
        lambda f: -mean(log_sigmoid(y - x) for x, y in zip(D_REAL.tolist(), f, strict=True)),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_formula(name):
    discriminator, sampler = WRITTEN_OUT[name]
    real, fake = D_REAL.tolist(), D_FAKE.tolist()
    assert float(LOSSES[name].discriminator(D_REAL, D_FAKE)) == pytest.approx(discriminator(real, fake), abs=1e-12)
    assert float(LOSSES[name].sampler(D_FAKE, D_REAL)) == pytest.approx(sampler(fake), abs=1e-12)


# h of the logit d in plain Python: those that increase, and f of -f(r), r = exp(d).
INCREASING = {
    "logit": lambda d: d,
    "arcsinh": math.asinh,
    "log_sigmoid": log_sigmoid,
    "exp": lambda d: math.exp(1.5 * d),
    "saturating": lambda d: -math.log(1 - 1 / (1 + math.exp(-d))),
}
OF_RATIO = {
    "forward_kl": lambda r: r * math.log(r),
    "chi2": lambda r: (r - 1) ** 2,
    "hellinger": lambda r: (math.sqrt(r) - 1) ** 2,
    "js": lambda r: r * math.log(r) - (r + 1) * math.log((r + 1) / 2),
}
H = INCREASING | {name: lambda d, f=f: -f(math.exp(d)) for name, f in OF_RATIO.items()}


@pytest.mark.parametrize("shift", [0.0, 2.0])
@pytest.mark.parametrize("name", H)
def test_monoflows_h_and_its_slope(name, shift):
    d = torch.tensor([-3.0, -0.7, 0.0, 0.4, 2.5], dtype=torch.float64, requires_grad=True)
    loss = Monoflow(h=name, shift=shift).sampler(d)
    h = [H[name](x + shift) for x in d.tolist()]
    assert float(loss.detach()) == pytest.approx(-mean(h), rel=1e-12, abs=1e-12)
    loss.backward()
    step = 1e-5
    slopes = [(H[name](x + shift + step) - H[name](x + shift - step)) / (2 * step) for x in d.tolist()]
    assert (-5 * d.grad).tolist() == pytest.approx(slopes, rel=1e-7, abs=1e-7)
    if name in INCREASING:
        assert min(slopes) > 0
    else:
        assert slopes[0] > 0 or shift  # samples far from data approach it, and turn back
        assert slopes[-1] < 0


@pytest.mark.parametrize("name", LOSSES)
def test_replicas_keep_their_own_means(name):
    real, fake = torch.stack([D_REAL, 2 * D_REAL]), torch.stack([D_FAKE, -D_FAKE])
    loss = LOSSES[name]
    for r in range(2):
        assert torch.equal(loss.discriminator(real, fake)[r], loss.discriminator(real[r], fake[r]))
        assert torch.equal(loss.sampler(fake, real)[r], loss.sampler(fake[r], real[r]))


@pytest.mark.parametrize("name", ["nonsaturating", "minimax", "monoflow", "hinge", "least_squares", "relativistic"])
def test_the_best_constant_discriminator_gives_the_equilibrium(name):
    """Where samples and data are one law no discriminator beats the best constant: search it."""
    loss = LOSSES[name]
    d = torch.linspace(-3, 3, 6001, dtype=torch.float64).unsqueeze(-1)
    values = loss.discriminator(d, d)
    best = values.argmin()
    discriminator, sampler = loss.equilibrium()
    assert float(values[best]) == pytest.approx(discriminator, abs=1e-6)
    if sampler is not None:
        assert float(loss.sampler(d[best], d[best])) == pytest.approx(sampler, abs=1e-6)


def test_a_critic_gains_nothing_between_equal_laws():
    d = torch.randn(7, generator=torch.Generator().manual_seed(0))
    assert float(LOSSES["wasserstein"].discriminator(d, d)) == LOSSES["wasserstein"].equilibrium()[0]


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_stay_finite_far_out(name):
    d = torch.tensor([-1e4, 1e4], requires_grad=True)
    (LOSSES[name].discriminator(d, d.flip(0)) + LOSSES[name].sampler(d, d.flip(0).detach())).backward()
    assert d.grad.isfinite().all()


def test_a_loss_that_reads_real_logits_says_so():
    with pytest.raises(GflowError, match=r"^relativistic: .* reads the logits of real items, too"):
        Relativistic().sampler(torch.zeros(4))
