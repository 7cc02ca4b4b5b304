"""Checks of what steps are made of, optimizers and schedules, against `gflow_core.parts.contracts`."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from gflow_core.machine.streams import seeded
from gflow_core.testing.promises import Promises

__all__ = ["check_optimizer", "check_schedule"]

_STEPS = (0, 1, 2, 10, 1_000, 1_000_000)


def check_schedule(part: Any) -> None:
    """Ask the schedule for its value early and late: finite numbers that depend on the step alone."""
    promises = Promises("schedule", part)
    promises.common()
    values = [part.at(done) for done in _STEPS]
    for done, value in zip(_STEPS, values, strict=True):
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        promises.require(number, f"at({done}) is {value!r}, no finite number")
    promises.require([part.at(done) for done in _STEPS] == values, "at gives different values for the same step")


def check_optimizer(part: Any) -> None:
    """Build the optimizer over a small network and step: its weights move, its state can be saved and put back."""
    promises = Promises("optimizer", part)
    promises.common()
    now = part.at(0)
    promises.require("lr" in now, "at leaves out the learning rate, lr")
    twins = []
    for _ in range(2):
        with seeded(0):
            module = nn.Linear(3, 2)
        twins.append((module, part.build(module)))
    (module, optimizer), (twin, resumed) = twins
    known = set(optimizer.param_groups[0])
    promises.require(now.keys() <= known, f"at gives {sorted(now)}; what it builds knows {sorted(known)}")
    before = module.weight.detach().clone()
    _step(module, optimizer)
    promises.require(not torch.equal(before, module.weight), "a step leaves the weights where they are")
    twin.load_state_dict(module.state_dict())
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    _step(module, optimizer)
    _step(twin, resumed)
    promises.require(
        torch.equal(module.weight, twin.weight), "it does not go on from its saved state as if it had not stopped"
    )


def _step(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    module(torch.ones(4, 3)).square().sum().backward()
    optimizer.step()
