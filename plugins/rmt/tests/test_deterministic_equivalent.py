"""The deterministic equivalent: exact identities, slow obvious versions, closed forms, and simulated mixtures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gflow_core import Normal
from gflow_rmt import deterministic_equivalent as de
from gflow_rmt import marchenko_pastur as mp
from gflow_rmt.spectra import gram, gram_eigenvalues
from gflow_rmt.surrogate import Component, Mixture


def white(p, variance=1.0):
    """N(0, variance I)."""
    return Mixture((Component(torch.zeros(p), torch.eye(p, dtype=torch.float64) * (p * variance) ** 0.5),))


def three(p, length=3.0, seed=0):
    """Three classes whose means have this length and whose covariances differ in size and in shape."""
    generator = torch.Generator().manual_seed(seed)
    components = []
    for k in range(3):
        scales = (0.5 + 0.5 * k) * torch.linspace(0.5, 1.5, p, dtype=torch.float64).roll(k * p // 3)
        mean = torch.randn(p, generator=generator, dtype=torch.float64)
        components.append(Component(length * mean / mean.norm(), torch.diag(scales.sqrt()) * p**0.5))
    return Mixture(tuple(components))


def features(k=3, m=12, p=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = torch.linspace(0.1, 2, p, dtype=torch.float64)
    x = torch.randn(k, m, p, generator=generator, dtype=torch.float64) * shapes
    return x + torch.randn(k, 1, p, generator=generator, dtype=torch.float64) + 0.5


# ------------------------------------------------------------------ the fixed point


@pytest.mark.parametrize("z", [1.0, 0.05, -0.5 + 0.02j])
@pytest.mark.parametrize("m", [12, 200])  # r x r, and p x p
def test_the_fixed_point_solves_the_equations_as_written(z, m):
    mixture, n = Mixture.of(features(m=m)), [20, 30, 40]
    found = de.Equivalent.of(mixture, n).solve(z)
    p = 60
    c = [c.centred.T @ c.centred / c.m + torch.outer(c.mean, c.mean) for c in mixture.components]
    q = np.linalg.inv(
        sum(n[k] / p * c[k].numpy() / (1 + found.delta[k]) for k in range(3)) + z * np.eye(p, dtype=complex)
    )
    expected = [np.trace(c[k].numpy() @ q) / p for k in range(3)]
    assert np.abs(found.delta - expected).max() < 1e-10
    means = torch.stack([c.mean for c in mixture.components]).numpy()
    assert found.means == pytest.approx(means @ q @ means.T, abs=1e-8)


def test_derivatives_by_random_signs_lead_to_the_same_fixed_point(monkeypatch):
    model = de.Equivalent.of(Mixture.of(features(m=200)), 40)
    exact = [model.solve(z, tolerance=1e-9).delta for z in (0.1, -0.5 + 0.02j)]
    monkeypatch.setattr(de, "SMALL", 0)
    estimated = [model.solve(z, tolerance=1e-9).delta for z in (0.1, -0.5 + 0.02j)]
    assert np.abs(np.array(exact) - np.array(estimated)).max() < 1e-8
    weights = np.array([0.3, 0.5, 0.7])
    products = [model._form.terms(weights, 0.1, kind).products for kind in (True, False)]
    assert products[0] != pytest.approx(products[1], rel=1e-9)
    assert products[0] == pytest.approx(products[1], rel=0.5)


@pytest.mark.parametrize("z", [0.3, -0.3 + 0.1j])
def test_newtons_derivative_and_the_logarithm_are_those_of_the_traces(z):
    """d tr(C_l Q)/d w_k = -tr(C_l Q C_k Q), and Phi is stationary in delta, with d Phi/dz = tr R / n."""
    model = de.Equivalent.of(Mixture.of(features()), 15)
    weights = np.array([0.3, 0.5, 0.7]) * (1 + 0.2j * (np.iscomplexobj(z)))
    form, h = model._form, 1e-6
    for k in range(3):
        up, down = (form.terms(weights + sign * h * np.eye(3)[k], z).traces for sign in (1, -1))
        assert (up - down) / (2 * h) == pytest.approx(-form.terms(weights, z).products[:, k], rel=1e-5)
    up, down = (model.solve(z + sign * h).phi for sign in (1, -1))
    trace = (1 / (1 + model.solve(z).delta)).mean() / z
    assert (up - down) / (2 * h) == pytest.approx(trace, rel=1e-5)


def test_the_inverse_by_halves():
    x = np.random.default_rng(0).standard_normal((150, 150))
    symmetric = (x + x.T) / 10
    matrix = symmetric + 0.05j * np.diag(np.linspace(1, 2, 150))
    inverse, logdet = de.by_halves(matrix, leaf=16)
    assert np.abs(inverse @ matrix - np.eye(150)).max() < 1e-9
    # Eigenvalues in the upper half plane: the sum of their principal logarithms is the continuous branch.
    assert logdet == pytest.approx(np.log(np.linalg.eigvals(matrix)).sum(), rel=1e-10)
    real, logdet = de.inverse_logdet(x @ x.T + np.eye(150))
    assert real.dtype == np.float64
    assert logdet == pytest.approx(np.linalg.slogdet(x @ x.T + np.eye(150))[1])


def test_the_inverse_of_rows_that_depend_on_each_other():
    """Rank 20 of 150, and a shift of 1e-8 of it: halves fail there, the answer must not."""
    x = np.random.default_rng(0).standard_normal((150, 20))
    shift = (-1 + 0.03j) * 1e-8 * np.linspace(1, 2, 150)
    matrix = x @ x.T + np.diag(shift)
    inverse, logdet = de.inverse_logdet(matrix)
    # Woodbury, and the determinant's lemma
    inner = np.eye(20) + x.T / shift @ x
    expected = np.diag(1 / shift) - (x / shift[:, None]) @ np.linalg.solve(inner, x.T / shift)
    assert np.abs(inverse - expected).max() < 1e-5 * np.abs(expected).max()
    assert logdet.real == pytest.approx(np.log(np.abs(shift)).sum() + np.linalg.slogdet(inner)[1], rel=1e-8)
    # 20 positive eigenvalues, 130 of the shift's angle
    assert logdet.imag == pytest.approx(130 * (np.pi - np.arctan(0.03)), rel=1e-4)


# ------------------------------------------------------------------ class blocks of the resolvent


def simulated(mixture, n, z, generator):
    """J_a' R J_b / n of one draw."""
    k = len(mixture.components)
    g = gram(mixture.draw(n, Normal(dim=1), generator)).numpy()
    j = np.repeat(np.eye(k), n, axis=0) / n**0.5
    return j.T @ np.linalg.solve(g + z * np.eye(k * n), j)


