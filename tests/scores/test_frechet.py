from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gflow_core.errors import GflowError
from gflow_core.scores.feature_scores import Frechet
from gflow_core.scores.features import real_index
from gflow_core.scores.frechet import FeatureMoments, frechet_distance


def points(n, d, seed=0, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + offset


def dense(x, y):
    """The distance by numpy's moments and scipy's matrix square root."""
    x, y = x.numpy(), y.numpy()
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(a @ b)
    gap = np.square(x.mean(0) - y.mean(0)).sum()
    return gap + np.trace(a) + np.trace(b) - 2 * np.trace(root).real


@pytest.mark.parametrize("d", [1, 2, 7, 30])
def test_the_distance_is_that_of_dense_matrix_square_roots(d):
    x, y = points(200, d, 1), points(300, d, 2, offset=0.5)
    wanted = float((x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2) if d == 1 else dense(x, y)
    assert frechet_distance(FeatureMoments.of(x), FeatureMoments.of(y)) == pytest.approx(wanted, rel=1e-9)


def test_gaussians_with_commuting_covariances_have_a_closed_form():
    """|m1 - m2|^2 + sum (s1 - s2)^2, by standard deviations along shared axes."""
    d, n = 6, 11
    axes = torch.linalg.qr(points(d, d)).Q
    s1, s2 = torch.arange(1.0, d + 1).double(), torch.tensor([3.0, 0, 1, 0.5, 9, 2]).double()
    shift = points(1, d)[0]

    def gaussian(s, mean):
        return FeatureMoments(n, mean, (n - 1) ** 0.5 * torch.diag(s) @ axes.T)

    found = frechet_distance(gaussian(s1, shift), gaussian(s2, 0 * shift))
    assert found == pytest.approx(float(shift.square().sum() + (s1 - s2).square().sum()), rel=1e-12)


def test_the_distance_is_torchmetrics_fid_on_the_same_features():
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Same(nn.Module):
        num_features = 8

        def forward(self, x):
            return x

    x, y = points(150, 8, 1), points(120, 8, 2)
    metric = FrechetInceptionDistance(Same())
    metric.update(x, real=True)
    metric.update(y, real=False)
    found = frechet_distance(FeatureMoments.of(x), FeatureMoments.of(y))
    assert found == pytest.approx(float(metric.compute()), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(1, 6), st.sampled_from([0.0, 1e6]))
def test_moments_in_pieces_are_those_of_the_batch(sizes, d, offset):
    x = points(sum(sizes), d, len(sizes), offset)
    centred = x - x.mean(0)
    for found in (FeatureMoments.stream(iter(x.split(sizes))), reduce(add, map(FeatureMoments.of, x.split(sizes)))):
        assert found.n == len(x)
        assert torch.allclose(found.mean, x.mean(0), rtol=1e-14, atol=1e-12)
        # Sums of raw squares would be off by 1e12 * 1e-16 * n at this offset.
        scatter = found.factor.T @ found.factor
        assert torch.allclose(scatter, centred.T @ centred, rtol=1e-7, atol=1e-6 if offset else 1e-11)


def test_a_distance_is_symmetric_zero_on_equals_and_never_negative():
    x, y = points(40, 12, 1), points(30, 12, 2)
    a, b = FeatureMoments.of(x), FeatureMoments.of(y)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
    assert 0 <= frechet_distance(a, a) < 1e-10 * float(a.covariance.trace())


def test_rank_deficient_covariances_keep_their_accuracy():
    """Two flat clouds in planes at right angles share no direction: the distance is the sum of traces."""
    x, y = torch.zeros(10, 40).double(), torch.zeros(10, 40).double()
    x[:, :9], y[:, 20:29] = points(10, 9, 1), points(10, 9, 2)
    turn = torch.linalg.qr(points(40, 40)).Q
    a, b = FeatureMoments.of(x @ turn), FeatureMoments.of(y @ turn)
    wanted = float((a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace())
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-7)


def test_many_points_are_held_as_few_rows():
    """50,000 points of 8 features pass through a factor of 16 rows; 30 points of 100 features stay 30 rows."""
    seen = []

    def pieces():
        for i in range(100):
            yield points(500, 8, i)
            seen.append(i)

    assert len(FeatureMoments.stream(pieces()).factor) <= 16
    assert len(seen) == 100
    a, b = points(30, 100, 1), points(20, 100, 2)
    assert len(FeatureMoments.stream(a.split(7)).factor) <= 36
    assert frechet_distance(FeatureMoments.stream(a.split(7)), FeatureMoments.of(b)) == pytest.approx(
        dense(a, b), rel=1e-4
    )


def test_samples_of_another_gaussian_score_the_closed_form(scene):
    """N(0, I) against N(1, 4 I) in three dimensions: 3 + 3 (2 - 1)^2."""
    part = Frechet(samples=20_000, batch_size=5000)
    result = scene.score(part, scene.Points(n=20_000), scene.Affine(2.0, 1.0))
    assert result.scores["FD(data)"] == pytest.approx(6, abs=0.25)
    assert 0 < result.scores["FD(data)_real_halves"] < 0.01
    assert result.scores["rank_deficient"] == 0
    assert result.manifest["n_halves"] == [10_000, 10_000]


def test_the_data_is_read_as_it_is_whatever_the_batch(scene):
    """The calibration is of the data alone: no seed, no batch size and no sampler changes it."""
    found = [
        scene.score(Frechet(samples=50, batch_size=size), scene.Points(n=501), scene.Affine(size), seed=size).scores
        for size in (7, 501)
    ]
    assert found[0]["FD(data)_real_halves"] == pytest.approx(found[1]["FD(data)_real_halves"], rel=1e-9)
    data = scene.Points(n=501).load()
    half, other = data.x[real_index(data, 501)].split([251, 250])
    wanted = frechet_distance(FeatureMoments.of(half), FeatureMoments.of(other))
    assert found[0]["FD(data)_real_halves"] == pytest.approx(wanted, rel=1e-9)


def test_fewer_samples_than_features_are_flagged(scene):
    for samples, flag in ((5, 1), (6, 0)):
        result = scene.score(Frechet(encoder=scene.Encoding(dim=5), samples=samples), scene.Pictures(), scene.Uniform())
        assert result.scores["rank_deficient"] == flag


def test_halves_have_half_the_items(scene):
    for items, flags in ((12, (0, 0)), (11, (0, 1)), (5, (1, 1))):
        part = Frechet(encoder=scene.Encoding(dim=5), samples=50)
        found = scene.score(part, scene.Pictures(n=items), scene.Uniform()).scores
        assert (found["rank_deficient"], found["rank_deficient_halves"]) == flags


def test_inception_alone_gives_the_name_fid(scene):
    result = scene.score(
        Frechet(encoder=scene.Encoding(name="inception"), samples=50), scene.Pictures(), scene.Uniform()
    )
    assert {"FID", "FID_real_halves"} <= result.scores.keys()
    result = scene.score(Frechet(encoder=scene.Encoding(name="vgg"), samples=50), scene.Pictures(), scene.Uniform())
    assert {"FD(vgg)", "FD(vgg)_real_halves"} <= result.scores.keys()


def test_data_too_small_for_halves_is_refused(scene):
    with pytest.raises(GflowError, match="two halves of the data need two items each, the data set has 3"):
        scene.score(Frechet(samples=9), scene.Points(n=3), scene.Affine())
