"""`train.from_run`: training that starts from another run."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from safetensors.torch import load_file

from gflow_core.errors import RecipeError
from gflow_core.recipes.recipe import load
from gflow_core.recipes.writing import dumps
from gflow_core.runs.build import build

STILL = (
    "optimizer.sampler={ use = 'sgd', lr = 1e-30 }",
    "optimizer.discriminator={ use = 'sgd', lr = 1e-30 }",
)
"""Steps that leave every weight as it is."""


@pytest.fixture
def first(tmp_path, monkeypatch, gflow, plane):
    """A trained run that keeps an average; commands start in the folder that holds runs/."""
    monkeypatch.chdir(tmp_path)
    gflow("run", plane, "train.ema.decay=0.5", "--runs", "runs")
    return tmp_path / "runs/plane-s0-001"


@pytest.fixture
def start(tmp_path, first):
    """A recipe that starts from it, on other data of the same shape and by another objective."""
    path = tmp_path / "start.toml"
    path.write_text(
        'gflow = 1\nextends = "plane.toml"\ndataset = { use = "grid", n = 400 }\nobjective = { use = "adversarial" }\n'
        '[train]\nfrom_run = "runs/plane-s0-001"\nsteps = 4\nema = { decay = 0.5 }\n'
    )
    return path


def problems(path, *overrides) -> str:
    with pytest.raises(RecipeError) as caught:
        load(path, overrides)
    return str(caught.value)


def test_both_networks_and_the_average_begin_as_the_run_ended(gflow, start, first, weights):
    gflow("run", start, *STILL, "train.steps=1", "train.ema.decay=0.9999999", "--runs", "still")
    before, after = weights(first), weights(start.with_name("still") / "start-s0-001")
    names = ["sampler.safetensors", "discriminator.safetensors"]
    assert [after[name] for name in names] == [before[name] for name in names]
    theirs, own = (
        load_file(run / "ema.safetensors")
        for run in (first / "checkpoints/000006", start.with_name("still") / "start-s0-001/checkpoints/000001")
    )
    plain = load_file(first / "checkpoints/000006/sampler.safetensors")
    assert all(own[name].allclose(theirs[name], rtol=0, atol=1e-6) for name in own)
    assert not all(plain[name].allclose(theirs[name], rtol=0, atol=1e-6) for name in own), "it is not the plain one"

    manifest = json.loads((start.with_name("still") / "start-s0-001/manifest.json").read_text())
    assert manifest["origins"] == {
        name: {
            "run": str(first),
            "checkpoint": "000006",
            "file": f"{name}.safetensors",
            "sha256": hashlib.sha256(before[f"{name}.safetensors"]).hexdigest(),
        }
        for name in ("sampler", "discriminator", "ema")
    }


def test_all_else_begins_anew(start):
    started, anew = (build(load(start, overrides).spec) for overrides in ([], ["~train.from_run"]))
    assert started.streams.state_dict().keys() == anew.streams.state_dict().keys()
    assert started.streams["x"].get_state().equal(anew.streams["x"].get_state())
    assert started.feed.position == 0
    assert not any(player.optimizer.state for player in started.players.values())
    assert not anew.origins


def test_without_an_average_in_both_it_begins_from_the_sampler(gflow, start, plane, weights):
    gflow("run", start, *STILL, "~train.ema", "train.steps=1", "--runs", "still")
    gflow("run", plane, "--runs", "plain")
    gflow("run", start, *STILL, "train.from_run=plain/plane-s0-001", "train.steps=1", "--runs", "still")
    without, own = (weights(start.with_name("still") / f"start-s0-00{i}") for i in (1, 2))
    assert "ema.safetensors" not in without
    folder = start.with_name("still") / "start-s0-002/checkpoints/000001"
    average, sampler = load_file(folder / "ema.safetensors"), load_file(folder / "sampler.safetensors")
    assert all(average[name].equal(sampler[name]) for name in sampler)
    assert own["sampler.safetensors"] == weights(start.with_name("plain") / "plane-s0-001")["sampler.safetensors"]


def test_the_other_run_may_go_once_training_has_begun(gflow, start, first, weights):
    gflow("run", start)
    gflow("run", start, "train.steps=2", "analyze.0={ use = 'sample_grid', samples = 20 }")
    shutil.rmtree(first)
    gflow("resume", "runs/start-s0-002", "--steps", 4)
    whole, resumed = (weights(start.with_name("runs") / f"start-s0-00{i}") for i in (1, 2))
    assert whole == resumed
    gflow("analyze", "runs/start-s0-002")
    gflow("sample", "runs/start-s0-002", "--n", 8, "--out", "x.npy")
    gflow("report", "runs/start-s0-002")
    assert "cannot be checked" not in (start.parent / "runs/start-s0-002/report.html").read_text()

    said = gflow("run", "runs/start-s0-002/recipe.toml", code=2).output
    assert "train.from_run: runs/plane-s0-001: not a run folder" in said
    # What such a run trained may be taken in turn: its weights are its own.
    gflow("run", start, "train.from_run=runs/start-s0-001", "train.steps=1")
    gflow("run", start, "~train.from_run", "sampler.from_run=runs/start-s0-001", "train.steps=1")


def test_the_resolved_recipe_is_the_same_recipe(start):
    spec = load(start).spec
    resolved = start.with_name("resolved.toml")
    resolved.write_text(dumps(spec))
    assert load(resolved).spec == spec
    assert spec.train.from_run == "runs/plane-s0-001"


def test_what_cannot_be_started_from_is_refused(start, gflow):
    place = "train.from_run: "
    assert place + "runs/nothing: not a run folder" in problems(start, "train.from_run=runs/nothing")
    assert place + "expected a string, got the whole number 3" in problems(start, "train.from_run=3")
    assert place + "starts one run; set train.replicas = 1, or remove it" in problems(start, "train.replicas=2")
    assert place + "nothing trains without an [objective]" in problems(start, "~objective", "~optimizer")
    said = problems(start, "sampler.from_run=runs/plane-s0-001")
    assert place + "both networks begin as that run's do; remove it, or sampler.from_run" in said
    assert "remove it, or discriminator.weights" in problems(start, "discriminator.weights=plane.toml")
    said = problems(start, "dataset={ use = 'mnist5k' }")
    assert "train.from_run: runs/plane-s0-001 was trained on vector 2 unbounded, the data is image 1x28x28" in said
    gflow("run", start, "~objective", "~optimizer", "~train", "~discriminator", "analyze.0=sample_grid")
    assert "that run trained no sampler" in problems(start, "train.from_run=runs/start-s0-001")


def test_networks_that_differ_are_named_tensor_by_tensor(start, gflow):
    said = gflow("run", start, "sampler.width=8", code=2).output
    assert "train.from_run: runs/plane-s0-001/checkpoints/000006/sampler.safetensors: the weights of another" in said
    assert "of another shape (layers.0.weight [16, 2] instead of [8, 2], layers.0.bias" in said
    assert "make [sampler] and [discriminator] as runs/plane-s0-001/recipe.toml has them" in said
    said = gflow("run", start, "discriminator.depth=1", code=2).output
    assert "discriminator.safetensors: the weights of another network: tensors " in said
    assert "unexpected (layers.4.weight, layers.4.bias" in said


def test_a_run_that_is_not_done_is_refused(start, first, gflow):
    shutil.rmtree(first / "checkpoints/000006")
    said = gflow("run", start, code=2).output
    assert "train.from_run: runs/plane-s0-001 has done 4 of 6 steps; finish it with gflow resume" in said