def block_error(p, z, draws):
    mixture, n = three(p), 2 * p // 3  # p / n_total = 1/2
    generator = torch.Generator().manual_seed(p)
    expected = de.class_blocks(mixture, n, z)
    return np.mean([np.abs(simulated(mixture, n, z, generator) - expected).max() for _ in range(draws)])


def test_blocks_of_simulated_resolvents_come_closer_as_p_grows():
    small, middle, large = block_error(60, 1.0, 12), block_error(400, 1.0, 3), block_error(1200, 1.0, 1)
    assert middle < 0.05
    assert large < 0.03
    assert large < middle < small
    assert block_error(400, 0.1, 2) < 0.5  # ten times as hard


def test_covariances_must_not_be_centred():
    mixture, n = three(400), 266
    found = simulated(mixture, n, 1.0, torch.Generator().manual_seed(0))
    right = de.Equivalent.of(mixture, n)
    wrong = de.Equivalent(tuple(a[:-1] for a in dense_rows(mixture)), right.means, right.counts)
    assert np.abs(right.class_blocks(1.0) - found).max() < 0.05
    assert np.abs(wrong.class_blocks(1.0) - found).max() > 0.3


def dense_rows(mixture):
    return [np.vstack([c.centred.numpy() / c.m**0.5, c.mean.numpy()]) for c in mixture.components]


# ------------------------------------------------------------------ the spectrum


@pytest.mark.parametrize(("n", "variance"), [(60, 1.0), (240, 3.0)])
def test_white_noise_is_marchenko_pastur(n, variance):
    p = 120
    law = de.spectral_law(white(p, variance), n)
    low, high = mp.edges(n / p, variance)
    x = np.linspace(0.5 * low, 1.1 * high, 200)
    assert law.atom == pytest.approx(mp.atom(n / p), abs=1e-6)
    assert np.abs(law.distribution(x) - mp.distribution(x, n / p, variance)).max() < 6e-3
    assert law.edge == pytest.approx(high, rel=0.1)
    assert law.quantile(1 - 0.3 / n) == pytest.approx(mp.quantile(1 - 0.3 / n, n / p, variance), rel=0.1)


def test_the_density_integrates_to_1_with_the_atom():
    steps = []
    mixture = Mixture.of(features(m=12))
    grid, density, atom = de.spectral_density(
        mixture, 40, points=2000, progress=lambda what, done, total: steps.append((done, total))
    )
    assert atom == pytest.approx(1 - 36 / 120, abs=1e-3)  # X has the rank of the mixture: 3 x 12 of 120
    assert np.trapezoid(density, grid) + atom == pytest.approx(1, abs=1e-3)
    assert (density >= 0).all()
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1] == (100, 100)


def distance_of_draws(p, draws):
    mixture = Mixture.of(features(m=p // 4, p=p, seed=p))
    law = de.spectral_law(mixture, p // 8)
    generator = torch.Generator().manual_seed(p)
    spectra = [gram_eigenvalues(mixture.draw(p // 8, Normal(dim=1), generator)) for _ in range(draws)]
    return np.mean([law.distance(values) for values in spectra]), law, spectra


def test_simulated_mixtures_come_closer_as_p_grows_and_outliers_are_in_place():
    coarse, _, _ = distance_of_draws(64, 10)
    fine, law, spectra = distance_of_draws(512, 6)
    assert fine < 0.02
    assert fine < coarse / 3
    # Three means of great length: three eigenvalues beyond the bulk, in the theory and in every draw.
    total = law.total
    assert total * (1 - law.distribution(law.edge)) == pytest.approx(3, abs=0.15)
    assert {int((values > law.edge).sum()) for values in spectra} == {3}
    expected = law.quantile(1 - (np.arange(3) + 0.5) / total)
    assert np.mean(spectra, 0)[:3] == pytest.approx(expected, rel=0.07)


def test_distance_counts_what_is_0_as_the_atom():
    """Against the distance computed on a fine grid of x >= 0."""
    law = de.spectral_law(white(40), 80)
    values = np.concatenate([np.full(30, 1e-12), np.linspace(0.3, 6, 50)])
    x = np.concatenate([[0.0], np.geomspace(1e-3, 10, 20001)])
    empirical = (values[:, None] <= x + 1e-9).mean(0)
    assert law.distance(values) == pytest.approx(np.abs(empirical - law.distribution(x)).max(), abs=2e-3)


def test_classes_of_different_sizes():
    mixture, n = three(200, length=6.0), [30, 60, 120]
    law = de.spectral_law(mixture, n)
    generator = torch.Generator().manual_seed(0)
    rows = [c.draw(k, Normal(dim=1), generator) for c, k in zip(mixture.components, n, strict=True)]
    assert law.distance(gram_eigenvalues(torch.cat(rows))) < 0.03
    assert law.total == 210
