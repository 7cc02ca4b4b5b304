"""Stopped in every way there is, a run continues bit for bit as if it had not been."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import time
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from gflow_core.errors import Diverged
from gflow_core.files import checkpoint
from gflow_core.methods.particles import ParticleFlowObjective
from gflow_core.parts.training import Phase
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build
from gflow_core.runs.console import RunConsole
from gflow_core.runs.record import RunFolder
from gflow_core.runs.train import _check_state, train


def lines(run: Path) -> list[dict]:
    kept = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in kept]


def wait_for(condition, process, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def went_on(process, run: Path, reached: str) -> bool:
    return process.poll() == 0 or (run / "metrics.jsonl").read_text() != reached


def test_sigkill_at_random_times(images, start, tmp_path, weights):
    overrides = ("train.steps=20", "train.checkpoint_every=1", "train.sample_every=10")
    process = start("run", images, *overrides, "--runs", tmp_path / "whole")
    assert process.wait(timeout=120) == 0, process.communicate()[0]
    whole = tmp_path / "whole" / "images-s0-001"

    run = tmp_path / "killed" / "images-s0-001"
    process = start("run", images, *overrides, "--runs", tmp_path / "killed")
    wait_for(lambda: (run / "checkpoints").is_dir() and any((run / "checkpoints").glob("0*")), process)
    kills = 0
    for _ in range(2):
        time.sleep(random.uniform(0, 0.4))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        process = start("resume", run)
        reached = (run / "metrics.jsonl").read_text()
        wait_for(partial(went_on, process, run, reached), process)
    assert kills > 0
    out = process.communicate(timeout=120)[0]
    assert process.returncode == 0, out
    assert weights(run) == weights(whole)
    assert lines(run) == lines(whole)
    assert (run / "samples/000020.png").read_bytes() == (whole / "samples/000020.png").read_bytes()


@pytest.fixture
def signal_at(monkeypatch):
    """Send this process a signal at the n-th safe point that training passes from now on."""

    def arm(number: signal.Signals, n: int) -> None:
        passed = count(1)

        def phase(console: RunConsole, step: int, phase: Phase) -> None:
            if next(passed) == n:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(RunConsole, "phase", phase)

    return arm


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_inside_the_step(number, images, gflow, signal_at, tmp_path, weights):
    overrides = ("train.steps=3", "train.checkpoint_every=1")
    gflow("run", images, *overrides, "--runs", tmp_path / "whole")
    run = tmp_path / "stopped" / "images-s0-001"
    signal_at(number, 7)  # a step has five: three inner loops and two passes over the pool
    out = gflow("run", images, *overrides, "--runs", tmp_path / "stopped", code=130).output
    assert "and saved" in out
    newest = sorted(p.name for p in (run / "checkpoints").iterdir())[-1]
    assert newest == "000001-002", "it should have stopped inside step 2"
    gflow("resume", run)
    assert weights(run) == weights(tmp_path / "whole" / "images-s0-001")
    assert lines(run) == lines(tmp_path / "whole" / "images-s0-001")


def test_what_is_saved_inside_a_step_has_estimated_statistics(images, gflow, signal_at, tmp_path):
    """An average that takes its own has some, of the step before, wherever it is saved."""
    words = ("train.ema.buffers=reestimate", "train.steps=3", "train.checkpoint_every=1")
    signal_at(signal.SIGINT, 7)
    gflow("run", images, *words, "--runs", tmp_path, code=130)
    folder = tmp_path / "images-s0-001" / "checkpoints"
    before, inside = (checkpoint.read(folder / name).parts["ema"] for name in ("000001", "000001-002"))
    statistics = [name for name in inside if "running" in name]
    assert statistics
    assert all(torch.equal(inside[name], before[name]) for name in statistics)


def test_resuming_twice_inside_one_step(plane, gflow, signal_at, tmp_path, weights):
    overrides = ("train.steps=1", "objective.inner_loops=20")
    gflow("run", plane, *overrides, "--runs", tmp_path / "whole")
    run = tmp_path / "stopped" / "plane-s0-001"
    signal_at(signal.SIGINT, 4)
    gflow("run", plane, *overrides, "--runs", tmp_path / "stopped", code=130)
    signal_at(signal.SIGINT, 7)
    gflow("resume", run, code=130)
    assert "000000-011" in [p.name for p in (run / "checkpoints").iterdir()]
    gflow("resume", run)
    assert weights(run) == weights(tmp_path / "whole" / "plane-s0-001")


def test_a_cloud_resumes_inside_a_step(plane, gflow, signal_at, tmp_path, weights):
    overrides = (
        "sampler=cloud",
        "sampler.particles=64",
        "~optimizer.sampler",
        "objective.sampler=none",
        "train.steps=3",
    )
    gflow("run", plane, *overrides, "--runs", tmp_path / "whole")
    whole, run = (tmp_path / where / "plane-s0-001" for where in ("whole", "stopped"))
    signal_at(signal.SIGINT, 5)
    gflow("run", plane, *overrides, "--runs", tmp_path / "stopped", code=130)
    assert "000001-002" in [p.name for p in (run / "checkpoints").iterdir()]
    gflow("resume", run)
    assert weights(run) == weights(whole)
    assert lines(run) == lines(whole)
    gflow("sample", run, "--n", "5", "--out", tmp_path / "five.npy")
    x = np.load(tmp_path / "five.npy")
    particles = checkpoint.read(whole / "checkpoints" / "000003").parts["sampler"]["particles"]
    assert set(map(tuple, x.tolist())) <= set(map(tuple, particles.tolist()))
    assert "nothing between" in gflow("sample", run, "--video", tmp_path / "walk.gif", code=2).output


def test_a_finished_run_resumes_to_itself(gflow, plane, tmp_path, weights):
    gflow("run", plane, "--runs", tmp_path / "runs")
    run = tmp_path / "runs" / "plane-s0-001"
    before = weights(run)
    gflow("resume", run)
    assert weights(run) == before
    assert len(lines(run)) == 6


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "json flipped", "json truncated"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_offered(damage, gflow, plane, tmp_path, weights):
    gflow("run", plane, "--runs", tmp_path / "runs")
    run = tmp_path / "runs" / "plane-s0-001"
    whole = weights(run)
    newest = run / "checkpoints" / "000006"
    path = newest / ("checkpoint.json" if damage.startswith("json") else "optimizer.sampler.safetensors")
    content = bytearray(path.read_bytes())
    if damage.endswith("truncated"):
        path.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        path.unlink()
    else:
        place = content.index(b'"step": 6') + 8 if damage.startswith("json") else len(content) // 2
        content[place] ^= 1
        path.write_bytes(content)
    out = gflow("resume", run, code=2).output
    assert str(path) in out
    assert f"gflow resume {run} --checkpoint 000004" in out
    assert f"gflow resume {run} --checkpoint 000004" in gflow("analyze", run, "mode_coverage", code=2).output
    gflow("resume", run, "--checkpoint", "000004")
    assert weights(run) == whole


def test_no_checkpoint_left(gflow, plane, tmp_path):
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=1")
    run = tmp_path / "runs" / "plane-s0-001"
    shutil.rmtree(run / "checkpoints")
    assert "no checkpoint was saved yet" in gflow("resume", run, code=2).output


def edit(run: Path, before: str, after: str) -> None:
    recipe = run / "recipe.toml"
    assert before in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(before, after))


def of_an_earlier_version(run: Path) -> None:
    """Its manifest neither says what recipe the run began with, nor carries a checksum."""
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["began_with"], manifest["sha256"]
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_another_experiments_checkpoint(gflow, plane, tmp_path):
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=1")
    run = tmp_path / "runs" / "plane-s0-001"
    of_an_earlier_version(run)
    edit(run, "width = 16", "width = 17")
    assert "put the recipe back" in gflow("resume", run, code=2).output
    assert "does not fit the recipe" in gflow("sample", run, "--out", tmp_path / "x.png", code=2).output


def test_averages_that_the_run_did_not_keep(gflow, plane, tmp_path):
    gflow("run", plane, "--runs", tmp_path, "train.steps=1")
    said = gflow("resume", tmp_path / "plane-s0-001", "--steps", 2, "train.ema.decay=0.9", code=2).output
    assert "the checkpoint does not fit the recipe: it holds no ema; put the recipe back" in said


@pytest.mark.parametrize(
    ("part", "deed"),
    [
        ("optimizer.sampler", lambda tree: tree["state"][0].update(exp_avg=torch.zeros(1))),
        ("optimizer.sampler", lambda tree: tree["state"][0].update(step=torch.zeros(0))),
        ("feed", lambda tree: tree.update(position=-5)),
        ("feed", lambda tree: tree.update(position="5")),
    ],
)
def test_a_state_that_nothing_reached(gflow, plane, tmp_path, part, deed):
    """Whole, and made up: fused kernels would read beyond it, and an order before the first item has no end."""
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=1")
    run = tmp_path / "runs" / "plane-s0-001"
    state = RunFolder(run).load()
    deed(state.parts[part])
    checkpoint.write(run / "checkpoints" / "000001", state)
    assert "does not fit the recipe: it" in gflow("resume", run, "--steps", 2, code=2).output


def test_other_data_is_noticed(gflow, plane, tmp_path):
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=1")
    assert (
        "the data has changed" in gflow("resume", tmp_path / "runs/plane-s0-001", "dataset.data_seed=1", code=2).output
    )


def test_an_edited_recipe_is_refused_with_what_differs(gflow, plane, tmp_path, weights):
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=4")
    run = tmp_path / "runs" / "plane-s0-001"
    before = weights(run)
    edit(run, "lr = 0.001", "lr = 0.01")
    edit(run, "pool_size = 64", "pool_size = 32")
    edit(run, "[train]", "[[analyze]]\nuse = 'two_sample'\nsamples = 100\n[train]")  # trains nothing: may change
    for words in (["resume", run, "--steps", 6], ["analyze", run], ["sample", run, "--out", tmp_path / "x.npy"]):
        out = gflow(*words, code=2).output
        assert "optimizer.sampler.lr: 0.001 when the run began, 0.01 in recipe.toml\n" in out
        assert "objective.pool_size: 64 when the run began, 32 in recipe.toml\n" in out
        assert "analyze." not in out
        assert f"gflow resume {run} objective.pool_size=32 optimizer.sampler.lr=0.01 optimizer.discriminator.lr" in out
    assert weights(run) == before
    edit(run, "lr = 0.01", "lr = 0.001")
    # One that is stated is not refused; the others are.
    out = gflow("resume", run, "train.steps=6", "optimizer.sampler.lr=0.002", code=2).output
    assert "pool_size" in out
    assert "lr" not in out
    edit(run, "pool_size = 32", "pool_size = 64")
    gflow("resume", run)


def test_overrides_change_the_recipe_from_here_on(gflow, plane, tmp_path, weights):
    """As if the run had been stopped, its optimizer's numbers changed, and gone on."""
    recipe = tmp_path / "sgd.toml"
    recipe.write_text(plane.read_text().replace('"adam"', '"sgd"') + "keep = 9\n")
    gflow("run", recipe, "--runs", tmp_path / "runs", "train.steps=4")
    run = tmp_path / "runs" / "sgd-s0-001"
    shutil.copytree(run, tmp_path / "plain")
    gflow("resume", tmp_path / "plain", "train.steps=6")
    gflow("resume", run, "--steps", 6, "optimizer.sampler.weight_decay=0.5")
    assert weights(run)["sampler.safetensors"] != weights(tmp_path / "plain")["sampler.safetensors"]
    manifest = RunFolder(run).read_manifest()
    assert manifest["resumed"][-1]["overrides"] == ["optimizer.sampler.weight_decay=0.5", "train.steps=6"]
    assert manifest["began_with"]["optimizer"]["sampler"]["weight_decay"] == 0.5
    whole = weights(run)
    gflow("resume", run, "--checkpoint", 4)
    assert weights(run) == whole
    out = gflow("resume", run, "--steps", 7, "optimizer.sampler={use='adam',lr=1e-3}", code=2).output
    assert "of another optimizer" in out
    assert "keeps the seed that it began with" in gflow("resume", run, "train.seed=4", code=2).output


