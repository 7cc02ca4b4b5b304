"""The laws in the plane against the conventions they state."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow_core.builtin.datasets.parts import Circles, Gaussian, Grid, Ring, Swissroll
from gflow_core.builtin.datasets.planar import Centres, Rings, grid_centres, ring_centres

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


@pytest.mark.parametrize("kind", [Gaussian, Ring, Grid, Swissroll, Circles])
def test_points_repeat_with_the_seed_and_splits_differ(kind):
    one = kind(n=500).load()
    assert torch.equal(one.x, kind(n=500).load().x)
    for other in (kind(n=500, split="test"), kind(n=500, data_seed=1)):
        assert torch.cdist(one.x.double(), other.load().x.double()).min() > 0
    torch.manual_seed(1)
    assert torch.equal(one.x, kind(n=500).load().x)


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
