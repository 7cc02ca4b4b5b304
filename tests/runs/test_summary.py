"""Run folders at a glance: their states, scores and order, from files alone."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gflow_core.errors import GflowError
from gflow_core.files.locks import held, holder, in_use
from gflow_core.files.run_folder import last_metrics, lock_of, read_metrics
from gflow_core.runs.summary import duration, summaries, summary

RECIPE = """
gflow = 1
title = "a ring"
[train]
seed = 3
steps = {steps}
[[analyze]]
use = "mode_coverage"
[[analyze]]
use = "losses"
name = "curves"
"""


@pytest.fixture
def make(tmp_path):
    """A run folder runs/NAME with a recipe, a manifest `hour` of a day, checkpoints, metrics and results."""

    def make(name="ring-s3-001", *, steps=10, hour=0, saved=(), logged=(), results=None) -> Path:
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "recipe.toml").write_text(RECIPE.format(steps=steps))
        created = datetime(2026, 1, 1, hour, tzinfo=UTC).isoformat()
        (run / "manifest.json").write_text(json.dumps({"created": created, "recipe": "recipes/ring8.toml"}))
        for checkpoint in saved:
            (run / "checkpoints" / checkpoint).mkdir(parents=True)
            (run / "checkpoints" / checkpoint / "checkpoint.json").write_text("{}")
        (run / "metrics.jsonl").write_text("".join(json.dumps({"step": step}) + "\n" for step in logged))
        for place, scores in (results or {}).items():
            (run / "analysis" / place).mkdir(parents=True)
            body = {"step": 1, "scores": scores, "manifest": {}, "files": []}
            (run / "analysis" / place / "result.json").write_text(json.dumps(body))
        return run

    return make


BOTH = {"mode_coverage": {"modes_covered": 8}, "curves": {"loss": 0.5}}


def test_states(make):
    new, part, trained = make("a-s3-001"), make("b-s3-001", saved=["000004"], logged=range(7)), make("c-s3-001")
    assert (summary(new).state, summary(new).step, summary(new).steps) == ("stopped", 0, 10)
    one = summary(part)
    assert (one.state, one.step) == ("stopped", 4), "resuming goes on from the checkpoint"
    assert (one.recipe, one.title, one.seed) == ("ring8", "a ring", 3)
    assert one.created == datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    with held(lock_of(part)):
        assert (summary(part).state, summary(part).step) == ("running", 6)
    assert summary(part).state == "stopped"
    for checkpoint in ("000009-002", "000010"):
        (trained / "checkpoints" / checkpoint).mkdir(parents=True)
        (trained / "checkpoints" / checkpoint / "checkpoint.json").write_text("{}")
    assert summary(trained).state == "trained"
    assert summary(make("d-s3-001", saved=["000010"], results=BOTH)).state == "analyzed"


def test_without_training_only_the_analyses_count(make):
    assert summary(make("a-s0-001", steps=0)).state == "stopped"
    assert summary(make("b-s0-001", steps=0, results=BOTH)).state == "analyzed"


def test_scores_are_the_last_ones_in_the_recipes_order(make):
    during = {"curves/000002": {"loss": 3.0}, "curves/000010": {"loss": 1.0}, "mode_coverage": {"modes_covered": 8}}
    one = summary(make(results=during))
    assert list(one.scores.items()) == [("mode_coverage", {"modes_covered": 8}), ("curves", {"loss": 1.0})]
    assert one.state == "stopped"


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("recipe.toml", "[train\n", "recipe.toml: damaged ("),
        ("recipe.toml", "train = 3\n", "recipe.toml: damaged ("),
        ("recipe.toml", "[train]\nsteps = 'x'\n", "recipe.toml: damaged ("),
        ("recipe.toml", "\xff", "recipe.toml: damaged ("),
        ("recipe.toml", None, "recipe.toml is missing"),
        ("manifest.json", "[]", "manifest.json: damaged"),
        ("analysis/curves/result.json", '{"scores"', "gflow analyze {run} curves makes it anew"),
        ("checkpoints/000010/checkpoint.json", None, "checkpoint 000010 has no checkpoint.json"),
    ],
)
def test_what_is_damaged_is_a_row_that_says_so(make, file, text, problem):
    run = make(saved=["000010"], results=BOTH)
    if text is None:
        (run / file).unlink()
    else:
        (run / file).write_bytes(text.encode("latin-1"))
    one = summary(run)
    assert one.state == "broken"
    assert problem.format(run=run) in one.problem


def test_the_newest_comes_first_and_what_is_no_run_is_left_out(make, tmp_path):
    make("old-s0-001", hour=1)
    make("new-s0-001", hour=3)
    make("sweep/mid-s0-001", hour=2)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / ".trash").mkdir()
    (tmp_path / "runs" / "killed-s0-001").mkdir()
    os.utime(tmp_path / "runs" / "killed-s0-001", (1, 1))
    found = summaries(tmp_path / "runs")
    assert [one.path.name for one in found] == ["new-s0-001", "mid-s0-001", "old-s0-001", "killed-s0-001"]
    assert found[-1].problem == "recipe.toml is missing"
    assert [one.path.name for one in summaries(tmp_path / "runs" / "new-s0-001")] == ["new-s0-001"]
    with pytest.raises(GflowError, match="no such folder"):
        summaries(tmp_path / "nothing")


def test_what_cannot_be_looked_into_hides_no_other(make, monkeypatch):
    make("good-s0-001")
    closed = [make("closed-s0-001"), make("named")]
    scandir, listdir, stat = os.scandir, os.listdir, os.stat

    def refusing(call):
        def asked(path=".", *args, **options):
            if any(Path(os.fspath(path)).is_relative_to(one) and (call is not stat or path != one) for one in closed):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return call(path, *args, **options)

        return asked

    for name, call in {"scandir": scandir, "listdir": listdir, "stat": stat}.items():
        monkeypatch.setattr(os, name, refusing(call))
    found = {one.path.name: one for one in summaries(closed[0].parent)}
    assert found["good-s0-001"].state == "stopped"
    for one in closed:
        assert found[one.name].state == "broken"
        assert "Permission denied" in found[one.name].problem


def test_hundreds_of_runs_take_well_under_a_second(make, tmp_path):
    for i in range(200):
        make(f"ring-s{i}-001", saved=["000010"], results=BOTH)
    start = time.process_time()
    assert len(summaries(tmp_path / "runs")) == 200
    assert time.process_time() - start < 1


def test_looking_never_keeps_a_run_from_starting(make):
    lock = lock_of(make())
    assert not in_use(lock), "there is none yet, and looking makes none"
    with held(lock, "gflow resume"):
        assert in_use(lock)
        with pytest.raises(BlockingIOError), held(lock):
            pass
        assert holder(lock).startswith(f"gflow resume (process {os.getpid()} on ")
    assert not in_use(lock)
    assert holder(lock) == "another process"


def test_the_last_line_of_metrics_is_read_from_the_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert last_metrics(path) is None
    path.write_text("")
    assert last_metrics(path) is None
    path.write_text("".join(json.dumps({"step": step, "loss": 0.25}) + "\n" for step in range(5000)) + '{"step": 50')
    assert path.stat().st_size > 1 << 16
    assert last_metrics(path) == read_metrics(path)[-1] == {"step": 4999, "loss": 0.25}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (150, "2 min"), (7100, "118 min"), (86400, "24 h"), (4e5, "5 d")],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text
