"""rmt.noise_laws with samplers whose features' law follows from that of z in closed form."""

import numpy as np
import pytest
import torch
from torch import nn

from gflow_core import Bernoulli, Equicorrelated, Normal, Uniform
from gflow_rmt.noise_laws import apart
from gflow_rmt.parts.comparisons import NoiseLaws

NORMAL, SIGNS, ONE = Normal(dim=1), Bernoulli(dim=1), Equicorrelated(dim=1, rho=1.0)
UNIT = Uniform(dim=1, low=0.0, high=1.0)


class Linear(nn.Module):
    """z -> z A + y u, so that the features of a class have the covariance A' Cov(z) A."""

    def __init__(self, dim=20, p=40):
        super().__init__()
        self.a = torch.randn(dim, p, generator=torch.Generator().manual_seed(1))
        self.u = torch.randn(p, generator=torch.Generator().manual_seed(2))

    def forward(self, z, y):
        return z @ self.a + 3 * y[:, None] * self.u


def analyze(scene, dataset=None, sampler=None, **options):
    options = {"K": 2, "N": 40, "m": 25, "reference": 4, "repeats": 4} | options
    part = NoiseLaws(**options)
    given = scene.subject(
        dataset or scene.Points(dim=40), sampler or Linear(), part=scene.Part(latent=Normal(dim=3 if dataset else 20))
    )
    assert list(part.check(given.spec)) == []
    return part.build()(given)


def test_linear_sampler(scene, tmp_path):
    result = analyze(scene, laws_z=(NORMAL, NORMAL, UNIT, ONE), laws_t=(NORMAL, SIGNS), reference=2)
    tables = result.tables
    first, _, unit, one = tables["laws_z"]

    # Covariances are A' Cov(z) A: the variance of U(0,1) is 1/12, that of rho = 1 is of rank one.
    assert unit["feature_variance"] / first["feature_variance"] == pytest.approx(1 / 12, rel=0.15)
    assert one["effective_rank"] == pytest.approx(1)
    assert first["effective_rank"] > 8
    assert (unit["z_mean"], unit["z_variance"], one["z_covariance"]) == (0.5, 1 / 12, 1)
    # In G that line and the one of the class means are left.
    leading = [row for row in tables["eigenvalues"] if row["z"] == "equicorrelated(rho=1)"]
    assert [row["of"] for row in leading] == ["GAN", "mixture, t normal", "mixture, t bernoulli(p=0.5)"]
    assert all(row["lambda_2"] > 0 == row["lambda_3"] for row in leading)
    pair = tables["pairs"][-2]
    assert (pair["z"], pair["t"]) == ("equicorrelated(rho=1)", "normal")
    assert pair["ks"] < 0.1  # zeros are ties

    # The spectrum is not invariant to the law of z where the law has other moments; it is to that of t.
    same, again, other, line = tables["invariance_z"]
    assert max(same["wasserstein_ratio"], again["wasserstein_ratio"]) < 3
    assert min(other["wasserstein_ratio"], line["ks_ratio"]) > 5
    assert other["ks_p"] == line["ks_p"] == pytest.approx(1 / 5)
    assert all(row["ks_ratio"] < 3 for row in tables["invariance_t"] if "equi" not in row["z"])
    assert result.scores["z_ks_ratio_most_at"] == "equicorrelated(rho=1)"
    assert result.scores["pairs"] == 8
    result.figures["invariance"].savefig(tmp_path / "a.png", dpi=40)
    assert len(result.figures["spectra"].axes) == 8


def test_a_law_at_the_end_changes_no_number_before_it(scene):
    few = analyze(scene, laws_z=(NORMAL, UNIT), laws_t=(NORMAL,))
    many = analyze(scene, laws_z=(NORMAL, UNIT, ONE), laws_t=(NORMAL, SIGNS))
    for name, rows in few.tables.items():
        assert all(row in many.tables[name] for row in rows), name


def test_images_are_shown_a_row_a_law(scene, tmp_path):
    result = analyze(scene, scene.Pictures(), scene.Noisy(), encoder=scene.Encoding(), laws_z=(NORMAL, UNIT))
    figure = result.figures["samples"]
    assert [text.get_text() for text in figure.texts] == ["normal", "uniform(low=0, high=1)"]
    (image,) = figure.axes[0].images
    assert image.get_array().shape == (2 + 2 * 6, 2 + 10 * 6, 3)
    figure.savefig(tmp_path / "a.png")


def test_a_sampler_that_ignores_z_is_said_to(scene):
    class Constant(nn.Module):
        def forward(self, z, y):
            return (1.0 + y[:, None]).expand(-1, 40)

    result = analyze(scene, sampler=Constant(), laws_z=(NORMAL,), reference=1)
    (row,) = result.tables["laws_z"]
    assert (row["feature_variance"], row["effective_rank"]) == (0, None)
    assert result.tables["invariance_z"][0]["ks_ratio"] is None


def test_distance_from_equals():
    equals = [np.array([4.0, 2.0]) + shift for shift in (0.0, 0.1, 0.2)]
    found = apart(equals, np.array([40.0, 20.0]))
    floor = np.mean([abs(a - b) / (3 + b) for a in (0, 0.1, 0.2) for b in (0, 0.1, 0.2) if a != b])
    assert found["wasserstein_floor"] == pytest.approx(floor)
    assert found["wasserstein"] == pytest.approx(np.mean([(30 - 3 - s) / (3 + s) for s in (0, 0.1, 0.2)]))
    assert found["wasserstein_ratio"] == pytest.approx(found["wasserstein"] / floor)
    assert (found["ks"], found["ks_p"]) == (1, 1 / 4)
    assert apart(equals, equals[1])["ks_p"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"z": NORMAL}, "z: the laws of z are those of laws_z"),
        ({"laws_z": ()}, "one law each"),
        ({"laws_t": (NORMAL, ONE)}, "laws_t.1: its components are correlated"),
    ],
)
def test_bad_options(scene, options, message):
    given = scene.subject(scene.Points(dim=40), Linear(), part=scene.Part(latent=Normal(dim=20)))
    assert any(message in text for text in NoiseLaws(K=2, **options).check(given.spec))
