"""gflow ls runs, and --json of the looking commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gflow_core.cli import main


def gflow(*words: str):
    return CliRunner().invoke(main, words)


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, steps in (("ring-s0-001", 4), ("ring-s1-001", "true")):
        run = tmp_path / "runs" / name
        (run / "analysis" / "two_sample").mkdir(parents=True)
        (run / "recipe.toml").write_text(f'[train]\nsteps = {steps}\n[[analyze]]\nuse = "two_sample"\n')
        scores = {"note": "text", "sliced_w2": 0.123456, "mmd2": 0.5}
        body = {"step": 4, "scores": scores, "manifest": {}, "files": []}
        (run / "analysis" / "two_sample" / "result.json").write_text(json.dumps(body))
    (tmp_path / "runs" / "ring-s0-001" / "manifest.json").write_text('{"created": "2026-01-02T00:00:00+00:00"}')
    (tmp_path / "runs" / "ring-s1-001" / "manifest.json").write_text("{")
    return tmp_path / "runs"


def test_a_line_for_each_run(runs):
    head, *lines = gflow("ls", "runs").stdout.splitlines()
    assert head.split() == ["run", "seed", "steps", "state", "age", "scores"]
    broken, stopped = lines
    assert stopped.split()[:4] == ["runs/ring-s0-001", "0", "4/4", "analyzed"]
    assert stopped.endswith("sliced_w2 0.1235")
    assert broken.split()[0] == "runs/ring-s1-001"
    assert "broken" in broken
    assert "manifest.json: damaged" in broken


def test_json_has_everything(runs):
    rows = json.loads(gflow("ls", "runs", "--json").stdout)
    assert rows[1] == {
        "run": "runs/ring-s0-001",
        "recipe": "ring",
        "title": "",
        "note": "",
        "options": {},
        "seed": 0,
        "step": 4,
        "steps": 4,
        "state": "analyzed",
        "problem": "",
        "created": "2026-01-02T00:00:00+00:00",
        "scores": {"two_sample": {"note": "text", "sliced_w2": 0.123456, "mmd2": 0.5}},
        "best": None,
        "ended": "",
    }
    assert rows[0]["state"] == "broken"


def test_options_that_tell_runs_apart_and_notes(runs):
    recipe = '[objective]\nuse = "{}"\n{}\n[train]\nseed = {}\nsteps = {}\n'
    for name, (use, option, seed, steps) in {
        "plane-s0-001": ("a", "lr = [0.5, 1]", 0, 4),
        "plane-s1-001": ("a", "lr = [0.5, 1]", 1, 4),
        "wide": ("a", "lr = [0.1, 1]", 0, 5),
        "other": ("b", "width = 3\nday = 2026-01-01", 0, 4),  # a date is no option: somebody wrote it there
    }.items():
        (runs / "sweep" / name).mkdir(parents=True)
        (runs / "sweep" / name / "recipe.toml").write_text(recipe.format(use, option, seed, steps))
        manifest = {"recipe": "recipes/plane.toml", "note": "as in\nthe thesis" if name == "wide" else ""}
        (runs / "sweep" / name / "manifest.json").write_text(json.dumps(manifest))
    rows = {row["run"]: row for row in json.loads(gflow("ls", "runs", "runs/sweep", "runs/sweep", "--json").stdout)}
    a = {"objective.use": "a", "objective.lr": [0.5, 1], "train.steps": 4}
    assert {name.removeprefix("runs/sweep/"): row["options"] for name, row in rows.items()} == {
        "plane-s0-001": a,
        "plane-s1-001": a,
        "wide": {**a, "objective.lr": [0.1, 1], "train.steps": 5},
        "other": {"objective.use": "b", "train.steps": 4},
    }
    assert rows["runs/sweep/wide"]["note"] == "as in\nthe thesis"
    head, *lines = gflow("ls", "runs", *(f"runs/sweep/{name}" for name in ("wide", "plane-s1-001"))).stdout.splitlines()
    assert head.split() == ["run", "seed", "steps", "state", "age", "options", "note"]
    (wide,) = (line for line in lines if "wide" in line)
    assert "  objective.lr=[0.1, 1]  " in wide
    assert wide.endswith(r"as in\nthe thesis")


def test_folders(runs, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    assert gflow("ls", "runs", str(runs / "ring-s0-001")).stdout.count("\n") == 2
    none = gflow("ls", "runs", "empty")
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "none in empty\n")
    missing = gflow("ls", "runs", "nothing")
    assert (missing.exit_code, missing.stderr.splitlines()[0][:30]) == (2, "error: nothing: no such folder")
    assert gflow("ls", "samplers", "empty").exit_code == 2
    monkeypatch.chdir(tmp_path / "empty")
    assert gflow("ls", "runs").exit_code == 0
    assert gflow("ls", "runs", "--json").stdout == "[]\n"


def test_torch_is_not_imported(runs):
    code = (
        "import sys; from gflow_core.cli import main; main(['ls', 'runs'], standalone_mode=False); "
        "sys.exit(3 * bool({'torch', 'numpy', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_show_as_json():
    shown = json.loads(gflow("show", "objective", "vgrow.flow", "--json").stdout)
    assert (shown["kind"], shown["name"]) == ("objective", "vgrow.flow")
    assert shown["provider"].startswith("gflow-vgrow ")
    assert shown["file"].endswith("parts.py")
    options = {option["name"]: option for option in shown["options"]}
    assert options["step_size"] | {"doc": ""} == {
        "name": "step_size",
        "type": "float | { use = schedule, ... }",
        "range": "> 0",
        "unit": None,
        "required": False,
        "default": 0.5,
        "doc": "",
    }
    rate = next(o for o in json.loads(gflow("show", "optimizer", "adam", "--json").stdout)["options"] if o["required"])
    assert (rate["name"], rate["default"]) == ("lr", None)
    assert json.loads(gflow("show", "train", "--json").stdout)["name"] is None
    assert gflow("show", "train", "--json", "--toml").exit_code == 2


def test_a_plan_as_json(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = gflow("run", "vgrow_ring8", "--dry-run", "--json", "train.seed=3", "dataset.n=50", "~analyze")
    plan = json.loads(result.stdout)
    data = {"use": "ring", "items": 50, "shape": "vector 2 unbounded", "classes": [], "cache": None, "on_device": False}
    assert plan["dataset"] == data
    assert plan["sampler"]["parameters"] == 33666
    assert plan["objective"] == {"use": "vgrow.flow", "steps": 400, "batch_size": 1000, "seeds": [3]}
    assert plan["optimizer"]["sampler"] == {"use": "adam", "lr": 0.001}
    assert (plan["analyze"], plan["processes"]) == ([], 1)
    assert list(tmp_path.iterdir()) == []
    assert "write --dry-run as well" in gflow("run", "vgrow_ring8", "--json").stderr


def test_a_plan_shows_names_as_they_are(tmp_path, monkeypatch):
    """Brackets are markup to rich, which would leave them out or raise."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a[").mkdir()
    gflow("cp", "vgrow_ring8", "a[/b][red].toml")
    assert "plan of a[/b][red].toml" in gflow("run", "a[/b][red].toml", "--dry-run", "~analyze").stdout


def test_validate_as_json(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("good.toml").write_text("gflow = 1\n")
    Path("bad.toml").write_text("gflow = 1\n[train]\nstesp = 5\n")
    result = gflow("validate", "good.toml", "bad.toml", "--json")
    assert result.exit_code == 2
    good, bad = json.loads(result.stdout)
    assert good == {"recipe": "good.toml", "ok": True, "summary": "empty", "problems": []}
    assert (bad["ok"], bad["problems"][0]["path"], bad["problems"][0]["source"]) == (False, "train.stesp", "bad.toml")
    assert result.stderr.startswith("error: bad.toml: train.stesp: unknown option")
    assert gflow("validate", "good.toml", "--json").exit_code == 0
