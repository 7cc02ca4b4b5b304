"""Spectra by every way against numpy's, their precision, and distances in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from gflow_rmt.spectra import (
    GramStream,
    distance,
    gram,
    gram_density,
    gram_eigenvalues,
    lanczos_density,
    share_above,
    spectrum_of,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(*shape, dtype=torch.float32, seed=0):
    return (torch.randn(*shape, generator=generator(seed), dtype=torch.float64) + 1).to(dtype)


def squares(x):
    """Squared singular values over p, largest first, n of them."""
    flat = x.double().flatten(0, -2).numpy()
    values = np.linalg.svd(flat, compute_uv=False) ** 2 / flat.shape[1]
    return np.concatenate([values, np.zeros(len(flat) - len(values))])


# ------------------------------------------------------------------ dense


@pytest.mark.parametrize("shape", [(3, 10, 50), (3, 20, 50), (60, 60), (2, 40, 30)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eigenvalues_are_squared_singular_values(shape, dtype):
    x = rows(*shape, dtype=dtype)
    found = gram_eigenvalues(x)
    assert found.shape == (math.prod(shape[:-1]),)
    assert found == pytest.approx(squares(x), rel=1e-9, abs=1e-12 * found[0])
    assert np.all(np.diff(found) <= 0)
    assert gram(x).dtype == torch.float64
    assert found.sum() == pytest.approx(float(gram(x).trace()), rel=1e-12)


def test_small_eigenvalues_of_uncentred_features_keep_their_digits():
    """Products of float32 numbers would lose those: a mean of 30 makes the largest 1e6 times the smallest."""
    x = rows(100, 120) + 30
    exact, found = squares(x), gram_eigenvalues(x)
    assert np.abs(found / exact - 1).max() <= 1e-8
    single = torch.linalg.eigvalsh((x @ x.mT).double() / 120).flip(0).numpy()
    assert np.abs(single / exact - 1).max() > 1e-4


def test_eigenvalues_beyond_the_rank_are_zero():
    """Rows of float32 that span 5 dimensions but for their rounding: on either side of X."""
    for shape in ((20, 50), (60, 30)):
        x = rows(shape[0], 5) @ rows(5, shape[1], seed=1)
        found = gram_eigenvalues(x)
        assert (found[:5] > 0).all()
        assert (found[5:] == 0).all()


# ------------------------------------------------------------------ rows in pieces


@pytest.mark.parametrize("n", [200, 12])
def test_a_stream_knows_what_the_whole_would(n):
    x = rows(n, 30)
    stream = GramStream.of(30)
    for piece in x.split([5, n - 8, 3]):
        stream.add(piece)
    whole = x.double().numpy()
    assert stream.n == n
    assert np.tril(stream.products) == pytest.approx(np.tril(whole.T @ whole))
    assert stream.eigenvalues() == pytest.approx(gram_eigenvalues(x), abs=1e-10)
    assert spectrum_of(x.split(7)) == pytest.approx(gram_eigenvalues(x), abs=1e-10)


def test_a_stream_sees_each_piece_once_and_keeps_none():
    def pieces():
        for i in range(50):
            yield rows(100, 8, seed=i)

    everything = torch.cat(list(pieces()))
    generated = pieces()
    assert spectrum_of(generated) == pytest.approx(gram_eigenvalues(everything))
    assert next(generated, None) is None


# ------------------------------------------------------------------ Lanczos quadrature


def test_one_probe_gives_its_moments_exactly():
    """v'A^k v / v'v for all k < 2 steps: Gauss quadrature."""
    a = torch.diag(torch.linspace(-1, 1, 40, dtype=torch.float64))
    found = lanczos_density(lambda v: a @ v, 40, 1, 5, generator())
    assert found.nodes.shape == found.weights.shape == (1, 5)
    assert found.weights.sum() == pytest.approx(1)
    for k in range(1, 10):  # of a diagonal matrix the signs of v do not matter
        assert found.moment(k) == pytest.approx(float((a.diagonal() ** k).mean()))
    assert found.moment(10) != pytest.approx(float((a.diagonal() ** 10).mean()))


@pytest.mark.parametrize("shape", [(150, 300), (300, 150)])
def test_the_distribution_comes_closer_with_probes(shape):
    x = rows(*shape, dtype=torch.float64)
    exact = gram_eigenvalues(x)
    seen = np.sort(exact[exact > 0])
    middle = (len(exact) - len(seen) + np.arange(len(seen)) + 0.5) / len(exact)

    def error(probes):
        tries = [gram_density(x, probes, 40, generator(seed)) for seed in range(5)]
        assert all(found.zeros == (exact == 0).mean() for found in tries)
        return np.mean([np.abs(found.distribution(seen) - middle).max() for found in tries])

    errors = [error(probes) for probes in (1, 8, 64)]
    assert errors[0] > 2 * errors[1]
    assert errors[1] > errors[2]
    assert errors[2] < 0.02

    found = gram_density(x, 64, 40, generator())
    bulk = exact[1:]  # the largest, of the mean, is one eigenvalue in 300, and a probe sees it with a weight of its own
    assert found.moment(1) == pytest.approx(exact.mean(), rel=0.1)
    grid = np.linspace(-2, bulk.max() + 2, 600)
    density = found.density(grid, 0.1)
    assert (density >= 0).all()
    assert np.trapezoid(density, grid) == pytest.approx(1 - 1 / min(shape), abs=0.01)
    smooth = np.mean([stats.norm.pdf(grid, value, 0.1) for value in seen], 0)
    assert np.abs(density - smooth).max() < 0.1 * smooth.max()


def test_a_matrix_of_few_eigenvalues_ends_the_recursion():
    """Rank 3 plus the identity: 4 distinct eigenvalues, found exactly by 4 steps, and again by 20."""
    q = torch.linalg.qr(rows(50, 3, dtype=torch.float64))[0]
    scale = torch.tensor([2.0, 5.0, 9.0], dtype=torch.float64)
    exact = np.array([1.0, 3, 6, 10])
    for steps in (4, 20, 100):
        found = lanczos_density(lambda v: v + q * scale @ (q.mT @ v), 50, 6, steps, generator())
        for nodes, weights in zip(found.nodes, found.weights, strict=True):
            assert nodes[weights > 1e-9] == pytest.approx(exact)
            assert weights.sum() == pytest.approx(1)


# ------------------------------------------------------------------ distances


def test_distance_in_closed_form():
    a, b = np.array([0.0, 1, 2, 3]), np.array([0.0, 1, 2, 7])
    found = distance(a, b)
    assert found.ks == pytest.approx(0.25)
    assert found.wasserstein == pytest.approx(4 / 4 / 2.5)
    assert distance(a, a) == distance(b, b)
    shifted = distance(b + 10, b)
    assert shifted.wasserstein == pytest.approx(10 / 2.5)
    assert shifted.ks == 1
    assert distance(3 * a, 3 * b).wasserstein == pytest.approx(found.wasserstein)


def test_p_values_count_ties():
    assert share_above(2.0, [1.0, 2.0, 3.0]) == 3 / 4
    assert share_above(4.0, [1.0, 2.0, 3.0]) == 1 / 4
