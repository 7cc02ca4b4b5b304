"""Whether generated points crowd at single real ones, how that moves the pull, and which of them FAR would choose."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["crowd", "effective_number", "lowest_scored", "partial_rank_correlation"]

Array = np.ndarray[Any, np.dtype[Any]]


def crowd(index: Array) -> Array:
    """How many of the points share the nearest real point of each: [n], from these points' numbers [n]."""
    _, own, counts = np.unique(index, return_inverse=True, return_counts=True)
    shared: Array = counts[own]
    return shared


def effective_number(index: Array) -> float:
    """exp of the entropy in nats of where points [n] lie: k where they lie evenly at k real points."""
    _, counts = np.unique(index, return_counts=True)
    share = counts / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def partial_rank_correlation(a: Array, b: Array, given: Array) -> float | None:
    """Spearman's correlation of a and b [n] with that of `given` taken out; None where one of them does not vary."""
    from scipy.stats import spearmanr

    if len(a) < 4 or not all(np.ptp(values) > 0 for values in (a, b, given)):
        return None
    ab, ag, bg = (float(spearmanr(*pair).statistic) for pair in ((a, b), (a, given), (b, given)))
    rest = (1 - ag**2) * (1 - bg**2)
    return float((ab - ag * bg) / np.sqrt(rest)) if rest > 1e-9 else None


def lowest_scored(logit: Array, count: int, candidates: int) -> Array:
    """Which points are among the `count` lowest of their `candidates`, in turn: [n], without those left over.

    Of fewer points than candidates the same share, one at least.
    """
    n = len(logit)
    size = min(candidates, n)
    few = max(1, round(count * size / candidates))
    groups = logit[: n - n % size].reshape(-1, size)
    chosen = np.zeros(groups.shape, bool)
    np.put_along_axis(chosen, np.argsort(groups, axis=1, kind="stable")[:, :few], True, axis=1)
    return chosen.ravel()
