"""`train.replicas`: each replica is the run of its own seed."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from gflow_core.cli import main
from gflow_core.errors import GflowError, RecipeError
from gflow_core.optim.replicas import stack
from gflow_core.parts.analysis import Result
from gflow_core.recipes.recipe import load
from gflow_core.runs.analyze import pool
from gflow_core.runs.build import build, single
from gflow_core.runs.record import RunFolder

GAME = """
gflow = 1
[dataset]
use = "ring"
n = 200
convention = "vgrow"
[sampler]
use = "vgrow.mlp"
width = 16
[discriminator]
use = "vgrow.mlp"
width = 16
[objective]
use = "{objective}"
penalty = {penalty}
[optimizer.sampler]
use = "adam"
lr = 1e-3
[optimizer.discriminator]
use = "adam"
lr = 1e-3
schedule = {{ use = "exponential", factor = 0.9 }}
[train]
seed = 5
steps = 10
batch_size = 32
checkpoint_every = 5
ema = {{ decay = 0.9 }}
[[analyze]]
use = "mode_coverage"
samples = 200
"""


@pytest.fixture
def recipe(tmp_path):
    def write(objective: str = "far.fake_as_real", penalty: str = "mixed") -> Path:
        path = tmp_path / "game.toml"
        shown = "[]" if penalty == "none" else f'"{penalty}"'
        path.write_text(GAME.format(objective=objective, penalty=shown))
        return path

    return write


def train(experiment, steps: int) -> None:
    for step in range(1, steps + 1):
        for player in experiment.players.values():
            player.set_rates(step - 1)
        list(experiment.objective.step(step))
        experiment.ema.update(experiment.sampler, step)


@pytest.mark.parametrize(
    ("objective", "penalty"),
    [
        ("adversarial", "none"),
        ("adversarial", "interpolation"),
        ("far.fake_as_real", "r1"),
        ("far.fake_as_real", "mixed"),
    ],
)
def test_each_replica_is_its_own_single_run_for_ten_steps(recipe, objective, penalty):
    path = recipe(objective, penalty)
    together = build(load(path, ["train.replicas=3"]).spec)
    train(together, 10)
    for index in range(3):
        one = single(together, index)
        alone = build(load(path, [f"train.seed={5 + index}"]).spec)
        train(alone, 10)
        assert one.spec.seed == alone.spec.seed
        for ours, theirs in ((one.sampler, alone.final_sampler), (one.discriminator, alone.discriminator)):
            for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
                torch.testing.assert_close(p, q, rtol=1e-4, atol=2e-5)


def test_replicas_differ(recipe):
    together = build(load(recipe(), ["train.replicas=2"]).spec)
    a, b = (single(together, index) for index in range(2))
    assert any((p != q).any() for p, q in zip(a.sampler.parameters(), b.sampler.parameters(), strict=True))


def invoke(*words: str) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_a_run_of_replicas_is_analyzed_by_seed_and_sampled(recipe, tmp_path):
    invoke("run", str(recipe()), "train.replicas=3", "--runs", str(tmp_path / "runs"))
    run = tmp_path / "runs/game-s5-001"
    found = json.loads((run / "analysis/mode_coverage/result.json").read_text())
    seeds = [json.loads((run / f"analysis/mode_coverage/seed{s}/result.json").read_text())["scores"] for s in (5, 6, 7)]
    assert [entry["seed"] for entry in found["seeds"]] == [5, 6, 7]
    assert [entry["scores"] for entry in found["seeds"]] == seeds
    assert found["scores"]["modes_covered"] == pytest.approx(np.mean([s["modes_covered"] for s in seeds]))
    assert found["scores"]["modes_total"] == 8
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    own = [line["seeds"][str(seed)]["discriminator_loss"] for seed in (5, 6, 7)]
    assert len(set(own)) == 3
    assert line["discriminator_loss"] == pytest.approx(np.mean(own))
    arrays = []
    for index in (0, 2):
        out = tmp_path / f"{index}.npy"
        invoke("sample", str(run), "--n", "5", "--replica", str(index), "--out", str(out))
        arrays.append(np.load(out))
    assert arrays[0].shape == (5, 2)
    assert (arrays[0] != arrays[1]).any()
    refused = CliRunner().invoke(main, ["sample", str(run), "--replica", "3", "--out", str(tmp_path / "x.npy")])
    assert refused.exit_code == 2
    assert "no replica 3" in refused.output


def test_resuming_replicas_is_bit_exact(recipe, tmp_path):
    from safetensors.torch import load_file

    for name, steps in (("whole", 10), ("half", 5)):
        invoke("run", str(recipe()), "train.replicas=2", f"train.steps={steps}", "--runs", str(tmp_path / name))
    invoke("resume", str(tmp_path / "half/game-s5-001"), "--steps", "10")
    files = [
        sorted((tmp_path / name / "game-s5-001/checkpoints/000010").glob("*.safetensors")) for name in ("whole", "half")
    ]
    assert [f.name for f in files[0]] == [f.name for f in files[1]]
    assert files[0]
    for a, b in zip(*files, strict=True):
        left, right = load_file(a), load_file(b)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)


def test_pooling_takes_what_analyzers_may_find():
    found = pool(
        {
            0: Result(scores={"a": 1.0, "same": 3, "none": None, "bad": 1.0, "word": "x"}),
            1: Result(scores={"a": 3.0, "same": 3, "none": 2.0, "bad": math.nan, "word": "y"}),
        }
    ).scores
    assert found["a"] == 2
    assert found["a (std)"] == pytest.approx(2**0.5)
    assert found["same"] == 3
    assert math.isnan(found["bad"])
    assert set(found) == {"a", "a (std)", "same", "bad"}


def test_going_back_drops_later_results_only(tmp_path):
    folder = RunFolder.create(tmp_path, "x", 0, "gflow = 1")
    for place in ("2024/000100", "2024/002100", "cover/seed3/000100", "cover/seed3/000200", "cover/seed3"):
        (folder.path / "analysis" / place).mkdir(parents=True, exist_ok=True)
        (folder.path / "analysis" / place / "result.json").touch()
    (folder.path / "analysis/2024/result.json").touch()
    folder.rewind("000100")
    left = sorted(str(p.parent.relative_to(folder.path / "analysis")) for p in folder.path.rglob("result.json"))
    assert left == ["2024", "2024/000100", "cover/seed3", "cover/seed3/000100"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset=mnist5k", "sampler=vgrow.resnet", "discriminator=vgrow.resnet"], "works on vectors"),
        (["train.replicas=0"], "must be >= 1"),
        (["~objective", "~optimizer", "~discriminator", "train.steps=0"], "train.replicas: nothing trains without"),
    ],
)
def test_what_cannot_be_stacked_is_refused_at_validation(recipe, words, message):
    with pytest.raises(RecipeError, match=message):
        load(recipe(), ["train.replicas=2", *words])


class Squeezed(nn.Linear):
    def forward(self, x):
        return super().forward(x).squeeze(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), "BatchNorm1d"),
        (lambda: nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)), "treat replicas"),
        (lambda: Squeezed(2, 1), "Squeezed"),
    ],
    ids=["batch norm", "flatten", "squeeze"],
)
def test_a_network_that_cannot_be_stacked_says_why(make, message):
    with pytest.raises(GflowError, match=message):
        stack("sampler", [make(), make()], torch.randn(4, 2))


def test_dropout_can_be_stacked():
    modules = [nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1)) for _ in range(2)]
    stacked = stack("sampler", modules, torch.randn(4, 2))
    assert stacked.training
    assert stacked(torch.randn(2, 4, 2)).shape == (2, 4, 1)


def test_a_replica_that_diverges_is_named(recipe, tmp_path):
    words = ["train.replicas=2", "optimizer.discriminator.lr=1e6", "optimizer.sampler.lr=1e6", "train.log_every=1"]
    result = CliRunner().invoke(main, ["run", str(recipe()), *words, "--runs", str(tmp_path / "runs")])
    assert result.exit_code == 2
    assert re.search(r"step \d+: \w+ of seed [56] is (inf|nan)", result.output), result.output