def test_no_optimizer_goes_on_as_another(gflow, plane, tmp_path):
    """AdamW's state holds that its decay is decoupled: Adam with it would be AdamW."""
    recipe = tmp_path / "adamw.toml"
    recipe.write_text(plane.read_text().replace('"adam"', '"adamw"'))
    gflow("run", recipe, "--runs", tmp_path / "runs", "train.steps=2")
    run = tmp_path / "runs" / "adamw-s0-001"
    out = gflow("resume", run, "--steps", 4, "optimizer.sampler={use='adam',lr=1e-3,weight_decay=0.1}", code=2).output
    assert "of another optimizer" in out
    assert "adamw" in (run / "recipe.toml").read_text()


def test_options_whose_state_the_run_did_not_keep(gflow, plane, tmp_path):
    """torch would look for it in the first step, when the run has gone back already; SGD's begins at any time."""
    recipe = tmp_path / "mixed.toml"
    recipe.write_text(plane.read_text().replace('"adam"', '"rmsprop"', 1).replace('"adam"', '"sgd"'))
    gflow("run", recipe, "--runs", tmp_path / "runs", "train.steps=1")
    run = tmp_path / "runs" / "mixed-s0-001"
    before = (run / "recipe.toml").read_text()
    for option, kept in (("momentum=0.5", "momentum_buffer"), ("centered=true", "grad_avg")):
        out = gflow("resume", run, "--steps", 2, f"optimizer.sampler.{option}", code=2).output
        assert f"optimizer.sampler now needs {kept} from the first step on" in out
    assert (run / "recipe.toml").read_text() == before
    gflow("resume", run, "--steps", 2, "optimizer.sampler.weight_decay=0.1", "optimizer.discriminator.momentum=0.5")
    gflow("resume", run, "--steps", 3, "optimizer.discriminator.momentum=0")


