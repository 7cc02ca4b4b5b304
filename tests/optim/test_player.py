"""Networks in training, and as they are looked at."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn

from gflow_core.errors import PluginError
from gflow_core.machine.runtime import Runtime
from gflow_core.optim.optimizers import SGD
from gflow_core.optim.player import Player, evaluating


def test_a_scripted_network_is_in_eval_mode_too():
    scripted = torch.jit.script(nn.Dropout(0.5))
    network = nn.Sequential(nn.Linear(2, 64), scripted)
    x = torch.ones(1, 2)
    with evaluating(network):
        assert torch.equal(network(x), network[0](x))
    assert not torch.equal(network(x), network[0](x))
    assert scripted.training


@pytest.mark.parametrize("rates", [None, {}, {"lr": "fast"}, {"lr": torch.ones(())}, [("lr", 1.0)]])
def test_rates_that_are_no_numbers_are_told_at_the_step(rates):
    player = Player(nn.Linear(1, 1), SGD(lr=0.1), Runtime(torch.device("cpu")))

    @attrs.frozen
    class Odd:
        def at(self, done):
            return rates

    player.part = Odd()
    with pytest.raises(PluginError, match=r"^optimizer Odd: its at returns .* at step 701, numbers by name are"):
        player.set_rates(700)


def test_training_mode_is_put_back_whoever_changed_it():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    player = Player(module, SGD(lr=0.1), Runtime(torch.device("cpu")), still=[module[1]])

    def modes() -> list[bool]:
        player.train()
        return [part.training for part in module.modules()]

    expected = [True, True, False, True]
    assert modes() == expected
    assert modes() == expected
    module.eval()
    assert modes() == expected
    module.train()  # what is frozen too
    assert modes() == expected
    module[2].eval()
    assert modes() == expected
