"""Sliced Wasserstein distances (Bonneel et al. 2015): along many directions, each by sorting."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from gflow_core.parts.nouns import Progress

__all__ = ["directions_on_sphere", "sliced_wasserstein"]

DIRECTIONS = 64
"""Directions projected on at once."""


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor, order: int, progress: Progress | None = None) -> float:
    """Sliced Wasserstein-p distance, p = `order`, of as many points x [n, d] and y [n, d].

    Its p-th power is the mean over directions [k, d], of length 1, of W_p^p between the projections, and in one
    dimension W_p^p is the mean of |x_(i) - y_(i)|^p over the sorted points. NaN where a point is NaN.
    """
    total = 0.0
    for start in range(0, len(directions), DIRECTIONS):
        turn = directions[start : start + DIRECTIONS].T
        gaps = _sorted(x @ turn) - _sorted(y @ turn)
        total += float(gaps.abs().pow(order).mean(0).sum())
        if progress is not None:
            progress("sliced distance", min(start + DIRECTIONS, len(directions)), len(directions))
    mean: float = total / len(directions)
    distance: float = mean ** (1 / order)
    return distance


def directions_on_sphere(k: int, d: int, generator: Generator) -> Tensor:
    """k directions, uniform on the unit sphere: [k, d], float64."""
    found = torch.randn(k, d, generator=generator, dtype=torch.float64)
    found /= found.norm(dim=1, keepdim=True)
    return found


def _sorted(x: Tensor) -> Tensor:
    """Each column of x [n, k] sorted; numpy's takes a third of torch's time."""
    if x.device.type == "cpu":
        columns = x.T.contiguous().numpy()
        columns.sort(axis=1)
        ordered: Tensor = torch.from_numpy(columns).T.contiguous()
    else:
        ordered = x.sort(0).values
    return ordered
