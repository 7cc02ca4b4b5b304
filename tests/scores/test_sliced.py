from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from gflow_core.scores.sliced import directions_on_sphere, sliced_wasserstein


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def points(n, d, generator):
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def sliced_w2(x, y, directions):
    return sliced_wasserstein(x, y, directions, 2)


def test_in_one_dimension_it_is_the_wasserstein_distance(generator):
    """Between N(0, 1) and N(m, s^2): W2^2 = m^2 + (s - 1)^2; and of two finite sets, the best of all assignments."""
    x = points(200_000, 1, generator)
    y = 1.5 + 0.5 * points(200_000, 1, generator)
    assert sliced_w2(x, y, torch.ones(1, 1, dtype=torch.float64)) == pytest.approx(math.sqrt(1.5**2 + 0.5**2), rel=5e-3)
    cost = torch.cdist(x[:60], y[:60]).square()
    best = float(cost[linear_sum_assignment(cost.numpy())].mean())
    assert sliced_w2(x[:60], y[:60], -torch.ones(1, 1, dtype=torch.float64)) == pytest.approx(math.sqrt(best))


def test_sliced_distance_is_the_slow_loop_over_directions(generator):
    x, y, directions = points(50, 3, generator), 2 * points(50, 3, generator), directions_on_sphere(150, 3, generator)
    total = 0.0
    for u in directions.numpy():
        a, b = sorted(float(p @ u) for p in x.numpy()), sorted(float(p @ u) for p in y.numpy())
        total += sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / 50
    assert sliced_w2(x, y, directions) == pytest.approx(math.sqrt(total / 150), rel=1e-12)


def test_a_shift_moves_it_by_its_length_over_root_d(generator):
    """E <u, a>^2 = |a|^2 / d over directions u."""
    x, shift = points(100, 5, generator), torch.tensor([3.0, 0, 0, -4.0, 0], dtype=torch.float64)
    found = sliced_w2(x, x + shift, directions_on_sphere(20_000, 5, generator))
    assert found == pytest.approx(5 / math.sqrt(5), rel=0.02)
    assert sliced_w2(x, x.flip(0), directions_on_sphere(10, 5, generator)) == pytest.approx(0, abs=1e-14), (
        "the order is nothing"
    )


def test_of_order_one_it_is_the_area_between_distribution_functions(generator):
    """W1 between x and x + a is |a|; between points and their double about 0, the mean of |x|."""
    x, one = points(1000, 1, generator), torch.ones(1, 1, dtype=torch.float64)
    assert sliced_wasserstein(x, x - 0.7, one, 1) == pytest.approx(0.7, rel=1e-12)
    assert sliced_wasserstein(x, 2 * x, one, 1) == pytest.approx(float(x.abs().mean()), rel=1e-12)
    assert sliced_wasserstein(x.float(), x.flip(0).float(), one.float(), 1) == pytest.approx(0, abs=1e-6)


def test_points_that_are_no_number_are_at_no_distance(generator):
    x, directions = points(50, 2, generator), directions_on_sphere(3, 2, generator)
    assert math.isnan(sliced_wasserstein(torch.where(x > 1, torch.nan, x), x, directions, 2))
