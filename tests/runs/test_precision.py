"""The precision that "auto" takes: stated by plan and manifest, and kept for as long as the run goes on."""

from __future__ import annotations

import json

import pytest

from gflow_core import load_run
from gflow_core.machine import speed
from gflow_core.runs.manifest import precision_of


@pytest.fixture
def images(images):
    """The recipe, in the precision of the machine."""
    images.write_text(images.read_text().replace('precision = "bf16"\n', ""))
    return images


@pytest.fixture
def faster(monkeypatch):
    """Have the machine be faster in float32 or bf16 from here on."""

    def call(precision: str) -> None:
        bf16 = 167.0 if precision == "bf16" else 48.0
        kept = speed.Speed("any", 96.0, bf16, "2026-01-01T00:00:00+00:00")
        monkeypatch.setattr(speed, "_read", lambda *_, **__: kept)

    return call


def test_the_plan_states_it_with_both_speeds(gflow, images, plane, faster):
    faster("bf16")
    text = gflow("run", images, "--dry-run").output
    assert "bf16, as measured" in text
    plan = json.loads(gflow("run", images, "--dry-run", "--json").stdout)
    assert (plan["precision"], plan["speed"]["float32"], plan["speed"]["bf16"]) == ("bf16", 96.0, 167.0)
    for recipe, *words in ((images, "train.precision=float32"), (plane,)):
        plan = json.loads(gflow("run", recipe, *words, "--dry-run", "--json").stdout)
        assert (plan["precision"], plan["speed"]) == ("float32", None)


def test_a_run_goes_on_in_what_it_began_with(gflow, images, tmp_path, faster, weights):
    faster("bf16")
    gflow("run", images, "--runs", tmp_path / "a", "train.steps=2")
    gflow("run", images, "--runs", tmp_path / "b", "train.steps=1")
    run, shorter = tmp_path / "a" / "images-s0-001", tmp_path / "b" / "images-s0-001"
    manifest = load_run(run).manifest
    assert (manifest["precision"], manifest["speed"]["bf16"]) == ("bf16", 167.0)
    drawn = load_run(run).sample(2)

    faster("float32")
    assert load_run(run).sample(2).equal(drawn)
    gflow("resume", shorter, "--steps", 2)
    assert weights(shorter)["sampler.safetensors"] == weights(run)["sampler.safetensors"]
    manifest = load_run(shorter).manifest
    assert (manifest["precision"], manifest["speed"]["bf16"]) == ("bf16", 167.0)
    gflow("resume", shorter, "--steps", 3, "train.precision=auto")
    manifest = load_run(shorter).manifest
    assert (manifest["precision"], manifest["speed"]["bf16"]) == ("float32", 48.0)
    assert 'precision = "auto"' in (shorter / "recipe.toml").read_text()
    faster("bf16")
    gflow("resume", shorter, "--steps", 4)
    assert load_run(shorter).manifest["precision"] == "float32"


def test_what_a_manifest_may_say(images):
    from gflow_core.recipes.recipe import load

    spec = load(images).spec
    began = {"precision": "bf16", "device": "cpu"}
    assert precision_of(began, spec) == "bf16"
    assert precision_of(began, spec, ["train.steps=3", "optimizer.sampler.lr=1"]) == "bf16"
    assert precision_of(began, spec, ["train.precision=auto"]) == "auto"
    assert precision_of({**began, "device": "cuda:0"}, spec) == "auto", "of another kind of device"
    for manifest in ({}, {"precision": "bf16"}, {**began, "precision": "int8"}):
        assert precision_of(manifest, spec) == "auto"
