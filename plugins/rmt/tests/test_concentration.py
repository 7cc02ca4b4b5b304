"""Concentration: the estimator on laws of known exponents, and the analysis on vectors concentrated or not."""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from gflow_core import Bernoulli, DataShape, Normal, Runtime, Spec, Streams, Subject
from gflow_rmt.concentration import exponent, observe, scaled, student
from gflow_rmt.parts.theory import Concentration


class Linear(nn.Module):
    """z -> A z + 1, Lipschitz; `heavy` multiplies it by one random length, which is not."""

    def __init__(self, d, p, heavy=False):
        super().__init__()
        self.heavy = heavy
        self.layer = nn.Linear(d, p).requires_grad_(False)
        self.layer.weight.copy_(torch.randn(p, d, generator=torch.Generator().manual_seed(0)) / d**0.5)

    def forward(self, z, y=None):
        x = self.layer(z)
        return x * (1 / z[:, :1].abs().clamp(min=0.05)) if self.heavy else x


@attrs.frozen(kw_only=True)
class Points:
    p: int

    def data_shape(self):
        return DataShape("vector", (self.p,))


def scores(sampler, d, p, seed=2, **options):
    part = Concentration(**{"K": 1, "N": 400, "m": 200, "projections": 20, "reference": 10, "points": 3, **options})
    spec = Spec(dataset=Points(p=p), sampler=SimpleNamespace(conditional=False, latent=Normal(dim=d)))
    assert list(part.check(spec)) == []
    subject = Subject(spec, Runtime(torch.device("cpu")), Streams(seed), sampler=sampler)
    return part.build()(subject)


@pytest.mark.parametrize("q", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_weibull_law_is_its_own(q):
    p = (np.arange(20000) + 0.5) / 20000
    assert exponent(7 * (-np.log(p)) ** (1 / q), 20000) == pytest.approx(q, rel=0.01)


def test_too_few_images_have_no_exponent():
    assert exponent(np.arange(1.0, 50), 49) is None
    assert exponent(np.full(100, np.nan), 100) is None
    assert exponent(np.ones(100), 100) is None


def test_scale_is_the_standard_deviation_of_a_normal_law():
    f = 5 + 3 * np.random.default_rng(0).normal(size=(2, 100000, 1))
    assert np.sqrt((scaled(f) ** 2).mean()) == pytest.approx(1, rel=0.01)
    assert np.isnan(scaled(np.zeros((1, 9, 1)))).all()


def test_what_is_observed():
    x, anchors = torch.randn(2, 2, 30, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = torch.eye(12, dtype=torch.float64)[:, :7]
    found = observe(x, u, anchors[:, :5])
    distances = (x[:, :, None] - anchors[:, None, :5]).norm(dim=3)
    values = {"projections": x[:, :, :7], "norm": x.square().sum(2).sqrt()[..., None], "distance": distances}
    values["maximum"] = x.max(2, keepdim=True).values
    assert set(found) == set(values)
    for name, f in values.items():
        assert found[name] == pytest.approx(scaled(f.numpy()), abs=1e-8)


def test_student_vectors_have_the_same_moments_and_one_length_each():
    generator = torch.Generator().manual_seed(0)
    scale, means = torch.tensor([1.0, 3.0]).double()[:, None, None], torch.tensor([2.0, -5.0]).double()[:, None, None]
    g = means + scale * torch.randn(2, 40000, 6, generator=generator).double()
    t = student(g, means, 8, generator)
    torch.testing.assert_close(t.mean(1), g.mean(1), atol=0.08, rtol=0)
    torch.testing.assert_close(t.var(1), g.var(1), atol=0, rtol=0.08)
    length = (t - means) / (g - means)
    torch.testing.assert_close(length[..., 0], length[..., 5], rtol=1e-6, atol=0)


def test_a_random_length_is_not_concentrated_and_linear_images_of_a_normal_z_are():
    found = scores(Linear(60, 120), 60, 120).scores
    heavy = scores(Linear(60, 120, heavy=True), 60, 120).scores
    for name in ("projections", "norm", "distance", "maximum"):
        assert found[f"q_{name}_student"] < found[f"q_{name}_normal"]
    assert found["norm_std"] == pytest.approx(found["norm_std_normal"], rel=0.25)
    assert heavy["norm_std"] > 1.5 * found["norm_std"]
    for name in ("q_projections_p", "q_norm_p", "norm_std_p"):
        assert heavy[name] == pytest.approx(1 / 11)


def test_normal_features_are_not_rejected():
    """p-values are uniform where features are normal, with fewer images than features and another mean and scale."""
    options = {"N": 60, "m": 10, "projections": 10, "reference": 4, "points": 1, "pairs": 1}
    runs = [scores(Linear(90, 90), 90, 90, seed=seed, **options).scores for seed in range(16)]
    for name in ("q_projections_p", "q_norm_p", "q_distance_p", "q_maximum_p", "norm_std_p"):
        values = np.array([found[name] for found in runs])
        assert 0.4 < values.mean() < 0.8, name  # of 0.2, 0.4, ..., 1, each as likely
        assert (values <= 0.2).mean() < 0.45, name


def test_the_norm_of_a_concentrated_vector_varies_as_much_in_many_dimensions_as_in_few():
    few, many = (scores(Linear(p, p), p, p, points=1, reference=3).scores for p in (50, 800))
    assert many["norm_std"] == pytest.approx(few["norm_std"], rel=0.35)
    assert many["norm_std_student"] > 2 * few["norm_std_student"]


def test_lipschitz_constants_of_a_linear_sampler():
    sampler = Linear(30, 40)
    result = scores(sampler, 30, 40)
    exact = float(torch.linalg.matrix_norm(sampler.layer.weight, 2))
    found = result.scores
    assert found["lipschitz_bound"] == pytest.approx(exact, rel=1e-3)
    assert 0.9 * exact < found["lipschitz_local_max"] <= exact * 1.0001
    assert found["lipschitz_empirical_max"] <= exact * 1.0001
    assert found["lipschitz_bound_over_local"] == pytest.approx(1, rel=0.1)
    assert result.tables["layers"][-1]["bound_so_far"] == found["lipschitz_bound"]
    assert set(result.figures) == {"tails", "lipschitz"}


def test_other_laws_of_z_and_maps_without_a_bound():
    result = scores(Linear(60, 20, heavy=True), 60, 20, z=Bernoulli(dim=1), N=60, m=30)
    assert result.manifest["z"] == "bernoulli(p=0.5)"
    assert result.scores["lipschitz_bound"] is None
    assert "no bound: contains reciprocal" in result.scores["lipschitz_note"]
    assert result.scores["q_norm"] is None  # 30 images
    assert "layers" not in result.tables
