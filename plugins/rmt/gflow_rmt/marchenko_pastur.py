"""The Marchenko-Pastur law: eigenvalues of white noise (Marchenko & Pastur 1967; Bai & Silverstein 2010, section 3.1).

Z (p x n) has independent entries of mean 0 and the given variance. Two matrices have the same positive eigenvalues, but
for a factor; both follow the law with `ratio` = their size over what they are divided by:

    Z Z' / n  (p x p, a covariance):     ratio = p/n
    Z' Z / p  (n x n, a Gram matrix):    ratio = n/p

A matrix larger than its rank (ratio > 1) has the eigenvalue 0 with the share 1 - 1/ratio. All is float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

__all__ = ["atom", "density", "distribution", "edges", "quantile"]

Floats = npt.NDArray[np.float64]


def edges(ratio: float, variance: float = 1.0) -> tuple[float, float]:
    """The smallest and largest positive value: variance (1 -+ sqrt(ratio))^2."""
    return variance * (1 - ratio**0.5) ** 2, variance * (1 + ratio**0.5) ** 2


def atom(ratio: float) -> float:
    """Share of eigenvalues that are 0: max(0, 1 - 1/ratio)."""
    return max(0.0, 1 - 1 / ratio)


def density(x: npt.ArrayLike, ratio: float, variance: float = 1.0) -> Floats:
    """sqrt((b - x)(x - a)) / (2 pi variance ratio x) between the edges a and b, 0 elsewhere; without the atom."""
    x = np.asarray(x, float)
    a, b = edges(ratio, variance)
    inside = (x > a) & (x < b)
    safe = np.where(inside, x, (a + b) / 2)
    found: Floats = np.sqrt((b - safe) * (safe - a)) / (2 * np.pi * variance * ratio * safe)
    return np.where(inside, found, 0.0)


def distribution(x: npt.ArrayLike, ratio: float, variance: float = 1.0) -> Floats:
    """The distribution function, atom and all, in closed form.

    With s = sqrt((b - x)(x - a)) / variance and u = sqrt((b - x) / (x - a)), between the edges:
    F = atom + [pi min(1, ratio) + s - (1 + ratio) arctan((u^2 - 1)/(2u)) + (1 - ratio) arctan((a u^2 - b) / (2 variance
    (1 - ratio) u)) ] / (2 pi ratio), the integral of `density` from a on.
    """
    x = np.asarray(x, float)
    a, b = edges(ratio, variance)
    inside = (x > a) & (x < b)
    safe = np.where(inside, x, (a + b) / 2)
    s = np.sqrt((b - safe) * (safe - a)) / variance
    u = np.sqrt((b - safe) / (safe - a))
    gap = abs(1 - ratio)  # the last term is even in 1 - ratio, and 0 where ratio = 1
    angles = (1 + ratio) * np.arctan((u**2 - 1) / (2 * u)) - gap * np.arctan2(a * u**2 - b, 2 * variance * gap * u)
    found = atom(ratio) + (np.pi * min(1.0, ratio) + s - angles) / (2 * np.pi * ratio)
    outside = np.where(x >= b, 1.0, np.where(x >= 0, atom(ratio), 0.0))
    return np.where(inside, found, outside)


def quantile(q: float, ratio: float, variance: float = 1.0) -> float:
    """The smallest x with F(x) >= q, 0 < q < 1; 0 within the atom."""
    if q <= atom(ratio):
        return 0.0
    a, b = edges(ratio, variance)
    return float(brentq(lambda x: float(distribution(x, ratio, variance)) - q, a, b, xtol=1e-14 * b))
