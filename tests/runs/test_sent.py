"""A run folder that somebody sent: no command reads, writes or deletes outside it, or waits for ever."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gflow_core.runs.record import RunFolder
from gflow_core.runs.summary import summary

COMMANDS = (
    "resume RUN",
    "resume RUN --checkpoint 000002",
    "analyze RUN",
    "sample RUN --out out.npy",
    "report RUN",
    "report RUN --out pages",
    "report RUN OTHER --out pages",
    "compare RUN",
    "compare OTHER RUN",
    "run RUN/recipe.toml",
    "validate RUN/recipe.toml",
    "resolve RUN/recipe.toml",
    "cp RUN/recipe.toml copy.toml",
    "validate of_run.toml",
)


@pytest.fixture
def sent(tmp_path, plane, gflow, monkeypatch) -> Callable[[], Path]:
    """A finished run and another beside it; a file and a folder elsewhere that must stay as they are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere" / "000099").mkdir(parents=True)
    (tmp_path / "elsewhere" / "000099.png").write_text("precious")
    (tmp_path / "elsewhere" / "000099" / "precious").write_text("precious")
    (tmp_path / "secret").write_text("title = 'the secret'")
    run = tmp_path / "runs" / "plane-s0-001"
    for path in (run, tmp_path / "runs" / "plane-s1-001"):
        (path / "samples").mkdir(parents=True)
        (path / "checkpoints" / "000002").mkdir(parents=True)
        (path / "recipe.toml").write_text(plane.read_text() + f"seed = {path.name[7]}\n[[analyze]]\nuse = 'losses'\n")
        (path / "manifest.json").write_text("{}")
        (path / "metrics.jsonl").write_text('{"step": 1}\n')
        (path / "analysis" / "losses").mkdir(parents=True)
        body = {"step": 2, "scores": {"loss": 1.0}, "manifest": {}, "files": []}
        (path / "analysis" / "losses" / "result.json").write_text(json.dumps(body))
    (tmp_path / "of_run.toml").write_text(
        plane.read_text().replace('[sampler]\nuse = "vgrow.mlp"\nwidth = 16', f'[sampler]\nfrom_run = "{run}"')
    )
    return run


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("samples", "../../elsewhere"),
        ("analysis/losses", "../../../elsewhere"),
        ("analysis/losses/result.json", "../../../../secret"),
        ("checkpoints", "../../elsewhere"),
        ("recipe.toml", "../../secret"),
        ("metrics.jsonl", "../../secret"),
        ("tensorboard", "/etc"),
        ("parts", "../../elsewhere"),
        (".gflow-0.tmp", "../../secret"),
    ],
)
def test_links_out_of_it_are_refused_by_every_command(sent, gflow, tmp_path, place, target):
    path = sent / place
    if path.is_dir():
        path.rename(tmp_path / "aside")
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    before = everything(tmp_path)
    for command in COMMANDS:
        words = command.replace("RUN", str(sent)).replace("OTHER", str(sent.parent / "plane-s1-001"))
        said = gflow(*words.split(), code=2).output
        assert f"{place} -> {target}; remove it" in said, (command, said)
    assert f"leads out of it, {place}" in summary(sent).problem
    assert "broken" in gflow("ls", "runs").output
    assert everything(tmp_path) == before


@pytest.mark.parametrize("place", ["recipe.toml", "metrics.jsonl", "manifest.json", "samples/000002.png"])
def test_pipes_in_it_are_refused_at_once(sent, gflow, tmp_path, place):
    (sent / place).unlink(missing_ok=True)
    os.mkfifo(sent / place)
    for command in COMMANDS:
        if not (place == "manifest.json" and "recipe.toml" in command):  # which reads no manifest
            words = command.replace("RUN", str(sent)).replace("OTHER", str(sent.parent / "plane-s1-001"))
            assert f"{place} is no" in gflow(*words.split(), code=2).output, command
    assert summary(sent).state == "broken"


def test_names_that_a_recipe_states_do_not_lead_out(sent, tmp_path):
    (tmp_path / "elsewhere" / "result.json").write_text('{"scores": {"secret": 1}, "manifest": {}}')
    recipe = (sent / "recipe.toml").read_text()
    for name in ("../../../elsewhere", str(tmp_path / "elsewhere"), ".."):
        (sent / "recipe.toml").write_text(recipe.replace("use = 'losses'", f"use = 'losses'\nname = '{name}'"))
        assert summary(sent).state == "broken"
        assert "secret" not in str(summary(sent).scores)


def test_what_is_recorded_goes_into_files_of_its_own(plane, gflow, tmp_path, monkeypatch):
    """A copy made of hard links (`cp -al`) stays what it was when the run goes on."""
    monkeypatch.chdir(tmp_path)
    gflow("run", plane, "train.steps=4")
    (run,) = Path("runs").iterdir()
    for path in [path for path in run.rglob("*") if path.is_file()]:
        copy = Path("copy") / path.relative_to(run)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.hardlink_to(path)
    before = everything(Path("copy"))
    (run / "samples" / ".gflow-0123.tmp").write_text("of a process that was killed")
    gflow("resume", run, "--steps", "6")
    assert not list(run.rglob(".gflow*"))
    assert len(RunFolder(run).metrics()) == 6
    assert everything(Path("copy")) == before
