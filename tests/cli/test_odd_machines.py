"""Machines that lack something: one message, the documented exit code, and never a traceback."""

from __future__ import annotations

import errno
import io
import os
import pwd
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.errors import GflowError
from gflow_core.files.cache import cache_folder
from gflow_core.files.whole import written_aside

RECIPE = str(Path(__file__).parents[2] / "recipes" / "vgrow_ring8.toml")
COMMANDS = [["--version"], ["ls"], ["show", "train"], ["validate", RECIPE], ["plugins"]]


def gflow(*words: object) -> int:
    """Exit code of a command on the streams that there are."""
    try:
        main.main([str(word) for word in words], prog_name="gflow")
    except SystemExit as left:
        return int(left.code or 0)
    return 0


@pytest.mark.parametrize("command", COMMANDS)
def test_closed_streams(command, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert gflow(*command) == 0
    assert gflow("resolve", "nowhere.toml") == 2


@pytest.mark.parametrize(
    "words",
    [
        ["run", RECIPE, "--runs", ""],
        ["sample", "run", "--out", ""],
        ["ls", "runs", ""],
        ["resume", ""],
        ["score", "", RECIPE],
        ["resolve", RECIPE.replace("vgrow_ring8", "vgrow_mnist"), "dataset.root="],
    ],
)
def test_an_empty_path_is_not_the_working_folder(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert gflow(*words) == 2
    assert "empty; write" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_standard_output(command, monkeypatch, capsys):
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stdout", Full())
    assert gflow(*command) == 2
    assert capsys.readouterr().err == "error: standard output: No space left on device\n"


def test_an_encoding_that_lacks_letters(tmp_path, monkeypatch):
    recipe = tmp_path / "r.toml"
    recipe.write_text('gflow = 1\ntitle = "Zoë 数"\n', encoding="utf-8")
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    assert gflow("resolve", recipe) == 0
    assert b'"Zo\xeb \\u6570"' in out.buffer.getvalue()


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_a_working_folder_that_was_deleted(command, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "the working folder is not there any more" in result.stderr


@pytest.fixture
def nobody(monkeypatch):
    """A user id that no file of users knows."""

    def unknown(_user: object) -> None:
        raise KeyError

    for name in ("HOME", "GFLOW_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_nobody_at_home(nobody, tmp_path):
    with pytest.raises(GflowError, match=r"there is no home folder here; set HOME, or GFLOW_CACHE"):
        cache_folder()
    recipe = tmp_path / "r.toml"
    recipe.write_text('gflow = 1\n[sampler]\nuse = "rmt.biggan_deep"\nweights = "~/w.pt"\n')
    for words in (["run", recipe, "--dry-run"], ["run", RECIPE, "train.from_run=~/run"]):
        result = CliRunner().invoke(main, list(map(str, words)))
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        assert "home" in result.stderr


def test_decoded_images_lie_beside_their_source(nobody, tmp_path, make, rng):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(make.png(rng.integers(0, 256, (8, 8, 3), "uint8")))
    recipe = tmp_path / "r.toml"
    recipe.write_text(f'gflow = 1\n[dataset]\nuse = "image_folder"\nroot = "{tmp_path}/photos"\nimage_size = 8\n')
    result = CliRunner().invoke(main, ["data", "prepare", str(recipe)])
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "gflow-cache") in result.stdout


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS])
def test_what_cannot_be_written_is_named(reason, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(reason, os.strerror(reason))  # as writing does, which knows no name

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match=os.strerror(reason)) as error, written_aside(tmp_path / "a.txt") as aside:
        aside.write_text("a")
    assert error.value.filename == str(tmp_path / "a.txt")
    for words in (["cp", "vgrow_ring8", tmp_path / "mine.toml"], ["new-plugin", "mine", "--into", tmp_path]):
        result = CliRunner().invoke(main, list(map(str, words)))
        assert result.exit_code == 2
        named = tmp_path / ("mine.toml" if words[0] == "cp" else "gflow-mine")
        assert result.stderr.startswith(f"error: {named}: ")
        assert result.stderr.count("\n") == 1


def test_letters_that_no_encoding_has(monkeypatch):
    """Python's own stream without a locale, which takes file names that are no text but not every letter."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdout", stream)
    assert gflow("--help") == 0
    print("\ud800 \udcff", file=sys.stdout, flush=True)
    assert stream.buffer.getvalue().endswith(rb"\ud800 \udcff" + b"\n")


@pytest.mark.parametrize(
    "error", [MemoryError(), ImportError("libtorch_cpu.so: failed to map segment from shared object")]
)
def test_no_room_for_torch_itself(monkeypatch, capsys, error):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("gflow_core.recipes.recipe.load", fail)
    assert gflow("run", RECIPE) == 2
    assert capsys.readouterr().err.startswith("error: not enough memory: ")
