"""A run folder that somebody sent: no command reads, writes or deletes outside it, or waits for ever."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gflow_core.errors import CheckpointError, GflowError
from gflow_core.files import checkpoint
from gflow_core.files.checkpoint import Checkpoint
from gflow_core.parts.loading import check_loaded, of_run
from gflow_core.report.page import run_page
from gflow_core.report.read import read
from gflow_core.runs.api import Run
from gflow_core.runs.manifest import check_data, check_origins, class_names
from gflow_core.runs.record import RunFolder
from gflow_core.runs.summary import summary
from gflow_core.scores.compare import compare

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


@pytest.mark.parametrize("manifest", ["{}", None])
def test_its_recipe_extends_nothing(sent, gflow, tmp_path, manifest):
    (tmp_path / "elsewhere.toml").write_text("[sampler]\nwidth = 4321\n")
    recipe = sent / "recipe.toml"
    recipe.write_text(f'extends = "{tmp_path}/elsewhere.toml"\n' + recipe.read_text().replace("width = 16", "", 1))
    if manifest is None:
        (sent / "manifest.json").unlink()
    for command in ("resume", "analyze", "sample --out out.npy"):
        assert "extends: a run's recipe extends no other" in gflow(*command.split(), sent, code=2).output
    gflow("report", sent)
    assert "4321" not in (sent / "report.html").read_text()


def test_names_that_are_no_numbers(sent, gflow):
    """What int() does not read may still be a digit."""
    (sent / "samples" / "².png").touch()
    (sent / "analysis" / "losses" / "²").mkdir()
    (sent / "analysis" / "losses" / "result.json").rename(sent / "analysis" / "losses" / "²" / "result.json")
    folder = RunFolder(sent)
    folder.rewind("000001")
    assert folder.earlier_results("losses", 9) == {}
    assert summary(sent).state == "stopped"
    assert (sent / "samples" / "².png").exists()


@pytest.mark.parametrize(
    "command",
    [
        "validate PIPE",
        "validate /dev/zero",
        "run PIPE",
        "cp PIPE copy.toml",
        "validate plane.toml --load PIPE",
        "run plane.toml sampler.weights=PIPE",
        "run plane.toml --scheduler PIPE",
        "report PIPE",
        "ls runs PIPE",
    ],
)
def test_no_command_waits_for_what_is_no_file(gflow, plane, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    said = gflow(*command.replace("PIPE", "pipe").split(), code=2).output
    assert said.count("\n") <= 2
    assert "pipe" in said or "/dev/zero" in said


JUNK = ("../../x", "\ud800", None, 1, float("nan"), 10**400, True, [[]], {"x": {}})

MANIFEST = {
    "created": "2026-01-02T03:04:05+00:00",
    "folder": "/somewhere",
    "recipe": "plane.toml",
    "data": {"fingerprint": "0" * 64, "classes": ["cat"]},
    "loaded": [{"file": "parts.py", "sha256": "0", "parts": "sampler a.b"}],
    "registered": {"sampler a.b": "0"},
    "origins": {"sampler": {"sha256": "0", "run": "runs/x"}},
    "resumed": [{"time": "", "checkpoint": "000002"}],
}
RESULT = {
    "step": 2,
    "scores": {"loss": 1.0},
    "manifest": {"n": 1},
    "files": ["a.csv"],
    "seeds": [{"seed": 0, "scores": {"loss": 1.0}}],
}
LINE = {"step": 1, "loss": 1.0, "seconds": 1.0, "seeds": {"0": {"loss": 1.0}}}


def mutated(whole: Any) -> Iterator[Any]:
    """`whole` with one of its values, at any depth, replaced by each piece of junk, or taken away."""
    for key in whole if isinstance(whole, dict) else range(len(whole)):
        for junk in JUNK:
            yield {**whole, key: junk} if isinstance(whole, dict) else [*whole[:key], junk, *whole[key + 1 :]]
        if isinstance(whole, dict):
            yield {name: value for name, value in whole.items() if name != key}
        if isinstance(whole[key], dict | list):
            for one in mutated(whole[key]):
                yield {**whole, key: one} if isinstance(whole, dict) else [*whole[:key], one, *whole[key + 1 :]]


def look(run: Path, experiment: Any) -> str:
    """What every reader of a run's small files says that is wrong; no other error than gflow's own."""
    said = [summary(run).problem]
    for reader in (
        lambda: compare([run]),
        lambda: run_page(read(run)),
        lambda: Run(run).results(),
        lambda: check_data(RunFolder(run).read_manifest(), experiment.data, run),
        lambda: check_origins(RunFolder(run).read_manifest(), experiment, run),
        lambda: class_names(RunFolder(run).read_manifest()),
        lambda: check_loaded(RunFolder(run).read_manifest(), run),
        lambda: of_run(run).__enter__(),
        lambda: sum(line.get("seconds", 0.0) for line in RunFolder(run).metrics()),
    ):
        try:
            reader()
        except GflowError as error:
            said.append(str(error))
    return "\n".join(said)


@pytest.mark.parametrize(
    ("file", "whole"),
    [("manifest.json", MANIFEST), ("analysis/losses/result.json", RESULT), ("metrics.jsonl", LINE)],
)
def test_any_value_of_another_type_is_told_and_no_defect(sent, file, whole, monkeypatch):
    monkeypatch.setattr("gflow_core.report.page._plotly", lambda: "")
    experiment = SimpleNamespace(data=None, origins={"sampler": {"sha256": "0"}})
    (sent / file).write_text(json.dumps(whole))
    good = look(sent, experiment)
    for one in mutated(whole):
        (sent / file).write_text(json.dumps(one))
        told = look(sent, experiment)
        assert told == good or str(sent) in told, one


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, '{"step": 1, "scores": {"a": ' + "9" * 5000, "\xff"]
)
@pytest.mark.parametrize("file", ["manifest.json", "analysis/losses/result.json", "metrics.jsonl", "recipe.toml"])
def test_text_that_no_reader_expects(sent, file, text):
    (sent / file).write_bytes(text.encode("latin-1"))
    told = look(sent, SimpleNamespace(data=None, origins={}))
    assert f"{file}: damaged (" in told or file == "metrics.jsonl"


def bodies() -> Iterator[dict[str, Any]]:
    entry = {"sha256": sha256(b"").hexdigest(), "tree": {"$items": [["x", {"$tensor": "x"}]]}}
    good = {"step": 1, "phase": None, "threads": 1, "files": {"sampler": entry}}
    yield from mutated(good)
    for name in ("../../../secret", "/etc/x", "..", ""):
        yield {**good, "files": {name: entry}}
    for threads in (-1, 10**9):
        yield {**good, "threads": threads}


def test_a_checkpoint_that_states_anything_is_damaged(tmp_path):
    checkpoint.write(tmp_path / "000001", Checkpoint(step=1, parts={"sampler": {"x": torch.zeros(1)}}))
    digest = sha256((tmp_path / "000001" / "sampler.safetensors").read_bytes()).hexdigest()
    file = tmp_path / "000001" / "checkpoint.json"
    for body in bodies():
        text = json.dumps(body).replace(sha256(b"").hexdigest(), digest)
        body = json.loads(text)
        file.write_text(json.dumps({"sha256": sha256(json.dumps(body).encode()).hexdigest(), "body": body}))
        try:
            found = checkpoint.read(tmp_path / "000001")
        except CheckpointError as error:
            assert "is damaged" in str(error)
        else:
            assert set(found.parts) <= {"sampler"}
            assert 0 <= found.threads < 10_000


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