def test_runs_of_an_earlier_version_go_on(gflow, plane, tmp_path):
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=2")
    run = tmp_path / "runs" / "plane-s0-001"
    of_an_earlier_version(run)
    edit(run, "lr = 0.001", "lr = 0.01")
    assert "changed" not in gflow("resume", run, "--steps", 3).output


def test_going_on_to_more_steps(gflow, plane, tmp_path, weights):
    gflow("run", plane, "--runs", tmp_path / "long")
    gflow("run", plane, "--runs", tmp_path / "short", "train.steps=4")
    run = tmp_path / "short" / "plane-s0-001"
    assert "trained already, 4 steps" in gflow("resume", run).output
    gflow("resume", run, "--steps", 6)
    assert weights(run) == weights(tmp_path / "long" / "plane-s0-001")
    assert "steps = 6" in (run / "recipe.toml").read_text()
    assert "6 steps are done already" in gflow("resume", run, "--steps", 5, code=2).output


def test_going_back_drops_what_came_after(gflow, plane, tmp_path, weights):
    gflow("run", plane, "--runs", tmp_path / "runs", "train.keep=3")
    run = tmp_path / "runs" / "plane-s0-001"
    whole = weights(run)
    folder = RunFolder(run)
    folder.rewind("000002")
    assert folder.checkpoints() == ["000002"]
    assert [line["step"] for line in lines(run)] == [1, 2]
    assert [p.name for p in (run / "samples").iterdir()] == ["000002.png"]
    gflow("resume", run, "--checkpoint", 2)
    assert weights(run) == whole


