"""Averaged weights against their closed form, and the switches of a network in training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gflow_core.machine.runtime import Runtime
from gflow_core.optim.ema import Ema
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
