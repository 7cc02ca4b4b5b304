"""gflow new-plugin: what it writes installs, trains and passes its own tests; and what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gflow_core.cli import main


def new(*words: object):
    return CliRunner().invoke(main, ["new-plugin", *map(str, words)])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The folder of a new plugin called swirl."""
    into = tmp_path_factory.mktemp("new") / "some" / "where"
    result = new("swirl", "--into", into)
    assert result.exit_code == 0, result.output
    assert f"pip install -e '{into / 'gflow-swirl'}[test]'" in result.output
    return into / "gflow-swirl"


@pytest.fixture(scope="module")
def installed(made, tmp_path_factory):
    """Run Python where the new plugin is installed besides what this environment has; what it printed."""
    scratch = tmp_path_factory.mktemp("installed")
    source, site = scratch / "source", scratch / "site"
    shutil.copytree(made, source)  # pip builds beside the sources
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--no-index", "--target", site, source], check=True)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def call(*words: object) -> str:
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, env=environment, cwd=made, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def test_its_own_tests_pass(installed):
    assert "7 passed" in installed("-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_its_recipe_trains_and_its_parts_keep_their_promises(installed, tmp_path):
    commands = [
        ["validate", "swirl_spiral"],
        ["run", "swirl_spiral", "train.steps=2", "--runs", str(tmp_path)],
        ["plugins", "check", "swirl", "--full"],
    ]
    code = f"from gflow_core.cli import main\nfor words in {commands}: main(words, standalone_mode=False)"
    said = installed("-c", code)
    assert "dataset swirl.spiral, sampler swirl.affine, objective swirl.energy" in said
    (run,) = tmp_path.iterdir()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    assert '"mean_gap"' in (run / "analysis" / "swirl.mean_gap" / "result.json").read_text()
    assert said.splitlines()[-5:] == [
        "swirl (gflow-swirl 0.1.0): ok, plugin API 2",
        "sampler swirl.affine: ok",
        "objective swirl.energy: ok",
        "dataset swirl.spiral: ok",
        "analyzer swirl.mean_gap: ok",
    ]


def test_its_style_is_clean_where_it_stands(made):
    for words in (["check", "--select", "B,E,F,I,N,PT,SIM,UP,W"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--isolated", "--no-cache", "--line-length", "120", "."]
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_of_the_template_is_left(made):
    for path in made.rglob("*"):
        assert "NAME" not in path.name
        assert ".template" not in path.name
        assert path.is_dir() or "$" not in path.read_text()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Swirl-2", "lower-case letters and digits, single _ between them, and begins with a letter, such as swirl_2"),
        ("swirl__2_", "such as swirl_2"),
        ("2d", "begins with a letter, such as d"),
        ("../x", "begins with a letter, such as x"),
        ("é", "begins with a letter\n"),
        ("vgrow", "gflow-vgrow 0.1.0 is a plugin of this name; choose another"),
        ("core", "gflow-core 0.1.0 is a plugin of this name; choose another"),
    ],
)
def test_names_that_are_refused(tmp_path, name, reason):
    result = new(name, "--into", tmp_path / "new")
    assert result.exit_code == 2
    assert reason in result.stderr
    assert not (tmp_path / "new").exists()


def test_a_package_that_is_there_without_being_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("GFLOW_LOAD_PLUGINS", "")
    monkeypatch.setattr("gflow_core.parts.plugins._loaded", None)
    assert "gflow_vgrow is installed already" in new("vgrow", "--into", tmp_path).stderr


def test_a_folder_that_is_there_stays_as_it_is(tmp_path):
    (tmp_path / "gflow-swirl").mkdir()
    result = new("swirl", "--into", tmp_path)
    assert (result.exit_code, list((tmp_path / "gflow-swirl").iterdir())) == (2, [])
    assert "it is there already; choose another name, or another place with --into" in result.stderr
    (tmp_path / "file").write_text("")
    assert new("swirl", "--into", tmp_path / "file").exit_code == 2


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gflow_core.skeleton.os.rename", full)
    assert new("swirl", "--into", tmp_path).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_it_does_without_torch(tmp_path):
    words = ["new-plugin", "swirl", "--into", str(tmp_path)]
    code = (
        f"import sys; from gflow_core.cli import main; main({words!r}, standalone_mode=False); "
        "sys.exit(3 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
