"""How fast training goes: how far it is within a step, and the items that it reads a second."""

from __future__ import annotations

import time
from collections import deque

__all__ = ["Pace"]

_MOMENTS, _APART = 50, 0.2  # that the pace is taken over, and seconds between two of them at least


class Pace:
    """Training from `first` finished steps on, each of so many items of the data."""

    def __init__(self, first: int, items: int) -> None:
        self.first = first
        self.steps = float(first)
        """Done, the share of the one under way with them."""
        self._items = items
        self._start = self._now = time.monotonic()
        self._seen: deque[tuple[float, float]] = deque([(self._start, self.steps)], maxlen=_MOMENTS)
        """When how many steps were done, of late."""
        self._step = self._points = self._before = 0
        """The step under way, the safe points of it that were reached, and how many the one before had."""

    def point(self, step: int, of: int) -> None:
        """A safe point in a step was reached, of a phase that has so many; the step may have others, with more."""
        if step != self._step:
            self._step, self._before, self._points = step, self._points, 0
        self._points += 1
        self.done(step - 1 + min(self._points / (self._before or of + 1), 0.99))

    def done(self, steps: float) -> None:
        """So many steps are done."""
        self._now, self.steps = time.monotonic(), steps
        if not self._seen or self._now - self._seen[-1][0] > _APART:
            self._seen.append((self._now, steps))

    def pause(self) -> None:
        """Something else takes its time."""
        self._seen.clear()

    @property
    def took(self) -> float:
        """Seconds from the beginning to what was done last."""
        return self._now - self._start

    def __str__(self) -> str:
        """`1,240 items a second`; empty where that is not known."""
        before, first = self._seen[0] if self._seen else (self._now, self.steps)
        rate = self._items * (self.steps - first) / (self._now - before) if self._now > before else 0.0
        return f"{rate:,.{1 if rate < 10 else 0}f} items a second" if rate > 0 else ""
