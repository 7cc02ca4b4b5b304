"""docs/how-to/one-file.md: every part there is a file of its own that runs by --load, and the same as a package."""

from __future__ import annotations

import json
import re
import textwrap
from importlib.metadata import EntryPoint
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.parts.plugins import load
from gflow_core.testing.report import _CHECKS, check_part

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "one-file.md").read_text(encoding="utf-8")

CASES = {
    "A loss": ("loss mine.tilted", ["objective.loss=mine.tilted", "objective.loss.tilt=0.5"]),
    "A penalty": ("penalty mine.drift", ["objective.penalty=mine.drift"]),
    "A schedule": (
        "schedule mine.inverse_root",
        ["optimizer.sampler.schedule=mine.inverse_root", 'train.clip={ use = "mine.inverse_root", start = 3.0 }'],
    ),
    "An optimizer": ("optimizer mine.nadam", ["optimizer.sampler=mine.nadam", "optimizer.sampler.lr=1e-3"]),
    "An augmentation": (
        "augmentation mine.noise",
        ["objective.augment=mine.noise", 'train.augment=[{ use = "mine.noise", std = 0.01 }]'],
    ),
    "A tracker": ("tracker mine.latest", ["train.trackers=mine.latest"]),
    "A divergence": (
        "vgrow.divergence mine.le_cam",
        ["objective=vgrow.flow", "objective.divergence=mine.le_cam"],
    ),
}
"""Heading -> what its file registers, and overrides that use it."""

RECIPE = """
gflow = 1
[dataset]
use = "ring"
n = 200
[sampler]
use = "vgrow.mlp"
width = 8
[discriminator]
use = "vgrow.mlp"
width = 8
[objective]
use = "adversarial"
[optimizer.sampler]
use = "adam"
lr = 1e-3
[optimizer.discriminator]
use = "adam"
lr = 1e-3
[train]
steps = 3
batch_size = 8
"""


def code_under(heading: str) -> str:
    section = PAGE.split(f"\n## {heading}\n")[1]
    return textwrap.dedent(re.search(r'^    """.*\n(?:    .*\n|\n)*', section, re.MULTILINE)[0]).strip() + "\n"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFLOW_LOAD", "")
    monkeypatch.setattr("gflow_core.parts.plugins._loaded", None)
    Path("mine.toml").write_text(RECIPE)


def test_every_example_is_tried():
    headings = re.findall(r"^## (An? \w+)$", PAGE, re.MULTILINE)
    assert headings == list(CASES)


@pytest.mark.parametrize("heading", CASES)
def test_it_is_short_and_runs_by_load(heading):
    registered, words = CASES[heading]
    code = code_under(heading)
    assert len([line for line in code.splitlines() if line.strip()]) < 30
    Path("my_parts.py").write_text(code)
    result = CliRunner().invoke(main, ["run", "mine.toml", *words, "--load", "my_parts.py"])
    assert result.exit_code == 0, result.output
    run = Path("runs/mine-s0-001")
    assert registered in json.loads((run / "manifest.json").read_text())["loaded"][0]["parts"]
    if heading == "A tracker":
        assert json.loads((run / "latest.json").read_text())["step"] == 3
    if heading == "A schedule":
        line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        assert line["train.clip"] == pytest.approx(3 * 1.02**-0.5)
        assert line["optimizer.sampler.lr"] == pytest.approx(1e-3 * 1.02**-0.5)


@pytest.mark.parametrize("heading", CASES)
def test_the_same_file_is_a_package(heading, tmp_path, monkeypatch):
    kind, name = CASES[heading][0].split()
    module = f"one_file_{name.replace('.', '_')}"
    Path(f"{module}.py").write_text(code_under(heading))
    monkeypatch.syspath_prepend(tmp_path)
    from importlib.metadata import entry_points

    found = load([*entry_points(group="gflow.plugins"), EntryPoint("mine", module, "gflow.plugins")])
    assert [r.error for r in found.records if r.status == "broken"] == []
    monkeypatch.setattr("gflow_core.parts.plugins._loaded", found)
    cls = found.get(kind, name)
    part = cls(lr=0.01) if "lr" in attrs.fields_dict(cls) else cls()
    if kind in _CHECKS:
        _CHECKS[kind](part)
    else:
        check_part(kind, part)
