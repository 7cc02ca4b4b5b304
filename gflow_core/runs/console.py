"""What a run says while it works: live progress in a terminal, plain lines in a log file.

Live is a terminal that moves its cursor: not a file or a pipe, not TERM=dumb, not a log of continuous integration (CI).
Nowhere else is a control code written. NO_COLOR takes the colours, not the progress.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console as Rich
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.table import Table
from rich.text import Text

from gflow_core.errors import harmless
from gflow_core.files.run_folder import read_manifest
from gflow_core.parts.analysis import Result
from gflow_core.parts.training import Phase
from gflow_core.runs.memory import memory_in_use
from gflow_core.runs.pace import Pace
from gflow_core.runs.summary import duration

__all__ = ["RunConsole", "terminal"]

_EVERY, _LONGEST = 5.0, 300.0  # seconds between lines where there is no terminal: at first, and at most
_SHARE = 0.05  # and in between this share of the time that training has taken: an hour is some fifty lines
_ROWS = 120  # rows of a table worth printing; longer ones are read from their files
_LOG_WIDTH = 160  # columns where there is no terminal
_LABEL = 16  # columns of what is going on


class _Pipe(Rich):
    """A console whose reader may leave: `gflow run ... | head` goes on training, silently."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class _Count(ProgressColumn):
    """`3/20`: of a task its own, or the one that was said."""

    def render(self, task: Task) -> Text:
        count = task.fields.get("count") or ("" if task.total is None else f"{int(task.completed)}/{int(task.total)}")
        return Text(count, style="progress.download")


class _Left(ProgressColumn):
    """What is left at the pace so far; the time taken where nothing was done yet, or nobody knows how much there is."""

    def render(self, task: Task) -> Text:
        done = task.completed - task.fields["first"]
        if task.remaining is None or done <= 0:
            return Text(duration(task.elapsed or 0.0))
        return Text(_left(done, task.remaining, task.fields["took"]))


def _left(done: float, remaining: float, took: float) -> str:
    """`12 s left`, if what remains is done as what was `done` in the seconds that it took; 0 < done."""
    return f"{duration(took / done * remaining)} left"


