"""Schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from gflow_core.parts.options import option

__all__ = ["Constant", "Exponential", "Linear", "Multistep"]


@attrs.frozen(kw_only=True)
class Constant:
    """It stays as it is."""

    def at(self, done: int) -> float:
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

    def at(self, done: int) -> float:
        return _power(self.factor, sum(done >= milestone for milestone in self.milestones))


@attrs.frozen(kw_only=True)
class Exponential:
    """Multiplied by `factor` every step, down to `floor` (torch's ExponentialLR, with a floor)."""

    factor: float = option(doc="What it is multiplied by each step.", gt=0)
    floor: float = option(0.0, doc="Lowest factor reached, as a share of the initial value.", ge=0)

    def at(self, done: int) -> float:
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

    def at(self, done: int) -> float:
        return self.start + (self.end - self.start) * min(done, self.steps) / self.steps
