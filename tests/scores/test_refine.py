from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn

from gflow_core.methods.adversarial import Adversarial
from gflow_core.scores.refine import Refine
from gflow_core.testing import TinyDiscriminator


class Shifted(nn.Module):
    """log p/q of p = N(0, I) and q = N(shift, I)."""

    def __init__(self, shift):
        super().__init__()
        self.shift = nn.Parameter(torch.full((2,), shift))

    def forward(self, x):
        return -x @ self.shift + self.shift.square().sum() / 2


def judged(scene, part, dataset, sampler, discriminator):
    tables = {"discriminator": TinyDiscriminator(), "objective": Adversarial()}
    assert list(part.check(scene.spec(dataset, **tables))) == []
    subject = attrs.evolve(scene.subject(dataset, sampler, **tables), discriminator=discriminator)
    return part.build()(subject)


def test_a_shifted_law_moves_home(scene):
    """Each move is -eta shift: the logit grows by eta |shift|^2, and after 1/eta moves q is p."""
    part = Refine(steps=20, eta=0.05, temperature=0, samples=900)
    result = judged(scene, part, scene.Points(dim=2), scene.Affine(shift=1.5), Shifted(1.5))
    curve = [row["logit"] for row in result.tables["logit"]]
    assert [row["step"] for row in result.tables["logit"]] == list(range(21))
    assert curve == pytest.approx([curve[0] + 0.05 * 4.5 * k for k in range(21)], abs=1e-4)
    assert (result.scores["logit"], result.scores["logit_refined"]) == (curve[0], curve[-1])
    assert result.scores["logit_real"] == pytest.approx(2.25, abs=0.25)
    assert result.scores["sliced_w2"] == pytest.approx(1.5, abs=0.15)
    assert result.scores["sliced_w2_refined"] < 0.15
    assert set(result.figures) == {"samples", "logit"}
    assert result.manifest.items() >= {"steps": 20, "eta": 0.05, "divergence": "kl", "n_fake": 900}.items()


class Brightness(nn.Module):
    def forward(self, x):
        return x.flatten(1).mean(1)


def test_images_are_scored_by_an_encoder_before_and_after(scene):
    encoder = scene.Encoding()

    def scores(eta):
        part = Refine(steps=2, eta=eta, samples=300, encoder=encoder)
        return judged(scene, part, scene.Pictures(), scene.Uniform(), Brightness())

    still, moved = scores(0.0), scores(20.0)
    for name in ("FD(projection)", "precision", "recall", "logit"):
        assert still.scores[name] == still.scores[f"{name}_refined"] == moved.scores[name]
    assert moved.scores["FD(projection)_refined"] > moved.scores["FD(projection)"]
    assert moved.scores["logit_refined"] > moved.scores["logit"]
    assert moved.scores["rank_deficient"] == 0
    assert moved.figures["samples"].axes[0].images


def test_what_it_cannot_score_is_refused(scene):
    tables = {"discriminator": TinyDiscriminator(), "objective": Adversarial()}
    assert "set encoder" in " ".join(Refine().check(scene.spec(scene.Pictures(), **tables)))
    vectors = scene.spec(scene.Points(), **tables)
    assert "leave it out" in " ".join(Refine(encoder=scene.Encoding()).check(vectors))
    packed = attrs.evolve(vectors, objective=Adversarial(pack=2))
    assert "log ratio" in " ".join(Refine().check(packed))
