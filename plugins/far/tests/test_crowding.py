"""Where generated points crowd: numbers that are known, and against slow versions."""

from __future__ import annotations

import numpy as np
import pytest

from gflow_far.crowding import crowd, effective_number, lowest_scored, partial_rank_correlation

RANDOM = np.random.default_rng(0)


def test_how_many_share_a_point():
    index = RANDOM.integers(0, 9, 50)
    assert crowd(index).tolist() == [int((index == i).sum()) for i in index]


def test_effective_number():
    assert effective_number(np.repeat([3, 7, 8], 5)) == pytest.approx(3)
    assert effective_number(np.zeros(9, int)) == pytest.approx(1)
    assert 1 < effective_number(np.array([0, 0, 0, 1])) < 2


def test_partial_rank_correlation_is_that_of_residuals():
    """Of ranks, after a line in the ranks of the third is taken out of both."""
    given = RANDOM.normal(size=400)
    a, b = given + RANDOM.normal(size=400), given + RANDOM.normal(size=400)
    ranks = [values.argsort().argsort() - 199.5 for values in (a, b, given)]
    left = [values - values @ ranks[2] / (ranks[2] @ ranks[2]) * ranks[2] for values in ranks[:2]]
    wanted = left[0] @ left[1] / np.sqrt((left[0] @ left[0]) * (left[1] @ left[1]))
    assert partial_rank_correlation(a, b, given) == pytest.approx(wanted)
    assert abs(wanted) < 0.15  # what a and b share is the third
    assert partial_rank_correlation(a, a + 0.1 * b, given) > 0.9
    assert partial_rank_correlation(a, np.ones(400), given) is None
    assert partial_rank_correlation(a, given, given) is None


def test_the_lowest_of_each_group():
    logit = RANDOM.normal(size=70)
    chosen = lowest_scored(logit, 2, 20)
    for start in (0, 20, 40):
        assert set(np.flatnonzero(chosen[start : start + 20])) == set(np.argsort(logit[start : start + 20])[:2])
    assert len(chosen) == 60
    assert lowest_scored(logit, 16, 256).sum() == round(16 * 70 / 256)
    assert lowest_scored(logit[:3], 1, 256).sum() == 1
