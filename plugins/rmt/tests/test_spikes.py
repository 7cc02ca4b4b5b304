"""Planted spikes against BBP, the Tracy-Widom law against its published numbers, level and power of the edge test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import simpson

from gflow_rmt import spikes


def top(x):
    """Largest eigenvalue of XX'/n, X [p, n], with its p-side and n-side vectors."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    return s[0] ** 2 / x.shape[1], u[:, 0], vt[0]


def errors(t, p, seeds):
    """Mean errors of BBP's eigenvalue and overlap of a spike 1 + t in R^p, n = 2p."""
    rng, n, found = np.random.default_rng(p), 2 * p, []
    for _ in range(seeds):
        x = rng.standard_normal((p, n))
        x[0] *= (1 + t) ** 0.5
        value, u, _ = top(x)
        found.append([abs(value - spikes.outlier(t, 0.5)), abs(u[0] ** 2 - spikes.overlap(t, 0.5))])
    return np.mean(found, 0)


@pytest.mark.parametrize(("t", "shows"), [(2.0, True), (0.3, False)])
def test_a_spike_stands_where_bbp_says(t, shows):
    """g = 1/2: the threshold is .707."""
    assert bool(spikes.visible(t, 0.5)) is shows
    coarse, fine = errors(t, 40, 30), errors(t, 320, 8)
    assert (fine < coarse / 1.5).all()
    assert (fine < (0.15, 0.05)).all()


def test_below_the_threshold_all_stays_at_its_value_there():
    g = 0.5
    assert spikes.outlier(0.1, g) == pytest.approx((1 + g**0.5) ** 2)
    assert spikes.overlap(np.array([0.1, g**0.5]), g) == pytest.approx([0.0, 0.0])
    assert spikes.label_overlap(0.1, g) == pytest.approx(0.0)


def test_a_mixture_of_two_means_shows_in_the_gram_matrix_and_its_labels():
    """t = |mu|^2; G's outlier is (n/p)(1 + t)(1 + g/t)."""
    rng, p, n, t = np.random.default_rng(0), 300, 600, 2.0
    labels = np.repeat([1.0, -1.0], n // 2)
    found = []
    for _ in range(4):
        x = rng.standard_normal((p, n))
        x[0] += t**0.5 * labels
        value, _, v = top(x)
        found.append([value * n / p, (v @ labels) ** 2 / n])
    expected = [n / p * spikes.outlier(t, 0.5), spikes.label_overlap(t, 0.5)]
    assert np.mean(found, 0) == pytest.approx(expected, rel=0.03)


def test_tracy_widom_law():
    x = np.linspace(-9, 8, 341)
    f = spikes.tracy_widom(x)
    assert (np.diff(f) >= 0).all()
    mean = 8 - simpson(f, x=x)
    variance = 64 - simpson(2 * x * f, x=x) - mean**2
    assert mean == pytest.approx(-1.2065335745820, abs=1e-6)
    assert variance == pytest.approx(1.607781034581, abs=1e-6)
    # Prahofer's table; the usual critical values of the law for real matrices.
    for q, s in ((0.9, 0.4501), (0.95, 0.9793), (0.99, 2.0234)):
        assert spikes.tracy_widom_quantile(q) == pytest.approx(s, abs=1e-4)
        assert spikes.tracy_widom(s) == pytest.approx(q, abs=1e-4)
    assert spikes.tracy_widom(-1.2065) == pytest.approx(0.5197, abs=1e-4)


@pytest.mark.parametrize(("n", "p"), [(5, 20), (20, 5)])
def test_the_largest_eigenvalue_of_noise_follows_it_after_centring(n, p):
    """Even of tiny matrices the usual 5 % are beyond .9793, with n - 1/2 and p - 1/2."""
    x = np.random.default_rng(0).standard_normal((12000, 5, 20))
    values = np.linalg.eigvalsh(x @ x.transpose(0, 2, 1))[:, -1]
    johnstone, small = (
        np.mean((values - mu) / sigma > 0.9793) for mu, sigma in (spikes.centring(n, p, small=s) for s in (False, True))
    )
    assert spikes.centring(n, p, small=False)[0] == pytest.approx(((n - 1) ** 0.5 + p**0.5) ** 2)
    assert small == pytest.approx(0.05, abs=0.008)
    assert johnstone == pytest.approx(0.05, abs=0.02)
    assert abs(small - 0.05) < abs(johnstone - 0.05)


def gram_values(x):
    return np.linalg.eigvalsh(x.T @ x / len(x))


@pytest.mark.parametrize(("p", "n"), [(160, 60), (60, 120)])
def test_noise_gives_nothing_at_about_the_level_and_three_strong_spikes_three(p, n):
    rng, level, repeats = np.random.default_rng(1), 0.05, 150
    noise, planted = [], []
    for _ in range(repeats):
        x = 1.7 * rng.standard_normal((p, n))
        noise.append(spikes.standing_out(gram_values(x), n, p, level).count)
        x[:3] *= 8
        planted.append(spikes.standing_out(gram_values(x), n, p, level).count)
    assert 0.01 <= np.mean(np.array(noise) > 0) <= 0.13
    assert min(planted) == 3
    assert np.mean(np.array(planted) > 3) <= 0.13


def test_the_edge_test_states_variance_and_threshold():
    rng, p, n = np.random.default_rng(0), 300, 200
    x = 2 * rng.standard_normal((p, n))
    x[0] *= 10
    found = spikes.standing_out(gram_values(x), n, p, 0.01)
    assert found.count == 1
    assert found.variance == pytest.approx(4.0, rel=0.03)
    assert found.threshold == pytest.approx(4 * (1 + (n / p) ** 0.5) ** 2, rel=0.05)
    assert spikes.standing_out(np.array([3.0, 1.0]), 2, 5).count in (0, 1)  # hardly a spectrum, and no failure
