"""cgan.parzen against scipy's kernel density, closed forms, and laws that are known."""

import math
from typing import Literal

import attrs
import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde
from torch import nn

from gflow_cgan.parts import Parzen
from gflow_cgan.parzen import estimate, log_density
from gflow_core import (
    DataError,
    DataShape,
    Diverged,
    Normal,
    Runtime,
    Source,
    Spec,
    Streams,
    Subject,
    fingerprint,
    no_progress,
)


def points(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def direct(x, centres, sigma):
    """All differences at once."""
    squares = (x[:, None] - centres).square().sum(-1)
    n, d = centres.shape
    return torch.logsumexp(-squares / (2 * sigma**2), 1) - math.log(n) - d / 2 * math.log(2 * math.pi * sigma**2)


# ------------------------------------------------------------------ the density


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_density_is_scipys(d):
    centres, x = points(60, d, 1), 1.5 * points(40, d, 2)
    # scipy's kernels have the covariance of the centres times a factor: I sigma^2 where the centres are whitened.
    root = torch.linalg.cholesky(torch.cov(centres.T).view(d, d))
    white = torch.linalg.solve_triangular(root, centres.T, upper=False).T
    sigmas = [0.1, 0.7, 3.0]
    found = log_density(x, white, sigmas)
    for row, sigma in zip(found, sigmas, strict=True):
        wanted = gaussian_kde(white.numpy().T, bw_method=sigma).logpdf(x.numpy().T)
        assert row.numpy() == pytest.approx(wanted, rel=1e-10, abs=1e-10)


def test_one_kernel_is_the_gaussian():
    x, centre, sigma = points(9, 5), points(1, 5, 1), 0.3
    law = torch.distributions.MultivariateNormal(centre[0], sigma**2 * torch.eye(5, dtype=torch.float64))
    assert torch.allclose(log_density(x, centre, [sigma])[0], law.log_prob(x), rtol=1e-12)


def test_it_integrates_to_one():
    x = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    for row in log_density(x, points(20, 1), [0.1, 1.0]):
        assert float(torch.trapezoid(row.exp(), x[:, 0])) == pytest.approx(1, abs=1e-9)


def test_blocks_change_nothing():
    x, centres = points(23, 40), points(31, 40, 1)
    seen = []
    found = log_density(x, centres, [0.5, 2.0], progress=lambda *at: seen.append(at), what="w", entries=100)
    assert seen[-1] == ("w", 23, 23)
    assert len(seen) > 5
    for row, sigma in zip(found, (0.5, 2.0), strict=True):
        assert torch.allclose(row, direct(x, centres, sigma), rtol=1e-10)


def test_the_origin_does_not_count():
    x, centres = points(50, 30), points(70, 30, 1)
    here = log_density(x, centres, [0.01, 1.0])
    assert torch.allclose(log_density(x + 1e4, centres + 1e4, [0.01, 1.0]), here, rtol=1e-6)


def test_images_of_784_pixels_stay_finite_at_any_bandwidth():
    """At sigma = .001 each kernel at x is exp(-6e7): only logarithms of sums hold it."""
    x, centres = points(20, 784).float(), points(30, 784, 1).float()
    sigmas = [1e-3, 0.2, 50.0]
    found = log_density(x, centres, sigmas)
    for row, sigma in zip(found, sigmas, strict=True):
        assert torch.allclose(row, direct(x.double(), centres.double(), sigma), rtol=1e-9)


# ------------------------------------------------------------------ the bandwidth


def test_the_bandwidth_of_one_kernel_is_the_deviation_round_it():
    """mean log p = -s / (2 sigma^2) - d log sigma + const, s the mean squared distance: best at sigma^2 = s / d."""
    centre, validation = torch.zeros(1, 6, dtype=torch.float64), 0.3 * points(500, 6)
    sigmas = np.geomspace(0.05, 2, 400).tolist()
    found = estimate(centre, validation, validation, sigmas)
    assert found.bandwidth == pytest.approx(float(validation.square().mean().sqrt()), rel=0.01)
    assert not found.at_edge
    values = direct(validation, centre, found.bandwidth)
    assert found.mean == pytest.approx(float(values.mean()))
    assert found.error == pytest.approx(float(values.std()) / 500**0.5)
    for ends in ((0.5, 2), (0.01, 0.1)):
        assert estimate(centre, validation, validation, np.geomspace(*ends, 9).tolist()).at_edge


def test_many_windows_on_a_gaussian_choose_the_textbook_bandwidth():
    """(4 / 3n)^(1/5) is best for the squared error in one dimension; for the likelihood it is near."""
    n = 1000
    found = estimate(points(n, 1), points(1000, 1, 1), points(3000, 1, 2), np.geomspace(0.01, 3, 20).tolist())
    assert found.bandwidth == pytest.approx((4 / (3 * n)) ** 0.2, rel=0.6)
    assert found.mean == pytest.approx(-0.5 * math.log(2 * math.pi * math.e), abs=0.05)


# ------------------------------------------------------------------ the analyzer


@attrs.frozen(kw_only=True)
class _Points:
    """Standard normal vectors in three dimensions."""

    split: Literal["all", "train", "test"] = "train"
    n: int = 3000

    def data_shape(self):
        return DataShape("vector", (3,))

    def load(self, progress=no_progress):
        x = points(self.n, 3, {"train": 1, "test": 2}[self.split]).float()
        return Source(x, self.data_shape(), fingerprint(x))


@attrs.frozen(kw_only=True)
class _Pictures:
    """Two classes of 2x2 images round grey 64 and grey 192, three of the first for one of the second."""

    split: Literal["train", "test"] = "train"

    def data_shape(self):
        return DataShape("image", (1, 2, 2), -1.0, 1.0, 2)

    def load(self, progress=no_progress):
        y = (torch.arange(400) % 4 == 3).long()
        noise = points(400, 4, len(self.split)).view(-1, 1, 2, 2)
        x = (64 + 128 * y.view(-1, 1, 1, 1) + 8 * noise).round().clamp(0, 255).byte()
        return Source(x, self.data_shape(), fingerprint(x, y), y)


@attrs.frozen
class _Part:
    latent: Normal = attrs.field(factory=lambda: Normal(dim=3))
    conditional: bool = False


class _Affine(nn.Module):
    def __init__(self, scale=1.0, shift=0.0):
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, z, y=None):
        return self.scale * z + self.shift


