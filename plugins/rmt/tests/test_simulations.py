"""rmt.simulations: its statistics against closed forms, whole analyses of tiny samplers, and runs that are cut off."""

from __future__ import annotations

import json

import attrs
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from gflow_core.builtin.latents import Normal, Uniform
from gflow_core.contracts import no_progress
from gflow_core.errors import GflowError
from gflow_rmt.parts import Simulations
from gflow_rmt.representation import Representation
from gflow_rmt.simulations import anderson_darling, compared, holm, normality, paired
from gflow_rmt.surrogate import Mixture

SMALL = {"K": 1, "N": 24, "m": 16, "S": 8, "eigenvalues": (1, 2)}


@pytest.fixture
def analyze(scene):
    """The analysis of vectors in 6 dimensions, after its check found nothing wrong."""

    def run(sampler=None, *, work=None, progress=no_progress, **options):
        part = Simulations(**{**SMALL, **options})
        sampler = sampler if sampler is not None else scene.Shifted()
        subject = scene.subject(scene.Points(), sampler, part=scene.Part(latent=Normal(dim=6)), progress=progress)
        assert list(part.check(subject.spec)) == []
        return part.build()(attrs.evolve(subject, work=work))

    return run


class Unequal(nn.Module):
    """z -> normal vectors, half of which are a tenth as long: the covariance of a normal law, and not its spectrum."""

    def forward(self, z, y=None):
        return z * torch.where(z.abs().sum(1, keepdim=True) > 4.7, 1.0, 0.1)


# ------------------------------------------------------------------ statistics


