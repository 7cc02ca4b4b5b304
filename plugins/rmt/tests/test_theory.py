"""The analysis rmt.theory, on samplers whose features are a Gaussian mixture, and on what is not one."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from gflow_core import Normal
from gflow_rmt.parts.theory import Theory
from gflow_rmt.theory import class_blocks_of, class_mean_spikes

DIM = 120


class Gaussian(nn.Module):
    """z -> vectors about +-mu, |mu|^2 = `t`, in unit noise; `scale` changes the noise from the given row on."""

    def __init__(self, t=9.0, heavy=False):
        super().__init__()
        self.mean, self.heavy = torch.ones(DIM) * (t / DIM) ** 0.5, heavy

    def forward(self, z, y):
        # z^3 / sqrt(15) times one number a vector: variance 1, and far from concentrated
        noise = z * (z[:, :1] ** 3 / 15**0.5 if self.heavy else 1.0)
        return noise + (1 - 2 * y[:, None]) * self.mean


@pytest.fixture(scope="module")
def part():
    return Theory(K=2, N=420, m=360, reference=6, rotated=1, top=4)


def subject_of(scene, sampler, **options):
    """Vectors of two classes, latents as long as they."""
    latent = Normal(dim=DIM)
    return scene.subject(scene.Points(dim=DIM, classes=2), sampler, part=scene.Part(latent=latent), **options)


def test_a_gaussian_mixture_is_where_its_theory_says(scene, part):
    subject = subject_of(scene, Gaussian())
    assert list(part.check(subject.spec)) == []
    seen = []
    result = part.build()(attrs.evolve(subject, progress=lambda what, done, total: seen.append(what)))
    scores = result.scores

    # Moments of m = 360 rows in 120 dimensions err: as much as where the mixture stands for the features.
    assert scores["KS(GMM, theory)"] < 0.03
    assert scores["KS(GMM, theory)"] <= scores["KS(GMM, theory)_largest"] < 0.05
    assert scores["KS(GAN, theory)"] < 2 * scores["KS(normal, theory)"]
    assert scores["resolvent_error(GAN, z=1)"] < 0.1
    assert scores["resolvent_error(GMM, z=0.1)"] < 0.6
    # One outlier, for the difference of the means; the mean of all is 0.
    assert scores["beyond_edge(GAN)"] == 1
    assert scores["beyond_edge(GMM)"] == pytest.approx(1, abs=0.6)  # the bulk itself may reach beyond its edge
    assert scores["beyond_edge(theory)"] == pytest.approx(1, abs=0.15)
    assert scores["not_white_noise(GAN)"] == 1
    assert scores["within_class_variance"] == pytest.approx(1, abs=0.03)
    assert scores["bulk_variance"] == pytest.approx(1, abs=0.05)
    assert scores["class_means_visible"] == 1

    (row,) = result.tables["class_means"]
    assert row["t"] == pytest.approx(9.0, rel=0.15)
    assert row["threshold"] == pytest.approx(1.0)
    assert row["GAN"] == pytest.approx(row["BBP"], rel=0.15)
    assert row["GMM"] == pytest.approx(row["BBP"], rel=0.15)
    assert row["overlap_GAN"] == pytest.approx(row["overlap_BBP"], abs=0.05)
    table = result.tables["eigenvalues"]
    assert [entry["rank"] for entry in table] == [1, 2, 3, 4]
    assert table[0]["theory"] == pytest.approx(table[0]["GMM"], rel=0.1)
    assert table[0]["GAN"] == pytest.approx(table[0]["theory"], rel=0.2)
    assert {"deterministic equivalent", "spectra of mixtures"} <= set(seen)
    assert result.manifest["m"] == 360
    assert result.manifest["t"] == "normal"


@pytest.mark.parametrize("m", [120, 360])
def test_means_that_differ_by_their_noise_alone_are_not_visible(scene, m):
    """Estimated means of classes that are one lie p / (m K) apart, in units of the noise."""
    part = Theory(K=2, N=m + 60, m=m, reference=2, rotated=0, top=4)
    result = part.build()(subject_of(scene, Gaussian(t=0.0)))
    (row,) = result.tables["class_means"]
    assert row["t"] == pytest.approx(0.0, abs=0.25 * DIM / (2 * m))
    assert result.scores["class_means_visible"] == 0


def test_features_that_are_not_concentrated_are_far_from_it(scene, part):
    """Same means and covariance, but one random length a vector: no mixture of K normal laws."""
    scores = part.build()(subject_of(scene, Gaussian(heavy=True))).scores
    assert scores["KS(GAN, theory)"] > 0.2
    assert scores["KS(GAN, theory)"] > 4 * scores["KS(normal, theory)"]


def test_draws_repeat_with_the_seed_and_one_class_has_no_directions(scene):
    part = Theory(K=1, N=60, m=40, reference=2, rotated=0, top=3)
    results = [part.build()(subject_of(scene, Gaussian(), seed=seed)) for seed in (1, 1, 2)]
    assert results[0].scores == results[1].scores
    assert results[0].scores != results[2].scores
    assert set(results[0].tables) == {"eigenvalues"}
    assert not any("normal" in name or "class_means" in name for name in results[0].scores)


def test_more_images_than_features_leave_zeros_to_the_atom(scene):
    """Images through an encoder of 24 features, 4 x 20 of them: 56 of 80 eigenvalues are 0 in all three."""
    part = Theory(K=4, N=50, m=30, reference=2, rotated=0, encoder=scene.Encoding())
    result = part.build()(scene.subject())
    (axes, _) = result.figures["theory"].axes
    assert "share at 0: GAN 0.7, theory 0.7" in axes.get_title()
    assert result.scores["KS(GMM, theory)"] < 0.1
    assert result.scores["beyond_edge(theory)"] >= 1


def test_directions_of_the_class_means():
    means = np.zeros((3, 50))
    means[0, 0], means[1, 0], means[2, 1] = 3, -3, 2
    found = class_mean_spikes(means, 0.5)
    assert len(found.t) == 2
    assert found.t[0] == pytest.approx(18 / 3 / 0.5)
    assert np.abs(found.directions[0]) == pytest.approx([0.5**0.5, 0.5**0.5, 0], abs=1e-12)
    assert found.t.sum() * 3 * 0.5 == pytest.approx(((means - means.mean(0)) ** 2).sum())


def test_class_blocks_of_rows_are_those_of_the_inverse():
    x = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = x.flatten(0, 1).numpy()
    r = np.linalg.inv(rows @ rows.T / 7 + 0.3 * np.eye(10))
    expected = [[r[:5, :5].sum() / 5, r[:5, 5:].sum() / 5], [r[5:, :5].sum() / 5, r[5:, 5:].sum() / 5]]
    assert class_blocks_of(x, 0.3) == pytest.approx(np.array(expected))


def test_a_level_must_be_one():
    with pytest.raises(ValueError, match=r"must be > 0 and < 0\.5"):
        Theory(level=0.7)
