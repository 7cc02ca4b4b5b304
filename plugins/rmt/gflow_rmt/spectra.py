"""Spectra of Gram matrices, and distances between spectra."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor

__all__ = ["Distance", "distance", "gram", "gram_eigenvalues", "reference", "share_above"]

Floats = npt.NDArray[np.float64]


def gram(x: Tensor) -> Tensor:
    """G = X X' / p of the rows of x [..., p] (classes stacked): [n, n], float64 in the end, float32 products."""
    rows = x.flatten(0, -2)
    return (rows @ rows.mT).double() / rows.shape[1]


def gram_eigenvalues(x: Tensor) -> Floats:
    """The n eigenvalues of G = X X' / p of all rows of x [..., p], largest first, from the smaller side of X.

    Where n > p, the n - p that are exactly 0 are among them.
    """
    rows = x.flatten(0, -2)
    n, p = rows.shape
    small = rows if n <= p else rows.mT
    values = torch.linalg.eigvalsh((small @ small.mT).double() / p).flip(0).clamp_min(0)
    full = np.zeros(n)
    full[: len(values)] = values.cpu().numpy()
    return full


@attrs.frozen
class Distance:
    """How far two spectra are apart."""

    ks: float
    """Kolmogorov-Smirnov: the largest difference of the two distribution functions, in [0, 1]."""
    wasserstein: float
    """1-Wasserstein distance over the mean eigenvalue of the second spectrum; in that unit it has no dimension."""


def distance(a: Floats, b: Floats) -> Distance:
    """Between spectra a [n] and b [n'], each as the law of an eigenvalue drawn from it at random."""
    return Distance(
        ks=float(stats.ks_2samp(a, b, method="asymp").statistic),
        wasserstein=float(stats.wasserstein_distance(a, b) / b.mean()),
    )


def reference(draw: Callable[[int], Floats], pairs: int, progress: Callable[[int], None]) -> list[Distance]:
    """Distances between `pairs` pairs of independent spectra of one law: how large a distance chance alone makes.

    `draw(i)` is the i-th spectrum. (Eigenvalues of one matrix repel each other, so a test that takes them for
    independent numbers, as the usual Kolmogorov-Smirnov test does, is wrong by far; this one is not.)
    """
    found = []
    for i in range(pairs):
        found.append(distance(draw(2 * i), draw(2 * i + 1)))
        progress(i + 1)
    return found


def share_above(observed: float, chance: Sequence[float]) -> float:
    """The p-value (1 + #{chance >= observed}) / (1 + #chance) of a Monte Carlo test."""
    return (1 + sum(value >= observed for value in chance)) / (1 + len(chance))
