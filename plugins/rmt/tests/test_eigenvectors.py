"""Leading eigenvectors by class: closed forms, simulation against theory, and the analysis on made-up samplers."""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from gflow_core import DataShape, GflowError, Normal, Runtime, Spec, Streams, Subject
from gflow_rmt.eigenvectors import Leading, Prediction, means_distance, nearest_mean, products, spike
from gflow_rmt.parts.theory import Eigenvectors
from gflow_rmt.spectra import gram
from gflow_rmt.surrogate import Mixture


class Clouds(nn.Module):
    """z, y -> a normal cloud around mean y of means [K, p]."""

    def __init__(self, means):
        super().__init__()
        self.means = means

    def forward(self, z, y=None):
        return z + (self.means[0] if y is None else self.means[y])


@attrs.frozen(kw_only=True)
class Points:
    """Vectors of K classes."""

    p: int
    classes: int | None

    def data_shape(self):
        return DataShape("vector", (self.p,), classes=self.classes)


def scene(means, seed=1):
    """A subject whose sampler draws clouds around means [K, p]."""
    classes, p = means.shape
    conditional = classes > 1
    sampler = SimpleNamespace(conditional=conditional, latent=Normal(dim=p))
    spec = Spec(dataset=Points(p=p, classes=classes if conditional else None), sampler=sampler)
    return Subject(spec, Runtime(torch.device("cpu")), Streams(seed), step=3, sampler=Clouds(means))


def run(part, subject):
    assert list(part.check(subject.spec)) == []
    return part.build()(subject)


def test_spikes_of_unit_noise_are_those_of_baik_ben_arous_and_peche():
    t, p, n = 2.0, 301, 200
    values = np.array([1 + t] + [1.0] * (p - 1) + [0.0] * 5)
    psi, weights = spike(values, n)
    g = (p - 1) / n
    assert psi[0] == pytest.approx((1 + t) * (1 + g / t))
    assert 1 - weights[0].sum() == pytest.approx(1 - g / t**2)
    assert np.isinf(weights[1, 2])  # equal eigenvalues cannot be told apart
    assert not weights[:, -5:].any()


