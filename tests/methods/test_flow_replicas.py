"""`train.replicas` of particle flows: each replica is the flow of its own seed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.errors import RecipeError
from gflow_core.files.checkpoint import Checkpoint
from gflow_core.methods.velocities import Svgd
from gflow_core.parts.training import Experiment, Metrics, Phase
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build, read_data, single
from gflow_core.runs.state import capture, networks, restore

FLOW = """
gflow = 1
[dataset]
use = "ring"
n = 100
convention = "vgrow"
[sampler]
{sampler}
[objective]
use = "{objective}"
sampler = "{mode}"
pool_size = 22
inner_loops = 3
chunk_size = 9
{learning}
[train]
seed = 5
steps = 2
batch_size = 8
[[analyze]]
use = "mode_coverage"
samples = 100
[[analyze]]
use = "flow_field"
particles = 8
resolution = 10
"""
NETWORK = 'use = "vgrow.mlp"\nwidth = 8\ndepth = 2'
ADAM = '[optimizer.{name}]\nuse = "adam"\nlr = 1e-2'
VELOCITIES = {
    "mmd": 'use = "mmd"\nnoise = 0.3\nbandwidth = 4.0\ndata_size = 15',
    "sliced_wasserstein": 'use = "sliced_wasserstein"\nprojections = 5',
    "sinkhorn": 'use = "sinkhorn"\niterations = 3',
    "svgd": 'use = "svgd"',
    "drift.field": 'use = "drift.field"\ntemperatures = [0.5, 2.0]',
    "vgrow.ratio": 'use = "vgrow.ratio"\ndivergence = "js"\ndiscriminator_steps = 2',
    "vgrow.monoflow": 'use = "vgrow.monoflow"\nloss = { use = "monoflow", h = "arcsinh" }',
    "vgrow.ept": 'use = "vgrow.ept"\nratio = "p/q"',
    "vgrow.flow": "",
}
"""By name what [objective.velocity] says; `vgrow.flow` is an objective, with a velocity of its own."""
LEARNT = tuple(name for name in VELOCITIES if name.startswith("vgrow"))


@pytest.fixture
def recipe(tmp_path):
    def write(name: str, mode: str = "fit") -> Path:
        own = name == "vgrow.flow"
        learning = [] if own else [f"[objective.velocity]\n{VELOCITIES[name]}"]
        learning += [f"[discriminator]\n{NETWORK}", ADAM.format(name="discriminator")] if name in LEARNT else []
        learning += [ADAM.format(name="sampler")] if mode == "fit" else []
        cloud = 'use = "cloud"\nparticles = 22\nstd = 5.0'
        path = tmp_path / "plane.toml"
        path.write_text(
            FLOW.format(
                sampler=NETWORK if mode == "fit" else cloud,
                objective="vgrow.flow" if own else "flow",
                mode=mode,
                learning="\n".join(learning),
            )
        )
        return path

    return write


@pytest.fixture
def exact():
    """Everything in float64, where rounding hides nothing."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def built(path: Path, *words: str) -> Experiment:
    spec = load(path, words).spec
    data = read_data(spec.dataset)
    return build(spec, data=attrs.evolve(data, x=data.x.to(torch.get_default_dtype())))


def train(experiment: Experiment, steps: Sequence[int], stop: Callable[[Phase], bool] = lambda phase: False) -> Metrics:
    """The last step's metrics; of a step that is to stop none."""
    found: Metrics = {}
    for step in steps:
        for player in experiment.players.values():
            player.train()
            player.set_rates(step - 1)
        for event in experiment.objective.step(step):
            if isinstance(event, Phase) and stop(event):
                return {}
        found = event
    return found


def same_as_alone(path: Path, *words: str) -> None:
    together = built(path, "train.replicas=3", *words)
    seen = train(together, (1, 2))
    for index in range(3):
        one, alone = single(together, index), built(path, f"train.seed={5 + index}", *words)
        expected = train(alone, (1, 2))
        assert {name: value[index].item() for name, value in seen.items()} == pytest.approx(
            {name: value.item() for name, value in expected.items()}, rel=1e-10
        )
        for ours, theirs in zip(networks(one).values(), networks(alone).values(), strict=True):
            for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
                assert p.dtype == torch.float64
                torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("mode", ["fit", "none"])
