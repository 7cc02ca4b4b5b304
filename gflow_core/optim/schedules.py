"""Schedules: numbers that follow the steps.

    schedule = { use = "multistep", milestones = [400, 800], factor = 0.5 }
    weight = { use = "cosine", start = 0.05, end = 0.005, steps = 20000 }

Where it stands for a number it is that number; an optimizer's `schedule` is a factor of its learning rate. Those that
have a `start` begin at 1 by default, as a factor does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

import attrs

from gflow_core.parts.contracts import Schedule
from gflow_core.parts.options import option

__all__ = ["Chain", "Constant", "Cosine", "Exponential", "Linear", "Multistep", "Warmup"]


@attrs.frozen(kw_only=True)
class Constant:
    """It stays as it is."""

    value: float = option(1.0, doc="The number.")

    def at(self, done: int) -> float:
        return self.value


@attrs.frozen(kw_only=True)
class Multistep:
    """Multiplied by `factor` after each of the milestones (torch's MultiStepLR)."""

    start: float = option(1.0, doc="The number before the first milestone.")
    milestones: tuple[int, ...] = option(doc="Steps after which it changes, ascending.", unit="steps", ge=0)
    factor: float = option(0.5, doc="What it is multiplied by at each milestone.", gt=0)

    def check(self) -> Iterable[str]:
        """Milestones must ascend."""
        if list(self.milestones) != sorted(set(self.milestones)):
            yield f"milestones = {list(self.milestones)} must ascend"

    def at(self, done: int) -> float:
        return self.start * _power(self.factor, sum(done >= milestone for milestone in self.milestones))


@attrs.frozen(kw_only=True)
class Exponential:
    """Multiplied by `factor` every step, down to `floor` (torch's ExponentialLR, with a floor)."""

    start: float = option(1.0, doc="The number at the first step.")
    factor: float = option(doc="What it is multiplied by each step.", gt=0)
    floor: float = option(0.0, doc="Lowest value reached, as a share of `start`.", ge=0)

    def at(self, done: int) -> float:
        return self.start * max(_power(self.factor, done), self.floor)


def _power(factor: float, times: int) -> float:
    try:
        return float(factor**times)
    except OverflowError:
        return math.inf


@attrs.frozen(kw_only=True)
class Linear:
    """From `start` to `end` in equal amounts over `steps`, then constant (torch's LinearLR)."""

    start: float = option(1.0, doc="The number at the first step.")
    end: float = option(0.0, doc="The number after `steps` steps and from then on.")
    steps: int = option(doc="Length of the ramp.", unit="steps", ge=1)

    def at(self, done: int) -> float:
        return self.start + (self.end - self.start) * min(done, self.steps) / self.steps


@attrs.frozen(kw_only=True)
class Cosine:
    """From `start` to `end` along half a cosine over `steps`, then constant (Loshchilov and Hutter 2017, eq. 5)."""

    cite: ClassVar[tuple[str, ...]] = ("loshchilov2017sgdr",)

    start: float = option(1.0, doc="The number at the first step.")
    end: float = option(0.0, doc="The number after `steps` steps and from then on.")
    steps: int = option(doc="Length of the half wave.", unit="steps", ge=1)

    def at(self, done: int) -> float:
        share = min(done, self.steps) / self.steps
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * share)) / 2


@attrs.frozen(kw_only=True)
class Warmup:
    """Up from `start` to `end` in equal amounts over `steps`, then constant: the first of a chain, as a rule."""

    start: float = option(0.0, doc="The number at the first step.")
    end: float = option(1.0, doc="The number after `steps` steps and from then on.")
    steps: int = option(doc="Length of the ramp.", unit="steps", ge=1)

    def at(self, done: int) -> float:
        return self.start + (self.end - self.start) * min(done, self.steps) / self.steps


@attrs.frozen(kw_only=True)
class Chain:
    """Schedules one after another, each counting from where it begins (torch's SequentialLR)."""

    schedules: tuple[Schedule, ...] = option(doc="The schedules, in turn.")
    milestones: tuple[int, ...] = option(
        doc="Steps after which the next one begins, ascending; one fewer than schedules.", unit="steps", ge=1
    )

    def check(self) -> Iterable[str]:
        """As many milestones as there are changes, ascending."""
        if len(self.milestones) != len(self.schedules) - 1:
            yield f"{len(self.schedules)} schedules change {len(self.schedules) - 1} times; give as many milestones"
        elif list(self.milestones) != sorted(set(self.milestones)):
            yield f"milestones = {list(self.milestones)} must ascend"

    def at(self, done: int) -> float:
        turn = sum(done >= milestone for milestone in self.milestones)
        begun = self.milestones[turn - 1] if turn else 0
        return self.schedules[turn].at(done - begun)
