"""What analyzers and pictures do wrong is told, and costs neither training nor the others."""

from __future__ import annotations

import json
import math
import os
import signal
from typing import ClassVar

import attrs
import pytest

from gflow_core import Result, option
from gflow_core.parts.plugins import plugins
from gflow_core.parts.registry import Entry
from gflow_core.runs import events


def leave(number):
    raise SystemExit(number)


def press(subject, presses=1, number=signal.SIGINT):
    for _ in range(presses):
        os.kill(os.getpid(), number)
    return Result(scores={"looked": subject.step})


def interrupt(subject):
    raise KeyboardInterrupt("of its own")


def endless():
    tables: dict[str, object] = {}
    tables["again"] = tables
    return tables


def mathless():
    from matplotlib.figure import Figure

    figure = Figure()
    figure.text(0, 0, "$\\frac{1}$")
    return figure


class Odd(BaseException):
    """No Exception."""


FINDS = {
    "nothing": (lambda subject: None, "finds a Result, not NoneType"),
    "a dict": (lambda subject: {"a": 1.0}, "finds a Result, not dict"),
    "no numbers": (lambda subject: Result(scores={"a": [1.0]}), "'a' is list"),
    "a NaN for a name": (lambda subject: Result(scores={math.nan: 1.0}), "nan is float"),
    "no scores": (lambda subject: Result(scores=None), "its scores are no dict"),
    "no JSON": (lambda subject: Result(manifest={"a": object()}), "its manifest cannot be written (TypeError"),
    "no end": (lambda subject: Result(manifest=endless()), "its manifest cannot be written (RecursionError"),
    "no rows": (lambda subject: Result(tables={"t": [1]}), "a table is a list of mappings from column to value; t"),
    "no figure": (lambda subject: Result(figures={"f": 1}), "figures are matplotlib's; f is int"),
    "a picture that cannot be drawn": (lambda subject: Result(figures={"f": mathless()}), "raised ValueError"),
    "the door": (lambda subject: leave(3), "raised SystemExit: 3"),
    "Ctrl-C": (interrupt, "raised KeyboardInterrupt: of its own"),
    "an odd exception": (lambda subject: (_ for _ in ()).throw(Odd("odd")), "raised Odd: odd"),
    "what is good": (lambda subject: Result(scores={"a": 1.0}), ""),
    "a person's Ctrl-C": (press, ""),
    "two of them": (lambda subject: press(subject, 2), ""),
    "SIGTERM": (lambda subject: press(subject, 1, signal.SIGTERM), ""),
    "SIGHUP": (lambda subject: press(subject, 1, signal.SIGHUP), ""),
}


@attrs.frozen(kw_only=True)
class Finds:
    """An analyzer that finds what it is told to."""

    needs: ClassVar[frozenset[str]] = frozenset()

    what: str = option("what is good", doc="Which of FINDS.")

    def check(self, spec):
        return ()

    def build(self):
        return FINDS[self.what][0]


@pytest.fixture
def finding(monkeypatch):
    """The words that add analyses to a recipe, by what they find."""
    entry = Entry("test.finds", Finds, "test 1")
    monkeypatch.setitem(plugins().registries["analyzer"]._entries, "test.finds", entry)

    def words(*names: str, every: int = 0) -> list[str]:
        tables = [("use=test.finds", f"what={name}", f"name=a{i}", f"every={every}") for i, name in enumerate(names)]
        return [f"analyze.{i}.{word}" for i, table in enumerate(tables) for word in table]

    return words