@pytest.mark.parametrize("junk", [b"5\n", b"\xff\xfe\n", b"not json\n", b'{"step": "x"}\n', b'{"st'])
def test_damaged_metrics_lose_only_the_damaged_line(gflow, plane, tmp_path, junk):
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=2")
    run = tmp_path / "runs" / "plane-s0-001"
    first, *rest = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(first + junk.rstrip(b"\n") + b"\n" + b"".join(rest))
    gflow("resume", run)
    assert [line["step"] for line in lines(run)] == [1, 2]


def test_a_damaged_manifest_is_named(gflow, plane, tmp_path):
    gflow("run", plane, "--runs", tmp_path / "runs", "train.steps=1")
    run = tmp_path / "runs" / "plane-s0-001"
    for text in ("[]", "{"):
        (run / "manifest.json").write_text(text)
        assert "manifest.json: damaged" in gflow("resume", run, code=2).output


@pytest.mark.parametrize("every", [0, 1])
def test_a_run_that_diverges_keeps_what_was_finite(every, gflow, plane, tmp_path, monkeypatch):
    def metrics(self):
        state, done = self.state, next(steps)
        state.x.fill_(math.nan if spoilt and done >= 3 else 1.0)
        return {"speed": state.x.norm()}

    monkeypatch.setattr(ParticleFlowObjective, "_metrics", metrics)
    steps, spoilt = count(1), True
    words = ["train.log_every=50", "train.sample_every=0", f"train.checkpoint_every={every}", "train.steps=6"]
    said = gflow("run", plane, "--runs", tmp_path / "runs", *words, code=2).output
    good = "the checkpoint 000002 is from before" if every else "no checkpoint was saved before"
    assert f"error: step 3: speed is nan; {good}. A smaller" in said
    run = tmp_path / "runs" / "plane-s0-001"
    assert [line["step"] for line in lines(run)] == ([1, 2] if every else [2])
    (row,) = json.loads(gflow("ls", "runs", tmp_path / "runs", "--json").output)
    assert (row["state"], row["problem"]) == ("diverged", "step 3: speed is nan")
    if every:
        steps, spoilt = count(3), False
        gflow("resume", run)
        (row,) = json.loads(gflow("ls", "runs", tmp_path / "runs", "--json").output)
        assert (row["state"], row["problem"], row["step"]) == ("trained", "", 6)


