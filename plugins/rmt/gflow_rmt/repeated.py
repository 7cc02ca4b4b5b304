"""Statistics of numbers that an experiment gives over and over: S independent repeats of k numbers each, [S, k].

Every p-value stands beside Holm's correction over the k columns, which are dependent: eigenvalues of one matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from gflow_rmt.spectra import Floats

__all__ = ["anderson_darling", "compared", "holm", "normality", "paired"]

Rows = list[dict[str, float]]


def normality(values: Floats) -> Rows:
    """Of each column: tests of normality, and how far from normal it is.

    Shapiro-Wilk and Anderson-Darling; skewness and excess kurtosis, which for a normal law have the standard errors
    sqrt(6/S) and sqrt(24/S).
    """
    rows = []
    for x in values.T:
        shapiro, (a2, p) = stats.shapiro(x), anderson_darling(x)
        rows.append(
            {
                "skewness": float(stats.skew(x)),
                "excess_kurtosis": float(stats.kurtosis(x)),
                "shapiro_w": float(shapiro.statistic),
                "shapiro_p": float(shapiro.pvalue),
                "anderson_a2": a2,
                "anderson_p": p,
            }
        )
    return _with_holm(rows, "shapiro", "anderson")


def compared(a: Floats, b: Floats) -> Rows:
    """Of each column of a and b, independent samples: do they have one law, and how far apart are they?

    Two-sample Kolmogorov-Smirnov and Welch's t. `smd` is (mean of a - mean of b) over the root of the mean variance,
    `smd_error` its standard error, `sd_ratio` the standard deviation of a over that of b.
    """
    s, rows = len(a), []
    for x, y in zip(a.T, b.T, strict=True):
        ks, welch = stats.ks_2samp(x, y), stats.ttest_ind(x, y, equal_var=False)
        sd_x, sd_y = float(x.std(ddof=1)), float(y.std(ddof=1))
        smd = float(x.mean() - y.mean()) / ((sd_x**2 + sd_y**2) / 2) ** 0.5
        rows.append(
            {
                "smd": smd,
                "smd_error": (2 / s + smd**2 / (4 * s)) ** 0.5,
                "sd_ratio": sd_x / sd_y,
                "ks": float(ks.statistic),
                "ks_p": float(ks.pvalue),
                "welch_t": float(welch.statistic),
                "welch_p": float(welch.pvalue),
            }
        )
    return _with_holm(rows, "ks", "welch")


def paired(a: Floats, b: Floats) -> Rows:
    """Of each column of a and b, whose rows belong together: the mean difference over the deviation of a.

    With its standard error and the paired t test. Where a_i and b_i may be exchanged, as eigenvalues of normal features
    and of rotated ones may, differences are symmetric about 0.
    """
    rows = []
    for x, y in zip(a.T, b.T, strict=True):
        test, sd = stats.ttest_rel(x, y), float(x.std(ddof=1))
        rows.append(
            {
                "smd": float((x - y).mean()) / sd,
                "smd_error": float(stats.sem(x - y)) / sd,
                "paired_t": float(test.statistic),
                "paired_p": float(test.pvalue),
            }
        )
    return _with_holm(rows, "paired")


def anderson_darling(x: Floats) -> tuple[float, float]:
    """A^2 of numbers x [S] against the normal law with their mean and variance, and its p-value, at least 1e-24.

    The p-value by D'Agostino & Stephens (1986, table 4.9), for S >= 8. (SciPy's stops at 0.01, too soon to correct for
    several tests.)
    """
    s = len(x)
    z = np.sort((x - x.mean()) / x.std(ddof=1))
    odd = 2 * np.arange(1, s + 1) - 1
    a2 = float(-s - (odd * (stats.norm.logcdf(z) + stats.norm.logsf(z[::-1]))).mean())
    a = min(a2 * (1 + 0.75 / s + 2.25 / s**2), 10.0)  # beyond 10 the fitted parabola turns round
    if a >= 0.6:
        p = np.exp(1.2937 - 5.709 * a + 0.0186 * a**2)
    elif a > 0.34:
        p = np.exp(0.9177 - 4.279 * a - 1.38 * a**2)
    elif a > 0.2:
        p = 1 - np.exp(-8.318 + 42.796 * a - 59.938 * a**2)
    else:
        p = 1 - np.exp(-13.436 + 101.14 * a - 223.73 * a**2)
    return a2, float(p)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p-values: rejecting where it is <= alpha errs anywhere with probability <= alpha.

    Whatever the dependence of the tests (Holm 1979).
    """
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1)).clip(max=1)
    corrected = np.empty(len(p))
    corrected[order] = steps
    return [float(value) for value in corrected]


def _with_holm(rows: Rows, *tests: str) -> Rows:
    """The rows with TEST_holm added, of their TEST_p."""
    for test in tests:
        for row, p in zip(rows, holm([row[f"{test}_p"] for row in rows]), strict=True):
            row[f"{test}_holm"] = p
    return rows
