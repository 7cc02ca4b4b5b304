from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from torch import nn

from gflow_core.data.parts import Array, Gaussian, Mnist5k, Ring
from gflow_core.errors import DataError
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.nn.latents import Normal
from gflow_core.parts.analysis import Subject
from gflow_core.parts.spec import Ema, Spec, Train
from gflow_core.scores.two_sample import TwoSample, median_distance, mmd2


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def points(n, d, generator):
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


# ------------------------------------------------------------------ the distances


def test_mmd_is_the_double_loop(generator):
    x, y, widths = points(7, 2, generator), 1 + points(600, 2, generator), [0.5, 2.0]

    def kernel(a, b):
        return sum(math.exp(-float((a - b).square().sum()) / (2 * w * w)) for w in widths) / 2

    z = y[:9]
    xx = sum(kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / (7 * 6)
    zz = sum(kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j) / (9 * 8)
    xz = sum(kernel(a, b) for a in x for b in z) / (7 * 9)
    assert mmd2(x, z, widths) == pytest.approx(xx + zz - 2 * xz, rel=1e-10)
    assert mmd2(x, y, widths) == pytest.approx(mmd2(y, x, widths), rel=1e-10), "rows in pieces"


def test_mmd_is_unbiased_and_meets_its_closed_form(generator):
    """For N(0, I) and N(m, I) in d dimensions, E k = (w^2/(w^2 + 2))^(d/2) exp(-|m|^2 / (2 (w^2 + 2)))."""
    d, w, shift = 2, 1.0, torch.tensor([1.0, 0.5], dtype=torch.float64)

    def estimates(m):
        return np.array([mmd2(points(40, d, generator), points(40, d, generator) + m, [w]) for _ in range(400)])

    def error(found):
        return 4 * found.std(ddof=1) / 20

    equal, apart = estimates(0 * shift), estimates(shift)
    assert abs(equal.mean()) < error(equal)
    assert (equal < 0).mean() > 0.3, "an unbiased estimate of zero is often below it"
    wanted = 2 * (w**2 / (w**2 + 2)) ** (d / 2) * (1 - math.exp(-float(shift @ shift) / (2 * (w**2 + 2))))
    assert abs(apart.mean() - wanted) < error(apart)


def test_median_distance_is_that_of_all_pairs(generator):
    x = points(14, 3, generator)  # 91 pairs, an odd number
    assert median_distance(x) == pytest.approx(float(np.median(pdist(x.numpy()))), rel=1e-12)


# ------------------------------------------------------------------ the analyzer


class Part:
    conditional = False
    latent = Normal(dim=2)


class Affine(nn.Module):
    """The law of `gaussian` itself, moved and scaled."""

    def __init__(self, shift=0.0, scale=1.0):
        super().__init__()
        self.shift, self.scale = shift, scale

    def forward(self, z, y=None):
        return self.shift + self.scale * z


def measure(dataset, sampler, *, run_seed=1, train=None, **options):
    part = TwoSample(**options)
    spec = Spec(dataset=dataset, sampler=Part(), train=train)
    assert list(part.check(spec)) == []
    return part.build()(
        Subject(spec, Runtime(torch.device("cpu")), Streams(run_seed), data=dataset.load(), sampler=sampler)
    )


SMALL = {"samples": 1000, "projections": 50, "mmd_samples": 300}


def test_perfect_samples_score_like_real_ones_and_others_do_not():
    good = measure(Gaussian(n=4000), Affine(), **SMALL).scores
    bad = measure(Gaussian(n=4000), Affine(shift=1.0), **SMALL).scores
    assert good["sliced_w2"] < 2.5 * good["sliced_w2_real"]
    assert abs(good["mmd2"]) < 0.01
    assert abs(good["mmd2_real"]) < 0.01
    assert bad["sliced_w2"] == pytest.approx(1.0, rel=0.1), "a shift by (1, 1), over root two"
    assert bad["mmd2"] > 0.1
    assert bad["sliced_w2_real"] == good["sliced_w2_real"], "the calibration is the data's alone"


def test_what_is_compared_does_not_depend_on_the_seed_of_the_run():
    one, other = (measure(Gaussian(n=4000), Affine(), run_seed=seed, **SMALL) for seed in (1, 2))
    assert one.manifest == other.manifest
    assert one.scores["sliced_w2_real"] == other.scores["sliced_w2_real"]
    assert one.scores["sliced_w2"] != other.scores["sliced_w2"]
    assert measure(Gaussian(n=4000), Affine(), **SMALL).scores == one.scores


def test_directions_and_real_items_follow_the_option_seed():
    def run(seed):
        return measure(Gaussian(n=4000), Affine(), seed=seed, **SMALL)

    assert run(0).manifest["data"] != run(1).manifest["data"]
    assert run(0).scores["sliced_w2_real"] != run(1).scores["sliced_w2_real"]


def test_held_out_items_are_compared_with_and_the_manifest_says_so(tmp_path):
    assert measure(Gaussian(n=100), Affine(), **SMALL).manifest["split"] == "test split"
    assert measure(Gaussian(n=100, split="test"), Affine(), **SMALL).manifest["split"] == "train split"
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(101, 2)).astype(np.float32))
    own = measure(Array(root=str(tmp_path / "x.npy"), shape=(2,)), Affine(), **SMALL, train=Train(ema=Ema()))
    assert own.manifest["split"] == "training data (the data set has no other split)"
    assert own.manifest["n_fake"] == own.manifest["n_real"] == own.manifest["n_mmd"] == 50
    assert own.manifest["ema"] is True


def test_moments_are_those_of_the_samples_and_of_real_ones():
    scores = measure(Gaussian(n=20_000), Affine(2.0, 0.5), samples=10_000, projections=2, moments=True).scores
    names = ["mean_1", "mean_2", "cov_11", "cov_12", "cov_22"]
    assert [scores[name] for name in names] == pytest.approx([2, 2, 0.25, 0, 0.25], abs=0.02)
    assert [scores[f"{name}_real"] for name in names] == pytest.approx([0, 0, 1, 0, 1], abs=0.06)
    assert not set(names) & set(measure(Gaussian(n=400), Affine(), **SMALL).scores)


def test_samples_that_are_not_a_number_score_nan():
    scores = measure(Gaussian(n=400), Affine(shift=math.nan), **SMALL).scores
    assert math.isnan(scores["sliced_w2"])
    assert math.isnan(scores["mmd2"])
    assert scores["sliced_w2_real"] > 0


def test_what_cannot_be_compared_is_refused(tmp_path):
    assert "compares vectors" in " ".join(TwoSample().check(Spec(dataset=Mnist5k(), sampler=Part())))
    with pytest.raises(ValueError, match="at least one"):
        TwoSample(bandwidths=())
    with pytest.raises(DataError, match="has 3 items"):
        measure(Ring(n=3), Affine())
    np.save(tmp_path / "same.npy", np.zeros((50, 2), np.float32))
    with pytest.raises(DataError, match="median distance"):
        measure(Array(root=str(tmp_path / "same.npy"), shape=(2,)), Affine())
