"""Optimizers: torch-free options, built into torch's own optimizers.

    [optimizer.sampler]
    use = "rmsprop"
    lr = 1e-4
    schedule = { use = "multistep", milestones = [400, 800], factor = 0.5 }

Option names and defaults are torch's (tested against its signatures); only `lr` has no default.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from gflow_core.optim.schedules import Constant
from gflow_core.parts.contracts import Number, Schedule, at
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

__all__ = ["SGD", "Adam", "AdamW", "RMSprop", "TorchOptimizer"]


class TorchOptimizer:
    """A part that builds the optimizer of torch.optim whose class has the same name; its fields are that one's options.

    A number among them may be a schedule, and so may the numbers of a pair. `schedule` and `momentum_schedule` are
    factors of the learning rate and of the momentum.
    """

    def at(self, done: int) -> dict[str, Any]:
        """Option -> its value for the step that follows `done` finished ones: the rates, and what schedules change."""
        part: Any = self
        values = {"lr": at(part.lr, done) * part.schedule.at(done)}
        if hasattr(part, "momentum_schedule"):
            values["momentum"] = at(part.momentum, done) * part.momentum_schedule.at(done)
        changing = {name: value for name, value in self._options().items() if name not in values and _changes(value)}
        return {**values, **{name: _now(value, done) for name, value in changing.items()}}

    def build(self, module: nn.Module) -> Optimizer:
        """torch's optimizer over the module's parameters that require gradients."""
        import torch

        options = {name: _now(value, 0) for name, value in self._options().items()}
        build = getattr(torch.optim, type(self).__name__)
        # One kernel an update instead of a dozen, where torch has it: a fifth of a step on small networks.
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        places = {parameter.device.type for parameter in parameters}
        if "fused" in inspect.signature(build).parameters and places <= {"cpu", "cuda"}:
            options["fused"] = True
        optimizer: Optimizer = build(parameters, **options)
        return optimizer

    def _options(self) -> dict[str, Any]:
        cls: type[Any] = type(self)
        return {f.name: getattr(self, f.name) for f in attrs.fields(cls) if not f.name.endswith("schedule")}


def _changes(value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return any(not isinstance(one, float | int) and isinstance(one, Schedule) for one in values)


def _now(value: Any, done: int) -> Any:
    return tuple(at(one, done) for one in value) if isinstance(value, tuple) else at(value, done)


_MOMENTUM = "Momentum over the steps: its factor multiplies `momentum`, and the product must stay below 1."


def _check_momentum(part: SGD | RMSprop) -> Iterable[str]:
    if part.momentum == 0 and part.momentum_schedule != Constant():
        yield "momentum_schedule multiplies momentum, which is 0; set momentum"
    elif part.momentum != 0 and at(part.momentum, 0) * part.momentum_schedule.at(0) == 0:
        # torch makes the momentum's buffer at the first step, or never.
        which = "momentum" if at(part.momentum, 0) == 0 else "momentum_schedule"
        yield f"{which} starts at 0; start above it, as in start = 0.001"


@attrs.frozen(kw_only=True)
class SGD(TorchOptimizer):
    """Stochastic gradient descent, with momentum (torch.optim.SGD)."""

    lr: Number = option(doc="Learning rate.", gt=0, le=1e6)
    momentum: Number = option(0.0, doc="Momentum.", ge=0, lt=1)
    dampening: float = option(0.0, doc="Dampening of the momentum.", ge=0)
    weight_decay: Number = option(0.0, doc="L2 penalty added to the gradient.", ge=0)
    nesterov: bool = option(False, doc="Nesterov's momentum; needs momentum and no dampening.")
    schedule: Schedule = option(factory=Constant, doc="Learning rate over the steps.")
    momentum_schedule: Schedule = option(factory=Constant, doc=_MOMENTUM)

    def check(self) -> Iterable[str]:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            yield "nesterov needs momentum > 0 and dampening = 0"
        yield from _check_momentum(self)


@attrs.frozen(kw_only=True)
class Adam(TorchOptimizer):
    """Adam (torch.optim.Adam)."""

    cite: ClassVar[tuple[str, ...]] = ("kingma2015adam",)

    lr: Number = option(doc="Learning rate.", gt=0, le=1e6)
    betas: tuple[Number, Number] = option((0.9, 0.999), doc="Decay of the two moments.", ge=0, lt=1)
    eps: float = option(1e-8, doc="Added to the denominator.", gt=0)
    weight_decay: Number = option(0.0, doc="L2 penalty added to the gradient.", ge=0)
    schedule: Schedule = option(factory=Constant, doc="Learning rate over the steps.")


@attrs.frozen(kw_only=True)
class AdamW(TorchOptimizer):
    """Adam with decoupled weight decay (torch.optim.AdamW)."""

    cite: ClassVar[tuple[str, ...]] = ("loshchilov2019decoupled",)

    lr: Number = option(doc="Learning rate.", gt=0, le=1e6)
    betas: tuple[Number, Number] = option((0.9, 0.999), doc="Decay of the two moments.", ge=0, lt=1)
    eps: float = option(1e-8, doc="Added to the denominator.", gt=0)
    weight_decay: Number = option(0.01, doc="Decoupled weight decay.", ge=0)
    schedule: Schedule = option(factory=Constant, doc="Learning rate over the steps.")


@attrs.frozen(kw_only=True)
class RMSprop(TorchOptimizer):
    """RMSProp (torch.optim.RMSprop)."""

    cite: ClassVar[tuple[str, ...]] = ("tieleman2012rmsprop",)

    lr: Number = option(doc="Learning rate.", gt=0, le=1e6)
    alpha: float = option(0.99, doc="Decay of the squared gradient's mean.", ge=0, lt=1)
    eps: float = option(1e-8, doc="Added to the denominator.", gt=0)
    weight_decay: Number = option(0.0, doc="L2 penalty added to the gradient.", ge=0)
    momentum: Number = option(0.0, doc="Momentum.", ge=0, lt=1)
    centered: bool = option(False, doc="Divide by the variance instead of the second moment.")
    schedule: Schedule = option(factory=Constant, doc="Learning rate over the steps.")
    momentum_schedule: Schedule = option(factory=Constant, doc=_MOMENTUM)

    def check(self) -> Iterable[str]:
        return _check_momentum(self)
