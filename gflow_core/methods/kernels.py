"""Sums over pairs of points, by matrix products: never an array [n, m, d]. In the points' precision.

torch is imported where it is used: recipes are checked without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["pulled", "squares"]


def squares(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances of the rows of x [n, d] and y [m, d]: [n, m]."""
    centre = y.mean(0)  # products round relative to the norms
    x, y = x - centre, y - centre
    found: Tensor = x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * x @ y.T
    return found.clamp_(min=0)


def pulled(x: Tensor, targets: Tensor, double: float, *, own: bool = False) -> Tensor:
    """The sums over targets t [m, d] of (t - x_i) exp(-|x_i - t|^2 / double): [n, d]; without t_i if that is its `own`.

    Targets are gone through in blocks whose kernels stay in a processor's cache; on CUDA the launches count.
    """
    import torch

    n, m = len(x), len(targets)
    centre = targets.mean(0)  # products round relative to the norms
    x, targets = x - centre, targets - centre
    ones = targets.new_ones(m, 1)
    left = torch.cat([2 * targets, -targets.square().sum(1, keepdim=True), -ones], 1) / double
    right = torch.cat([x.T, x.new_ones(1, n), x.square().sum(1)[None]])
    ends = torch.cat([targets, ones], 1).T
    sums = x.new_zeros(len(ends), n)
    size = m if x.device.type == "cuda" else max(1, 2**18 // n)
    for start in range(0, m, size):
        block = slice(start, start + size)
        k = (left[block] @ right).clamp_(max=0).exp_()
        if own:
            k[:, block].fill_diagonal_(0.0)
        sums += ends[:, block] @ k
    return sums[:-1].T - sums[-1, :, None] * x