def test_label_overlap_of_a_two_class_mixture_comes_nearer_to_theory_as_p_grows():
    t = 2.0

    def error(p, draws):
        """Mean distance of the first eigenvector's overlap from (1 - g/t^2) / (1 + 1/t), at g = 1."""
        generator, found = torch.Generator().manual_seed(p), []
        for _ in range(draws):
            mu = torch.zeros(p)
            mu[0] = t**0.5
            x = torch.randn(2, p // 2, p, generator=generator) + torch.stack([mu, -mu])[:, None]
            found.append(Leading.of(gram(x), 2, 1).overlaps[0])
        return np.abs(np.array(found) - (1 - 1 / t**2) / (1 + 1 / t)).mean()

    small, large = error(100, 16), error(900, 4)
    assert large < 0.6 * small
    assert large < 0.05


@pytest.mark.parametrize("spikes", [(30, 27), (12, 10)])
def test_spikes_of_class_means_hardly_mix_where_every_class_has_as_many_rows(spikes):
    """Drawn without regard to class, eigenvectors of eigenvalues as near as 30 and 27 would keep .71 and .65."""
    p, n, generator = 300, 100, torch.Generator().manual_seed(0)
    contrasts = torch.tensor([[1.5**0.5, -(1.5**0.5), 0.0], [0.5**0.5, 0.5**0.5, -(2**0.5)]])
    means = torch.zeros(3, p)
    means[:, :2] = (contrasts * torch.tensor(spikes)[:, None] ** 0.5).T
    noise = torch.randn(3, 400, p, generator=generator)
    moments = means[:, None] + noise - noise.mean(1, keepdim=True)
    mixture, predicted = Mixture.of(moments), Prediction.of(moments, n, 2)
    rows = moments.reshape(-1, p).double()
    directions = torch.linalg.eigh(rows.T @ rows).eigenvectors.flip(1)[:, :2]
    kept = []
    for _ in range(12):
        x = mixture.draw(n, Normal(dim=1), generator).double()
        u = Leading.of(gram(x), 3, 2).vectors.reshape(2, -1).T
        scores = (x.reshape(-1, p) @ directions).numpy()
        kept.append((u * scores).sum(0) ** 2 / (u**2).sum(0) / (scores**2).sum(0))
    assert predicted.overlap == pytest.approx(np.mean(kept, 0), abs=0.06)


def test_variance_of_products_is_that_of_draws():
    """Of two normal scores, uncorrelated over all classes but not within one, against its definition."""
    generator = np.random.default_rng(0)
    means = np.array([[1.0, -0.5, -0.5, 0.0], [0.2, 0.9, -0.4, -0.7]]) * 0.8
    within = np.eye(2) - means @ means.T / 4  # which makes the second moments over all classes 1 and 0
    scores = means[:, :, None] + np.einsum(
        "ij,jam->iam", np.linalg.cholesky(within), generator.normal(size=(2, 4, 100_000))
    )
    drawn = (scores[0] * scores[1]).var(1).mean()
    assert products(means, 2)[0, 1] == pytest.approx(drawn, rel=0.02)


@pytest.mark.parametrize(("sizes", "values_off", "spread_off"), [((1, 1, 1), 0.02, 0.03), ((0.8, 1, 1.2), 0.06, 0.08)])
def test_prediction_meets_a_mixture(sizes, values_off, spread_off):
    """Of classes of one covariance; nearly so where theirs are in the ratio 0.64 : 1 : 1.44."""
    generator = torch.Generator().manual_seed(0)
    p, m, n, k = 400, 300, 200, 4
    scale = torch.linspace(2.0, 0.2, p)
    means = torch.tensor([0.6, 0.4, 0.25])[:, None, None] * torch.randn(3, 1, p, generator=generator)
    moments = means + torch.tensor(sizes)[:, None, None] * scale * torch.randn(3, m, p, generator=generator)
    mixture = Mixture.of(moments)
    drawn = [Leading.of(gram(mixture.draw(n, Normal(dim=1), generator)), 3, k) for _ in range(12)]
    predicted = Prediction.of(moments, n, k)
    assert predicted.overlap[:3].min() > 0.5  # the three that theory can tell
    for i in range(3):
        values, overlaps = (np.array([getattr(d, name)[i] for d in drawn]) for name in ("values", "overlaps"))
        assert values.mean() == pytest.approx(predicted.values[i], rel=values_off)
        assert overlaps.mean() == pytest.approx(predicted.overlaps[i], abs=0.015)
    drawn = [d.like(predicted.means) for d in drawn]
    assert np.mean([d.means[:3] for d in drawn], 0) == pytest.approx(predicted.means[:3], abs=0.03)
    within = np.mean([d.vectors[:3].var(2) for d in drawn], 0)
    assert within == pytest.approx(np.einsum("aii->ia", predicted.covariances)[:3], abs=spread_off)


def test_predicted_second_moments_are_those_of_an_eigenvector():
    x = torch.randn(3, 20, 50, generator=torch.Generator().manual_seed(0)) + torch.arange(3.0)[:, None, None]
    predicted = Prediction.of(x, 15, 5)
    within = np.einsum("aii->ai", predicted.covariances).mean(0)
    assert within + predicted.overlaps == pytest.approx(np.ones(5))


def test_leading_pairs_solve_the_eigenvalue_problem():
    x = torch.randn(2, 6, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    found = Leading.of(gram(x), 2, 3)
    rows = x.reshape(12, 30).numpy()
    u = found.vectors.reshape(3, 12) / 12**0.5
    assert (rows @ rows.T / 30 @ u.T) == pytest.approx((found.values[:, None] * u).T, abs=1e-9)
    assert u @ u.T == pytest.approx(np.eye(3), abs=1e-9)
    indicators = np.kron(np.eye(2), np.ones(6)) / 6**0.5
    assert found.overlaps == pytest.approx(((u @ indicators.T) ** 2).sum(1))
    assert (np.abs(found.means).max(1) == found.means.max(1)).all()


def test_nearest_mean_leaves_each_image_out():
    vectors = np.random.default_rng(0).normal(size=(2, 3, 7)) + np.arange(3)[None, :, None]
    right = 0
    for a in range(3):
        for j in range(7):
            means = vectors.mean(2)
            means[:, a] = np.delete(vectors[:, a], j, axis=1).mean(1)
            right += ((vectors[:, a, j, None] - means) ** 2).sum(0).argmin() == a
    assert nearest_mean(vectors) == right / 21


def test_distance_forgives_signs_and_the_second_also_rotations():
    means = np.random.default_rng(0).normal(size=(3, 4))
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    assert means_distance(means * [[1], [-1], [-1]], means) == pytest.approx((0, 0), abs=1e-12)
    signed, turned = means_distance(turn @ means, means)
    assert signed > 0.1
    assert turned == pytest.approx(0, abs=1e-12)


def test_classes_far_apart_are_told_and_alike_ones_are_not():
    part = Eigenvectors(K=3, N=90, m=60, reference=19)
    result = run(part, scene(torch.randn(3, 80, generator=torch.Generator().manual_seed(0))))
    apart = result.scores
    assert apart["accuracy"] == apart["accuracy_mixture"] == 1
    assert apart["eta2_1"] > 0.8
    alike = run(part, scene(torch.zeros(3, 80))).scores
    for name in ("accuracy", "accuracy_mixture"):
        assert abs(alike[name] - 1 / 3) < 4 * alike[f"{name}_se"]
    assert set(result.figures) == {"eigenvectors"}
    assert [row["eigenvector"] for row in result.tables["eigenvectors"]] == [1, 2, 3, 4]
    assert len(result.tables["classes"]) == 12
    assert result.manifest["classes"] == [0, 1, 2]


def test_normal_features_are_not_rejected():
    """p-values are uniform where features are a Gaussian mixture, with fewer images m than features as well."""
    part = Eigenvectors(K=2, N=16, m=8, reference=9, vectors=2)
    means = 0.4 * torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
    runs = [run(part, scene(means, seed)).scores for seed in range(16)]
    for name in ("distance_p", "distance_procrustes_p"):
        values = np.array([scores[name] for scores in runs])
        assert 0.4 < values.mean() < 0.8  # of 0.2, 0.4, ..., 1, each as likely
        assert (values <= 0.2).mean() < 0.45


def test_one_class_and_two_features():
    result = run(Eigenvectors(K=1, N=12, m=6, reference=2), scene(torch.ones(1, 2)))
    assert "accuracy" not in result.scores
    assert len(result.tables["eigenvectors"]) == 2


def test_refusals():
    subject = scene(torch.ones(2, 5))
    (message,) = Eigenvectors(K=2, N=4, m=3).check(subject.spec)
    assert "vectors = 4 is more than the K n = 2" in message
    with pytest.raises(GflowError, match="single numbers"):
        run(Eigenvectors(K=1, N=12, m=6), scene(torch.ones(1, 1)))