class _Said(logging.Handler):
    """What gflow logs (an encoder's accuracy, images left out) as lines of the console."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        self.say(record.getMessage())


def _listen(say: Callable[[str], None]) -> None:
    """Hand what gflow logs to `say`, and to nobody who listened before."""
    logger = logging.getLogger("gflow")
    for handler in [handler for handler in logger.handlers if isinstance(handler, _Said)]:
        logger.removeHandler(handler)
    logger.addHandler(_Said(say))
    logger.setLevel(logging.INFO)


def terminal(quiet: bool = False, stderr: bool = False) -> Rich:
    """A console on standard output or standard error; `is_terminal` where it shows progress in place."""
    live = _live(sys.stderr if stderr else sys.stdout)
    return _Pipe(
        quiet=quiet,
        stderr=stderr,
        force_terminal=live,
        color_system="auto" if live else None,
        width=None if live else _LOG_WIDTH,
        highlight=False,
        emoji=False,
    )


def _live(stream: TextIO) -> bool:
    """Whether the stream is a terminal that shows progress in place."""
    plain = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    automatic = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return stream.isatty() and not plain and not automatic


class RunConsole:
    """Meets `events.Console`. Only the first of several processes speaks; nobody does if it is to be `quiet`.

    A context: no progress is shown once it is left.
    """

    def __init__(self, quiet: bool = False, stderr: bool = False) -> None:
        from gflow_core.machine.runtime import world_size  # torch's, which not everyone with a console needs

        other = world_size() > 1 and os.environ.get("RANK", "0") != "0"
        self.rich = terminal(quiet=quiet or other, stderr=stderr)
        self._live: Live | None = None
        self._bars: Progress
        self._metrics = ""
        self._step: TaskID | None = None
        self._phase: TaskID | None = None
        self._steps = 0
        self._start = self._spoke = self._began = 0.0
        self._work = self._looking = ""
        self._pace = Pace(0, 0)
        self._so_far = 0
        self._asked = False
        _listen(self.say)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def done(self, path: Path) -> None:
        """A run is finished: say where its folder and its last picture are."""
        self.close()
        pictures = sorted((path / "samples").glob("*.png"))
        ended = read_manifest(path).get("ended")
        self.say(f"done: {path}" + (f" (ended early, after step {ended['step']}: {ended['why']})" if ended else ""))
        if pictures:
            self.say(f"samples: {pictures[-1]}")

    def say(self, text: str) -> None:
        # soft_wrap: paths stay whole, to be copied.
        self.rich.print(harmless(text), markup=False, soft_wrap=True)

    def progress(self, what: str, done: int, total: int) -> None:
        if self.rich.is_terminal:
            self._open()
            if done >= total:
                self._end_phase()
            else:
                self._show_phase(what, done, total)
            return
        now = time.monotonic()
        if what != self._work or done == 0:  # what is over within seconds leaves no line
            self._work, self._spoke, self._began = what, now, now
        elif now - self._spoke > _EVERY:
            self._spoke = now
            left = _left(done, total - done, now - self._began)
            self.say(f"{f'{self._looking}, ' * bool(self._looking)}{what}: {done:,} of {total:,} ({left})")

    @contextmanager
    def looking(self, name: str, turn: int = 1, of: int = 0) -> Iterator[None]:
        self._looking = name
        task = None
        if self.rich.is_terminal:
            self._open()
            count = f"{turn}/{of}" if of else ""
            task = self._bars.add_task(name, total=None, first=0, took=0.0, count=count)
        elif of:
            self.say(f"analysis {turn} of {of}: {name}")
        try:
            yield
        finally:
            self._looking = ""
            self._pace.pause()
            if self._live is not None:
                self._end_phase()
                if task is not None:
                    self._bars.remove_task(task)
                if self._step is None:
                    self.close()

    def training(self, first: int, steps: int, items: int = 0) -> None:
        self.close()
        self._steps, self._pace = steps, Pace(first, items)
        self._start = self._spoke = time.monotonic()
        if self.rich.is_terminal:
            self._open()
            self._step = self._bars.add_task("step", total=steps, completed=first, first=first, took=0.0)

    def phase(self, step: int, phase: Phase) -> None:
        self._pace.point(step, phase.total)
        self._move()
        if self._live is not None and phase.total > 1:
            self._show_phase(phase.name, phase.done, phase.total)
        elif self._live is None and self._due():  # a step may take minutes
            self.say(f"step {step}/{self._steps}: {phase.name} {phase.done} of {phase.total}")
        self._tell()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        text = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self._pace.done(step)
        self._move()
        if self._live is not None and self._step is not None:
            self._metrics = text
        elif self._due() or step in (self._pace.first + 1, self._steps):
            left = _left(max(step - self._pace.first, 1), self._steps - step, self._pace.took)
            self.say(f"step {step}/{self._steps}  {text}  ({self._now()}, {left})")
        self._tell()

    def _move(self) -> None:
        if self._live is not None and self._step is not None:
            self._bars.update(self._step, completed=self._pace.steps, took=self._pace.took)

    def _now(self) -> str:
        """`1,240 items a second, 1.3 GB of memory`."""
        return ", ".join(filter(None, (str(self._pace), memory_in_use())))

    def _show_phase(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._phase is None or what != self._work or done <= self._so_far:
            self._end_phase()
            self._work, self._began = what, now
            self._phase = self._bars.add_task(what, first=0, took=0.0)
        self._so_far = done
        self._bars.update(self._phase, completed=done, total=total, took=now - self._began)

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._bars.remove_task(self._phase)
            self._phase = None

    def _due(self) -> bool:
        """Whether it is time for a line of training where there is no terminal; it counts as said."""
        now = time.monotonic()
        if now - self._spoke <= min(max(_EVERY, _SHARE * (now - self._start)), _LONGEST):
            return False
        self._spoke = now
        return True

    def stopping(self) -> None:
        self._asked = True  # a signal may come while a line is being written: said at the next call

    def result(self, name: str, result: Result, folder: Path) -> None:
        for title, rows in result.tables.items():
            self._table(f"{name}: {title}", rows)
        if result.scores:
            self.say(f"{name}: " + "  ".join(f"{key} {_short(value)}" for key, value in result.scores.items()))
        self.say(f"{name}: wrote {folder}")

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live = self._step = self._phase = None
        self._metrics = ""

    def _tell(self) -> None:
        if self._asked:
            self._asked = False
            self.say("stopping at the next safe point; Ctrl-C again leaves at once, without saving")

    def _open(self) -> None:
        if self._live is not None:
            return
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn(f"{{task.description:{_LABEL}}}", markup=False),
            BarColumn(bar_width=24),
            _Count(),
            _Left(),
        )
        self._live = Live(get_renderable=self._display, console=self.rich, refresh_per_second=8)
        self._live.start()

    def _display(self) -> Group:
        """The bars, and pace and last metrics on lines of their own, so that none crowds another out."""
        below = [self._now(), self._metrics] if self._step is not None else []
        return Group(self._bars, *(Text(f"  {line}") for line in below if line))

    def _table(self, title: str, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        if len(rows) > _ROWS:
            self.say(f"{title}: {len(rows)} rows, in its CSV")
            return
        table = Table(title=_cell(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for column, value in rows[0].items():
            number = isinstance(value, int | float)
            table.add_column(_cell(column), overflow="fold", no_wrap=number, justify="right" if number else "left")
        for row in rows:
            table.add_row(*(_cell(_short(value)) for value in row.values()))
        self.rich.print(table)


def _cell(text: str) -> str:
    """Text in a table, which rich would read as markup."""
    return escape(harmless(text))


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
