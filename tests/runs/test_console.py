"""What a run prints: lines in a log file, a live display in a terminal."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console as Rich

from gflow_core.parts.analysis import Result
from gflow_core.parts.training import Phase
from gflow_core.runs.console import RunConsole


def told(console: RunConsole) -> None:
    console.say("run folder [not markup] /a/very/long/path" + "/deep" * 60)
    console.progress("decoding", 0, 10)
    console.progress("decoding", 10, 10)
    console.training(0, 2)
    console.phase(1, Phase("inner loop", 1, 20))
    console.log(1, {"loss": 1.25})
    console.log(2, {"loss": 0.5})
    console.close()
    console.result(
        "theory", Result(scores={"error": 0.125}, tables={"rows": [{"quantity": "[kl]", "value": 1.0}]}), Path("x")
    )


def test_a_log_file_gets_plain_lines():
    console = RunConsole()
    out = io.StringIO()
    console.rich = Rich(file=out, width=160, highlight=False)
    told(console)
    text = out.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    assert "[not markup] /a/very/long/path" + "/deep" * 60 + "\n" in text, "paths are not broken"
    assert "step 2/2  loss 0.5" in text
    assert "[kl]" in text
    assert "error 0.125" in text


def test_nothing_that_is_said_acts_upon_a_terminal():
    """Names of classes and files may come from anybody."""
    console = RunConsole()
    out = io.StringIO()
    console.rich = Rich(file=out, width=160, highlight=False)
    console.say("classes \x1b[2Jcat, [b], \u202etac\nand a line more")
    console.result("a\x1b[0m", Result(scores={"\x1b[1m": 1}, tables={"\x1b": [{"\x1bk": "\x1b[31mv"}]}), Path("x"))
    assert "\x1b" not in out.getvalue()
    assert r"classes \x1b[2Jcat, [b], \u202etac" + "\nand a line more\n" in out.getvalue()


def test_what_is_logged_is_said_once_by_the_last_console():
    consoles = [RunConsole(), RunConsole()]
    outs = [io.StringIO(), io.StringIO()]
    for console, out in zip(consoles, outs, strict=True):
        console.rich = Rich(file=out, width=160, highlight=False)
    logging.getLogger("gflow").info("97.2 % of the held-out digits right")
    assert [out.getvalue().count("held-out digits") for out in outs] == [0, 1]


def test_a_terminal_gets_a_live_display():
    console = RunConsole()
    out = io.StringIO()
    console.rich = Rich(file=out, width=120, force_terminal=True, highlight=False)
    told(console)
    text = out.getvalue()
    assert "inner loop" in text
    assert "loss 0.5" in text
    assert "2/2" in text


def test_only_the_first_process_speaks(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert RunConsole().rich.quiet


COLOUR = re.compile("\x1b\\[[0-9;]*3[0-8][;m]")


class Terminal(io.StringIO):
    """What a terminal would get."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown(monkeypatch, **environment: str) -> str:
    """What a terminal gets, in such an environment."""
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        monkeypatch.setenv(name, value)
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    told(RunConsole())
    return out.getvalue()


def test_live_progress_is_for_terminals(monkeypatch):
    text = shown(monkeypatch)
    assert "\x1b[?25l" in text, "the cursor is hidden while lines are drawn in place"
    assert COLOUR.search(text)


def test_no_color_takes_the_colours_and_leaves_the_progress(monkeypatch):
    text = shown(monkeypatch, NO_COLOR="1")
    assert "\x1b[?25l" in text
    assert not COLOUR.search(text)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"CI": "true"}])
def test_terminals_that_are_logs_get_lines(monkeypatch, environment):
    text = shown(monkeypatch, **environment)
    assert "\x1b" not in text
    assert "step 2/2  loss 0.5" in text


def test_a_pipe_gets_lines_even_where_colours_are_forced(tmp_path):
    code = (
        "from gflow_core.runs.console import RunConsole\nfrom gflow_core import Phase, Result\n"
        "with RunConsole() as console:\n"
        "    console.training(0, 1)\n    console.phase(1, Phase('inner loop', 1, 2))\n    console.log(1, {'loss': 1})\n"
        "    console.result('x', Result(tables={'rows': [{'a': 1}]}), '.')\n"
    )
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert b"step 1/1  loss 1" in done.stdout
    assert b"\x1b" not in done.stdout + done.stderr


