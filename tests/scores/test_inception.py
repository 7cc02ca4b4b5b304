from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gflow_core.errors import GflowError
from gflow_core.scores.feature_scores import Inception
from gflow_core.scores.inception import classifier_score


def direct(logits):
    """exp of the mean over items of KL(p(y|x) || mean p), by numpy."""
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return np.exp((p * np.log(p / p.mean(0))).sum(1).mean())


def test_sure_and_balanced_classes_score_their_number():
    logits = 50 * torch.eye(7).repeat(30, 1)
    score, std = classifier_score(logits, 1, seed=0)
    assert score == pytest.approx(7)
    assert std is None


def test_the_same_answer_to_everything_scores_one():
    for logits in (torch.zeros(40, 5), torch.tensor([9.0, 1.0, 0.0]).repeat(40, 1)):
        assert classifier_score(logits, 4, seed=0) == pytest.approx((1, 0), abs=1e-12)


def test_a_confident_binary_mixture_has_its_closed_form():
    """A share w of one class, the rest the other, both sure: exp of the entropy of (w, 1 - w)."""
    logits = 100 * torch.eye(2)[torch.tensor([0] * 30 + [1] * 10)]
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert classifier_score(logits, 1, seed=0)[0] == pytest.approx(math.exp(entropy))


def test_one_split_is_the_direct_formula_and_splits_lie_below_on_average():
    logits = 2 * torch.randn(1000, 6, generator=torch.Generator().manual_seed(0))
    whole, _ = classifier_score(logits, 1, seed=0)
    assert whole == pytest.approx(direct(logits.double().numpy()), rel=1e-10)
    split, std = classifier_score(logits, 50, seed=0)
    assert split < whole, "the mean over 20 items fits them better than the mean over all"
    assert std > 0
    assert classifier_score(logits, 50, seed=0) == (split, std)
    assert classifier_score(logits, 50, seed=1) != (split, std)


def test_the_deviation_over_splits_divides_by_their_number():
    """As the authors' code, whose splits here are torchmetrics' random halves."""
    logits = 2 * torch.randn(600, 6, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(600, generator=torch.Generator().manual_seed(3))
    mean, std = classifier_score(logits, 2, seed=3)
    parts = [direct(half.double().numpy()) for half in logits[order].chunk(2)]
    assert (mean, std) == pytest.approx((np.mean(parts), np.std(parts)))


def test_logits_beyond_what_exponentials_hold_are_finite():
    logits = 1e5 * torch.eye(3).repeat(4, 1)
    assert classifier_score(logits, 1, seed=0)[0] == pytest.approx(3)
    logits[:, 2] = -1e5  # a class that nobody is in
    assert 1 <= classifier_score(logits, 2, seed=0)[0] <= 3


def test_scores_names_and_manifest(scene):
    encoder = scene.Encoding(dim=4)
    part = Inception(encoder=encoder, samples=100, splits=1, batch_size=100)
    result = scene.score(part, scene.Pictures(n=55), scene.Uniform())
    matrix = encoder.build(scene.Pictures().data_shape(), "cpu").matrix
    real, fake = (3 * x.flatten(1) @ matrix for x in encoder.seen)
    assert result.scores == {
        "classifier_score(projection)": pytest.approx(direct(fake.double().numpy()), rel=1e-5),
        "classifier_score(projection)_std": None,
        "classifier_score(projection)_real": pytest.approx(direct(real.double().numpy()), rel=1e-5),
    }
    assert (result.manifest["n_real"], result.manifest["splits"]) == (55, 1)
    part = Inception(encoder=scene.Encoding(name="inception"), samples=100)
    result = scene.score(part, scene.Pictures(n=55), scene.Uniform())
    assert result.scores.keys() == {"IS", "IS_std", "IS_real"}
    assert result.manifest["n_real"] == 50, "ten splits of one size"


def test_what_cannot_be_scored_is_refused(scene):
    encoder = scene.Encoding()
    data = scene.spec(scene.Pictures())
    assert "samples = 105 is not a multiple" in " ".join(Inception(encoder=encoder, samples=105).check(data))

    class Blind(scene.Encoding):
        classifies = False

    assert "does not classify" in " ".join(Inception(encoder=Blind()).check(data))
    with pytest.raises(GflowError, match="has 9 items, too few for splits = 10"):
        scene.score(Inception(encoder=encoder, samples=100), scene.Pictures(n=9), scene.Uniform())
