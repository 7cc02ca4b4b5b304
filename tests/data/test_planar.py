"""The laws in the plane against the conventions they state."""

from __future__ import annotations

import math
import re
from functools import partial

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, rice
from scipy.stats import norm as norm_law

from gflow_core.data import planar
from gflow_core.data.parts import Checkerboard, Circles, Gaussian, Grid, Mixture, Ring, Swissroll
from gflow_core.data.planar import Centres, Ellipses, Rings, grid_centres, ring_centres

N = 50_000


def near(value, wanted, deviation):
    """Within 5 standard deviations of the estimate."""
    assert abs(float(value) - wanted) < 5 * deviation


def test_gaussian():
    x = Gaussian(mean=(3.0, -2.0), std=0.5).load().x
    assert x.shape == (N, 2)
    for axis, mean in enumerate((3, -2)):
        near(x[:, axis].mean(), mean, 0.5 / math.sqrt(N))
        near(x[:, axis].std(), 0.5, 0.5 / math.sqrt(2 * N))
    near(((x[:, 0] - 3) * (x[:, 1] + 2)).mean(), 0, 0.25 / math.sqrt(N))


@pytest.mark.parametrize(
    ("part", "radius", "std", "modes"),
    [
        (Ring(), 7.0721, 0.014144, 8),
        (Ring(convention="gan", std=0.1), 7.0721, 0.1, 8),
        (Ring(convention="vgrow"), 10, 1, 8),
        (Ring(convention="vgrow", modes=5, radius=30.0), 30, 1, 5),
    ],
)
def test_ring(part, radius, std, modes):
    source = part.load()
    assert source.modes.count == modes
    assert source.modes.std == pytest.approx(std, rel=1e-3)
    assert torch.allclose(source.modes.centres.norm(dim=1), torch.tensor(radius, dtype=torch.float64), rtol=1e-4)
    angle = torch.rand(N, dtype=torch.float64) * 2 * math.pi
    on = radius * torch.stack([angle.cos(), angle.sin()], 1)
    index, _ = source.modes.nearest(on)
    assert torch.equal(index, (angle / (2 * math.pi) * modes).round().long() % modes)
    index, distance = source.modes.nearest(source.x)
    near(index.bincount().double().var(correction=0) / (N / modes), 1, 1.5)
    if radius > 8 * std:
        # |x - centre|^2 / std^2 is exponential with mean 2.
        near(distance.square().mean(), 2, 2 / math.sqrt(N) + 0.005)


def test_grid():
    source = Grid().load()
    centres = source.modes.centres
    assert source.modes.count == 25
    line = centres[:, 0].unique()
    assert torch.allclose(line.diff(), torch.tensor(7.0721, dtype=torch.float64), rtol=1e-4)
    assert torch.allclose(centres.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-9)
    assert source.modes.std == pytest.approx(0.17680, rel=1e-3)
    index, distance = source.modes.nearest(source.x)
    assert index.bincount(minlength=25).min() > 0.9 * N / 25
    near(distance.square().mean(), 2, 2 / math.sqrt(N))
    assert Grid(side=3, spacing=1.0, std=0.01).load().modes.count == 9


def test_circles():
    source = Circles().load()
    radius = source.x.norm(dim=1)
    outer = radius > 10
    near(outer.double().mean(), 0.67, math.sqrt(0.67 * 0.33 / N))
    # The radius of r u + N(0, s^2 I) is r + s^2 / (2 r) in the mean.
    near(radius[outer].mean(), 15 + 0.25 / 30, 0.5 / math.sqrt(0.67 * N))
    near(radius[~outer].mean(), 5 + 0.25 / 10, 0.5 / math.sqrt(0.33 * N))
    near(radius[outer].std(), 0.5, 0.5 / math.sqrt(2 * 0.67 * N))
    assert source.modes.count == 32
    index, distance = source.modes.nearest(source.x)
    assert torch.equal(index < 16, outer)
    assert index.bincount(minlength=32).min() > 0.9 * 0.33 * N / 16
    near((distance <= 3).double().mean(), 0.9973, 0.0004)
    own = Circles(radii=(1.0, 2.0, 4.0), weights=(0.2, 0.3, 0.5), std=0.1)
    assert list(own.check()) == []
    assert own.load().modes.count == 48


