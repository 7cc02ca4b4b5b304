"""Statistics of repeats, against closed forms and SciPy."""

import numpy as np
import pytest
from scipy import stats

from gflow_rmt.repeated import anderson_darling, compared, holm, normality, paired


def test_holm_by_hand():
    """Sorted .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04, and never less than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.8]) == [1, 1]


def test_anderson_darling_is_scipys_with_p_values_beyond_its_table():
    rng, compared_p = np.random.default_rng(0), 0
    for i in range(60):
        x = rng.normal(size=80) + 0.35 * rng.exponential(size=80) * (i % 5)
        a2, p = anderson_darling(x)
        theirs = stats.anderson(x, "norm", method="interpolate")
        assert a2 == pytest.approx(theirs.statistic, rel=1e-9)
        if 0.011 < theirs.pvalue < 0.149:
            compared_p += 1
            assert p == pytest.approx(theirs.pvalue, abs=0.008)
    assert compared_p >= 5
    values = [anderson_darling(rng.normal(3, 2, 40))[1] for _ in range(1500)]
    for level in (0.01, 0.05, 0.2, 0.5, 0.9):
        assert np.mean(np.array(values) <= level) == pytest.approx(level, abs=3.5 * (level * (1 - level) / 1500) ** 0.5)
    assert 0 < anderson_darling(rng.exponential(size=2000))[1] < 1e-20


def test_departures_from_normal_have_a_size():
    rng = np.random.default_rng(1)
    normal, exponential = normality(np.stack([rng.normal(size=2000), rng.exponential(size=2000)], 1))
    assert abs(normal["skewness"]) < 3 * (6 / 2000) ** 0.5
    assert abs(normal["excess_kurtosis"]) < 3 * (24 / 2000) ** 0.5
    assert exponential["skewness"] == pytest.approx(2, abs=0.4)
    for test in ("shapiro", "anderson"):
        assert normal[f"{test}_holm"] > 0.05
        assert exponential[f"{test}_holm"] == 2 * exponential[f"{test}_p"] < 1e-10


def test_two_samples_by_hand():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.5, 1, (4000, 1)), rng.normal(0, 2, (4000, 1))
    (row,) = compared(a, b)
    assert row["smd"] == pytest.approx((a.mean() - b.mean()) / ((a.var(ddof=1) + b.var(ddof=1)) / 2) ** 0.5)
    assert row["sd_ratio"] == pytest.approx(0.5, abs=0.02)
    assert row["welch_t"] == pytest.approx(row["smd"] * (4000 / 2) ** 0.5)
    (back,) = compared(b, a)
    assert (back["smd"], back["sd_ratio"], back["ks"]) == pytest.approx((-row["smd"], 1 / row["sd_ratio"], row["ks"]))
    many = compared(rng.normal(1, 1, (40, 200)), rng.normal(0, 1, (40, 200)))
    spread = np.std([row["smd"] for row in many])
    assert spread == pytest.approx(np.mean([row["smd_error"] for row in many]), rel=0.1)
    # A common part of both goes out of pairs.
    (row,) = paired(a + 100 * b, 100 * b)
    assert row["smd"] * (a + 100 * b).std(ddof=1) == pytest.approx(a.mean())
    assert row["paired_t"] == pytest.approx(a.mean() / (a.std(ddof=1) / 4000**0.5))
