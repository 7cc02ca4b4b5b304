"""Derivatives, exact or by differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gflow_vgrow.divergences import Divergence

__all__ = ["derivative", "f1", "slope"]

STEP = 1e-3


def slope(function: Callable[[float], Tensor], h: float = STEP) -> Tensor:
    """Derivative at 0 by five-point central differences, to order h^4."""
    return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)


def derivative(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Derivative of an elementwise function, by automatic differentiation."""
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        values = function(at)
        return torch.autograd.grad(values.sum(), at)[0] if values.requires_grad else torch.zeros_like(at)


def f1(divergence: Divergence, u: Tensor) -> Tensor:
    """f'(u); a divergence that does not give it has f differentiated."""
    try:
        return divergence.f1(u)
    except NotImplementedError:
        return derivative(divergence.f, u)