def test_holm_by_hand():
    """Sorted .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04, and never less than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.8]) == [1, 1]


def test_anderson_darling_is_scipys_with_p_values_beyond_its_table():
    rng, compared_p = np.random.default_rng(0), 0
    for i in range(60):
        x = rng.normal(size=80) + 0.35 * rng.exponential(size=80) * (i % 5)
        a2, p = anderson_darling(x)
        theirs = stats.anderson(x, "norm", method="interpolate")
        assert a2 == pytest.approx(theirs.statistic, rel=1e-9)
        if 0.011 < theirs.pvalue < 0.149:
            compared_p += 1
            assert p == pytest.approx(theirs.pvalue, abs=0.008)
    assert compared_p >= 5
    values = [anderson_darling(rng.normal(3, 2, 40))[1] for _ in range(1500)]
    for level in (0.01, 0.05, 0.2, 0.5, 0.9):
        assert np.mean(np.array(values) <= level) == pytest.approx(level, abs=3.5 * (level * (1 - level) / 1500) ** 0.5)
    assert 0 < anderson_darling(rng.exponential(size=2000))[1] < 1e-20


def test_departures_from_normal_have_a_size():
    rng = np.random.default_rng(1)
    normal, exponential = normality(np.stack([rng.normal(size=2000), rng.exponential(size=2000)], 1))
    assert abs(normal["skewness"]) < 3 * (6 / 2000) ** 0.5
    assert abs(normal["excess_kurtosis"]) < 3 * (24 / 2000) ** 0.5
    assert exponential["skewness"] == pytest.approx(2, abs=0.4)
    for test in ("shapiro", "anderson"):
        assert normal[f"{test}_holm"] > 0.05
        assert exponential[f"{test}_holm"] == 2 * exponential[f"{test}_p"] < 1e-10


def test_two_samples_by_hand():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.5, 1, (4000, 1)), rng.normal(0, 2, (4000, 1))
    (row,) = compared(a, b)
    assert row["smd"] == pytest.approx((a.mean() - b.mean()) / ((a.var(ddof=1) + b.var(ddof=1)) / 2) ** 0.5)
    assert row["sd_ratio"] == pytest.approx(0.5, abs=0.02)
    assert row["welch_t"] == pytest.approx(row["smd"] * (4000 / 2) ** 0.5)
    (back,) = compared(b, a)
    assert (back["smd"], back["sd_ratio"], back["ks"]) == pytest.approx((-row["smd"], 1 / row["sd_ratio"], row["ks"]))
    many = compared(rng.normal(1, 1, (40, 500)), rng.normal(0, 1, (40, 500)))
    spread = np.std([row["smd"] for row in many])
    assert spread == pytest.approx(np.mean([row["smd_error"] for row in many]), rel=0.1)
    # A common part of both goes out of pairs.
    (row,) = paired(a + 100 * b, 100 * b)
    assert row["smd"] * (a + 100 * b).std(ddof=1) == pytest.approx(a.mean())
    assert row["paired_t"] == pytest.approx(a.mean() / (a.std(ddof=1) / 4000**0.5))


# ------------------------------------------------------------------ the experiment


def test_a_repeat_written_out(scene):
    """K = 3 classes of images through the projection: repeat 2 from its own streams, by numpy."""
    part = Simulations(encoder=scene.Encoding(), K=3, N=10, m=6, S=8, eigenvalues=(1, 3, 4), classes=(2, 0, 3))
    subject = scene.subject()
    assert list(part.check(subject.spec)) == []
    result = part.build()(subject)
    streams = subject.streams.fork("repeat.2")
    features = Representation.of(part, subject).draw(10, streams)
    gan = features[:, 6:]
    mixture = Mixture.of(features[:, :6]).draw(4, part.t, streams["t"])
    row = result.tables["repeats"][2]
    for name, x in (("gan", gan), ("mixture", mixture)):
        x = x.reshape(12, 24).double().numpy()
        values = np.linalg.eigvalsh(x @ x.T / 24)[::-1]
        assert [row[f"{name}_{i}"] for i in range(1, 11)] == pytest.approx(values[:10].tolist(), rel=1e-5, abs=1e-9)

    all_values = np.array([[row[f"gan_{i}"] for i in (1, 3, 4)] for row in result.tables["repeats"]])
    moments = [row for row in result.tables["moments"] if row["of"] == "gan"]
    assert [row["mean"] for row in moments] == pytest.approx(all_values.mean(0).tolist())
    covariance = [[row[f"covariance_{i}"] for i in (1, 3, 4)] for row in moments]
    np.testing.assert_allclose(covariance, np.cov(all_values.T))
    assert {row["of"] for row in result.tables["normality"]} == {"gan", "mixture", "rotated", "rotated_mixture"}
    assert (result.manifest["S"], result.manifest["refit"], result.manifest["t"]) == (8, True, "normal")


def test_normal_features_pass_and_others_do_not(analyze):
    """Normal vectors are what the claim says, exactly; the fifth of eight rows is short where half of them are."""
    normal = analyze(S=60, eigenvalues=(1, 5))
    assert normal.scores["rotation_rejects"] == 0
    assert abs(normal.scores["rotation_smd_largest"]) < 3 * max(row["smd_error"] for row in normal.tables["rotation"])
    unequal = analyze(Unequal(), S=60, eigenvalues=(1, 5))
    assert unequal.scores["rotation_rejects"] >= 1
    assert unequal.tables["rotation"][1]["smd"] < -0.5
    # Its mixture is off all the same, by moments estimated from 16 vectors, and that is what the control shows too.
    table = normal.tables["comparison"]
    assert [row["of"] for row in table] == ["gan"] * 2 + ["rotated"] * 2
    for row, control in zip(table[:2], table[2:], strict=True):
        assert row["smd"] == pytest.approx(control["smd"], abs=3 * (row["smd_error"] + control["smd_error"]))
    assert min(abs(table[1]["smd"]), abs(table[3]["smd"])) > 0.5


def test_a_mixture_fitted_once_costs_n_images_a_repeat(scene):
    def run(**options):
        subject = scene.subject()
        part = Simulations(encoder=scene.Encoding(), K=2, N=10, m=6, S=8, eigenvalues=(2,), **options)
        assert list(part.check(subject.spec)) == []
        return part.build()(subject), len(torch.cat(subject.sampler.asked))

    result, images = run(refit=False)
    assert images == 2 * (6 + 8 * 4)
    assert run()[1] == 2 * 8 * 10
    assert {row["of"] for row in result.tables["comparison"]} == {"gan"}
    assert "fitted once" in result.scores["note"]
    assert "rotation" not in result.tables
    assert result.manifest["refit"] is False


def test_pictures(analyze, tmp_path):
    for refit in (True, False):
        result = analyze(refit=refit, S=20, eigenvalues=(1, 2, 3))
        assert len(result.figures["eigenvalues"].axes) == 6
        assert len(result.figures["spectrum"].axes) == (2 if refit else 1)
        for name, figure in result.figures.items():
            figure.savefig(tmp_path / f"{name}.png", dpi=40)


# ------------------------------------------------------------------ cut off and gone on from


class Stop(Exception):
    """What ends a run."""


def stopping(after):
    def progress(what, done, total):
        if what == "repeats" and done == after:
            raise Stop

    return progress


class Counting(nn.Module):
    """z -> scale z, and how many it was asked for."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale, self.count = nn.Parameter(torch.tensor(scale)), 0

    def forward(self, z, y=None):
        self.count += len(z)
        return self.scale * z


