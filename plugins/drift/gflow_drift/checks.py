"""A prediction beside what is measured."""

from __future__ import annotations

from torch import Tensor

from gflow_core import Check

__all__ = ["compare_functions", "compare_numbers"]


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