def test_swissroll():
    part = Swissroll(noise=0.0)
    x = part.load().x.double() / (10 / 7.5)
    t = x.norm(dim=1)
    assert t.min() > 1.5 * math.pi - 1e-4
    assert t.max() < 4.5 * math.pi + 1e-4
    near(t.mean(), 3 * math.pi, 3 * math.pi / math.sqrt(12 * N))
    assert torch.allclose(x, torch.stack([t * t.cos(), t * t.sin()], 1), atol=1e-3)
    noisy = Swissroll().load()
    assert noisy.modes is None
    # The same stream: the noise alone differs.
    near((noisy.x / (10 / 7.5) - x).std(), 0.25, 0.25 / math.sqrt(4 * N))
    assert Swissroll(scale=1.0).load().x.abs().max() < 16


def test_the_swissroll_of_drifting():
    """Its largest coordinate is 1, at the end of the second turn; the noise stands beside it."""
    part = Swissroll(convention="drifting", noise=0.0)
    x = part.load().x.double()
    t = x.norm(dim=1) * 4.5 * math.pi
    assert t.min() > 0.5 * math.pi - 1e-4
    near(x.max(), 1.0, 1e-4)
    near(t.mean(), 2.5 * math.pi, 4 * math.pi / math.sqrt(12 * N))
    noisy = Swissroll(convention="drifting").load().x
    near((noisy - x).std(), 0.03, 0.03 / math.sqrt(4 * N))


MIXED = Mixture(
    n=9,
    means=((0.0, 1.0), (4.0, -2.0), (-3.0, -3.0)),
    covariances=(((1.0, 0.8), (0.8, 0.89)), ((0.25, 0.0), (0.0, 2.0)), ((1.0, -0.3), (-0.3, 0.5))),
    weights=(0.5, 0.3, 0.2),
)


def test_mixture():
    correlated = Mixture(means=((1.0, -2.0),), covariances=(((1.0, 0.8), (0.8, 0.89)),))
    assert list(correlated.check()) == list(MIXED.check()) == []
    source = correlated.load()
    x = source.x.double() - torch.tensor([1.0, -2.0])
    for i, j, wanted in ((0, 0, 1.0), (0, 1, 0.8), (1, 1, 0.89)):
        products = x[:, i] * x[:, j]
        near(products.mean(), wanted, products.std() / math.sqrt(N))
    index, distance = source.modes.nearest(source.x)
    assert not index.any()
    near(distance.square().mean(), 2, 2 / math.sqrt(N))
    near((distance <= 3).double().mean(), 1 - math.exp(-4.5), math.sqrt(0.0111 * 0.9889 / N))
    source = attrs.evolve(MIXED, n=N).load()
    index, _ = source.modes.nearest(source.x)
    for mode, share in enumerate(MIXED.weights):  # a few of each are nearer to another
        assert float((index == mode).double().mean()) == pytest.approx(share, abs=0.01)


def test_distances_to_an_ellipse_are_mahalanobis():
    """Along an axis of length 3 and across it, of length 1/2, turned by 30 degrees."""
    turn = torch.tensor([[math.cos(math.pi / 6), -0.5], [0.5, math.cos(math.pi / 6)]], dtype=torch.float64)
    covariance = turn @ torch.diag(torch.tensor([9.0, 0.25], dtype=torch.float64)) @ turn.T
    centre = torch.tensor([[2.0, 5.0]], dtype=torch.float64)
    modes = Ellipses(centre, torch.linalg.cholesky(covariance)[None])
    _, distance = modes.nearest(centre + torch.stack([6 * turn[:, 0], 1.5 * turn[:, 1]]))
    assert torch.allclose(distance, torch.tensor([2.0, 3.0], dtype=torch.float64))
    _, distance = modes.nearest(torch.tensor([[math.nan, 0.0]]))
    assert not (distance <= 3).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"means": ()}, "one mean at least"),
        ({"means": ((0.0, 0.0),), "covariances": MIXED.covariances}, "1 means and 3 covariances"),
        ({"weights": (0.5, 0.5)}, "3 means and 2 weights"),
        ({"weights": (0.5, 0.5, 0.5)}, "weights add up to 1.5"),
        ({"covariances": (*MIXED.covariances[:2], ((1.0, 0.2), (0.1, 1.0)))}, "covariances.2 .* is none: symmetric"),
        ({"covariances": (*MIXED.covariances[:2], ((1.0, 1.0), (1.0, 1.0)))}, "positive definite"),
        ({"covariances": (*MIXED.covariances[:2], ((-1.0, 0.0), (0.0, -1.0)))}, "positive definite"),
    ],
)
def test_a_mixture_that_is_none(options, words):
    assert re.search(words, " ".join(attrs.evolve(MIXED, **options).check()))


