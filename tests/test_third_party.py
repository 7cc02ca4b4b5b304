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
import torch

from gflow_core.errors import DataError
from gflow_core.machine.streams import Streams
from gflow_core.parts.analysis import Subject
from gflow_core.parts.plugins import load
from gflow_core.recipes.recipe import load as load_recipe
from gflow_core.recipes.values import defects
from gflow_core.runs.analyze import analyze
from gflow_core.runs.build import build

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


def code_under(heading: str) -> str:
    """The first block of code below a heading of the guide."""
    section = re.split(rf"^{heading}$", GUIDE, flags=re.MULTILINE)[1]
    return textwrap.dedent(re.search(r"^    .*\n(?:    .*\n|\n)*", section, re.MULTILINE)[0])


def test_the_guides_other_plugins_load_and_train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    points = []
    kinds = {
        "points": "A data set",
        "gap": "An analyzer",
        "round": "A latent",
        "random": "An encoder",
        "plain": "A sampler without data",
    }
    for name, kind in kinds.items():
        code = code_under(f"## {kind}")
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
    law = recipe.spec.sampler.latent
    z = law.draw(3000, torch.Generator().manual_seed(0))
    assert float(z.mean()) == pytest.approx(law.moments().mean, abs=0.02)
    assert float((z**2).mean()) == pytest.approx(law.moments().variance, abs=0.02)

    Path("colours.toml").write_text('gflow = 1\nsampler = { use = "plain.colour" }\n[[analyze]]\nuse = "sample_grid"\n')
    recipe = load_recipe("colours.toml", plugins=found)
    assert analyze(build(recipe.spec), recipe.spec.analyze[0], 0).manifest["n_fake"] == 64


def test_the_guides_turns_go_on_where_they_were_killed(tmp_path):
    namespace: dict[str, object] = {}
    exec(code_under("### Work that a killed run goes on from"), namespace)
    seen = []

    def once(streams) -> float:
        if len(seen) == 3:
            seen.append(None)
            raise KeyboardInterrupt
        seen.append(float(torch.rand(1, generator=streams["x"])))
        return seen[-1]

    def turns(work, key):
        subject = Subject(spec=None, runtime=None, streams=Streams(7), work=work)
        return namespace["turns"](subject, key, 5, once)

    with pytest.raises(KeyboardInterrupt):
        turns(tmp_path / "work", [4])
    found = turns(tmp_path / "work", [4])
    assert len(seen) == 4 + 2, "three, the one that was killed, and the two that were left"
    assert found == turns(None, [4]), "what a run finds that was not killed"
    assert len(seen) == 11
    assert turns(tmp_path / "work", [4]) == found
    assert len(seen) == 11, "nothing is left to do"
    turns(tmp_path / "work", [5])
    assert len(seen) == 16, "another key, other work"