def test_a_state_that_is_not_finite_is_not_saved(plane):
    experiment = build(load(plane, ["train.steps=2"]).spec)
    saved = []

    class Spoil:
        def stopping(self):
            x = experiment.objective.state.x
            return x is not None and bool(x.isnan().any())

        def phase(self, step, phase):
            if step == 2 and phase.done == 2:
                experiment.objective.state.x[3, 0] = float("nan")

        def save(self, step, phase=None):
            saved.append((step, phase))

        def log(self, *_):
            pass

        sample = analyze = log

    with pytest.raises(Diverged, match="step 2: the objective's x is not finite"):
        train(experiment, Spoil())
    assert saved == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_number_of_any_type_is_found(plane, dtype, bad):
    experiment = build(load(plane, ["train.steps=2"]).spec)
    state = {
        "large": torch.full((5,), torch.finfo(dtype).max, dtype=dtype),
        "wide": torch.full((2, 2), 1e300, dtype=torch.float64),  # too large for float32
        "empty": torch.zeros(0, dtype=dtype),
        "count": torch.tensor(3),
    }
    module = torch.nn.Module()
    for name, tensor in state.items():
        module.register_buffer(name, tensor)
    experiment.sampler.add_module("more", module)
    _check_state(experiment, 1)
    state["large"][3] = bad
    with pytest.raises(Diverged, match=r"step 1: sampler .*more\.large is not finite"):
        _check_state(experiment, 1)