class _Greys(nn.Module):
    """Its label's grey everywhere; remembers the labels."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, z, y):
        self.asked.append(y)
        return ((64 + 128 * y.float()) / 127.5 - 1).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def run(dataset, sampler, *, conditional=False, **options):
    part, spec = Parzen(**options), Spec(dataset=dataset, sampler=_Part(conditional=conditional))
    assert list(part.check(spec)) == []
    part.prepare(spec, torch.device("cpu"), no_progress)
    runtime = Runtime(torch.device("cpu"))
    return part.build()(Subject(spec, runtime, Streams(1), step=7, data=dataset.load(), sampler=sampler))


def test_samples_of_the_datas_law_score_as_real_items_do_and_near_its_entropy(tmp_path):
    options = {"samples": 1500, "validation": 500, "held_out": 1500, "bandwidths": (0.05, 3.0), "grid": 12}
    result = run(_Points(), _Affine(), **options)
    scores = result.scores
    assert scores["log_likelihood"] == pytest.approx(-1.5 * math.log(2 * math.pi * math.e), abs=0.12)
    assert scores["log_likelihood"] == pytest.approx(scores["log_likelihood_real"], abs=0.06)
    assert 0.01 < scores["log_likelihood_se"] < 0.05
    assert not scores["bandwidth_at_edge"]
    kept = {key: result.manifest[key] for key in ("n_fake", "n_real", "n_validation", "n_held_out", "held_out_split")}
    assert kept == {"n_fake": 1500, "n_real": 1500, "n_validation": 500, "n_held_out": 1500, "held_out_split": "test"}
    assert len(result.tables["bandwidths"]) == 12
    result.figures["bandwidths"].savefig(tmp_path / "a.png", dpi=40)
    for wrong in (_Affine(scale=3.0), _Affine(shift=2.0)):
        again = run(_Points(), wrong, **options).scores
        assert again["log_likelihood"] < scores["log_likelihood"] - 0.3
        assert again["log_likelihood_real"] == scores["log_likelihood_real"]


def test_the_weakness_of_the_estimate_is_as_documented():
    """Of a Gaussian, samples drawn together to its middle score above its own: wider kernels make up for it."""
    options = {"samples": 1000, "validation": 500, "bandwidths": (0.05, 3.0)}
    true, narrow = (run(_Points(), _Affine(scale), **options).scores for scale in (1.0, 0.1))
    assert narrow["log_likelihood"] > true["log_likelihood"] + 0.02
    assert narrow["bandwidth"] == pytest.approx(1, rel=0.15)


def test_images_are_scored_in_0_to_1_and_labels_follow_the_data():
    """Kernels stand at two greys alone, with the weights that the labels have in the data."""
    sampler = _Greys()
    result = run(_Pictures(), sampler, conditional=True, samples=5000, validation=100, bandwidths=(0.003, 0.3))
    asked = torch.cat(sampler.asked)
    share = float(asked.double().mean())
    assert share == pytest.approx(0.25, abs=0.03)
    x = _Pictures(split="test").load().x.flatten(1).double() / 255
    sigma = result.scores["bandwidth"]
    assert sigma == pytest.approx(8 / 255, rel=0.2)
    near = torch.stack(
        [direct(x, torch.full((1, 4), grey / 255).double(), sigma) + math.log(w)
         for grey, w in ((64, 1 - share), (192, share))]
    )  # fmt: skip
    assert result.scores["log_likelihood"] == pytest.approx(float(near.logsumexp(0).mean()), rel=1e-5)


def test_validation_items_are_no_windows():
    """Otherwise each would stand under its own, and the smallest bandwidth be the best."""
    scores = run(_Points(n=40), _Affine(), samples=100, bandwidths=(1e-3, 10.0)).scores
    assert scores["bandwidth_real"] > 0.1
    manifest = run(_Points(n=41), _Affine(), samples=100, held_out=5).manifest
    assert (manifest["n_validation"], manifest["n_real"], manifest["n_held_out"]) == (20, 21, 5)


def test_a_grid_that_ends_too_soon_is_reported():
    scores = run(_Points(n=200), _Affine(), samples=200, bandwidths=(1e-3, 1e-2)).scores
    assert (scores["bandwidth"], scores["bandwidth_at_edge"]) == (pytest.approx(1e-2), 1)


def test_bad_input():
    spec = Spec(dataset=_Points(split="all"), sampler=_Part())
    assert 'dataset.split = "all"' in " ".join(Parzen().check(spec))

    @attrs.frozen
    class Unsplit:
        def data_shape(self):
            return DataShape("vector", (3,))

    assert "no option split" in " ".join(Parzen().check(Spec(dataset=Unsplit(), sampler=_Part())))
    with pytest.raises(ValueError, match="first must be less"):
        Parzen(bandwidths=(1.0, 0.1))
    with pytest.raises(DataError, match="two of each"):
        run(_Points(n=1), _Affine())
    with pytest.raises(Diverged, match="step 7"):
        run(_Points(n=50), _Affine(scale=math.nan), samples=10)