def same(a, b):
    assert a.scores == b.scores
    assert a.tables == b.tables


@pytest.mark.parametrize("refit", [True, False])
def test_a_killed_run_goes_on_bit_for_bit(analyze, tmp_path, refit):
    whole, work = analyze(refit=refit), tmp_path / "analysis" / "x" / "work"
    with pytest.raises(Stop):
        analyze(refit=refit, work=work, progress=stopping(5))
    file = work / "repeats.jsonl"
    assert len(file.read_bytes().splitlines()) == 1 + 5
    same(analyze(refit=refit, work=work), whole)
    # A line that was cut short, in its middle or before its end of line, is made again.
    text = file.read_bytes()
    for cut in (1, 40):
        file.write_bytes(text[:-cut])
        same(analyze(refit=refit, work=work), whole)
        assert file.read_bytes() == text
    # So is everything after a line that is damaged.
    lines = text.splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:3], b"\0\0\n", *lines[4:]]))
    same(analyze(refit=refit, work=work), whole)
    assert file.read_bytes() == text


def test_more_repeats_are_added_and_fewer_taken_from_those_there(analyze, tmp_path):
    sampler = Counting()
    analyze(sampler, work=tmp_path)
    assert sampler.count == 8 * 24
    more = analyze(sampler, work=tmp_path, S=11)
    assert sampler.count == 11 * 24
    same(more, analyze(Counting(), S=11))
    same(analyze(sampler, work=tmp_path, S=9, eigenvalues=(3,)), analyze(Counting(), S=9, eigenvalues=(3,)))
    assert sampler.count == 11 * 24
    assert len((tmp_path / "repeats.jsonl").read_bytes().splitlines()) == 12


@pytest.mark.parametrize("options", [{"m": 15}, {"z": Uniform(dim=1)}, {"refit": False}, {"batch_size": 5}])
def test_other_options_start_anew(analyze, tmp_path, options):
    analyze(work=tmp_path)
    header = (tmp_path / "repeats.jsonl").read_bytes().splitlines()[0]
    same(analyze(work=tmp_path, **options), analyze(**options))
    lines = (tmp_path / "repeats.jsonl").read_bytes().splitlines()
    assert lines[0] != header
    assert [json.loads(line)["repeat"] for line in lines[1:]] == list(range(8))


def test_other_weights_start_anew(analyze, tmp_path):
    analyze(Counting(), work=tmp_path)
    other = Counting(scale=2.0)
    same(analyze(other, work=tmp_path), analyze(Counting(scale=2.0)))
    assert other.count == 8 * 24


# ------------------------------------------------------------------ bad input


def test_bad_input(scene, analyze, tmp_path):
    def said(**options):
        spec = scene.subject(scene.Points(), scene.Shifted(), part=scene.Part(latent=Normal(dim=6))).spec
        return " ".join(Simulations(**{**SMALL, **options}).check(spec))

    assert said() == ""
    assert "name one at least" in said(eigenvalues=())
    assert "names one twice" in said(eigenvalues=(2, 2))
    assert "K (N - m) images has 8, not 9" in said(eigenvalues=(9,))
    assert "set refit = true" in said(refit=False, moments="reuse")
    assert said(moments="reuse") == ""
    with pytest.raises(ValueError, match="must be >= 1 and <= 10"):
        Simulations(eigenvalues=(11,))
    with pytest.raises(GflowError, match="6 dimensions, so eigenvalue 7"):
        analyze(eigenvalues=(2, 7))
    (tmp_path / "file").touch()
    with pytest.raises(GflowError, match=r"repeats.jsonl: File exists; .* make room"):
        analyze(work=tmp_path / "file")


def test_an_eigenvalue_that_stays_is_named(analyze):
    """Vectors along one axis: every eigenvalue but the first is 0."""

    class Line(nn.Module):
        def forward(self, z, y=None):
            return z * torch.tensor([1.0, 0, 0, 0, 0, 0])

    with pytest.raises(GflowError, match="eigenvalue 2 \\(gan\\) is the same in all repeats"):
        analyze(Line())
    assert analyze(Line(), eigenvalues=(1,)).scores["eigenvalues"] == 1


def test_shared_images_are_named(analyze):
    assert "share images" in analyze(moments="reuse").scores["note"]
    assert "share images" not in analyze().scores["note"]
