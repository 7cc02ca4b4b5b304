"""Run folders of before: their recipes name some things otherwise, and go on."""

from __future__ import annotations

import pytest

from gflow_core.errors import RecipeError
from gflow_core.methods.penalties import Mixed
from gflow_core.recipes.recipe import load
from gflow_core.runs.trackers import Tensorboard

OLD = """
gflow = 1
[dataset]
use = "ring"
[sampler]
use = "vgrow.mlp"
[discriminator]
use = "vgrow.mlp"
[objective]
use = "adversarial"
loss = "hinge"
penalty = { kind = "KIND", weight = 3.0, on = "logit", interval = 2 }
[optimizer.sampler]
use = "adam"
lr = 1e-3
schedule = { use = "constant" }
[optimizer.discriminator]
use = "adam"
lr = 1e-3
[train]
steps = 3
tensorboard = true
"""


def test_a_runs_own_recipe_is_read_as_it_was_meant(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    path = tmp_path / "recipe.toml"
    path.write_text(OLD.replace("KIND", "mixed"))
    spec = load(path).spec
    assert spec.objective.penalty == (Mixed(weight=3.0, interval=2),)
    assert spec.train.trackers == (Tensorboard(),)
    path.write_text(OLD.replace("KIND", "none").replace("true", "false"))
    spec = load(path).spec
    assert spec.objective.penalty == ()
    assert spec.train.trackers == ()


def test_anybody_elses_recipe_is_not(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(OLD.replace("KIND", "mixed"))
    with pytest.raises(RecipeError, match="tensorboard: unknown option"):
        load(path)
