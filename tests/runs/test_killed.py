"""Killed at any moment, a run folder goes on as if it had not been."""

from __future__ import annotations

import json
import shutil
import tomllib
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
import torch

from gflow_core.errors import CheckpointError, GflowError
from gflow_core.files import checkpoint
from gflow_core.files.checkpoint import Checkpoint, read
from gflow_core.parts.analysis import Result
from gflow_core.parts.plugins import plugins
from gflow_core.parts.registry import Entry
from gflow_core.recipes.changes import BEGAN, check_recipe
from gflow_core.runs import api, record
from gflow_core.runs.events import Session
from gflow_core.runs.record import RunFolder
from gflow_core.runs.trackers import _Lines

log = _Lines.log


# ------------------------------------------------------------------ going back


STEPS = (2, 4, 6, 8)


def make(runs: Path) -> RunFolder:
    """A run of eight steps: checkpoints, lines, pictures and analyses at every second one, and an end."""
    run = RunFolder.create(runs, "x", 0, "gflow = 1\n")
    lines = [json.dumps({"step": step}) + "\n" for step in range(1, 9)]
    (run.path / "metrics.jsonl").write_text("".join(lines))
    for step in STEPS:
        run.save(Checkpoint(step=step, parts={"sampler": {}}), keep=9)
        run.sample_path(step).write_text("picture")
        run.write_result("look", Result(tables={"t": [{"a": step}]}), step, final=False)
        run.write_result("look/seed1", Result(), step, final=False)
    run.write_result("look", Result(tables={"t": [{"a": 8}]}), 8, final=True)
    return run


def test_going_back_is_done_or_not_done(kill_at, tmp_path):
    whole = make(tmp_path)
    for n in count(1):
        run = RunFolder(shutil.copytree(whole.path, tmp_path / str(n)))
        killed = kill_at(n, lambda run=run: run.rewind("000004"))
        names = run.checkpoints()
        assert names[-1] in ("000008", "000004"), "where it was, or where it was to go"
        assert {"000002", "000004"} <= set(names)
        for name in names:
            read(run.path / "checkpoints" / name)
        last = int(names[-1])
        assert [line["step"] for line in run.metrics()][:last] == list(range(1, last + 1)), "no holes"
        kept = {f"{step:06d}" for step in STEPS if step <= last}
        assert {path.stem for path in (run.path / "samples").iterdir()} >= kept
        for place in ("look", "look/seed1"):
            assert {f"{step:06d}" for step in run.earlier_results(place, 9)} >= kept
        if last == 8:
            assert (run.path / "analysis" / "look" / "t.csv").read_text() == "a\n8\n"

        run.rewind("000004")  # as the resumed run does
        assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4]
        assert run.checkpoints() == ["000002", "000004"]
        assert {path.name for path in (run.path / "samples").iterdir()} == {"000002.png", "000004.png"}
        assert {path.name for path in (run.path / "analysis" / "look").iterdir()} == {"000002", "000004", "seed1"}
        assert list(run.earlier_results("look/seed1", 9)) == [2, 4]
        if not killed:
            break
    assert n > 15, "it was killed in between"


# ------------------------------------------------------------------ another recipe


def test_a_recipe_changes_with_its_manifest_or_not_at_all(kill_at, tmp_path):
    before, after = "gflow = 1\n[train]\nsteps = 2\n", "gflow = 1\n[train]\nsteps = 4\n"
    whole = RunFolder.create(tmp_path, "x", 0, before)
    whole.write_manifest({"device": "cpu", BEGAN: tomllib.loads(before)})
    becomes = {"device": "cuda", BEGAN: tomllib.loads(after)}
    seen = set()
    for n in count(1):
        run = RunFolder(shutil.copytree(whole.path, tmp_path / str(n)))
        killed = kill_at(n, lambda run=run: run.change(after, becomes))
        manifest = run.read_manifest()
        check_recipe(manifest, run.path)  # nobody edited it
        assert manifest == (becomes if run.recipe.read_text() == after else whole.read_manifest())
        seen.add(manifest["device"])
        (run.path / "recipe.toml").write_text("gflow = 1\n[train]\nsteps = 3\n")
        with pytest.raises(GflowError, match="was edited"):
            check_recipe(run.read_manifest(), run.path)
        run.change(after, becomes)
        assert run.read_manifest() == becomes
        if not killed:
            break
    assert seen == {"cpu", "cuda"}
    assert n > 3, "it was killed in between"


# ------------------------------------------------------------------ looking


@attrs.frozen(kw_only=True)
class Chain:
    """An analyzer whose scores follow from the weights and from all that it found before."""

    needs: ClassVar[frozenset[str]] = frozenset({"sampler"})

    def check(self, spec):
        return ()

    def build(self):
        return self.look

    def look(self, subject):
        with torch.no_grad():
            mean = float(subject.sampler(torch.ones(1, subject.spec.sampler.latent.dim)).mean())
        before = [json.loads((folder / "result.json").read_text())["scores"] for folder in subject.earlier.values()]
        scores = {"mean": mean + sum(one["mean"] for one in before), "steps": str([*subject.earlier])}
        return Result(scores=scores, tables={"t": [{"mean": mean}]})


@pytest.fixture
def watched(monkeypatch, plane):
    """A recipe that saves, draws and looks, together and apart."""
    entry = Entry("test.chain", Chain, "test 1")
    monkeypatch.setitem(plugins().registries["analyzer"]._entries, "test.chain", entry)
    monkeypatch.setattr(Session, "_blaming", lambda *_: nullcontext())  # a kill is nobody's fault
    tables = '\n[[analyze]]\nuse = "test.chain"\nname = "{0}"\nevery = {0}\n'
    text = plane.read_text().replace("sample_every = 2", "sample_every = 4")
    plane.write_text(text + tables.format(1) + tables.format(2))
    return plane


@pytest.fixture
def whole(watched, tree, tmp_path):
    return tree(api.run(watched, runs=tmp_path / "whole", quiet=True).path)


def test_a_killed_run_ends_as_one_that_was_not(watched, whole, tree, kill_at, tmp_path):
    assert {"analysis/2/000004/t.csv", "samples/000004.png"} <= set(whole)
    for n in range(22, 10**9, 20):  # in a checkpoint, a picture, an analysis, where they are put in place
        runs = tmp_path / str(n)
        if not kill_at(n, lambda runs=runs: api.run(watched, runs=runs, quiet=True)):
            break
        kill_at(n // 2, lambda runs=runs: api.load_run(runs / "plane-s0-001").resume(quiet=True))
        assert tree(api.load_run(runs / "plane-s0-001").resume(quiet=True).path) == whole
    assert n > 80


def test_a_full_disk_costs_only_what_it_had_no_room_for(watched, whole, tree, tmp_path, monkeypatch):
    run, room = tmp_path / "plane-s0-001", OSError(28, "No space left on device")

    def half_a_line(lines, step, line):
        with lines._path.open("a") as file:
            file.write(f'{{"step": {step}, "see')
        raise room

    def full(*_):
        raise room

    with monkeypatch.context() as patch:
        patch.setattr(_Lines, "log", lambda lines, step, line: (half_a_line if step == 4 else log)(lines, step, line))
        with pytest.raises(GflowError, match="make room, then gflow resume"):
            api.run(watched, runs=tmp_path, quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_tensors", full)
        patch.setattr(record, "_write_table", full)
        with pytest.raises(CheckpointError, match="000004: cannot be written: No space left on device; earlier"):
            api.load_run(run).resume(quiet=True)
    assert tree(api.load_run(run).resume(quiet=True).path) == whole
