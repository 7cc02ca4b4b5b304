from __future__ import annotations

import numpy as np
import pytest
import torch

from gflow_core.errors import GflowError
from gflow_core.scores.feature_scores import Kernel
from gflow_core.scores.kernel import kernel_distance


def mmd2(x, y):
    """The unbiased estimate with (x'y / d + 1)^3, by numpy."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)

    def k(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a):
        gram, n = k(a, a), len(a)
        return (gram.sum() - np.trace(gram)) / (n * (n - 1))

    return within(x) + within(y) - 2 * k(x, y).mean()


def clouds(n=300, m=300, d=4, shift=0.3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, torch.randn(m, d, generator=generator, dtype=torch.float64) + shift


def test_one_subset_of_everything_is_the_unbiased_estimate():
    x, y = clouds()
    mean, std = kernel_distance(x, y, 1, 300, seed=0)
    assert mean == pytest.approx(mmd2(x, y), rel=1e-9)
    assert std == 0


def test_subsets_agree_with_the_estimate_from_everything_within_their_spread():
    x, y = clouds(2000, 1500)
    mean, std = kernel_distance(x, y, 60, 200, seed=1)
    assert std > 0
    assert abs(mean - mmd2(x, y)) < 4 * std / np.sqrt(60)
    assert kernel_distance(x, y, 60, 200, seed=1) == (mean, std)
    assert kernel_distance(x, y, 60, 200, seed=2) != (mean, std)


def test_the_seed_is_all_that_counts_and_torch_goes_on_undisturbed():
    x, y = clouds()
    torch.manual_seed(9)
    before = torch.get_rng_state()
    kernel_distance(x, y, 3, 100, seed=1)
    assert (torch.get_rng_state() == before).all()


def test_scores_of_the_same_and_of_another_law(scene):
    part = Kernel(samples=2000, subset_size=500, subsets=20)
    same = scene.score(part, scene.Points(n=2000), scene.Affine()).scores
    other = scene.score(part, scene.Points(n=2000), scene.Affine(shift=0.5)).scores
    assert same.keys() == {"KD(data)", "KD(data)_std", "KD(data)_real_halves"}
    assert abs(same["KD(data)"]) < 4 * same["KD(data)_std"]
    assert other["KD(data)"] > 10 * same["KD(data)_std"]
    assert other["KD(data)_real_halves"] == same["KD(data)_real_halves"]
    assert abs(same["KD(data)_real_halves"]) < 4 * same["KD(data)_std"]


def test_the_score_is_that_of_the_features(scene):
    """All of 40 samples and 40 items in one subset: nothing is left to chance but the sampler."""
    encoder = scene.Encoding(name="inception")
    part = Kernel(encoder=encoder, samples=40, real_samples=80, subset_size=40, subsets=1, batch_size=40)
    result = scene.score(part, scene.Pictures(n=80), scene.Uniform())
    *halves, _ = (x.flatten(1) @ encoder.build(scene.Pictures().data_shape(), "cpu").matrix for x in encoder.seen)
    assert result.scores["KID_real_halves"] == pytest.approx(mmd2(*halves), rel=1e-5)
    assert result.scores.keys() == {"KID", "KID_std", "KID_real_halves"}
    assert result.manifest["n_halves"] == [40, 40]
    assert (result.manifest["subsets"], result.manifest["subset_size"]) == (1, 40)


@pytest.mark.parametrize(("far", "told"), [(1e3, True), (1e6, False)])
def test_no_score_is_better_than_rounding_error(far, told, caplog):
    """One item of a million times the others' size: its own kernel of 1e36 takes the last digits of all sums."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(500, 16, generator=generator, dtype=torch.float64) for _ in range(2))
    x[0] *= far
    found = kernel_distance(x, y, 20, 400, seed=0)
    assert (None not in found) == told
    assert bool(caplog.records) != told


def test_too_few_items_for_a_subset_are_refused(scene):
    data = scene.spec(scene.Points())
    assert "less than a subset" in " ".join(Kernel(samples=999).check(data))
    assert "two halves of subset_size = 1000" in " ".join(Kernel(real_samples=1999).check(data))
    assert list(Kernel(samples=1000, real_samples=2000).check(data)) == []
    with pytest.raises(GflowError, match=r"has 999 items.*set subset_size = 499 or less"):
        scene.score(Kernel(samples=1000, subset_size=500), scene.Points(n=999), scene.Affine())
