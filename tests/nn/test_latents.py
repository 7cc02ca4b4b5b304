"""Laws of z: what is drawn against the law that is promised, and against scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gflow_core.nn.latents import Bernoulli, Equicorrelated, Normal, StudentT, TruncatedNormal, Uniform
from gflow_core.parts.plugins import plugins

dims, widths = st.integers(1, 6), st.floats(0.1, 9)
laws = st.one_of(
    st.builds(Normal, dim=dims),
    st.builds(lambda dim, low, width: Uniform(dim=dim, low=low, high=low + width), dims, st.floats(-9, 9), widths),
    st.builds(TruncatedNormal, dim=dims, bound=st.floats(1e-3, 50), scale=st.floats(0.01, 9)),
    st.builds(Bernoulli, dim=dims, p=st.floats(0.1, 0.9)),
    st.builds(Equicorrelated, dim=dims, rho=st.floats(0, 1)),
    st.builds(StudentT, dim=dims, nu=st.floats(5, 1e6)),
)


def drawn(law, n=8000, seed=0) -> np.ndarray:
    return law.draw(n, torch.Generator().manual_seed(seed)).numpy()


@settings(derandomize=True, max_examples=60, deadline=None)
@given(laws)
def test_moments_are_those_of_the_draws(law):
    z, moments = drawn(law).astype(np.float64) - law.moments().mean, law.moments()
    assert z.shape == (8000, law.dim)
    products = z.T @ z / len(z)
    expected = np.full((law.dim, law.dim), moments.covariance)
    np.fill_diagonal(expected, moments.variance)
    # The standard error of each entry, as the draws themselves show it.
    error = np.sqrt(((z**2).T @ z**2 / len(z) - products**2) / len(z))
    assert (np.abs(products - expected) <= 6 * error + 1e-6 * moments.variance).all()
    assert (np.abs(z.mean(0)) <= 6 * math.sqrt(moments.variance / len(z))).all()


def test_every_law_of_the_core_states_its_moments_and_repeats_with_its_generator():
    registry = plugins().registries["latent"]
    for name in [name for name in registry if "." not in name]:
        law = registry.get(name)(dim=3)
        assert law.moments().variance > 0
        assert np.array_equal(drawn(law), drawn(law))
        assert not np.array_equal(drawn(law), drawn(law, seed=1))
        assert drawn(law).dtype == np.float32
        torch.set_default_dtype(torch.float64)
        try:
            assert drawn(law, 2).dtype == np.float64
        finally:
            torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("law", "scipys"),
    [
        (TruncatedNormal(dim=4), stats.truncnorm(-2, 2)),
        (TruncatedNormal(dim=4, bound=0.7, scale=3), stats.truncnorm(-0.7, 0.7, scale=3)),
        (TruncatedNormal(dim=4, bound=30), stats.norm()),
        (StudentT(dim=4), stats.t(5, scale=math.sqrt(3 / 5))),
        (StudentT(dim=4, nu=2.1), stats.t(2.1, scale=math.sqrt(0.1 / 2.1))),
        (StudentT(dim=4, nu=1e6), stats.norm()),
        (Uniform(dim=4, low=-3, high=1), stats.uniform(-3, 4)),
        (Equicorrelated(dim=1, rho=0.3), stats.norm()),
    ],
    ids=lambda value: str(value) if hasattr(value, "draw") else "",
)
def test_the_distribution_is_scipys(law, scipys):
    z = drawn(law, 20_000).astype(np.float64)
    assert stats.kstest(z.ravel(), scipys.cdf).pvalue > 1e-3
    assert (law.moments().mean, law.moments().variance) == pytest.approx((scipys.mean(), scipys.var()), rel=1e-5)
    assert np.quantile(z, 0.999) == pytest.approx(scipys.ppf(0.999), rel=0.15), "the tail, too"


def test_biggans_law_is_cut_at_its_bound():
    z = drawn(TruncatedNormal(dim=8, scale=0.4), 20_000)
    assert 0.79 < np.abs(z).max() <= np.float32(0.8)
    assert TruncatedNormal().moments().variance == pytest.approx(0.7737413)
    assert TruncatedNormal(bound=1e-3).moments().variance == pytest.approx(1e-6 / 3, rel=1e-5), "nearly uniform"


def test_bernoulli_is_0_and_1_and_as_often_as_asked():
    z = drawn(Bernoulli(dim=5, p=0.2))
    assert set(np.unique(z)) == {0.0, 1.0}
    assert z.mean() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 1.0])
def test_equicorrelated_eigenvalues(rho):
    law = Equicorrelated(dim=6, rho=rho)
    closed = np.array([1 - rho] * 5 + [1 + 5 * rho])
    m = law.moments()
    assert np.linalg.eigvalsh(np.full((6, 6), m.covariance) + (m.variance - m.covariance) * np.eye(6)) == pytest.approx(
        closed, abs=1e-12
    )
    assert np.linalg.eigvalsh(np.cov(drawn(law, 50_000).T)) == pytest.approx(closed, abs=0.02 + 0.02 * closed.max())


def test_wholly_correlated_components_are_one_number():
    z = drawn(Equicorrelated(dim=6, rho=1.0))
    assert (z == z[:, :1]).all()
    assert np.linalg.matrix_rank(z) == 1


@settings(derandomize=True, max_examples=40, deadline=None)
@given(laws)
def test_the_code_of_a_law_draws_its_numbers(law):
    drawn: dict = {"torch": torch, "math": math, "n": 7}
    torch.manual_seed(3)
    exec(law.code(), drawn)
    assert drawn["z"].dtype == torch.float32
    torch.testing.assert_close(drawn["z"], law.draw(7, torch.Generator().manual_seed(3)))
