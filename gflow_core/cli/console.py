"""What a run says while it works: live progress in a terminal, plain lines in a log file."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console as Rich
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from gflow_core.contracts import Phase, Result
from gflow_core.runtime import world_size

__all__ = ["RunConsole"]

_EVERY = 5.0  # seconds between lines where there is no terminal
_ROWS = 120  # rows of a table worth printing
_LOG_WIDTH = 160  # columns where there is no terminal


class RunConsole:
    """Meets `session.Console`. Only the first of several processes speaks."""

    def __init__(self) -> None:
        quiet = world_size() > 1 and os.environ.get("RANK", "0") != "0"
        self.rich = Rich(quiet=quiet, highlight=False)
        if not self.rich.is_terminal:
            self.rich.width = _LOG_WIDTH
        self._bar: Progress | None = None
        self._step: TaskID | None = None
        self._phase: TaskID | None = None
        self._steps = 0
        self._first = 0
        self._start = self._spoke = 0.0
        self._work = ""

    def say(self, text: str) -> None:
        # soft_wrap: paths stay whole, to be copied.
        (self._bar.console if self._bar else self.rich).print(text, markup=False, soft_wrap=True)

    def progress(self, what: str, done: int, total: int) -> None:
        if self.rich.is_terminal:
            if self._bar is None:
                self._open()
                self._phase = None
            assert self._bar is not None
            if self._phase is None:
                self._phase = self._bar.add_task(what, total=total, metrics="")
            self._bar.update(self._phase, description=what, completed=done, total=total)
            if done >= total:
                self._bar.remove_task(self._phase)
                self._phase = None
        elif what != self._work:  # what is over within seconds leaves no line
            self._work, self._spoke = what, time.monotonic()
        elif time.monotonic() - self._spoke > _EVERY:
            self._spoke = time.monotonic()
            self.say(f"{what}: {done} of {total}")

    def training(self, first: int, steps: int) -> None:
        self.close()
        self._first, self._steps, self._start = first, steps, time.monotonic()
        if self.rich.is_terminal:
            self._open()
            assert self._bar is not None
            self._step = self._bar.add_task("step", total=steps, completed=first, metrics="")

    def phase(self, step: int, phase: Phase) -> None:
        if self._bar is not None and phase.total > 1:
            if self._phase is None:
                self._phase = self._bar.add_task(phase.name, metrics="")
            self._bar.update(self._phase, description=phase.name, completed=phase.done, total=phase.total)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        text = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        if self._bar is not None and self._step is not None:
            self._bar.update(self._step, completed=step, metrics=text)
        elif time.monotonic() - self._spoke > _EVERY or step == self._steps:
            self._spoke = time.monotonic()
            left = (self._spoke - self._start) / max(step - self._first, 1) * (self._steps - step)
            self.say(f"step {step}/{self._steps}  {text}  ({left:.0f} s left)")

    def result(self, name: str, result: Result, folder: Path) -> None:
        for title, rows in result.tables.items():
            self._table(f"{name}: {title}", rows)
        if result.scores:
            self.say(f"{name}: " + "  ".join(f"{key} {_short(value)}" for key, value in result.scores.items()))
        self.say(f"{name}: wrote {folder}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._step = self._phase = None

    def _open(self) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[metrics]}", markup=False),
            console=self.rich,
        )
        self._bar.start()

    def _table(self, title: str, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        table = Table(title=escape(title), title_justify="left")
        for column in rows[0]:
            table.add_column(escape(column), overflow="fold")
        for row in rows[:_ROWS]:
            table.add_row(*(escape(_short(value)) for value in row.values()))
        self.rich.print(table)
        if len(rows) > _ROWS:
            self.say(f"... and {len(rows) - _ROWS} more rows in its CSV")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