def test_lines_come_seldomer_as_training_goes_on(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr("gflow_core.runs.console.time.monotonic", lambda: now[0])
    console = RunConsole()
    console.training(0, 36_000)
    spoken = []
    for step in range(1, 36_001):  # ten hours of a step a second
        now[0] += 1
        console.log(step, {"loss": 1.0})
        if capsys.readouterr().out:
            spoken.append(step)
    assert spoken[:3] == [1, 6, 12]
    assert len([step for step in spoken if step <= 3600]) < 100
    assert max(b - a for a, b in pairwise(spoken)) <= 301
    assert len(spoken) < 250
    assert spoken[-1] == 36_000


def test_a_long_step_says_where_it_is(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("gflow_core.runs.console.time.monotonic", lambda: now[0])
    console = RunConsole()
    console.training(0, 3)
    for loop in range(1, 4):
        now[0] += 4
        console.phase(1, Phase("inner loop", loop, 20))
    assert capsys.readouterr().out == "step 1/3: inner loop 2 of 20\n"


def rendered(console: RunConsole) -> str:
    """What a terminal shows at the moment."""
    out = Rich(file=io.StringIO(), width=100)
    out.print(console._display())
    return out.file.getvalue()


@pytest.fixture
def clock(monkeypatch):
    """The time, which tests turn."""
    now = [1000.0]
    monkeypatch.setattr("gflow_core.runs.console.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def live(monkeypatch):
    console = RunConsole()
    console.rich = Rich(file=io.StringIO(), width=100, force_terminal=True, highlight=False)
    with console:
        yield console


def test_training_shows_its_pace_and_moves_within_a_step(live, clock):
    live.training(10, 14, items=300)
    assert "10/14" in rendered(live)
    shares = []
    for point in range(1, 5):
        clock[0] += 1
        live.phase(11, Phase("inner loop", point, 4))
        shares.append(live._bars.tasks[0].completed - 10)
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8]), "there may be another point"
    clock[0] += 1
    live.phase(11, Phase("projection", 1, 1))
    live.log(11, {"loss": 0.5})
    screen = rendered(live)
    assert "11/14" in screen
    assert "15 s left" in screen, "a step took 5"
    assert "60 items a second" in screen
    assert "B of memory" in screen
    clock[0] += 2.5
    live.phase(12, Phase("inner loop", 1, 4))
    assert live._bars.tasks[0].completed == 11.2, "the step before had five points"


def test_a_log_says_the_pace(clock, capsys):
    console = RunConsole()
    console.training(0, 4, items=300)
    clock[0] += 3
    console.log(1, {"loss": 0.5})
    line = r"step 1/4  loss 0\.5  \(100 items a second, [\d.]+ [MG]B of memory(, .*)?, 9 s left\)\n"
    assert re.fullmatch(line, capsys.readouterr().out)


def test_an_analysis_is_seen_from_the_beginning_and_says_what_is_left(live, clock):
    live.training(0, 4)
    with live.looking("frechet"):
        assert "frechet" in rendered(live)
        live.progress("samples", 0, 100)
        assert "0/100" in rendered(live)
        clock[0] += 2
        live.progress("samples", 10, 100)
        assert "18 s left" in rendered(live)
        live.progress("samples", 100, 100)
        assert "samples" not in rendered(live)
    assert "frechet" not in rendered(live)
    live.close()
    with pytest.raises(ZeroDivisionError), live.looking("kernel", 2, 8):
        live.progress("samples", 0, 100)
        assert "2/8" in rendered(live)
        raise ZeroDivisionError
    assert live._live is None


def test_a_log_names_the_analyses_at_the_end(clock, capsys):
    console = RunConsole()
    with console.looking("frechet"):
        pass
    assert capsys.readouterr().out == ""
    with console.looking("frechet", 1, 8):
        console.progress("samples", 0, 10_000)
        clock[0] += 6
        console.progress("samples", 2_500, 10_000)
    assert capsys.readouterr().out == "analysis 1 of 8: frechet\nfrechet, samples: 2,500 of 10,000 (18 s left)\n"


def test_quiet_is_quiet(capsys):
    told(RunConsole(quiet=True))
    assert capsys.readouterr() == ("", "")
