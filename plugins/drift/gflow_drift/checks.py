"""A prediction beside what is measured."""

from __future__ import annotations

from typing import Any

import attrs
from torch import Tensor

__all__ = ["Check", "compare_functions", "compare_numbers"]


@attrs.frozen(kw_only=True)
class Check:
    """One line of the theory's table: what is predicted beside what is measured."""

    statement: str
    setting: str
    quantity: str
    predicted: float
    measured: float
    error: float
    """Relative, in the L2 norm where the quantity is a function; in standard errors where 0 is predicted."""
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance

    def row(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "ok": self.ok}


def compare_numbers(
    statement: str, setting: str, quantity: str, predicted: float, measured: float, tolerance: float
) -> Check:
    """Two numbers, the predicted one not 0."""
    error = abs(measured - predicted) / abs(predicted)
    return Check(
        statement=statement,
        setting=setting,
        quantity=quantity,
        predicted=predicted,
        measured=measured,
        error=error,
        tolerance=tolerance,
    )


def compare_functions(
    statement: str, setting: str, quantity: str, predicted: Tensor, measured: Tensor, tolerance: float
) -> Check:
    """Two functions on the same particles [n, d]; the table has their root mean squares."""
    return Check(
        statement=statement,
        setting=setting,
        quantity=quantity,
        predicted=_rms(predicted),
        measured=_rms(measured),
        error=float((measured - predicted).norm() / predicted.norm()),
        tolerance=tolerance,
    )


def _rms(v: Tensor) -> float:
    return float(v.square().sum(1).mean().sqrt())
