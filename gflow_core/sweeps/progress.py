"""What a sweep says while it works: in a terminal a bar for each run at work and one for all; lines in a log file."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from gflow_core.errors import harmless, printable
from gflow_core.runs.console import terminal

__all__ = ["SweepConsole"]


class SweepConsole:
    """A context: no bars are shown once it is left."""

    def __init__(self, total: int, done: int, quiet: bool = False, stderr: bool = False) -> None:
        self.rich = terminal(quiet, stderr)
        self.live = self.rich.is_terminal and not quiet
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.rich,
            transient=True,
        )
        self._all = self._bars.add_task("runs", total=total, completed=done)
        self._rows: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if self.live:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self._bars.stop()

    def say(self, text: str) -> None:
        self.rich.print(harmless(text), markup=False, soft_wrap=True)  # paths stay whole, to be copied

    def show(self, working: Mapping[str, tuple[int, int]], done: int) -> None:
        """The runs at work, by label: steps done, steps in all (0 where nothing is trained); and how many are over."""
        for label in [label for label in self._rows if label not in working]:
            self._bars.remove_task(self._rows.pop(label))
        for label, (step, steps) in working.items():
            if label not in self._rows:
                self._rows[label] = self._bars.add_task(escape(printable(label)))
            self._bars.update(self._rows[label], completed=step, total=steps or None)
        self._bars.update(self._all, completed=done)
