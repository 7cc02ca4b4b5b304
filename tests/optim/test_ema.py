"""Averaged weights against their closed form, and the switches of a network in training."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gflow_core.machine.runtime import Runtime
from gflow_core.optim.ema import Ema, decay_at
from gflow_core.optim.optimizers import SGD
from gflow_core.optim.player import Player, evaluating, frozen
from gflow_core.optim.schedules import Linear
from gflow_core.parts.spec import Ema as Options

CPU = Runtime(torch.device("cpu"))


@pytest.mark.parametrize(("decay", "start"), [(0.9, 0), (0.5, 3), (0.0, 0)])
def test_average_is_the_weighted_sum(decay, start):
    module = nn.Sequential(nn.Linear(2, 2).double(), nn.BatchNorm1d(2).double())
    ema = Ema(module, Options(decay=decay, start=start))
    history = [module[0].weight.detach().clone()]
    for step in range(1, 8):
        with torch.no_grad():
            module[0].weight += torch.randn(2, 2).double()
        module(torch.randn(4, 2).double())
        history.append(module[0].weight.detach().clone())
        ema.update(module, step)
    first = history[max(start, 0)]
    expected = first * decay ** (7 - start)
    for k, weight in enumerate(history[start + 1 :]):
        expected = expected + (1 - decay) * decay ** (6 - start - k) * weight
    assert torch.allclose(ema.module[0].weight, expected, atol=1e-12)
    assert torch.equal(ema.module[1].running_mean, module[1].running_mean)
    assert not ema.module.training
    assert not any(p.requires_grad for p in ema.module.parameters())


def test_until_start_it_is_a_copy():
    module = nn.Linear(2, 2)
    ema = Ema(module, Options(decay=0.9, start=5))
    with torch.no_grad():
        module.weight += 1
    ema.update(module, 5)
    assert torch.equal(ema.module.weight, module.weight)


def test_frozen_and_evaluating_put_things_back():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    module[0].bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match="inside"), frozen(module), evaluating(module):
        assert not any(p.requires_grad for p in module.parameters())
        assert not module.training
        raise RuntimeError("inside")
    assert [p.requires_grad for p in module.parameters()] == [True, False, True, True]
    assert module.training


def test_a_player_follows_its_schedule():
    module = nn.Linear(1, 1, bias=False).double()
    player = Player(module, SGD(lr=0.1, schedule=Linear(start=1.0, end=0.0, steps=4)), CPU)
    expected = module.weight.item()
    for done in range(6):
        player.set_rates(done)
        player.minimize((module.weight**2).sum() / 2)  # gradient: the weight itself
        expected *= 1 - 0.1 * max(1 - done / 4, 0)
        assert module.weight.item() == pytest.approx(expected, abs=1e-12)


# ------------------------------------------------------------------ half-lives, ramps, batch norm


@given(half_life=st.floats(1, 1e7), batch=st.integers(1, 512))
def test_after_a_half_life_half_is_left(half_life, batch):
    kept = decay_at(Options(half_life=half_life), step=10, batch_size=batch)
    assert kept ** (half_life / batch) == pytest.approx(0.5, rel=1e-6)


def test_a_decay_is_a_half_life():
    """Without a ramp the decay itself, bit for bit; with one that does not bind, the same up to rounding."""
    assert decay_at(Options(decay=0.995), 1000, 64) == 0.995
    assert decay_at(Options(decay=0.995, ramp=1e9), 1000, 64) == pytest.approx(0.995, rel=1e-12)
    assert decay_at(Options(half_life=0), 1000, 64) == 0.0


def test_a_ramp_keeps_the_average_short_at_first():
    options = Options(half_life=6400, ramp=0.05)
    assert decay_at(options, 1, 64) == pytest.approx(0.5**20)  # half-life 3.2 of batches of 64
    assert decay_at(options, 2000, 64) == pytest.approx(0.5 ** (64 / 6400))
    kept = [decay_at(options, step, 64) for step in range(1, 3000, 100)]
    assert kept == sorted(kept)


def test_a_half_life_may_follow_the_steps():
    options = Options(half_life=Linear(start=0.0, end=640.0, steps=10))
    assert decay_at(options, 1, 64) == 0.0
    assert decay_at(options, 11, 64) == pytest.approx(0.5**0.1)


def normed() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).double()


@pytest.mark.parametrize("buffers", ["copy", "average", "reestimate"])
def test_what_is_no_statistic_goes_with_the_weights(buffers):
    """The vectors of spectral norm are those of the step: else the averaged layer is divided by another's norm."""
    module = nn.Sequential(spectral_norm(nn.Linear(6, 6)), nn.BatchNorm1d(6), nn.Linear(6, 2))
    ema = Ema(module, Options(decay=0.5, buffers=buffers))
    for step in range(1, 40):
        with torch.no_grad():
            module[0].parametrizations.weight.original.add_(torch.randn(6, 6))
        module(torch.randn(8, 6))
        ema.update(module, step)
    statistics = {"1.running_mean", "1.running_var"}
    theirs = dict(module.named_buffers())
    same = {name for name, buffer in ema.module.named_buffers() if torch.equal(buffer, theirs[name])}
    assert same == set(theirs) - (set() if buffers == "copy" else statistics)


@pytest.mark.parametrize("buffers", ["copy", "average", "reestimate"])
def test_statistics_of_batch_norm(buffers):
    module = normed()
    ema = Ema(module, Options(decay=0.5, buffers=buffers))
    before = module[1].running_mean.clone()
    z = torch.randn(64, 2).double()
    module(z)
    with torch.no_grad():
        module[0].weight += 1.0
    ema.update(module, 1)
    now = module[1].running_mean
    expected = {"copy": now, "average": (before + now) / 2, "reestimate": before}[buffers]
    torch.testing.assert_close(ema.module[1].running_mean, expected)
    assert ema.estimates == (buffers == "reestimate")
    if buffers == "reestimate":  # what the averaged network itself makes of its inputs
        ema.estimate([(z[:32],), (z[32:],)])
        inner = ema.module[0](z)
        torch.testing.assert_close(ema.module[1].running_mean, inner.mean(0))
        variance = torch.stack([half.var(0) for half in inner.split(32)]).mean(0)
        torch.testing.assert_close(ema.module[1].running_var, variance)
        assert ema.module[1].momentum == module[1].momentum
        assert not ema.module.training
