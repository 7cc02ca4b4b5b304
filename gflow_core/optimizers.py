"""Optimizers and learning-rate schedules: torch-free options, built into torch's own optimizers.

    [optimizer.sampler]
    use = "rmsprop"
    lr = 1e-4
    schedule = { use = "multistep", milestones = [400, 800], factor = 0.5 }

Option names and defaults are torch's (tested against its signatures); only `lr` has no default. A schedule is
a function of the step alone, so that resuming needs no state: step t (from 1) runs at lr * scale(t - 1), and where
there is a momentum_schedule, with momentum * scale(t - 1).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs

from gflow_core.options import option
from gflow_core.registry import Registry

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Exponential",
    "Linear",
    "Multistep",
    "OptimizerPart",
    "RMSprop",
    "Schedule",
]


@runtime_checkable
class Schedule(Protocol):
    """A factor, of the learning rate or the momentum, as a function of the number of steps already done."""

    def scale(self, done: int) -> float:
        """The factor after `done` steps; 0 <= done."""


@attrs.frozen(kw_only=True)
class Constant:
    """It stays as it is."""

    def scale(self, done: int) -> float:
        return 1.0


@attrs.frozen(kw_only=True)
class Multistep:
    """Multiplied by `factor` after each of the milestones (torch's MultiStepLR)."""

    milestones: tuple[int, ...] = option(doc="Steps after which it changes, ascending.", unit="steps", ge=0)
    factor: float = option(0.5, doc="What it is multiplied by at each milestone.", gt=0)

    def check(self) -> Iterable[str]:
        """Milestones must ascend."""
        if list(self.milestones) != sorted(set(self.milestones)):
            yield f"milestones = {list(self.milestones)} must ascend"

    def scale(self, done: int) -> float:
        return _power(self.factor, sum(done >= milestone for milestone in self.milestones))


@attrs.frozen(kw_only=True)
class Exponential:
    """Multiplied by `factor` every step, down to `floor` (torch's ExponentialLR, with a floor)."""

    factor: float = option(doc="What it is multiplied by each step.", gt=0)
    floor: float = option(0.0, doc="Lowest factor reached, as a share of the initial value.", ge=0)

    def scale(self, done: int) -> float:
        return max(_power(self.factor, done), self.floor)


def _power(factor: float, times: int) -> float:
    try:
        return float(factor**times)
    except OverflowError:
        return math.inf


@attrs.frozen(kw_only=True)
class Linear:
    """From `start` to `end` in equal amounts over `steps`, then constant (torch's LinearLR)."""

    start: float = option(1.0, doc="Factor at the first step.", ge=0)
    end: float = option(0.0, doc="Factor after `steps` steps and from then on.", ge=0)
    steps: int = option(doc="Length of the ramp.", unit="steps", ge=1)

    def scale(self, done: int) -> float:
        return self.start + (self.end - self.start) * min(done, self.steps) / self.steps


@runtime_checkable
class OptimizerPart(Protocol):
    """An optimizer, by its options."""

    lr: float
    schedule: Schedule

    def build(self, module: nn.Module) -> Optimizer:
        """torch's optimizer over the module's parameters."""

    def at(self, done: int) -> dict[str, float]:
        """Option -> its value for the step that follows `done` finished ones: what schedules change."""


class _Torch:
    """An optimizer of torch.optim: the class of the same name, its options the fields of the same names."""

    def at(self, done: int) -> dict[str, float]:
        """Option -> its value for the step that follows `done` finished ones: what schedules change."""
        part: Any = self
        values = {"lr": part.lr * part.schedule.scale(done)}
        if hasattr(part, "momentum_schedule"):
            values["momentum"] = part.momentum * part.momentum_schedule.scale(done)
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
    elif part.momentum and part.momentum_schedule.scale(0) == 0:
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


# Not plugin registries: torch's own optimizers are the list. The class gives the same errors as any other name.
OPTIMIZERS: Registry[OptimizerPart] = Registry("optimizer")
for _name, _part in (("sgd", SGD), ("adam", Adam), ("adamw", AdamW), ("rmsprop", RMSprop)):
    OPTIMIZERS.add(_name, _part, "gflow-core")

SCHEDULES: Registry[Schedule] = Registry("schedule")
for _name, _schedule in (
    ("constant", Constant),
    ("multistep", Multistep),
    ("exponential", Exponential),
    ("linear", Linear),
):
    SCHEDULES.add(_name, _schedule, "gflow-core")