def test_checkerboard():
    source = Checkerboard(std=1e-4).load()
    x = source.x
    assert x.abs().max() < 1.001
    cell = ((x + 1) / 0.5).floor()
    near((cell.sum(1) % 2 == 0).double().mean(), 1, 2e-3)
    assert source.modes.count == 8
    index, distance = source.modes.nearest(x)
    assert index.bincount().min() > 0.9 * N / 8
    near((distance == 0).double().mean(), 1, 2e-3)
    noisy = Checkerboard().load()
    near(noisy.x.square().mean(), 1 / 3 + 0.05**2, 1 / math.sqrt(2 * N))
    at = torch.tensor([[-0.75, -0.75], [-0.75, -1.1], [0.25, 0.25], [1.15, 1.2], [math.nan, 0.0]])
    index, distance = noisy.modes.nearest(at)
    assert index[:4].tolist() == [0, 0, 5, 7]
    assert torch.allclose(distance[:4], torch.tensor([0.0, 2.0, 0.0, 5.0]), atol=1e-3)
    assert not distance[4] <= 3
    assert Checkerboard(cells=3, side=2.0).load().modes.count == 5


@pytest.mark.parametrize(
    "kind", [Gaussian, Ring, Grid, Swissroll, Circles, Checkerboard, partial(Mixture, means=((1.0, 2.0),))]
)
def test_points_repeat_with_the_seed_and_splits_differ(kind):
    one = kind(n=500).load()
    assert torch.equal(one.x, kind(n=500).load().x)
    for other in (kind(n=500, split="test"), kind(n=500, data_seed=1)):
        assert torch.cdist(one.x.double(), other.load().x.double()).min() > 0
    torch.manual_seed(1)
    assert torch.equal(one.x, kind(n=500).load().x)
    few = kind(n=50, test_n=200)
    assert torch.equal(few.load().x, kind(n=50).load().x)
    assert torch.equal(attrs.evolve(few, split="test").load().x, kind(n=200, split="test").load().x)


@settings(deadline=None)
@given(st.integers(1, 40), st.floats(0.1, 100), st.integers(1, 7))
def test_every_centre_is_its_own_mode(modes, size, side):
    for centres in (ring_centres(modes, size), grid_centres(side, size)):
        index, distance = Centres(centres, 0.5).nearest(centres.float())
        assert torch.equal(index, torch.arange(len(centres)))
        assert distance.max() < 1e-5 * size


def test_rings_are_cut_into_sectors():
    modes = Rings((15.0, 5.0), 0.5)
    index, distance = modes.nearest(modes.centres)
    assert torch.equal(index, torch.arange(32))
    assert distance.max() < 1e-4
    index, distance = modes.nearest(torch.tensor([[16.0, 0.0], [0.0, 4.0], [-0.1, -15.0], [15.0, -1e-9]]))
    assert index.tolist() == [0, 16 + 4, 11, 15]
    assert torch.allclose(distance, torch.tensor([2.0, 2.0, 0.0, 0.0]), atol=1e-3)
    _, distance = modes.nearest(torch.tensor([[math.nan, 0.0], [math.inf, 0.0]]))
    assert not (distance <= 3).any()


@pytest.mark.parametrize(
    ("part", "half", "cells"),
    [
        (Gaussian(n=9, mean=(3.0, -2.0), std=0.5), 6, 600),
        (Ring(n=9, convention="vgrow", modes=5), 17, 600),
        (Grid(n=9, side=3, spacing=1.0, std=0.1), 2, 600),
        (Circles(n=9, radii=(1.0, 2.0, 4.0), weights=(0.2, 0.3, 0.5), std=0.1), 5, 800),
        (Circles(n=9, radii=(0.01, 1.0), weights=(0.5, 0.5), std=0.5), 5, 400),
        (MIXED, 12, 600),
        (Checkerboard(n=9), 1.5, 400),
        (Checkerboard(n=9, cells=3, side=1.0, std=0.7), 7, 400),
    ],
)
def test_densities_are_those_of_the_drawn_points(part, half, cells):
    density = part.load().log_density
    line = (torch.arange(cells, dtype=torch.float64) + 0.5) * (2 * half / cells) - half
    plane = torch.cartesian_prod(line, line)
    p = density(plane).exp() * (2 * half / cells) ** 2
    assert p.sum() == pytest.approx(1, abs=1e-6)
    x = attrs.evolve(part, n=N).load().x.double()
    # Entropy by the density's integral and by the points: a law that is not theirs gives another.
    surprise = -density(x)
    near(surprise.mean(), -(p * density(plane)).nansum(), surprise.std() / math.sqrt(N))
    moments = (x[:, 0], x[:, 0] * x[:, 1], x.square().sum(1).sqrt())
    expected = (plane[:, 0], plane[:, 0] * plane[:, 1], plane.square().sum(1).sqrt())
    for value, at in zip(moments, expected, strict=True):
        near(value.mean(), (p * at).sum(), value.std() / math.sqrt(N))


