"""Several commands at once on one run folder."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gflow_core import load_run
from gflow_core.files import checkpoint
from gflow_core.files.checkpoint import Checkpoint
from gflow_core.files.locks import held
from gflow_core.files.run_folder import checkpoint_names, lock_of
from gflow_core.report.read import read
from gflow_core.runs import api, around
from gflow_core.runs.console import RunConsole
from gflow_core.runs.record import RunFolder
from gflow_core.runs.summary import summary

from .conftest import PLANE


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "plane.toml").write_text(PLANE)
    analyses = ("analyze.0.use=losses", "analyze.1.use=sample_grid")
    return api.run(folder / "plane.toml", "train.steps=2", *analyses, runs=folder, quiet=True).path


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / trained.name)


def test_resuming_holds_the_run_before_it_reads_it(run, gflow, monkeypatch):
    build, said = around.build, []

    def slow(*arguments, **options):
        monkeypatch.setattr(around, "build", build)
        said.append(gflow("resume", run, "--steps", 4, code=2).output)  # another one, meanwhile
        return build(*arguments, **options)

    monkeypatch.setattr(around, "build", slow)
    gflow("resume", run, "--steps", 3)
    assert f"error: {run}: gflow resume (process {os.getpid()} on " in said[0]
    assert "is at work on this run; try again when it is done" in said[0]
    assert "after step 3" in gflow("resume", run, "--steps", 4).output


def test_a_run_of_a_new_length_is_held_to_its_end(run, gflow, monkeypatch):
    states = []
    monkeypatch.setattr(RunConsole, "log", lambda *_: states.append(summary(run).state))
    gflow("resume", run, "--steps", 3)
    assert states == ["running"]
    assert summary(run).state == "analyzed"


def test_an_analysis_waits_and_then_looks_at_what_there_is(run):
    waiting, found = threading.Event(), []

    def analyze():
        with RunFolder(run).held("gflow analyze", lambda text: (found.append(text), waiting.set())):
            found.append(RunFolder(run).checkpoints())

    with ThreadPoolExecutor() as pool:
        with RunFolder(run).held("gflow resume"):
            done = pool.submit(analyze)
            assert waiting.wait(60)
            (run / "checkpoints" / "000009").mkdir()
        done.result(60)
    assert found[0].startswith(f"{run}: waiting for gflow resume (process {os.getpid()} on ")
    assert found[1] == ["000002", "000009"]


def test_three_analyses_at_once(run):
    before = load_run(run).results()
    shutil.rmtree(run / "analysis")
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(load_run(run).analyze, *names, quiet=True) for names in ((), ("losses",), ())]:
            done.result(120)
    assert load_run(run).results() == before
    assert not list((run / "analysis").rglob(".*")), "nothing is left aside"


def test_a_lock_is_never_written_through_a_link(tmp_path):
    (tmp_path / "diary").write_text("dear")
    (tmp_path / ".lock").symlink_to("diary")
    with pytest.raises(OSError, match="symbolic links"), held(lock_of(tmp_path), "gflow resume"):
        pass
    assert (tmp_path / "diary").read_text() == "dear"


# ------------------------------------------------------------------ reading beside training, which deletes


def test_a_checkpoint_that_makes_room_for_the_next_one_while_it_is_read(run, monkeypatch):
    folder, reading = RunFolder(run), checkpoint.read

    def saved_meanwhile(path, only):
        monkeypatch.setattr(checkpoint, "read", reading)
        folder.save(Checkpoint(step=3, parts={}), keep=1)
        return checkpoint.read(path, only)

    monkeypatch.setattr(checkpoint, "read", saved_meanwhile)
    assert folder.load().step == 3


@pytest.mark.parametrize("room", ["runs.summary", "report.read"])
def test_looking_at_a_checkpoint_that_makes_room_for_the_next_one(run, monkeypatch, room):
    (run / "checkpoints" / "000002").rename(run / "checkpoints" / "000004")
    listed = iter([["000002"]])  # the first look finds it there still
    monkeypatch.setattr(
        sys.modules[f"gflow_core.{room}"], "checkpoint_names", lambda folder: next(listed, checkpoint_names(folder))
    )
    seen = read(run)
    assert seen.summary.step == 4
    assert "000002" not in seen.checkpoints
