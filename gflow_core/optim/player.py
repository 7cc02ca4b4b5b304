"""A network in training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gflow_core.errors import Diverged
from gflow_core.machine.runtime import Runtime
from gflow_core.parts.contracts import OptimizerPart

__all__ = ["Player", "evaluating", "frozen", "make_player"]


@attrs.define(eq=False)
class Player:
    """A network with its optimizer and its schedules."""

    module: nn.Module
    part: OptimizerPart
    runtime: Runtime
    still: Sequence[nn.Module] = ()
    """Modules in it that are frozen whole, and stay in eval mode."""
    optimizer: Optimizer = attrs.field(init=False)
    _parameters: list[nn.Parameter] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.optimizer = self.part.build(self.module)
        self._parameters = list(self.module.parameters())

    def train(self) -> None:
        """Put the network in training mode, save what stands still."""
        self.module.train()
        for part in self.still:
            part.eval()

    def set_rates(self, done: int) -> None:
        """Set learning rate and momentum for the step that follows `done` finished ones."""
        values = self.part.at(done)
        for name, value in values.items():
            if not math.isfinite(value) or value > torch.finfo(torch.float32).max:
                raise Diverged(f"step {done + 1}: the schedule of {name} has reached {value:g}")
        for group in self.optimizer.param_groups:
            group.update(values)

    def minimize(self, loss: Tensor) -> None:
        """One optimizer step on `loss`, this process's mean over its slice; gradients are averaged first."""
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()
        self.runtime.average_gradients(self._parameters)
        self.optimizer.step()


def make_player(module: nn.Module, part: OptimizerPart, runtime: Runtime) -> Player:
    """A player beside those of the recipe: for a network that a method or an analyzer trains for itself."""
    return Player(module, part, runtime)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for the module's parameters within the block: none is computed that nobody reads."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode within the block: batch norm uses running statistics, spectral-norm vectors stand still."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        object.__setattr__(part, "training", False)  # modules' own way looks for parameters first: ten times slower
    try:
        yield
    finally:
        for part in training:
            object.__setattr__(part, "training", True)