@pytest.mark.parametrize(
    "part", [Ring(n=9), Circles(n=9), MIXED, Checkerboard(n=9)], ids=lambda part: type(part).__name__
)
def test_what_a_density_consists_of_is_sent_to_a_device_once(part, monkeypatch):
    sent = []
    monkeypatch.setattr(planar, "send", lambda values, device: sent.append(values) or values.to(device))
    source = part.load()
    planar._sent.cache_clear()
    first = source.score(source.x)
    constants = len(sent)
    assert constants > 0
    assert torch.equal(source.score(source.x), first)
    assert len(sent) == constants
    source.log_density(source.x.to("meta"))  # another device
    assert len(sent) == 2 * constants


def test_densities_against_scipy():
    x = 4 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    source = Ring(n=9, convention="vgrow", modes=3, radius=4.0, std=0.7).load()
    mixture = sum(multivariate_normal(c, 0.49).pdf(x.numpy()) / 3 for c in source.modes.centres.numpy())
    assert torch.allclose(source.log_density(x).exp(), torch.from_numpy(mixture), rtol=1e-10)
    # |x| of one circle is Rice's law, and the angle is uniform.
    norm = x.norm(dim=1).numpy()
    rice_density = rice(2.0 / 0.5, scale=0.5).pdf(norm) / (2 * math.pi * norm)
    circle = Circles(n=9, radii=(2.0,), weights=(1.0,), std=0.5).load().log_density(x).exp()
    assert torch.allclose(circle, torch.from_numpy(rice_density), rtol=1e-8)

    weighed = zip(MIXED.weights, MIXED.means, MIXED.covariances, strict=True)
    mixture = sum(weight * multivariate_normal(mean, cov).pdf(x.numpy()) for weight, mean, cov in weighed)
    assert torch.allclose(MIXED.load().log_density(x).exp(), torch.from_numpy(mixture), rtol=1e-10)
    # One square: along each axis uniform on [-1, 1], plus noise.
    one = Checkerboard(n=9, cells=1, side=2.0, std=0.3).load().log_density(x).exp()
    edges = norm_law.cdf((x.numpy()[..., None] + [1, -1]) / 0.3)
    wanted = ((edges[..., 0] - edges[..., 1]) / 2).prod(1)
    assert torch.allclose(one, torch.from_numpy(wanted), rtol=1e-6, atol=1e-14)


def test_a_density_stays_finite_far_out_and_an_unknown_one_is_not_stated():
    far = torch.tensor([[1e3, -1e3], [0.0, 0.0]])
    for part in (Gaussian(n=9), Ring(n=9), Grid(n=9), Circles(n=9), MIXED, Checkerboard(n=9)):
        assert part.load().log_density(far).isfinite().all()
        assert part.load().log_density(far).dtype == torch.float64
    assert Swissroll(n=9).load().log_density is None


@pytest.mark.parametrize(
    "part", [Gaussian(n=9), Ring(n=9, std=0.5), Grid(n=9, std=0.5), Circles(n=9), MIXED, Checkerboard(n=9)]
)
def test_a_score_is_the_densitys_gradient_in_the_items_type(part):
    source, h = part.load(), 1e-5
    x = torch.cat([source.x, torch.zeros(1, 2), torch.tensor([[9.0, -7.0]])]).double()
    steps = h * torch.eye(2, dtype=torch.float64)
    slopes = [(source.log_density(x + step) - source.log_density(x - step)) / (2 * h) for step in steps]
    torch.testing.assert_close(source.score(x), torch.stack(slopes, 1), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(source.score(x.float()), source.score(x.float().double()).float())