@pytest.mark.parametrize("name", VELOCITIES)
def test_each_replica_is_its_own_single_run(recipe, exact, name, mode):
    same_as_alone(recipe(name, mode), *(["objective.velocity.scaled=false"] if name == "drift.field" else []))


@pytest.mark.parametrize("name", ["vgrow.ratio", "vgrow.ept", "mmd"])
def test_pieces_and_long_gradients_are_those_of_each_replica(recipe, exact, name):
    same_as_alone(recipe(name), "train.accumulate=2", "train.clip=0.05")


@pytest.mark.parametrize(("name", "mode"), [("vgrow.flow", "fit"), ("mmd", "none")])
def test_resuming_inside_a_step_is_bit_exact(recipe, name, mode):
    path = recipe(name, mode)
    whole = built(path, "train.replicas=2")
    expected = train(whole, (1, 2))
    for point in [("inner loop", 2), *([("projection pass", 1)] if mode == "fit" else [])]:
        stopped, again = (built(path, "train.replicas=2") for _ in range(2))
        train(stopped, (1,))
        train(stopped, (2,), lambda phase, point=point: (phase.name, phase.done) == point)
        restore(again, Checkpoint(step=1, parts=copy.deepcopy(capture(stopped))), path)
        found = train(again, (2,))
        assert all(torch.equal(expected[key], found[key]) for key in expected)
        for ours, theirs in zip(networks(again).values(), networks(whole).values(), strict=True):
            assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))


def invoke(*words: str) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_a_run_is_analyzed_by_seed_and_drawn_from_on_the_command_line(recipe, tmp_path):
    path, runs = recipe("vgrow.ratio", "none"), tmp_path / "runs"
    invoke("run", str(path), "train.replicas=2", "~analyze.0", "--runs", str(runs))
    invoke("run", str(path), "train.seed=6", "~analyze.0", "--runs", str(runs))
    together, alone = runs / "plane-s5-001", runs / "plane-s6-001"
    found = json.loads((together / "analysis/flow_field/seed6/result.json").read_text())["scores"]
    expected = json.loads((alone / "analysis/flow_field/result.json").read_text())["scores"]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)
    invoke("analyze", str(together), "mode_coverage", "analyze.1.samples=50")
    assert (together / "analysis/mode_coverage/seed6/result.json").is_file()
    for run, words in ((together, ["--replica", "1"]), (alone, [])):
        invoke("sample", str(run), "--n", "5", *words, "--out", str(run / "points.npy"))
    points = [np.load(run / "points.npy") for run in (together, alone)]
    np.testing.assert_allclose(*points, rtol=1e-3, atol=1e-3)
    assert len({tuple(point) for point in points[0].round(3)}) > 1


def test_a_flow_is_of_one_run_where_its_velocity_is(recipe, monkeypatch):
    load(recipe("svgd"), ["train.replicas=2"])
    monkeypatch.setattr(Svgd, "replicable", False)
    with pytest.raises(RecipeError, match="flow, as its options are, trains one run at a time"):
        load(recipe("svgd"), ["train.replicas=2"])


IMAGES = ["dataset=mnist5k", "sampler=vgrow.resnet"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["objective.velocity=sliced_wasserstein", *IMAGES], "works on vectors"),
        (["objective.velocity=mmd", "objective.velocity.encoder=mnist_cnn", *IMAGES], "works on vectors"),
        (["dataset.labels=modes", "objective.velocity=mmd", "objective.classes=2", "sampler=cgan.mlp"], "no labels"),
        (["train.devices=2"], "share one process"),
    ],
)
def test_what_cannot_be_several_runs_is_refused_at_validation(recipe, words, message):
    with pytest.raises(RecipeError, match=f"train.replicas: .*{message}"):
        load(recipe("svgd"), ["train.replicas=2", *words])
