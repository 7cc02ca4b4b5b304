"""`freeze` in [sampler] and [discriminator]: parameters that are not trained."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from gflow_core.errors import RecipeError
from gflow_core.optim.freezing import freeze
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build

FROZEN = ("sampler.freeze=['blocks.0.*', 'linear.bias']", "discriminator.freeze=['blocks.1.*']")


def begun(path, *overrides) -> dict[str, dict[str, torch.Tensor]]:
    """The networks of a recipe as they begin."""
    experiment = build(load(path, overrides).spec)
    return {
        name: {key: value.clone() for key, value in getattr(experiment, name).state_dict().items()}
        for name in ("sampler", "discriminator")
    }


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
def test_what_is_frozen_stands_still_while_the_rest_moves(gflow, images, tmp_path, optimizer):
    words = [
        *FROZEN,
        *(
            f"optimizer.{name}={{ use = '{optimizer}', lr = 0.01, weight_decay = 0.1 }}"
            for name in ("sampler", "discriminator")
        ),
        "train.steps=2",
        "~train.ema",
        "train.precision=float32",
    ]
    before = begun(images, *words)
    gflow("run", images, *words, "--runs", tmp_path / "runs")
    folder = tmp_path / "runs/images-s0-001/checkpoints/000002"
    for network, still in (("sampler", ("blocks.0.", "linear.bias")), ("discriminator", ("blocks.1.",))):
        after = load_file(folder / f"{network}.safetensors")
        held = {name for name in after if name.startswith(still)}
        moved = {name for name in after if not torch.equal(after[name], before[network][name])}
        assert not moved & held, network
        assert moved >= {name for name in after if name not in held and not name.endswith((".u", ".v"))}
        assert [name for name in held if name.endswith(("running_mean", ".u"))], "buffers stand still with the rest"


def test_batch_norm_of_a_module_that_is_frozen_in_part_goes_on():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    assert freeze(module, ["1.weight"], "sampler.freeze") == []
    assert [p.requires_grad for p in module.parameters()] == [True, True, False, True]
    assert freeze(module, ["1.*"], "sampler.freeze") == [module[1]]


def test_resuming_is_as_if_it_had_not_stopped(gflow, images, tmp_path, weights):
    for steps in (4, 2):
        gflow("run", images, *FROZEN, f"train.steps={steps}", "--runs", tmp_path / "runs")
    gflow("resume", tmp_path / "runs/images-s0-002", "--steps", 4)
    assert weights(tmp_path / "runs/images-s0-001") == weights(tmp_path / "runs/images-s0-002")


def test_a_sampler_of_another_run_is_trained_on_in_part(gflow, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gflow("run", images, "train.steps=1", "--runs", "runs")
    taken = ("sampler={ from_run = 'runs/images-s0-001', freeze = ['blocks.*'] }", "train.steps=1", "~train.ema")
    gflow("run", images, *taken, "--runs", "tuned")
    theirs = load_file(tmp_path / "runs/images-s0-001/checkpoints/000001/ema.safetensors")
    own = load_file(tmp_path / "tuned/images-s0-001/checkpoints/000001/sampler.safetensors")
    moved = {name for name in own if not torch.equal(own[name], theirs[name])}
    assert moved == {name for name in own if not name.startswith("blocks.")}


def test_a_pattern_that_fits_nothing_names_parameters_like_it(gflow, plane):
    said = gflow("run", plane, "sampler.freeze=['layer.0.weight']", code=2).output
    assert 'sampler.freeze: "layer.0.weight" fits no parameter; those called most like it are layers.0.weight, ' in said
    said = gflow("run", plane, "discriminator.freeze=['*']", code=2).output
    assert "discriminator.freeze: freezes every parameter, and none is left to train; take a pattern out" in said


def test_the_recipe(plane, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def problem(*overrides) -> str:
        with pytest.raises(RecipeError) as caught:
            load(plane, overrides)
        return str(caught.value)

    assert "sampler.freeze: expected a list of strings, got the string" in problem("sampler.freeze=layers.*")
    nothing = ("~objective", "~optimizer", "~train", "~discriminator", "sampler.freeze=['*']")
    assert "sampler.freeze: nothing trains without an [objective]; remove it" in problem(*nothing)
    table = load(plane, ["sampler.freeze=['layers.0.*']", "sampler=far.mlp"]).table
    assert table["sampler"] == {"use": "far.mlp"}
