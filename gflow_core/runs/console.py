"""What a run says while it works: live progress in a terminal, plain lines in a log file.

Live is a terminal that moves its cursor: not a file or a pipe, not TERM=dumb, not a log of continuous integration (CI).
Nowhere else is a control code written. NO_COLOR takes the colours, not the progress.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
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
from gflow_core.runs.summary import duration

__all__ = ["RunConsole", "terminal"]

_EVERY, _LONGEST = 5.0, 300.0  # seconds between lines where there is no terminal: at first, and at most
_SHARE = 0.05  # and in between this share of the time that training has taken: an hour is some fifty lines
_ROWS = 120  # rows of a table worth printing; longer ones are read from their files
_LOG_WIDTH = 160  # columns where there is no terminal
_PACE, _APART = 50, 0.2  # moments that the pace of training is taken over, and seconds between them at least
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
        return Text(_left(task.completed - task.fields["first"], task.remaining, task.fields["took"], task.elapsed))


def _left(done: float, remaining: float | None, took: float, elapsed: float | None) -> str:
    if remaining is None or done <= 0:
        return duration(elapsed or 0.0)
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
        self._steps = self._first = self._items = 0
        self._start = self._spoke = self._began = 0.0
        self._work = self._looking = ""
        self._seen: deque[tuple[float, float]] = deque(maxlen=_PACE)
        """When how many steps were done, of late."""
        self._now = (0.0, 0.0)
        """The same, now."""
        self._so_far = 0
        self._in = self._reached = self._points = 0
        """The step that is made, safe points of it that were reached, and how many the one before had."""
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
            left = _left(done, total - done, now - self._began, None)
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
            self._seen.clear()  # it says nothing about the pace of training
            if self._live is not None:
                self._end_phase()
                if task is not None:
                    self._bars.remove_task(task)
                if self._step is None:
                    self.close()

    def training(self, first: int, steps: int, items: int = 0) -> None:
        self.close()
        self._first, self._steps, self._items = first, steps, items
        self._start = self._spoke = time.monotonic()
        self._in = self._reached = self._points = 0
        self._seen.clear()
        self._done(first)
        if self.rich.is_terminal:
            self._open()
            self._step = self._bars.add_task("step", total=steps, completed=first, first=first, took=0.0)

    def phase(self, step: int, phase: Phase) -> None:
        if step != self._in:
            self._in, self._points, self._reached = step, self._reached, 0
        self._reached += 1
        share = self._reached / (self._points or phase.total + 1)  # how many points a step has, the one before tells
        self._done(step - 1 + min(share, 0.99))
        if self._live is not None and phase.total > 1:
            self._show_phase(phase.name, phase.done, phase.total)
        elif self._live is None and self._due():  # a step may take minutes
            self.say(f"step {step}/{self._steps}: {phase.name} {phase.done} of {phase.total}")
        self._tell()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        text = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self._done(step)
        if self._live is not None and self._step is not None:
            self._metrics = text
        elif self._due() or step in (self._first + 1, self._steps):
            left = _left(step - self._first, self._steps - step, time.monotonic() - self._start, None)
            self.say(f"step {step}/{self._steps}  {text}  ({self._pace()}, {left})")
        self._tell()

    def _done(self, steps: float) -> None:
        """So many steps are done, the share of one that is under way with them."""
        now = time.monotonic()
        self._now = (now, steps)
        if not self._seen or now - self._seen[-1][0] > _APART:
            self._seen.append(self._now)
        if self._live is not None and self._step is not None:
            self._bars.update(self._step, completed=steps, took=now - self._start)

    def _pace(self) -> str:
        """`1,240 items a second, 1.3 GB of memory`, as they are now."""
        now, last = self._now
        before, first = self._seen[0] if self._seen else self._now
        rate = self._items * (last - first) / (now - before) if now > before else 0.0
        items = f"{rate:,.{1 if rate < 10 else 0}f} items a second" if rate > 0 else ""
        return ", ".join(filter(None, (items, memory_in_use())))

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
        below = [self._pace(), self._metrics] if self._step is not None else []
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
