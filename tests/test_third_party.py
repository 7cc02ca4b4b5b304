"""A plugin of someone else's: installed for real, listed, checked and trained."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "third_party"

Gflow = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def gflow(tmp_path_factory) -> Gflow:
    """`gflow ...` in an environment that has gflow-example besides what this one has."""
    scratch = tmp_path_factory.mktemp("third_party")
    # pip builds beside the sources: build a copy, and leave the checkout as it is.
    source, site = scratch / "source", scratch / "site"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--no-index", "--target", site, source], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def gflow(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gflow_core", *map(str, arguments)]
        return subprocess.run(command, env=environment, cwd=scratch, capture_output=True, text=True, check=False)

    return gflow


def test_it_is_listed_with_its_provider(gflow):
    records = {record["name"]: record for record in json.loads(gflow("plugins", "--json").stdout)}
    example = records["example"]
    assert (example["dist"], example["version"], example["status"]) == ("gflow-example", "0.3.0", "ok")
    assert example["parts"] == [["sampler", "example.affine"], ["objective", "example.energy"]]
    assert example["file"].endswith("gflow_example/plugin.py")
    assert "gflow-example 0.3.0" in gflow("ls", "samplers").stdout
    assert "gflow-example 0.3.0" in gflow("--version").stdout


def test_its_parts_are_shown(gflow):
    shown = gflow("show", "objective", "example.energy").stdout
    assert "power = 1.0" in shown
    assert "float, >= 1 and < 2" in shown


def test_a_recipe_that_uses_it_is_checked(gflow):
    recipe = PACKAGE / "recipe.toml"
    good = gflow("validate", recipe)
    assert good.returncode == 0, good.stderr
    assert "sampler example.affine, objective example.energy" in good.stdout
    bad = gflow("resolve", recipe, "sampler.init=identity", "sampler.latent.dim=3")
    assert bad.returncode == 2
    assert bad.stderr == f'error: {recipe}: sampler: init = "identity" needs latent.dim = 2, as many as the data has\n'
    bad = gflow("resolve", recipe, "objective.power=2")
    assert bad.stderr == "error: override objective.power=2: objective.power: must be >= 1 and < 2, got 2.0\n"


def test_it_trains_from_a_recipe(gflow, tmp_path):
    done = gflow("run", PACKAGE / "recipe.toml", "train.steps=60", "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.iterdir()
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    distances = [line["energy_distance"] for line in metrics]
    assert len(distances) == 60
    assert sum(distances[-10:]) < 0.5 * sum(distances[:10]), "it learns"
    assert (run / "recipe.toml").is_file()
    assert list((run / "checkpoints").iterdir())


def test_the_guide_shows_this_very_code():
    guide = (PACKAGE.parents[1] / "docs" / "plugins.md").read_text()
    blocks = re.findall(r"(?:^    .*\n|^\n)+", guide, re.MULTILINE)
    files = "\n\n".join(path.read_text() for path in PACKAGE.rglob("*.[tp][oy]*"))
    code = [
        textwrap.dedent(block).strip("\n") for block in blocks if re.search(r"class |def |\[project|import ", block)
    ]
    assert len(code) >= 6
    for block in code:
        assert block in files, f"docs/plugins.md shows what is not in tests/third_party:\n{block}"
