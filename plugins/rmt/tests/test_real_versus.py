"""rmt.real_versus: samplers with the data's own law and another one, its numbers by hand, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Literal

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from gflow_core import DataError, DataShape, GflowError, Normal, Source, fingerprint, no_progress
from gflow_rmt.parts.comparisons import RealVersus
from gflow_rmt.real_versus import exchanged
from gflow_rmt.representation import Representation
from gflow_rmt.spectra import distance

SMALL = {"K": 2, "N": 20, "m": 12, "reference": 19, "top": 3}


@attrs.frozen(kw_only=True)
class Squares:
    """Images of 16 independent pixels, uniform about -1/2 or 1/2 by the class."""

    n: int = 160
    split: Literal["train", "test", "all"] = "train"
    classes: int | None = 2
    conditions: tuple[str, ...] = ()

    def data_shape(self):
        return DataShape("image", (1, 4, 4), -1.0, 1.0, self.classes, self.conditions)

    def load(self, progress=no_progress):
        y = torch.arange(self.n) % 2
        u = torch.rand(self.n, 1, 4, 4, generator=torch.Generator().manual_seed(5))
        x = ((squares(u, y, 1.0) + 1) * 127.5).round().byte()
        return Source(x, self.data_shape(), fingerprint(x), y if self.classes else None)


def squares(u, y, width):
    """Uniform u [B, 1, 4, 4] -> pixels of this width (at most 1) about the middle of the class."""
    return width * (u - 0.5) + (y.view(-1, 1, 1, 1) - 0.5)


class Draws(nn.Module):
    """z -> an item of Squares' law, but for the width."""

    def __init__(self, width=1.0):
        super().__init__()
        self.width = width

    def forward(self, z, y=None):
        u = torch.special.ndtr(z).view(-1, 1, 4, 4)
        return squares(u, torch.zeros(len(z)) if y is None else y, self.width)


@pytest.fixture
def analyze(scene):
    """The result and its subject, after the part's check found nothing wrong."""

    def run(sampler=None, dataset=None, *, part=None, **options):
        analysis = RealVersus(**{"encoder": scene.Encoding(), **SMALL, **options})
        part = part or scene.Part(latent=Normal(dim=16))
        subject = scene.subject(dataset or Squares(), sampler or Draws(), part=part)
        assert list(analysis.check(subject.spec)) == []
        return analysis.build()(subject), analysis, subject

    return run


def test_rows_are_exchanged_within_their_class():
    """Orthogonal rows, so that eigenvalues are their squared lengths: each class keeps its own, in one or the other."""
    lengths = torch.arange(1.0, 13).view(2, 6)
    x = (lengths.flatten()[:, None] * 12**0.5 * torch.eye(12)).view(2, 6, 12)
    first, *others = exchanged(x[:, :3], x[:, 3:], 200, torch.Generator().manual_seed(0), no_progress)
    squares = lengths.square().round()
    assert first[0].round().tolist() == squares[:, :3].flatten().sort(descending=True).values.tolist()
    seen = set()
    for a, b in others:
        assert {*a.round(), *b.round()} == set(squares.flatten().tolist())
        assert len(set(a.round()) & set(squares[0].tolist())) == 3
        seen.add(tuple(a.round()))
    assert len(seen) > 150  # of 400


def test_numbers_written_out(analyze):
    """Spectra of the last 8 real and generated images of each class, by numpy."""
    result, part, subject = analyze()
    made = Representation.of(subject, part)
    real, gan = made.real(20, subject.data)[:, 12:], made.draw(20, subject.streams.fork("features"))[:, 12:]
    spectra = []
    for x in (real, gan):
        x = x.reshape(16, 24).double().numpy()
        spectra.append(np.linalg.eigvalsh(x @ x.T / 24)[::-1])
    table = result.tables["eigenvalues"]
    assert [row["real"] for row in table] == pytest.approx(spectra[0][:3].tolist(), rel=1e-5)
    assert [row["gan"] for row in table] == pytest.approx(spectra[1][:3].tolist(), rel=1e-5)
    apart = distance(spectra[1], spectra[0])
    assert result.scores["gan_real_ks"] == pytest.approx(apart.ks)
    assert result.scores["gan_real_wasserstein"] == pytest.approx(apart.wasserstein, rel=1e-4)
    assert [row["pair"] for row in result.tables["distances"]] == [
        "real and its mixture",
        "real and normal features",
        "GAN and its mixture",
        "GAN and normal features",
        "GAN and real",
    ]
    assert result.manifest["n_real"] == 20


