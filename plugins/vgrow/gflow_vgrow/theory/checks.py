"""A prediction beside what is measured, for one divergence on one pair of laws."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor

from gflow_core import Check

__all__ = ["OfDivergence", "check"]

EXACT = 1e-8
"""Tolerance of quadrature against quadrature, and of five-point differences (both reach about 1e-11)."""


@attrs.frozen(kw_only=True)
class OfDivergence(Check):
    """A check of one divergence. `error` is relative, in the L2 norm where the quantity is a function."""

    divergence: str
    dim: int


def check(
    statement: str,
    divergence: str,
    dim: int,
    quantity: str,
    predicted: Tensor | float,
    measured: Tensor | float,
    tolerance: float = EXACT,
) -> OfDivergence:
    """Compare numbers, or functions on the grid in the L2 norm."""
    a = torch.as_tensor(predicted, dtype=torch.float64)
    b = torch.as_tensor(measured, dtype=torch.float64)
    scale = max(float(a.norm()), 1e-300)
    return OfDivergence(
        statement=statement,
        setting=f"{divergence}, {dim}-D",
        divergence=divergence,
        dim=dim,
        quantity=quantity,
        predicted=float(a if a.dim() == 0 else a.norm() / math.sqrt(a.numel())),
        measured=float(b if b.dim() == 0 else b.norm() / math.sqrt(b.numel())),
        error=float((b - a).norm()) / scale,
        tolerance=tolerance,
    )
