"""Killed at any moment, a run folder goes on as if it had not been."""

from __future__ import annotations

import json
import os
import shutil
from itertools import count
from pathlib import Path

import pytest

from gflow_core.files.checkpoint import Checkpoint, read
from gflow_core.parts.analysis import Result
from gflow_core.runs.record import RunFolder


class Killed(BaseException):
    """As SIGKILL: nothing is tidied up after it."""


@pytest.fixture
def kill_at(monkeypatch):
    """From the n-th change of a directory on none is made any more. Returns whether it came to that."""

    def arm(n: int, work) -> bool:
        passed = count(1)
        with monkeypatch.context() as patch:
            for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):

                def deadly(*arguments, change=getattr(os, name), **options):
                    if next(passed) >= n:
                        raise Killed
                    return change(*arguments, **options)

                patch.setattr(os, name, deadly)
            try:
                work()
            except Killed:
                return True
        return False

    return arm


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
            assert {f"{step:06d}" for step in run.earlier_results(place)} >= kept
        if last == 8:
            assert (run.path / "analysis" / "look" / "t.csv").read_text() == "a\n8\n"

        run.rewind("000004")  # as the resumed run does
        assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4]
        assert run.checkpoints() == ["000002", "000004"]
        assert {path.name for path in (run.path / "samples").iterdir()} == {"000002.png", "000004.png"}
        assert {path.name for path in (run.path / "analysis" / "look").iterdir()} == {"000002", "000004", "seed1"}
        assert list(run.earlier_results("look/seed1")) == [2, 4]
        if not killed:
            break
    assert n > 15, "it was killed in between"
