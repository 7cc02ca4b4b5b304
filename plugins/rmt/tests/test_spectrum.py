"""rmt.spectrum and its rotation test: combinations of rows against the features themselves, and laws that are known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gflow_core import Bernoulli, Normal
from gflow_rmt.parts.comparisons import Spectrum
from gflow_rmt.rotation import Rows, compare, from_centre, resolved, rotations, share_beyond
from gflow_rmt.spectra import distance, gram_eigenvalues, share_above
from gflow_rmt.spectrum import histogram, log_bins
from gflow_rmt.surrogate import Mixture, standardised

LAWS = [Normal(dim=1), Bernoulli(dim=1)]


def features(classes=2, size=12, p=30, seed=0):
    return torch.randn(classes, size, p, generator=generator(seed)) + torch.arange(classes)[:, None, None]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------ the rotation test


def test_rotations_are_orthogonal_keep_the_mean_and_are_uniform():
    q = rotations(2000, 4, generator())
    one = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(q @ q.mT, torch.eye(4, dtype=torch.float64).expand_as(q))
    torch.testing.assert_close(q @ one, one.expand(2000, 4))
    entry = q[:, 0, 0] - 1 / 4  # a'Oa of a uniform O in 3 dimensions, |a|^2 = 3/4: mean 0, variance |a|^4 / 3
    assert float(entry.mean()) == pytest.approx(0, abs=0.05)
    assert float(entry.var()) == pytest.approx(0.75**2 / 3, rel=0.15)


def test_rotated_features_have_the_same_moments():
    x = features().double()
    y = rotations(2, 12, generator()) @ x
    torch.testing.assert_close(y.mean(1), x.mean(1))
    for a, b in zip(y, x, strict=True):
        torch.testing.assert_close(a.T.cov(), b.T.cov())


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("size", [12, 60], ids=["m < p", "m > p"])
def test_combinations_of_rows_are_the_mixture_that_features_make(law, size):
    """The same t, once through features of the rotated rows and the surrogate, once through Gram matrices alone."""
    x = features(size=size).double()
    q = rotations(2, size, generator(1))
    m, rows = size - 4, Rows.of(x)
    drawn = rows.mixture(q[:, :m], rows.noise(5, law, generator(2)))
    wanted = drawn_from(Mixture.of(q[:, :m] @ x), 5, law, generator(2))
    np.testing.assert_allclose(rows.eigenvalues(drawn), resolved(gram_eigenvalues(wanted)), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(drawn @ x, wanted, rtol=1e-6, atol=1e-6)


def drawn_from(mixture, n, law, g):
    """mean + t C^(1/2), of normal t too."""
    return torch.stack([c.mean + c.root(standardised(law, n, len(c.mean), g).double()) for c in mixture.components])


def test_alignment_is_that_of_right_singular_vectors():
    x = features().double()
    rows = Rows.of(x)
    moments, sample = rows.identity().split([8, 4], 1)
    pair = compare(rows, moments, sample, rows.noise(4, LAWS[0], generator(2)), 4)
    drawn = drawn_from(Mixture.of(x[:, :8]), 4, LAWS[0], generator(2))
    a, b = (torch.linalg.svd(y.flatten(0, 1), full_matrices=False)[2] for y in (x[:, 8:], drawn))
    wanted = [float((a[:i] @ b[:i].T).square().sum() / i) for i in (1, 2, 3, 4)]
    np.testing.assert_allclose(pair.alignment, wanted, rtol=1e-6)
    np.testing.assert_allclose(pair.sample, gram_eigenvalues(x[:, 8:]), rtol=1e-8)
    assert pair.distance == distance(pair.sample, pair.mixture)


def test_directions_that_are_not_there_align_with_none():
    """Rows in two of the dimensions: the third eigenvalue is 0, and has no direction."""
    x = features(1, 12, 5).double() * torch.tensor([1.0, 1, 0, 0, 0])
    rows = Rows.of(x)
    moments, sample = rows.identity().split([8, 4], 1)
    pair = compare(rows, moments, sample, rows.noise(4, LAWS[0], generator(2)), 4)
    assert pair.sample[2] == 0
    assert pair.alignment == pytest.approx([pair.alignment[0], 1, 2 / 3, 2 / 4])


def p_values(x, m, seed, count=19):
    """Of the distance to the mixture, one- and two-sided, and of the distance from rotated samples."""
    rows, g = Rows.of(x), generator(1000 + seed)  # other numbers than those of x
    noise = rows.noise(x.shape[1] - m, LAWS[0], g)
    pairs = [compare(rows, q[:, :m], q[:, m:], noise, 0) for q in rows.rotated(count, g)]
    apart = [pair.distance.wasserstein for pair in pairs]
    centres = [d.wasserstein for d in from_centre([pair.sample for pair in pairs])]
    return [share_above(apart[0], apart[1:]), share_beyond(apart[0], apart[1:]), share_above(centres[0], centres[1:])]


def test_the_p_value_is_uniform_for_normal_features_even_where_m_is_less_than_p():
    scale = torch.linspace(0.2, 3, 40)
    found = np.array([p_values(features(1, 16, 40, seed) * scale, 10, seed) for seed in range(40)])
    assert found.mean(0) == pytest.approx([0.525, 0.55, 0.525], abs=0.16)  # three and a half deviations
    assert (found <= 0.2).mean(0) == pytest.approx([0.2, 0.2, 0.2], abs=0.2)


def test_the_two_sided_p_value_is_small_at_both_ends():
    chance = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert [share_beyond(value, chance) for value in (0.0, 8.0, 1.5, 4.0)] == [2 / 8, 2 / 8, 4 / 8, 1.0]


def test_features_whose_length_varies_are_told_from_normal_ones():
    found = []
    for seed in range(5):
        x = features(2, 60, 80, seed)
        length = torch.rand(2, 60, 1, generator=generator(seed)) * 1.6 + 0.2
        found.append(p_values((x - x.mean(1, keepdim=True)) * length, 40, seed)[2])
    assert max(found) == pytest.approx(1 / 20)


# ------------------------------------------------------------------ the analysis


class Scaled(nn.Module):
    """z -> vectors whose length depends on the sign of z[0]."""

    def forward(self, z, y=None):
        return z * torch.where(z[:, :1] > 0, 1.8, 0.2)


def analyze(scene, sampler=None, *, seed=1, dim=150, **options):
    options = {"K": 1, "N": 90, "m": 50, "reference": 19, "theory": False} | options
    part = Spectrum(**options)
    given = scene.subject(
        scene.Points(dim=dim, classes=None if options["K"] == 1 else 4),
        sampler or scene.Shifted(),
        part=scene.Part(conditional=options["K"] > 1, latent=Normal(dim=dim)),
        seed=seed,
    )
    assert list(part.check(given.spec)) == []
    return part.build()(given)


def test_pure_noise_is_marchenko_pastur_and_within_chance(scene, tmp_path):
    result = analyze(scene, N=120, m=60, repeat=True, theory=True)
    scores, rows = result.scores, result.tables["eigenvalues"]
    edge = (1 + math.sqrt(60 / 150)) ** 2
    assert rows[0]["gan"] == pytest.approx(edge, rel=0.1)
    assert [rows[i]["gan"] >= rows[i + 1]["gan"] for i in range(9)] == [True] * 9
    assert all(scores[f"{name}_p"] > 0.05 for name in ("ks", "wasserstein", "normal_ks", "normal_wasserstein"))
    assert 0.5 < scores["ks"] / scores["ks_chance"] < 1.5
    # 60 of 150 dimensions: the mixture of 60 images is far from what it imitates, another sample of it is near.
    assert scores["ks"] > 2 * scores["ks_repeat"]
    assert scores["wasserstein"] > 2 * scores["wasserstein_repeat"]
    assert rows[9]["alignment_random"] == 10 / 150
    assert all(row["normal_low"] < row["normal_high"] for row in rows)
    result.figures["spectrum"].savefig(tmp_path / "a.png", dpi=40)
    assert result.manifest["remark"].endswith("rank at most 59, less than the 150 features")


def test_another_law_is_told_apart(scene):
    scores = analyze(scene, Scaled()).scores
    assert scores["normal_ks_p"] == scores["normal_wasserstein_p"] == 1 / 20
    assert scores["normal_ks"] > 5 * scores["normal_ks_chance"]


def test_numbers_repeat_with_the_seed(scene):
    one, again, other = (analyze(scene, seed=seed, reference=2) for seed in (1, 1, 2))
    assert one.scores == again.scores
    assert one.tables == again.tables
    assert one.scores["wasserstein"] != other.scores["wasserstein"]


def test_moments_of_the_sample_itself_flatter(scene):
    split, reuse = (analyze(scene, moments=moments, reference=2, dim=60) for moments in ("split", "reuse"))
    for a, b in zip(split.tables["eigenvalues"], reuse.tables["eigenvalues"], strict=True):
        assert (a["i"], a["gan"]) == (b["i"], b["gan"])
        assert a["alignment"] < b["alignment"] - 0.02
    assert "flatters" in reuse.manifest["remark"]
    assert "flatters" not in split.manifest["remark"]


def test_the_law_of_t_changes_the_mixture_only(scene):
    normal, signs = (analyze(scene, t=law, reference=2).tables["eigenvalues"] for law in LAWS)
    assert [row["gan"] for row in normal] == [row["gan"] for row in signs]
    assert [row["mixture"] for row in normal] != [row["mixture"] for row in signs]
    assert [row["mixture"] for row in normal] == pytest.approx([row["mixture"] for row in signs], rel=0.3)


def test_more_images_than_features_leave_zeros_in_both_spectra(scene, tmp_path):
    """40 rows of each of 2 classes in 20 dimensions: both Gram matrices have 60 zeros, which are ties."""
    result = analyze(scene, K=2, dim=20, reference=2)
    assert result.scores["ks"] < 0.2
    text = result.figures["spectrum"].axes[0].get_xlabel()
    assert "GAN 75.0%" in text
    assert "mixture 75.0%" in text


def test_histograms_count_every_eigenvalue_but_zeros():
    values = np.array([10.0, 1.0, 0.1, 0.0])
    edges = log_bins([values], 7)
    assert float((histogram(values, edges) * np.diff(np.log10(edges))).sum()) == pytest.approx(0.75)
