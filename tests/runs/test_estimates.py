"""What cannot fit is refused before anything is built or written, by the option that asks for it."""

from __future__ import annotations

import json

import pytest

from gflow_core.errors import GflowError
from gflow_core.recipes.recipe import load
from gflow_core.runs import estimates
from gflow_core.runs.build import build
from gflow_core.runs.estimates import check_memory


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine of 16 GB."""
    monkeypatch.setattr(estimates, "memory_of", lambda _: 16e9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["objective.pool_size=1000000000"], "objective.pool_size = 1000000000: the pool would take "),
        (
            ["objective.pool_size=10000000", "train.replicas=1000"],
            "train.replicas = 1000, objective.pool_size = 10000000: the pool would take 240 GB",
        ),
        (
            ["objective=adversarial", "train.batch_size=2000000000"],
            "train.batch_size = 2000000000: a batch would take 32 GB",
        ),
        (["dataset.n=100000000000"], "dataset.n = 100000000000: the data would take 800 GB"),
        (["analyze.0.use=mode_coverage", "analyze.0.samples=1000000000000"], "analyze.0.samples = 1000000000000"),
        (["sampler.depth=1000000"], "sampler: it has more than 10,000 tensors of weights; make it less deep"),
        (["discriminator.width=10000000"], "discriminator: its weights would take more than this"),
        (
            ["objective=adversarial", "sampler.width=512", "train.replicas=100000"],
            "train.replicas = 100000, sampler: its weights",
        ),
    ],
)
def test_what_cannot_fit(words, said, plane, gflow, tmp_path):
    for how in (["--runs", tmp_path / "runs"], ["--dry-run"]):
        result = gflow("run", plane, *words, *how, code=2)
        assert said in result.stderr
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_large_images(images, gflow):
    said = gflow("run", images, "dataset.image_size=1048576", "--dry-run", code=2).stderr
    assert "objective.pool_size = 32 of image 1x1048576x1048576" in said
    assert "the pool would take 2.81e+05 GB at least" in said


def test_the_parts_of_the_estimate(plane, gflow, monkeypatch):
    """By the sizes of what is then there."""
    words = ["train.ema.decay=0.9", "objective.pool_size=100"]
    spec = load(plane, words).spec
    experiment = build(spec)
    networks = {"sampler": experiment.sampler, "discriminator": experiment.discriminator}
    needs = {need.what: need.bytes for need in check_memory(spec, networks)}
    for _ in experiment.objective.step(1):
        state = experiment.objective.state if experiment.objective.state.x is not None else None
        if state is not None:
            held = [state.z, state.x, state.start]
    assert needs["the pool"] == sum(x.numel() * 4 for x in held)
    assert needs["the data"] == experiment.data.x.numel() * 4
    for kind in ("sampler", "discriminator"):
        size = sum(p.numel() * 4 for p in getattr(experiment, kind).parameters())
        assert needs[f"the {kind}'s weights"] == size
        optimizer = experiment.players[kind].optimizer
        moments = [x for own in optimizer.state.values() for x in own.values() if x.numel() > 1]
        assert needs[f"the {kind}'s gradients and Adam's moments"] == pytest.approx(
            size + sum(x.numel() * 4 for x in moments), rel=0.01
        )
    assert needs["averaged weights"] == needs["the sampler's weights"]
    whole = sum(needs.values())
    monkeypatch.setattr(estimates, "memory_of", lambda _: whole)
    check_memory(spec, networks)
    monkeypatch.setattr(estimates, "memory_of", lambda _: whole - 1)
    with pytest.raises(GflowError, match=r"^\[sampler\]: the sampler's gradients .* with all else, and"):
        check_memory(spec, networks)
    monkeypatch.setattr(estimates, "memory_of", lambda _: 16e9)
    plan = json.loads(gflow("run", plane, *words, "--dry-run", "--json").stdout)
    assert plan["memory"] == {"at_least": needs, "have": plan["memory"]["have"]}
    assert "averaged weights" in " ".join(gflow("run", plane, *words, "--dry-run").stdout.split())