def test_the_law_of_the_data_is_told_from_another(analyze, tmp_path):
    """Pixels of the data's law are no further than chance; narrower ones are further than any that were mixed."""
    same, *_ = analyze()
    assert same.scores["gan_real_ks_p"] > 0.1
    assert same.scores["gan_real_wasserstein_p"] > 0.1
    narrow, *_ = analyze(Draws(0.5))
    assert narrow.scores["gan_real_ks_p"] == pytest.approx(1 / 20)
    assert narrow.scores["gan_real_wasserstein"] > narrow.scores["gan_real_wasserstein_chance"]
    assert narrow.scores["gan_real_ks"] > 2 * narrow.scores["gan_real_ks_chance"]
    for name in ("real_ks", "real_normal_ks", "real_wasserstein"):
        assert narrow.scores[name] == same.scores[name], (
            "what is said of the real images does not depend on the sampler"
        )
    figure = same.figures["spectra"]
    assert len(figure.axes) == 3
    figure.savefig(tmp_path / "spectra.png", dpi=40)


def test_real_features_that_are_not_normal_are_found(scene):
    """Vectors half of which are a tenth as long are rejected; normal ones are not."""

    @attrs.frozen
    class Unequal(scene.Points):
        def load(self, progress=no_progress):
            data = super().load()
            lengths = torch.where(torch.arange(len(data.x)) % 8 < 4, 0.1, 1.0)
            return attrs.evolve(data, x=data.x * lengths[:, None])

    def score(dataset):
        subject = scene.subject(dataset, scene.Shifted(), part=scene.Part(conditional=False, latent=Normal(dim=20)))
        part = RealVersus(K=1, N=40, m=30, reference=39)
        assert list(part.check(subject.spec)) == []
        return part.build()(subject).scores

    normal, unequal = score(scene.Points(dim=20)), score(Unequal(dim=20))
    assert unequal["real_normal_ks_p"] == pytest.approx(1 / 40)
    assert normal["real_normal_ks_p"] > 0.1
    assert normal["gan_normal_ks_p"] > 0.1
    assert unequal["gan_ks"] == normal["gan_ks"]


def test_what_the_sampler_was_trained_on_is_said(scene, analyze):
    @attrs.frozen
    class FromRun(scene.Part):
        run: object = None

    def words(trained, **options):
        part = FromRun(latent=Normal(dim=16), run=SimpleNamespace(dataset=trained))
        result, *_ = analyze(part=part, dataset=Squares(**options), reference=1)
        assert result.manifest["real_images"] in result.scores["note"]
        return result.manifest["real_images"]

    assert words(Squares()) == "the train split, which the sampler was trained on"
    assert words(Squares(), split="test") == "the test split; the sampler was trained on the train split"
    assert "otherwise prepared" in words(Squares(n=80))
    assert "not known" in words(None)


def test_bad_input(scene, analyze):
    def said(dataset, part, **options):
        spec = scene.subject(dataset, Draws(), part=part).spec
        return " ".join(RealVersus(**{"encoder": scene.Encoding(), **SMALL, **options}).check(spec))

    free = scene.Part(conditional=False)
    assert said(Squares(), scene.Part()) == ""
    assert "the data (image 1x4x4 in [-1, 1]) has no classes" in said(
        Squares(classes=None), free, classifier=scene.Encoding()
    )
    assert "class 2 is not among the data's 2 classes" in said(Squares(), free, classifier=scene.Encoding(), K=3)
    assert "set K = 1" in said(Squares(classes=None), free)
    assert "labels are real numbers" in said(Squares(classes=None, conditions=("a",)), scene.Part())
    with pytest.raises(DataError, match="19 images of class 1, 20 are wanted"):
        analyze(dataset=Squares(n=39))
    with pytest.raises(GflowError, match="all 20 feature vectors are the same"):
        analyze(Draws(0.0))


def test_an_unconditional_sampler_needs_no_classes(scene, analyze):
    result, *_ = analyze(dataset=Squares(classes=None), part=scene.Part(conditional=False, latent=Normal(dim=16)), K=1)
    assert result.manifest["classes"] is None
    assert result.tables["eigenvalues"][0]["real"] > 0
