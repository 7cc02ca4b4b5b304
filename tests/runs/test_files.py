"""Files that options name decide numbers: which they were is kept, and looked at again."""

from __future__ import annotations

import hashlib
import json
import textwrap
from pathlib import Path

import pytest

import gflow_core
from gflow_core.recipes.files import files_of
from gflow_core.recipes.recipe import load

PARTS = """
    from pathlib import Path

    import attrs
    from gflow_core import Nonsaturating, hookimpl, option


    @attrs.frozen
    class Shifted(Nonsaturating):
        \"\"\"Logits less the number in a file.\"\"\"

        shift: str | None = option("none", doc="A file with a number.")
        more: tuple[str, ...] | None = option(None, doc="Other files.")

        def discriminator(self, d_real, d_fake):
            shift = float(Path(self.shift).expanduser().read_text())
            return super().discriminator(d_real - shift, d_fake - shift)


    @hookimpl
    def register_losses(add):
        add("mine.shifted", Shifted)
"""


@pytest.fixture
def here(tmp_path, monkeypatch, plane):
    """A folder with a part of one's own that reads a file; commands load it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFLOW_LOAD", "")
    monkeypatch.setattr("gflow_core.parts.plugins._loaded", None)
    Path("parts.py").write_text(textwrap.dedent(PARTS))
    gflow_core.load("parts.py")
    Path("shift.txt").write_text("0.5")
    Path("kl").write_text("no option means this file")
    text = plane.read_text().partition("[objective]")[0] + "[objective]\nuse = 'adversarial'\n"
    loss = "loss = { use = 'mine.shifted', shift = 'shift.txt', more = ['~/none', 'parts.py'] }\n"
    Path("mine.toml").write_text(text + loss + "[optimizer" + plane.read_text().partition("[optimizer")[2])
    return tmp_path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_manifest_has_absolute_paths_and_checksums(here, gflow):
    gflow("run", "mine.toml", "train.steps=1", "objective.loss.more=['~/none','kl']", "title=kl")
    assert json.loads((here / "runs/mine-s0-001/manifest.json").read_text())["files"] == {
        "objective.loss.shift": {"file": str(here / "shift.txt"), "sha256": digest(here / "shift.txt")},
        "objective.loss.more.1": {"file": str(here / "kl"), "sha256": digest(here / "kl")},
    }


def test_a_text_that_names_no_file_is_none(here):
    found = files_of(
        load("mine.toml", [f"objective.loss.shift={'x' * 5000}", "objective.loss.more=['a\\u0000b']"]).spec
    )
    assert found == {}


def test_another_or_a_missing_file_is_named(here, gflow, monkeypatch):
    gflow("run", "mine.toml", "train.steps=1", "~objective.loss.more")
    run = here / "runs/mine-s0-001"
    gflow("resume", run, "--steps", 2)
    gflow("sample", run, "--out", "x.npy")

    (here / "shift.txt").write_text("5.0")
    said = gflow("resume", run, "--steps", 3, code=2).output
    assert f"objective.loss.shift: {here}/shift.txt is not the file that it was; the run began with" in said
    gflow("sample", run, "--out", "x.npy")  # samples do not depend on a loss
    assert "shift.txt has changed since the run began" in gflow("report", run).stderr
    gflow("resume", run, "--steps", 3, "objective.loss.shift=shift.txt")  # on purpose
    gflow("resume", run, "--steps", 4)

    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    said = gflow("resume", run, code=2).output
    assert f"objective.loss.shift: {here}/elsewhere/shift.txt is missing; the run began with {here}/shift.txt" in said
    assert f"start gflow in {here}" in said
    Path("shift.txt").write_text("0.5")
    said = gflow("resume", run, code=2).output
    assert f"objective.loss.shift: {here}/elsewhere/shift.txt is another file; the run began with {here}/" in said
    Path("shift.txt").write_text("5.0")
    gflow("resume", run)  # the same, wherever it lies
    (here / "shift.txt").unlink()
    assert "shift.txt, which the run began with, is missing" in gflow("report", run).stderr
