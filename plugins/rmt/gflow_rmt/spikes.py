"""Eigenvalues that stand out of the noise: where a spike must be, and how far chance alone reaches.

Samples are the n columns of X (p x n), g = p/n, of variance 1 + t in one direction and 1 in all others. The covariance
XX'/n has an outlier only if t > sqrt g (Baik, Ben Arous & Peche 2005; Paul 2007). G = X'X/p has n/p times its
eigenvalues.

The largest eigenvalue of pure noise, centred and scaled (Johnstone 2001), follows the law of Tracy & Widom (1996).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import airy

from gflow_rmt import marchenko_pastur

__all__ = [
    "Edge",
    "centring",
    "label_overlap",
    "noise_variance",
    "outlier",
    "overlap",
    "standing_out",
    "tracy_widom",
    "tracy_widom_quantile",
    "visible",
]

Floats = npt.NDArray[np.float64]


# ------------------------------------------------------------------ BBP


def visible(t: Floats | float, g: float) -> npt.NDArray[np.bool_]:
    """Whether a spike 1 + t leaves the noise: t > sqrt g."""
    shows: npt.NDArray[np.bool_] = np.asarray(t) > g**0.5
    return shows


def outlier(t: Floats | float, g: float) -> Floats:
    """Its eigenvalue of XX'/n: (1 + t)(1 + g/t), or the edge of the noise (1 + sqrt g)^2 where it does not show."""
    shown = np.maximum(t, g**0.5)  # at the threshold the two are the same
    found: Floats = (1 + shown) * (1 + g / shown)
    return found


def overlap(t: Floats | float, g: float) -> Floats:
    """Squared cosine between its p-side eigenvector and the direction: (1 - g/t^2)/(1 + g/t), 0 where it is hidden."""
    shown = np.maximum(t, g**0.5)
    found: Floats = (1 - g / shown**2) / (1 + g / shown)
    return found


def label_overlap(t: Floats | float, g: float) -> Floats:
    """Squared cosine between its n-side eigenvector and the coefficients: (1 - g/t^2)/(1 + 1/t), 0 where it is hidden.

    For two classes with means +-mu in unit noise, t = |mu|^2 and the coefficients are the labels +-1.
    """
    shown = np.maximum(t, g**0.5)
    found: Floats = (1 - g / shown**2) / (1 + 1 / shown)
    return found


# ------------------------------------------------------------------ Tracy-Widom


def centring(n: int, p: int, *, small: bool = True) -> tuple[float, float]:
    """mu and sigma such that (lambda_1 - mu)/sigma of the unnormalised ZZ', Z p x n of variance 1, follows TW1.

    Johnstone (2001): mu = (sqrt(n-1) + sqrt p)^2, sigma = (sqrt(n-1) + sqrt p)(1/sqrt(n-1) + 1/sqrt p)^(1/3). With
    `small`, n - 1/2 and p - 1/2 stand in place of n - 1 and p, which is closer where they are small (Ma 2012).
    """
    a, b = ((n - 0.5) ** 0.5, (p - 0.5) ** 0.5) if small else ((n - 1) ** 0.5, p**0.5)
    return (a + b) ** 2, (a + b) * (1 / a + 1 / b) ** (1 / 3)


def tracy_widom(s: npt.ArrayLike) -> Any:
    """The distribution function F1 of the Tracy-Widom law for real matrices; a float for a float, else an array.

    F1(s) = det(I - K), K f(x) = integral of (1/2) Ai((x + y)/2) f(y) over y > s (Ferrari & Spohn 2005), as the
    determinant of the kernel at Gauss-Legendre nodes (Bornemann 2010); accurate to 1e-13.
    """
    points = np.asarray(s, float)
    nodes, weights = _legendre()
    found: Floats = np.empty(points.size)
    for i, value in enumerate(np.clip(points.ravel(), -12, 12)):
        length = 14 - value  # Ai(14) is 1e-16
        x = value + length * nodes
        root = np.sqrt(length * weights)
        kernel = 0.5 * airy((x[:, None] + x) / 2)[0]
        found[i] = np.linalg.det(np.eye(len(x)) - root[:, None] * kernel * root)
    found = found.clip(0, 1)
    return float(found[0]) if points.ndim == 0 else found.reshape(points.shape)


@cache
def _legendre() -> tuple[Floats, Floats]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    return (nodes + 1) / 2, weights / 2


@cache
def tracy_widom_quantile(q: float) -> float:
    """The s with F1(s) = q, 1e-10 < q < 1 - 1e-10."""
    return float(brentq(lambda s: tracy_widom(s) - q, -10, 12, xtol=1e-10))


# ------------------------------------------------------------------ the edge test


def noise_variance(values: Floats, n: int, p: int) -> float:
    """Variance of the white noise whose Gram matrix Z'Z/p (n x n) has the median of these eigenvalues.

    The min(n, p) largest are used, of which few may stand out: the median hardly feels them.
    """
    r = n / p
    zero = marchenko_pastur.atom(r)
    return float(np.median(np.sort(values)[::-1][: min(n, p)])) / marchenko_pastur.quantile(zero + (1 - zero) / 2, r)


@attrs.frozen(eq=False)
class Edge:
    """What the sequential edge test found."""

    count: int
    """Eigenvalues that stand out."""
    variance: float
    """Of the noise, by the rest of the spectrum."""
    threshold: float
    """What the first eigenvalue that does not stand out would have had to exceed."""
    level: float
    """Probability, about, with which pure noise gives one or more."""


def standing_out(values: Floats, n: int, p: int, level: float = 0.01) -> Edge:
    """How many of the eigenvalues of G = X'X/p (X p x n) are too large for white noise, at the level.

    The largest is tested against the law of Tracy and Widom, the noise variance being taken from the median of the
    spectrum; if it is significant it is removed, with one dimension of n and of p, and so on until one is not (after
    Patterson, Price & Reich 2006; Kritchman & Nadler 2009). That the variance is estimated raises the level a little:
    .05 becomes .06 to .09 at n = 60 to 300. If columns of X were centred about their mean, n is one less.
    """
    values = np.sort(np.asarray(values, float))[::-1][: min(n, p)]
    bar = tracy_widom_quantile(1 - level)
    # To the last: two dimensions at least must be left for centring and median to mean anything.
    for count in range(max(1, min(n, p) - 1)):
        rest = values[count:]
        variance = noise_variance(rest * p / (p - count), n - count, p - count)
        mu, sigma = centring(n - count, p - count)
        threshold = variance * (mu + bar * sigma) / p
        if not rest[0] > threshold:
            break
    return Edge(count, variance, threshold, level)
