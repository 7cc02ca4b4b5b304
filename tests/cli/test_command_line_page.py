"""docs/command-line.md: its table of commands, its exit codes, completion in the shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from gflow_core.cli import COMMANDS, main

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
TABLE = dict(re.findall(r"^\| `([\w-]+)` \| .+ \| `(gflow .+)` \|$", PAGE, re.MULTILINE))


def test_every_command_has_a_line_and_an_example():
    assert sorted(TABLE) == sorted(COMMANDS)


def test_exit_codes_of_what_can_be_mended():
    assert CliRunner().invoke(main, ["validate", "none.toml"]).exit_code == 2
    assert CliRunner().invoke(main, ["nothing"]).exit_code == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gflow r", {"run", "resume", "resolve", "report"}),
        ("gflow show samp", {"sampler", "samplers"}),
        ("gflow show sampler vgrow.", {"vgrow.affine", "vgrow.mlp", "vgrow.resnet"}),
        ("gflow ls ru", {"runs"}),
        ("gflow ls --j", {"--json"}),
    ],
)
def test_completion(line, expected, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    found = BashComplete(main, {}, "gflow", "_GFLOW_COMPLETE").complete()
    assert {item.partition(",")[2] for item in found.splitlines()} == expected


def test_the_completion_script_is_made_without_torch():
    code = (
        "import atexit, os, sys; from gflow_core.cli import main; "
        "atexit.register(lambda: 'torch' in sys.modules and os._exit(3)); main(prog_name='gflow')"
    )
    environment = {**os.environ, "_GFLOW_COMPLETE": "bash_complete", "COMP_WORDS": "gflow r", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "plain,resume" in done.stdout.splitlines()
    assert "_GFLOW_COMPLETE=bash_source gflow" in PAGE
