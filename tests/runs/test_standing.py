"""Standing statistics of batch norm, for what is analyzed alone."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from torch import nn

from gflow_core.methods.adversarial import Adversarial
from gflow_core.parts.analysis import Result
from gflow_core.parts.spec import Analysis
from gflow_core.recipes.recipe import Recipe
from gflow_core.runs.analyze import analyze
from gflow_core.runs.build import build
from gflow_core.testing import TINY, TinySampler
from gflow_core.testing.objectives import recipes


@attrs.frozen(kw_only=True)
class Normed(TinySampler):
    """z -> three times z and 5 more, less the mean and by the deviation that batch norm knows of."""

    def build(self, data: Any) -> nn.Module:
        linear = nn.Linear(4, 2)
        with torch.no_grad():
            linear.weight.copy_(3 * torch.eye(2, 4))
            linear.bias.fill_(5.0)
        return nn.Sequential(linear, nn.BatchNorm1d(2))


@attrs.frozen(kw_only=True)
class Looking:
    needs = frozenset({"sampler"})

    def build(self) -> Any:
        return self.look

    def look(self, subject: Any) -> Result:
        z = subject.spec.sampler.latent.draw(4000, subject.streams["latent"])
        x = subject.sampler(z).detach()
        scores = {"mean": float(x.mean()), "std": float(x.std()), "training": float(subject.sampler.training)}
        return Result(scores=scores, manifest=subject.protocol())


def found(experiment, **own):
    return analyze(experiment, Analysis(name="looking", every=0, part=Looking(), **own), 1)


def test_the_sampler_looked_at_has_the_statistics_of_its_own_samples():
    experiment = build(next(recipes(Adversarial(), TINY["vector"], Normed())))
    before = {name: tensor.clone() for name, tensor in experiment.sampler.state_dict().items()}
    plain = found(experiment)
    assert plain.manifest["batch_norm"] == "eval"
    assert plain.scores["mean"] == pytest.approx(5, abs=0.2), "as batch norm began: nothing is taken off"

    standing = found(experiment, sampler_batch_norm="standing")
    assert standing.manifest["batch_norm"] == "standing"
    assert standing.scores["mean"] == pytest.approx(0, abs=0.05)
    assert standing.scores["std"] == pytest.approx(1, abs=0.05)
    assert standing.scores["training"] == 0
    assert found(experiment, sampler_batch_norm="standing").scores == standing.scores

    assert found(experiment).scores == plain.scores
    assert all(torch.equal(tensor, before[name]) for name, tensor in experiment.sampler.state_dict().items())


def test_a_sampler_without_batch_norm_is_looked_at_as_it_is():
    experiment = build(next(recipes(Adversarial(), TINY["vector"])))
    assert found(experiment, sampler_batch_norm="standing").manifest["batch_norm"] == "eval"


def test_a_recipe_says_it_for_any_analyzer_and_keeps_it(images, tmp_path):
    """Beside `every`, not among the analyzer's own options; what a recipe does not say is not written."""
    words = ["analyze.0.use=sample_grid", "analyze.0.sampler_batch_norm=standing", "analyze.1.use=losses"]
    recipe = Recipe.load(images, *words)
    assert [one.sampler_batch_norm for one in recipe.spec.analyze] == ["standing", "eval"]
    (tmp_path / "again.toml").write_text(recipe.dumps())
    assert recipe.dumps().count("sampler_batch_norm") == 1
    assert Recipe.load(tmp_path / "again.toml").spec.analyze == recipe.spec.analyze
