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
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from gflow_core.analyze import analyze
from gflow_core.build import build
from gflow_core.errors import DataError
from gflow_core.plugins import load
from gflow_core.recipe import load as load_recipe
from gflow_core.schema import defects

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
    assert "gflow-example 0.3.0" in gflow("ls", "samplers", "--json").stdout
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
    assert bad.stderr == (
        f"error: {recipe} with override sampler.init=identity and override sampler.latent.dim=3: "
        'sampler: init = "identity" needs latent.dim = 2, as many as the data has\n'
    )
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


GUIDE = (PACKAGE.parents[1] / "docs" / "plugins.md").read_text()


@pytest.mark.parametrize(
    "name",
    ["pyproject.toml", "recipe.toml", *(f"gflow_example/{name}.py" for name in ("plugin", "parts", "energy"))],
)
def test_the_guide_shows_whole_files(name):
    assert textwrap.indent((PACKAGE / name).read_text(), "    ") in GUIDE


RECIPE = """
gflow = 1
[dataset]
use = "points.csv"
root = "points.csv"
classes = 3
[sampler]
use = "vgrow.mlp"
latent = { use = "round.sphere", dim = 3 }
[discriminator]
use = "vgrow.mlp"
[objective]
use = "vgrow.flow"
pool_size = 64
inner_loops = 2
[optimizer]
sampler = { use = "adam", lr = 1e-3 }
discriminator = { use = "adam", lr = 1e-3 }
[train]
steps = 2
batch_size = 8
[[analyze]]
use = "gap.mean"
samples = 20
encoder = { use = "random.projection", dim = 5 }
"""


def test_the_guides_other_plugins_load_and_train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    points = []
    for name, kind in (("points", "data set"), ("gap", "analyzer"), ("round", "latent"), ("random", "encoder")):
        section = re.split(rf"^## An? {kind}$", GUIDE, flags=re.MULTILINE)[1]
        code = textwrap.dedent(re.search(r"^    .*\n(?:    .*\n|\n)*", section, re.MULTILINE)[0])
        assert code.count("@hookimpl") == 1
        module = f"guide_{name}_{tmp_path.name}"
        (tmp_path / f"{module}.py").write_text(code)
        points.append(EntryPoint(name, module, "gflow.plugins"))
    found = load([*entry_points(group="gflow.plugins"), *points])
    assert {r.name: r.error for r in found.records if r.status == "broken"} == {}
    for record in found.records:
        assert [defects(kind, name, found) for kind, name in record.parts if defects(kind, name, found)] == []

    Path("recipe.toml").write_text(RECIPE)
    recipe = load_recipe("recipe.toml", plugins=found)
    with pytest.raises(DataError, match=r"points.csv.*set dataset.root"):
        recipe.spec.dataset.load()
    Path("points.csv").write_text("".join(f"{i},{-i},{i % 3}\n" for i in range(100)))
    experiment = build(recipe.spec)
    for step in (1, 2):
        *_, metrics = experiment.objective.step(step)
        assert metrics
    (analysis,) = recipe.spec.analyze
    assert analyze(experiment, analysis, 2).scores["mean_gap"] > 0
