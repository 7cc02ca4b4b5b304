"""A network in training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gflow_core.errors import Diverged
from gflow_core.optimizers import OptimizerPart
from gflow_core.runtime import Runtime

__all__ = ["Player", "evaluating", "frozen"]


@attrs.define(eq=False)
class Player:
    """A network with its optimizer and learning-rate schedule."""

    module: nn.Module
    part: OptimizerPart
    runtime: Runtime
    optimizer: Optimizer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.optimizer = self.part.build(self.module)

    def set_rate(self, done: int) -> None:
        """Set the learning rate for the step that follows `done` finished ones."""
        rate = self.part.lr * self.part.schedule.scale(done)
        if not math.isfinite(rate) or rate > torch.finfo(torch.float32).max:
            raise Diverged(f"step {done + 1}: the learning rate's schedule has reached {rate:g}")
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def minimize(self, loss: Tensor) -> None:
        """One optimizer step on `loss`, this process's mean over its slice; gradients are averaged first."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.runtime.average_gradients(self.module.parameters())
        self.optimizer.step()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for the module's parameters within the block: none is computed that nobody reads."""
    before = [(p, p.requires_grad) for p in module.parameters()]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode within the block: batch norm uses running statistics, spectral-norm vectors stand still."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
