"""Distances by products, and decisions that no rounding of a product changes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow_core.scores import distances as scores
from gflow_core.scores.distances import distances, measured, nearest, radii, settled
from gflow_core.scores.prdc import prdc_scores
from gflow_core.testing import OwnRounding


def every(x, y):
    """All distances, pair by pair."""
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")


@st.composite
def crowds(draw):
    """Two sets far from the origin where rows of either come again, exactly or nearly, and pieces to take them in."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    d = draw(st.sampled_from([1, 3, 8, 40, 300]))
    few = torch.randn(draw(st.integers(1, 6)), d, generator=generator) + draw(st.sampled_from([0.0, 30.0, 1e4]))
    x, y = (few[torch.randint(len(few), (draw(st.integers(5, 40)),), generator=generator)] for _ in range(2))
    x[:3] += torch.randn(3, d, generator=generator)
    y[:2] += 1e-3 * torch.randn(2, d, generator=generator)
    return x, y, draw(st.integers(1, 50))


@settings(max_examples=60, deadline=None)
@given(crowds())
def test_the_nearest_row_is_the_first_of_those_measured_nearest(crowd):
    x, y, size = crowd
    with OwnRounding():
        distance, index, row = nearest(x, y.split(size))
    wanted = every(x, y).min(1)
    assert torch.equal(distance, wanted.values)
    assert torch.equal(index, wanted.indices)
    assert torch.equal(row, y[index])


def test_the_nearest_of_points_in_general_position_are_as_measured():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 2, generator=generator), torch.randn(3000, 2, generator=generator)
    y[1500] = x[7] = y[3]  # a copy, twice there
    distance, index, row = nearest(x, y.split(1000))
    wanted = every(x, y).min(1)
    assert torch.equal(distance, wanted.values)
    assert torch.equal(index, wanted.indices)
    assert (distance[7], index[7]) == (0, 3)
    assert torch.equal(row, y[index])


def test_what_is_not_finite_is_nearest_to_nothing():
    x, y = torch.tensor([[0.0, 0.0], [torch.nan, 0.0], [torch.inf, 0.0]]), torch.randn(50, 2)
    assert nearest(x, [y])[0].isfinite().tolist() == [True, False, False]
    y[:, 1] = torch.nan
    assert nearest(x, [y])[0].tolist() == [torch.inf] * 3


@settings(max_examples=60, deadline=None)
@given(crowds(), st.integers(1, 4))
def test_radii_and_balls_are_as_measured(crowd, k):
    x, y, _ = crowd
    with OwnRounding():
        found, scores = radii(x, k), prdc_scores(x, y, k)
    own = every(x, x).fill_diagonal_(torch.inf).sort(1).values[:, k - 1]
    assert torch.equal(found, own)
    inside = every(x, y) <= own[:, None]
    assert scores["precision"] == inside.any(0).double().mean()
    assert scores["density"] == pytest.approx(float(inside.sum(0).double().mean()) / k)
    assert scores["coverage"] == inside.any(1).double().mean()


@settings(max_examples=30, deadline=None)
@given(crowds(), st.integers(1, 2000), st.floats(0, 30))
def test_each_distance_stays_on_its_side_of_a_limit_whatever_the_pieces(crowd, entries, limit):
    x, y, _ = crowd
    for at in (torch.tensor(limit, dtype=torch.float64), every(x, y).flatten()[7]):

        def limits(rows, low, high, at=at):
            assert (low <= high).all()
            assert (low <= every(x, y)[rows]).all()
            assert (high >= every(x, y)[rows]).all()
            return [(at, at)]

        with OwnRounding():
            found = torch.cat(list(settled(x, y, limits, entries)))
        assert torch.equal(found <= at, every(x, y) <= at)
        assert torch.equal(found >= at, every(x, y) >= at)


def test_what_is_measured_is_the_length_of_the_difference():
    x, y = torch.randn(2, 9, 70, generator=torch.Generator().manual_seed(0)) + 100
    assert torch.allclose(measured(x, y), (x.double() - y.double()).norm(dim=1), rtol=1e-12, atol=0)
    assert measured(x, x).tolist() == [0] * 9


@pytest.mark.parametrize("kinds", [1, 3])
def test_equal_pairs_are_measured_once(kinds, monkeypatch):
    """Samples that collapsed are all near one another's limits: n^2 pairs, of a few rows."""
    seen = []
    monkeypatch.setattr(scores, "measured", lambda x, y: seen.append(len(x)) or measured(x, y))
    rows = torch.randn(kinds, 40) + 30
    x = rows[torch.arange(200) % kinds]
    assert torch.equal(radii(x, 3), torch.zeros(200))
    limit = measured(rows[:1], rows[-1:])
    found = torch.cat(list(settled(x, x, lambda *_: [(limit, limit)])))
    assert torch.equal(found <= limit, every(x, x) <= limit)
    assert sum(seen) <= 4 * kinds * kinds


def test_radii_leave_out_the_point_itself_but_not_its_double():
    x = torch.tensor([[0.0], [0.0], [1.0], [3.0]])
    assert radii(x, 1).tolist() == [0, 0, 1, 2]
    assert radii(x, 2).tolist() == [1, 1, 1, 3]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 40), st.integers(1, 200), st.integers(0, 99))
def test_distances_do_not_depend_on_the_pieces(n, m, d, entries, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, d, generator=generator), torch.randn(m, d, generator=generator)
    found = torch.cat(list(distances(x, y, entries)))
    wanted = (x[:, None].double() - y[None].double()).square().sum(2).sqrt()
    assert torch.allclose(found, wanted, rtol=0, atol=1e-6)
    assert found.dtype == torch.float64


def test_memory_is_linear_in_the_items():
    """20,000 x 20,000 distances in float64 would be 3.2 GB; a piece is 2**24 numbers at most."""
    x = torch.arange(20_000.0)[:, None]
    assert next(distances(x, x)).numel() <= 1 << 24
    assert next(settled(x, x, lambda rows, low, high: [])).numel() <= 1 << 23