def test_whatever_an_analyzer_finds_training_goes_on(gflow, plane, tmp_path, finding):
    bad = [name for name, (_, said) in FINDS.items() if said]
    words = finding("what is good", *bad, "what is good", every=2)
    out = gflow("run", plane, "--runs", tmp_path, "train.steps=4", *words, code=2).output
    run = tmp_path / "plane-s0-001"
    assert (run / "checkpoints" / "000004").is_dir()
    assert out.count("; training goes on\n") == len(bad)
    names = [f"a{i}" for i, _ in enumerate(bad, start=1)]
    # Some at a time: a message of more than a screen is cut short.
    again = "".join(gflow("analyze", run, *names[i : i + 5], code=2).output for i in range(0, len(bad), 5))
    for i, name in enumerate(bad, start=1):
        during = out.partition(f"a{i} failed at step 2: analyzer a{i}")[2].partition("; training goes on")[0]
        assert FINDS[name][1] in during, name
        assert not (run / "analysis" / f"a{i}" / "000002" / "result.json").exists()
        assert FINDS[name][1] in again.partition(f"a{i}: analyzer a{i}")[2], "gflow analyze says the same"
    for i in (0, len(bad) + 1):
        assert json.loads((run / "analysis" / f"a{i}" / "000002" / "result.json").read_text())["scores"] == {"a": 1.0}
    assert f"{len(bad)} of {len(bad) + 2} analyses failed" in out
    assert not [path for path in (run / "analysis").rglob("*") if path.name.startswith(".")]


def test_what_fails_leaves_an_earlier_result_whole(gflow, plane, tmp_path, finding):
    gflow("run", plane, "--runs", tmp_path, "train.steps=1", *finding("what is good"))
    run = tmp_path / "plane-s0-001"
    before = (run / "analysis" / "a0" / "result.json").read_bytes()
    for what in ("a picture that cannot be drawn", "no JSON"):
        gflow("analyze", run, f"analyze.0.what={what}", code=2)
        assert [path.name for path in (run / "analysis" / "a0").iterdir()] == ["result.json"]
        assert (run / "analysis" / "a0" / "result.json").read_bytes() == before


# ------------------------------------------------------------------ a person's Ctrl-C


def test_ctrl_c_in_an_analysis_while_training_is_for_training(gflow, plane, tmp_path, finding, weights):
    out = gflow("run", plane, "--runs", tmp_path, *finding("a person's Ctrl-C", every=2), code=130).output
    run = tmp_path / "plane-s0-001"
    assert "stopped in step 3 (inner loop 1 of 3), and saved" in out
    assert (run / "analysis" / "a0" / "000002" / "result.json").is_file(), "it was let finish"


def test_a_second_ctrl_c_leaves_an_analysis(gflow, plane, tmp_path, finding):
    out = gflow("run", plane, "--runs", tmp_path, *finding("two of them", every=2), code=130).output
    run = tmp_path / "plane-s0-001"
    assert "failed" not in out
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["000002"], "saved before the analysis"


@pytest.mark.parametrize("what", ["a person's Ctrl-C", "SIGTERM", "SIGHUP"])
def test_stopped_in_an_analysis_it_names_what_goes_on(what, gflow, plane, tmp_path, finding):
    words = finding("what is good", what, "what is good")
    said = gflow("run", plane, "--runs", tmp_path, "train.steps=1", *words, code=130).output
    run = tmp_path / "plane-s0-001"
    assert said.endswith(f"stopped in the analysis a1; go on with gflow analyze {run} a1 a2\n")


# ------------------------------------------------------------------ pictures


def test_a_picture_that_cannot_be_drawn_costs_no_training(gflow, plane, tmp_path, monkeypatch):
    draw, saved = events.draw_samples, []

    def fail(path, *arguments, **options):
        saved.append(sorted(one.name for one in (path.parents[1] / "checkpoints").iterdir())[-1])
        if path.stem == "000004":
            raise RuntimeError("no ink")
        draw(path, *arguments, **options)

    monkeypatch.setattr(events, "draw_samples", fail)
    out = gflow("run", plane, "--runs", tmp_path, code=2).output
    run = tmp_path / "plane-s0-001"
    assert saved == ["000002", "000004", "000006"], "the checkpoint comes first"
    assert "the sample picture failed at step 4: the sample picture raised RuntimeError: no ink" in out
    assert "while training the sample picture failed 1 time; all else is written" in out
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["000002.png", "000006.png"]
    monkeypatch.setattr(events, "draw_samples", draw)
    gflow("resume", run, "--checkpoint", 4)
    assert (run / "samples" / "000004.png").is_file(), "a resumed run makes what is lacking"
