"""The mixture against dense square roots, closed forms, and what its own draws show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gflow_core import Bernoulli, GflowError, Normal, StudentT, Uniform
from gflow_rmt.surrogate import Component, Mixture, split, standardised

LAWS = [Normal(dim=1), Bernoulli(dim=1), StudentT(dim=1, nu=3.0), Uniform(dim=1, low=0.0, high=1.0)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(*shape, dtype=torch.float64, condition=10.0, seed=0):
    """Rows about 1 whose standard deviations span `condition`."""
    x = torch.randn(*shape, generator=generator(seed), dtype=torch.float64)
    return (1 + x * torch.logspace(0, -np.log10(condition), shape[-1], dtype=torch.float64)).to(dtype)


def dense_root(c):
    """C^(1/2) of a symmetric matrix, by the eigenvectors of C itself."""
    values, vectors = torch.linalg.eigh(c)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.mT


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("m", [90, 300])
def test_root_is_that_of_the_dense_covariance(law, m):
    x, t = rows(m, 40), standardised(law, 25, 40, generator(1)).double()
    found = Component.of(x).root(t)
    c = torch.from_numpy(np.cov(x.numpy().T, bias=True))
    assert (found - t @ dense_root(c)).norm() <= 1e-12 * found.norm()


def test_root_of_a_covariance_without_full_rank():
    """m < p: the dense root rounds in the null space to about 1e-8; the singular value decomposition does not."""
    x, t = rows(30, 50, condition=1e3), torch.randn(20, 50, generator=generator(1), dtype=torch.float64)
    component = Component.of(x)
    found = component.root(t)
    s, vt = torch.linalg.svd(component.centred / 30**0.5, full_matrices=False)[1:]
    assert (found - ((t @ vt.mT) * s) @ vt).norm() <= 1e-12 * found.norm()
    assert (found - t @ dense_root(component.centred.mT @ component.centred / 30)).norm() <= 1e-7 * found.norm()
    s, vt = component.factors
    assert len(s) == 29  # the mean takes one direction away
    assert torch.all(s[:-1] >= s[1:])
    assert (vt @ vt.mT - torch.eye(29)).abs().max() <= 1e-9


def test_root_of_float32_features_is_right_to_their_precision():
    x, t = rows(30, 50, dtype=torch.float32), standardised(Bernoulli(dim=1), 20, 50, generator(1))
    assert len(Component.of(x).factors[0]) == 29
    exact = Component.of(x.double()).root(t.double())
    found = Component.of(x).root(t)
    assert found.dtype == torch.float32
    assert (found - exact).norm() <= 1e-6 * exact.norm()


def test_the_normal_shortcut_has_the_covariance_with_1_over_m():
    """g Xc / sqrt(m): the covariance is Xc'Xc / m exactly, and over many draws the moments are those."""
    x = rows(12, 4)
    component = Component.of(x)
    map_ = torch.eye(12, dtype=torch.float64) @ component.centred / 12**0.5
    c = torch.from_numpy(np.cov(x.numpy().T, bias=True))
    assert (map_.mT @ map_ - c).abs().max() <= 1e-14
    drawn = component.draw(200_000, Normal(dim=1), generator())
    assert (drawn.mean(0) - x.mean(0)).abs().max() < 5 * (c.diagonal().max() / 200_000) ** 0.5
    seen = torch.from_numpy(np.cov(drawn.numpy().T, bias=True))
    assert (seen - c).abs().max() < 5 * c.diagonal().max() * (2 / 200_000) ** 0.5


@pytest.mark.parametrize("law", LAWS[1:], ids=lambda law: type(law).__name__)
def test_other_laws_have_the_same_moments(law):
    t = standardised(law, 20_000, 4, generator())
    assert (t.mean(0).abs() < 0.04).all()
    component = Component.of(rows(12, 4))
    drawn = component.draw(100_000, law, generator())
    c = component.centred.mT @ component.centred / 12
    assert (drawn.mean(0) - component.mean).abs().max() < 0.02
    # Student's t with nu = 3 has no fourth moment, so its second ones settle slowly.
    assert (torch.from_numpy(np.cov(drawn.numpy().T)) - c).abs().max() < (0.2 if isinstance(law, StudentT) else 0.02)


def test_a_mixture_draws_class_by_class_and_repeats():
    x = rows(3, 30, 8) + torch.arange(3.0).view(3, 1, 1) * 10
    for law in LAWS:
        a, b = (Mixture.of(x).draw(50, law, generator(4)) for _ in range(2))
        assert a.shape == (3, 50, 8)
        assert torch.equal(a, b)
        assert (a.mean((1, 2)) - torch.tensor([1.0, 11, 21])).abs().max() < 0.5


def test_a_class_that_does_not_vary_is_refused():
    """Equal rows, whose mean in float32 is not quite what they are."""
    x = rows(2, 7, 33, dtype=torch.float32)
    x[1] = torch.rand(33, generator=generator())
    assert bool((x[1] - x[1].mean(0)).any())
    with pytest.raises(GflowError, match="class 1 of 2: all 7 feature vectors are the same"):
        Mixture.of(x)


def test_split():
    x = torch.arange(10.0).view(1, 10, 1)
    moments, sample = split(x, 6, "split")
    assert (moments.flatten().tolist(), sample.flatten().tolist()) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9])
    moments, sample = split(x, 6, "reuse")
    assert (moments.flatten().tolist(), sample.flatten().tolist()) == ([4, 5, 6, 7, 8, 9], [6, 7, 8, 9])
