"""`weights = FILE` in [sampler] and [discriminator]: somebody else's file."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from gflow_core.errors import CheckpointError, RecipeError
from gflow_core.recipes.recipe import load
from gflow_core.recipes.writing import dumps
from gflow_core.runs.build import build

STILL = ("optimizer.sampler={ use = 'sgd', lr = 1e-30 }", "train.steps=1")


@pytest.fixture
def state(tmp_path, monkeypatch, plane):
    """The tensors of some sampler of the recipe; commands start where it is."""
    monkeypatch.chdir(tmp_path)
    return {
        name: tensor.clone() for name, tensor in build(load(plane, ["train.seed=9"]).spec).sampler.state_dict().items()
    }


def trained(path) -> dict[str, torch.Tensor]:
    """The sampler of a run's only checkpoint."""
    (folder,) = path.glob("checkpoints/*")
    return load_file(folder / "sampler.safetensors")


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("file", ["x.safetensors", "x.pt", "wrapped.pth", "parallel.pt"])
def test_a_file_of_any_kind_is_what_the_network_begins_from(gflow, plane, state, tmp_path, file):
    said = ""
    if file == "x.safetensors":
        save_file(state, file)
    elif file == "x.pt":
        torch.save(state, file)
    elif file == "wrapped.pth":
        torch.save({"g_ema": state, "optimizer": {"state": {}, "param_groups": []}, "step": 7}, file)
        said = 'wrapped.pth: takes the state dict under its key "g_ema"'
    else:
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, file)
        said = 'parallel.pt: all its names begin with "module.", which is left out'
    assert said in gflow("run", plane, *STILL, f"sampler.weights={file}", "--runs", "runs").output
    run = tmp_path / "runs/plane-s0-001"
    assert same(trained(run), state)
    digest = hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()
    assert json.loads((run / "manifest.json").read_text())["origins"] == {
        "sampler": {"file": str(tmp_path / file), "sha256": digest}
    }


def test_weights_that_are_not_finite_are_refused_by_name(plane, state):
    name = list(state)[-1]
    state[name].view(-1)[0] = torch.inf
    save_file(state, "x.safetensors")
    with pytest.raises(CheckpointError) as error:
        build(load(plane, ["sampler.weights=x.safetensors"]).spec)
    assert f"x.safetensors: {name} holds NaN or infinite values" in str(error.value)


def test_a_discriminator_begins_from_one_as_well(plane, state):
    torch.save(build(load(plane, ["train.seed=8"]).spec).discriminator.state_dict(), "d.pt")
    experiment = build(load(plane, ["discriminator.weights=d.pt"]).spec)
    assert same(dict(experiment.discriminator.state_dict()), torch.load("d.pt"))
    assert not same(dict(experiment.sampler.state_dict()), state)


def test_resuming_sampling_and_analyzing_need_the_file_no_more(gflow, plane, state, tmp_path, weights):
    save_file(state, "x.safetensors")
    gflow("run", plane, "sampler.weights=x.safetensors", "train.steps=4", "--runs", "runs")
    gflow("run", plane, "sampler.weights=x.safetensors", "train.steps=2", "--runs", "runs")
    (tmp_path / "x.safetensors").unlink()
    gflow("resume", "runs/plane-s0-002", "--steps", 4)
    assert weights(tmp_path / "runs/plane-s0-001") == weights(tmp_path / "runs/plane-s0-002")
    gflow("sample", "runs/plane-s0-002", "--n", 8, "--out", "x.npy")
    gflow("analyze", "runs/plane-s0-002", "sample_grid", "analyze.0.samples=20")
    said = gflow("run", "runs/plane-s0-002/recipe.toml", code=2).output
    assert "sampler.weights: x.safetensors: no such file of weights; relative paths count from where gflow is" in said


def test_a_run_that_trains_nothing_stands_on_the_file(gflow, plane, state, tmp_path, monkeypatch):
    save_file(state, "x.safetensors")
    nothing = ("~objective", "~optimizer", "~train", "~discriminator", "analyze.0={ use='sample_grid', samples=20 }")
    gflow("run", plane, *nothing, "sampler.weights=x.safetensors", "--runs", "runs")
    gflow("sample", "runs/plane-s0-001", "--n", 8, "--out", "x.npy")
    state["layers.0.bias"] += 1
    save_file(state, "x.safetensors")
    said = gflow("analyze", "runs/plane-s0-001", code=2).output
    assert f"the sampler of {tmp_path}/x.safetensors has changed since this run took it" in said
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    save_file(state, "x.safetensors")
    said = gflow("sample", "../runs/plane-s0-001", "--out", "x.npy", code=2).output
    assert f"its sampler came from {tmp_path}/x.safetensors, and {tmp_path}/elsewhere/x.safetensors is another" in said
    assert f"start gflow in {tmp_path}" in said
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.safetensors").unlink()
    assert "no such file of weights" in gflow("sample", "runs/plane-s0-001", "--out", "x.npy", code=2).output


def test_what_does_not_fit_is_said_in_one_message(gflow, plane, state):
    del state["layers.6.bias"]
    state["extra"] = torch.zeros(1)
    state["layers.0.weight"] = torch.zeros(16, 5)
    torch.save(state, "x.pt")
    said = gflow("run", plane, "sampler.weights=x.pt", code=2).output
    assert (
        "sampler.weights: x.pt: the weights of another network: tensors 1 missing (layers.6.bias); 1 unexpected "
        "(extra); 1 of another shape (layers.0.weight [16, 5] instead of [16, 2]); give weights of this network, or "
        "make [sampler] the network that they are of"
    ) in said
    torch.save({"generator": state, "g_ema": state}, "x.pt")
    assert (
        "holds several state dicts, generator, g_ema; save"
        in gflow("run", plane, "sampler.weights=x.pt", code=2).output
    )
    assert "not readable as weights" in gflow("run", plane, "sampler.weights=plane.toml", code=2).output


def test_the_recipe(plane, state, tmp_path):
    def problem(*overrides) -> str:
        with pytest.raises(RecipeError) as caught:
            load(plane, overrides)
        return str(caught.value)

    assert "sampler.weights: x.pt: no such file of weights; relative paths" in problem("sampler.weights=x.pt")
    assert "sampler.weights: expected a string, got the whole number 3" in problem("sampler.weights=3")
    assert 'sampler.weigths: unknown option; did you mean "weights"?' in problem("sampler.weigths=x.pt")
    torch.save(state, "x.pt")
    spec = load(plane, ["sampler.weights=x.pt", "discriminator.freeze=['layers.0.*']"]).spec
    (tmp_path / "resolved.toml").write_text(dumps(spec))
    assert load(tmp_path / "resolved.toml").spec == spec
    assert "weights" not in load(plane, ["sampler.weights=x.pt", "sampler=far.mlp"]).table["sampler"]


def test_an_option_of_the_part_by_that_name_is_the_parts(state):
    recipe = 'gflow = 1\nsampler = { use = "rmt.biggan_deep", weights = "random", channels = 8 }\n'
    with open("own.toml", "w") as file:
        file.write(recipe)
    spec = load("own.toml").spec
    assert spec.sampler.weights == "random"
    assert spec.networks["sampler"].weights is None
    assert "weights" in load("own.toml").table["sampler"]
    with open("again.toml", "w") as file:
        file.write(dumps(spec))
    assert load("again.toml").spec == spec
