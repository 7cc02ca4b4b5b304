"""Optimizers: torch-free options, built into torch's own optimizers.

    [optimizer.sampler]
    use = "rmsprop"
    lr = 1e-4
    schedule = { use = "multistep", milestones = [400, 800], factor = 0.5 }

Option names and defaults are torch's (tested against its signatures); only `lr` has no default. A schedule is
a function of the step alone, so that resuming needs no state: step t (from 1) runs at lr * at(t - 1), and where
there is a momentum_schedule, with momentum * at(t - 1).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from gflow_core.optim.schedules import Constant
from gflow_core.parts.contracts import Schedule
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

__all__ = ["SGD", "Adam", "AdamW", "RMSprop"]


class _Torch:
    """An optimizer of torch.optim: the class of the same name, its options the fields of the same names."""

    def at(self, done: int) -> dict[str, float]:
        """Option -> its value for the step that follows `done` finished ones: what schedules change."""
        part: Any = self
        values = {"lr": part.lr * part.schedule.at(done)}
        if hasattr(part, "momentum_schedule"):
            values["momentum"] = part.momentum * part.momentum_schedule.at(done)
        return values

    def build(self, module: nn.Module) -> Optimizer:
        """torch's optimizer over the module's parameters."""
        import torch

        cls: type[Any] = type(self)
        options = {f.name: getattr(self, f.name) for f in attrs.fields(cls) if not f.name.endswith("schedule")}
        build = getattr(torch.optim, cls.__name__)
        # One kernel an update instead of a dozen, where torch has it: a fifth of a step on small networks.
        places = {parameter.device.type for parameter in module.parameters()}
        if "fused" in inspect.signature(build).parameters and places <= {"cpu", "cuda"}:
            options["fused"] = True
        optimizer: Optimizer = build(module.parameters(), **options)
        return optimizer


_MOMENTUM = "Momentum over the steps: its factor multiplies `momentum`, and the product must stay below 1."


def _check_momentum(part: SGD | RMSprop) -> Iterable[str]:
    if part.momentum == 0 and part.momentum_schedule != Constant():
        yield "momentum_schedule multiplies momentum, which is 0; set momentum"
    elif part.momentum and part.momentum_schedule.at(0) == 0:
        # torch makes the momentum's buffer at the first step, or never.
        yield "momentum_schedule starts at 0; start above it, as in start = 0.001"


@attrs.frozen(kw_only=True)
class SGD(_Torch):
    """Stochastic gradient descent, with momentum (torch.optim.SGD)."""

    lr: float = option(doc="Learning rate.", gt=0, le=1e6)
    momentum: float = option(0.0, doc="Momentum.", ge=0, lt=1)
    dampening: float = option(0.0, doc="Dampening of the momentum.", ge=0)
    weight_decay: float = option(0.0, doc="L2 penalty added to the gradient.", ge=0)
    nesterov: bool = option(False, doc="Nesterov's momentum; needs momentum and no dampening.")
    schedule: Schedule = option(factory=Constant, doc="Learning rate over the steps.")
    momentum_schedule: Schedule = option(factory=Constant, doc=_MOMENTUM)

    def check(self) -> Iterable[str]:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            yield "nesterov needs momentum > 0 and dampening = 0"
        yield from _check_momentum(self)


@attrs.frozen(kw_only=True)
class Adam(_Torch):
    """Adam (torch.optim.Adam)."""

    lr: float = option(doc="Learning rate.", gt=0, le=1e6)
    betas: tuple[float, float] = option((0.9, 0.999), doc="Decay of the two moments.", ge=0, lt=1)
    eps: float = option(1e-8, doc="Added to the denominator.", gt=0)
    weight_decay: float = option(0.0, doc="L2 penalty added to the gradient.", ge=0)
    schedule: Schedule = option(factory=Constant, doc="Learning rate over the steps.")


@attrs.frozen(kw_only=True)
class AdamW(_Torch):
    """Adam with decoupled weight decay (torch.optim.AdamW)."""

    lr: float = option(doc="Learning rate.", gt=0, le=1e6)
    betas: tuple[float, float] = option((0.9, 0.999), doc="Decay of the two moments.", ge=0, lt=1)
    eps: float = option(1e-8, doc="Added to the denominator.", gt=0)
    weight_decay: float = option(0.01, doc="Decoupled weight decay.", ge=0)
    schedule: Schedule = option(factory=Constant, doc="Learning rate over the steps.")


@attrs.frozen(kw_only=True)
class RMSprop(_Torch):
    """RMSProp (torch.optim.RMSprop)."""

    lr: float = option(doc="Learning rate.", gt=0, le=1e6)
    alpha: float = option(0.99, doc="Decay of the squared gradient's mean.", ge=0, lt=1)
    eps: float = option(1e-8, doc="Added to the denominator.", gt=0)
    weight_decay: float = option(0.0, doc="L2 penalty added to the gradient.", ge=0)
    momentum: float = option(0.0, doc="Momentum.", ge=0, lt=1)
    centered: bool = option(False, doc="Divide by the variance instead of the second moment.")
    schedule: Schedule = option(factory=Constant, doc="Learning rate over the steps.")
    momentum_schedule: Schedule = option(factory=Constant, doc=_MOMENTUM)

    def check(self) -> Iterable[str]:
        return _check_momentum(self)
