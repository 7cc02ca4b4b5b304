"""Run folders as gflow writes them, without the minutes of training."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from gflow_core.cli import main

RECIPE = """
gflow = 1
title = {title}
[dataset]
use = "ring"
n = 500
[sampler]
use = "vgrow.mlp"
width = {width}
[discriminator]
use = "vgrow.mlp"
[objective]
use = "vgrow.flow"
[optimizer.sampler]
use = "adam"
lr = 1e-3
[optimizer.discriminator]
use = "adam"
lr = 1e-3
[train]
seed = {seed}
steps = 60
device = "cpu"
[[analyze]]
use = "mode_coverage"
name = "modes"
"""


def write_json(path: Path, body: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))


def picture(path: Path, gray: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (120, 80), gray).save(path, format="png")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """A finished run: 60 lines of metrics, three sample pictures, an analysis with a table and a figure."""

    def run(
        name: str = "ring-s0-001",
        seed: int = 0,
        *,
        title: str = "A ring",
        width: int = 32,
        scores: Mapping[str, Any] | None = None,
        manifest: Mapping[str, Any] | None = None,
    ) -> Path:
        path = tmp_path / "runs" / name
        path.mkdir(parents=True)
        (path / "recipe.toml").write_text(RECIPE.format(title=json.dumps(title), seed=seed, width=width))
        write_json(
            path / "manifest.json",
            {"created": "2026-01-02T03:04:05+00:00", "command": ["gflow", "run"], "device": "cpu"},
        )
        lines = ({"step": i, "divergence": seed + 1 / i, "seconds": i / 2} for i in range(1, 61))
        (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for step in (20, 40, 60):
            picture(path / "samples" / f"{step:06d}.png", step)
        write_json(path / "checkpoints" / "000060" / "checkpoint.json", {})
        analysis = path / "analysis" / "modes"
        found = scores or {"share": 0.75 + seed / 100, "share_se": 0.0125, "share_real": 0.99, "note": "Look twice."}
        result = {"step": 60, "scores": found, "manifest": manifest or {"n_real": 500}}
        write_json(analysis / "result.json", {**result, "files": ["modes.csv", "modes.png"]})
        (analysis / "modes.csv").write_text("mode,share\n0,0.123456\n")
        picture(analysis / "modes.png")
        return path

    return run


@pytest.fixture
def hostile() -> str:
    """A name that breaks out of HTML, attributes, scripts and templates wherever it can."""
    return "</script><img src=x onerror=alert(1)>\u2028\u202e{{ 7 * 7 }}&amp;'\""


@pytest.fixture
def gflow() -> Callable[..., Any]:
    """`gflow report ...` in this process, having checked that no traceback escaped."""

    def call(*words: object, code: int = 0) -> Any:
        result = CliRunner().invoke(main, ["report", *map(str, words)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code == code, result.output
        return result

    return call
