"""rmt.simulations: whole analyses of tiny samplers, and runs that are cut off."""

from __future__ import annotations

import json

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from gflow_core import GflowError, Normal, Uniform, no_progress
from gflow_rmt.parts.comparisons import Simulations
from gflow_rmt.representation import Representation
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


# ------------------------------------------------------------------ the experiment


def test_a_repeat_written_out(scene):
    """K = 3 classes of images through the projection: repeat 2 from its own streams, by numpy."""
    part = Simulations(encoder=scene.Encoding(), K=3, N=10, m=6, S=8, eigenvalues=(1, 3, 4), classes=(2, 0, 3))
    subject = scene.subject()
    assert list(part.check(subject.spec)) == []
    result = part.build()(subject)
    streams = subject.streams.fork("repeat.2")
    features = Representation.of(subject, part).draw(10, streams)
    gan = features[:, 6:]
    mixture = Mixture.of(features[:, :6]).draw(4, part.t, streams["t"])
    repeats = result.tables["repeats"]
    for name, x in (("gan", gan), ("mixture", mixture)):
        (row,) = (row for row in repeats if (row["repeat"], row["of"]) == (2, name))
        x = x.reshape(12, 24).double().numpy()
        values = np.linalg.eigvalsh(x @ x.T / 24)[::-1]
        assert [row[f"lambda_{i}"] for i in range(1, 11)] == pytest.approx(values[:10].tolist(), rel=1e-5, abs=1e-9)

    all_values = np.array([[row[f"lambda_{i}"] for i in (1, 3, 4)] for row in repeats if row["of"] == "gan"])
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
    figures = analyze(S=20).figures
    assert [len(figures[name].axes) for name in ("eigenvalues", "spectrum")] == [4, 2]
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png", dpi=40)
    assert len(analyze(refit=False).figures["spectrum"].axes) == 1


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
    with pytest.raises(Stop):
        analyze(refit=refit, work=tmp_path, progress=stopping(5))
    (file,) = tmp_path.iterdir()
    assert len(file.read_bytes().splitlines()) == 1 + 5
    same(analyze(refit=refit, work=tmp_path), analyze(refit=refit))


def test_damaged_lines_are_made_again(analyze, tmp_path):
    """Cut short in the middle of the last line or before its end, and a line in the middle that is no JSON."""
    analyze(work=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for damaged in (
        whole[:-1],
        whole[:-40],
        b"".join([*lines[:3], b"\0\0\n", *lines[4:]]),
        b"".join([*lines[:3], b"[" * 100_000 + b"\n"]),
    ):
        file.write_bytes(damaged)
        analyze(work=tmp_path)
        assert file.read_bytes() == whole


def test_more_repeats_are_added_and_fewer_taken_from_those_there(analyze, tmp_path):
    sampler = Counting()
    analyze(sampler, work=tmp_path)
    assert sampler.count == 8 * 24
    more = analyze(sampler, work=tmp_path, S=11)
    assert sampler.count == 11 * 24
    same(more, analyze(Counting(), S=11))
    same(analyze(sampler, work=tmp_path, S=9, eigenvalues=(3,)), analyze(Counting(), S=9, eigenvalues=(3,)))
    assert sampler.count == 11 * 24
    (file,) = tmp_path.iterdir()
    assert len(file.read_bytes().splitlines()) == 12


def test_other_options_have_repeats_of_their_own(analyze, tmp_path):
    sampler = Counting()
    first = analyze(sampler, work=tmp_path)
    others = [{"m": 15}, {"z": Uniform(dim=1)}, {"refit": False}, {"batch_size": 5}]
    for options in others:
        same(analyze(sampler, work=tmp_path, **options), analyze(Counting(), **options))
    drawn = sampler.count
    same(analyze(sampler, work=tmp_path), first)
    assert sampler.count == drawn
    assert len(list(tmp_path.iterdir())) == 1 + len(others)
    for file in tmp_path.iterdir():
        assert [json.loads(line)["repeat"] for line in file.read_bytes().splitlines()[1:]] == list(range(8))


def test_other_weights_have_repeats_of_their_own(analyze, tmp_path):
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
    with pytest.raises(GflowError, match=r"repeats-\w+.jsonl: File exists; .* make room"):
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
