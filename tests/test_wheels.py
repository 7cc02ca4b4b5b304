"""The seven distributions as they are installed: built, looked into, and used far from the checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DISTS = {"gflow_core": ROOT, **{f"gflow_{folder.name}": folder for folder in sorted((ROOT / "plugins").iterdir())}}
JUNK = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__")

Gflow = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist of each distribution, and the wheel that is built from that sdist: `make wheels`."""
    scratch = tmp_path_factory.mktemp("wheels")
    # Building writes beside the sources: copy them, and what their links lead to, and leave the checkout as it is.
    for name in ("gflow_core", "plugins", "recipes"):
        shutil.copytree(ROOT / name, scratch / "checkout" / name, ignore=JUNK, symlinks=True)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, scratch / "checkout")
    for source in DISTS.values():
        build = [
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            "--outdir",
            scratch / "dist",
        ]
        folder = scratch / "checkout" / source.relative_to(ROOT)
        done = subprocess.run([*build, folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return scratch / "dist"


@pytest.fixture(scope="module")
def site(built) -> Path:
    """A folder with all wheels installed, and nothing else."""
    site = built.parent / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", site, *built.glob("*.whl")], check=True)
    return site


@pytest.fixture
def gflow(site, tmp_path) -> Gflow:
    """`gflow ...` from the installed wheels, in an empty folder."""

    def gflow(*words: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "gflow_core", *map(str, words)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return gflow


def sources(package: Path) -> dict[str, bytes]:
    """Every file of a package, with its content; links are followed."""
    found = {}
    for folder, _, files in os.walk(package):
        for file in files:
            path = Path(folder, file)
            if "__pycache__" not in path.parts:
                found[path.relative_to(package.parent).as_posix()] = path.read_bytes()
    return found


@pytest.mark.parametrize("name", DISTS)
def test_a_wheel_holds_its_package_whole_and_nothing_else(built, name):
    (wheel,) = built.glob(f"{name}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {item: archive.read(item) for item in archive.namelist() if ".dist-info/" not in item}
    expected = sources(built.parent / "checkout" / DISTS[name].relative_to(ROOT) / name)
    assert sorted(packed) == sorted(expected), (
        "package data is declared in pyproject.toml: tool.setuptools.package-data"
    )
    assert packed == expected
    assert f"{name}/py.typed" in packed


@pytest.mark.parametrize("name", DISTS)
def test_an_sdist_holds_whole_recipes(built, name):
    (sdist,) = built.glob(f"{name}-*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
    recipes = [file for file in members if re.fullmatch(rf"{name}/recipes/.+\.toml", file)]
    assert len(recipes) == len(list(DISTS[name].glob(f"{name}/recipes/**/*.toml")))
    assert all(members[recipe].isreg() and members[recipe].size > 0 for recipe in recipes)


def test_the_recipes_of_all_wheels_are_those_of_the_checkout(built):
    packed: list[str] = []
    for wheel in built.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            found = [re.fullmatch(r"\w+/recipes/(.+\.toml)", name) for name in archive.namelist()]
            packed += [match[1] for match in found if match]
    folder = ROOT / "recipes"
    assert sorted(packed) == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.toml"))


def test_versions_and_plugins_are_the_installed_ones(gflow, site):
    versions = {name.replace("_", "-"): metadata(source)["version"] for name, source in DISTS.items()}
    assert gflow("--version").stdout.splitlines() == [f"{name} {version}" for name, version in versions.items()]
    records = json.loads(gflow("plugins", "--json").stdout)
    assert len(records) == len(DISTS)
    assert all(Path(record["file"]).is_relative_to(site) and record["status"] == "ok" for record in records)


def metadata(source: Path) -> dict[str, str]:
    return tomllib.loads((source / "pyproject.toml").read_text())["project"]


def test_recipes_are_listed_checked_and_copied_anywhere(gflow, tmp_path):
    rows = json.loads(gflow("ls", "recipes", "--json").stdout)
    names = [row["recipe"] for row in rows]
    assert sorted(names) == sorted(path.stem for path in (ROOT / "recipes").glob("*.toml"))
    assert not [row for row in rows if row["title"].startswith("BROKEN")]
    assert gflow("validate", *names).stdout.count("ok  ") == len(names)
    gflow("cp", "vgrow_celeba", "mine.toml")
    assert (tmp_path / "mine.toml").read_text().startswith("# gflow run mine.toml\n")
    assert gflow("resolve", "mine.toml").stdout == gflow("resolve", "vgrow_celeba").stdout


def test_a_recipe_trains_anywhere(gflow, tmp_path):
    gflow("run", "cgan_mnist5k", "train.steps=2", "dataset.limit=200", "train.precision=float32", "~analyze")
    run = tmp_path / "runs" / "cgan_mnist5k-s0-001"
    assert (run / "checkpoints").is_dir()
    assert len((run / "metrics.jsonl").read_text().splitlines()) >= 1
    assert "site" in json.loads((run / "manifest.json").read_text())["recipe"]
