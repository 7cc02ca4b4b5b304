"""What a run prints: lines in a log file, a live display in a terminal."""

from __future__ import annotations

import io
import logging
from pathlib import Path

from rich.console import Console as Rich

from gflow_core.cli.console import RunConsole
from gflow_core.contracts import Phase, Result


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
