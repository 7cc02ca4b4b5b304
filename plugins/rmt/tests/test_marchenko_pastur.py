"""The law of white noise's spectrum: closed form against quadrature, moments and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from gflow_rmt import marchenko_pastur as mp


@pytest.mark.parametrize("variance", [1.0, 2.5])
@pytest.mark.parametrize("ratio", [0.2, 1.0, 1.5, 4.0])
def test_the_distribution_function_is_the_integral_of_the_density(ratio, variance):
    low, high = mp.edges(ratio, variance)
    for x in np.linspace(low, high, 6)[1:]:
        integral, _ = quad(lambda y: float(mp.density(y, ratio, variance)), low, x, epsabs=1e-11, limit=200)
        assert float(mp.distribution(x, ratio, variance)) == pytest.approx(mp.atom(ratio) + integral, abs=1e-7)
    assert mp.distribution([-0.1, low / 2, high, 2 * high], ratio, variance).tolist() == [
        0.0,
        mp.atom(ratio) if low else pytest.approx(float(mp.distribution(0.0, ratio, variance))),
        1.0,
        1.0,
    ]


@pytest.mark.parametrize("ratio", [0.3, 3.0])
def test_moments(ratio):
    """E x = variance, E x^2 = variance^2 (1 + ratio); the atom adds nothing."""
    low, high = mp.edges(ratio, 2.0)
    moments = [quad(lambda x, k=k: x**k * float(mp.density(x, ratio, 2.0)), low, high)[0] for k in (0, 1, 2)]
    assert moments == pytest.approx([1 - mp.atom(ratio), 2.0, 4.0 * (1 + ratio)], rel=1e-6)


def test_quantiles_invert_the_distribution_function():
    assert mp.quantile(0.7, 4.0) == 0.0  # three quarters are 0
    for ratio in (0.5, 4.0):
        x = mp.quantile(0.9, ratio, 3.0)
        assert float(mp.distribution(x, ratio, 3.0)) == pytest.approx(0.9, abs=1e-10)


def test_simulated_spectra_come_closer_as_p_grows_in_both_orientations():
    rng = np.random.default_rng(0)
    for shape in ((1, 3), (3, 1)):  # p : n, so that each orientation has an atom once
        found = {"covariance": [], "gram": []}
        for size in (20, 200):
            p, n = shape[0] * size, shape[1] * size
            z = 2 * rng.standard_normal((p, n))
            for name, matrix, ratio in (("covariance", z @ z.T / n, p / n), ("gram", z.T @ z / p, n / p)):
                values = np.linalg.eigvalsh(matrix)
                zeros = np.mean(values < 1e-9)
                assert zeros == pytest.approx(mp.atom(ratio))
                positive = values[values > 1e-9]
                law = lambda x, r=ratio: (mp.distribution(x, r, 4.0) - mp.atom(r)) / (1 - mp.atom(r))  # noqa: E731
                found[name].append(kstest(positive, law).statistic)
        for coarse, fine in found.values():
            assert fine < 0.02
            assert fine < coarse / 2
