"""Who follows a run: `jsonl`, which every run has, and `tensorboard`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs

from gflow_core.errors import GflowError, raised
from gflow_core.files.inside import not_through_a_link
from gflow_core.machine.signals import noted
from gflow_core.machine.untouched import untouched
from gflow_core.parts.contracts import Tracker, TrackerPart

__all__ = ["Jsonl", "Scores", "Silent", "Tensorboard", "Trackers", "require"]

Scores = Mapping[str, float | int | str | None]


def require(package: str) -> None:
    """Raise GflowError where the package of the tracker and the extra of this name is not installed."""
    if find_spec(package) is None:
        raise GflowError(
            f"train.trackers: the package {package} is not installed; "
            f'pip install "gflow-core[{package}]", or leave the tracker {package} out'
        )


class Silent:
    """A tracker that lets everything pass."""

    def log(self, step: int, line: Mapping[str, Any]) -> None:
        """A line of training."""

    def scores(self, step: int, name: str, scores: Scores) -> None:
        """What an analysis found."""

    def picture(self, step: int, path: Path) -> None:
        """The sample picture of a step."""

    def flush(self) -> None:
        """Write what is still in memory."""

    def close(self) -> None:
        """The run ends here, or stops."""


@attrs.frozen
class Jsonl:
    """One line of JSON a logged step, in metrics.jsonl of the run folder; reports and analyzers read it."""

    def open(self, folder: Path, done: int) -> Tracker:
        return _Lines(folder / "metrics.jsonl")


class _Lines(Silent):
    def __init__(self, path: Path) -> None:
        self._path = path

    def log(self, step: int, line: Mapping[str, Any]) -> None:
        with open(self._path, "a", encoding="utf-8", opener=not_through_a_link) as file:
            file.write(json.dumps({"step": step, **line}) + "\n")

    def flush(self) -> None:
        with suppress(FileNotFoundError), self._path.open("rb+") as file:
            os.fsync(file.fileno())


@attrs.frozen
class Tensorboard:
    """Curves, sample pictures and scores under tensorboard/ of the run folder, for `tensorboard --logdir runs`."""

    def prepare(self) -> None:
        """Raise GflowError where the package tensorboard is missing."""
        require("tensorboard")

    def open(self, folder: Path, done: int) -> Tracker:
        return _Curves(folder / "tensorboard", done)


class _Curves:
    """Event files that go on after step `done`.

    What an earlier stretch of the run wrote beyond that step is purged: the resumed run does it again.
    """

    def __init__(self, folder: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder, purge_step=done + 1)

    def log(self, step: int, line: Mapping[str, Any]) -> None:
        self._points(step, {name: value for name, value in line.items() if name != "seconds"}, "train")
        for seed, metrics in line.get("seeds", {}).items():
            self._points(step, metrics, f"train, seed {seed}")

    def scores(self, step: int, name: str, scores: Scores) -> None:
        self._points(step, scores, name)

    def picture(self, step: int, path: Path) -> None:
        import numpy as np
        from PIL import Image

        with Image.open(path) as image:
            self._writer.add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _points(self, step: int, values: Mapping[str, object], group: str) -> None:
        """One point on the curve GROUP/NAME of each value that is a number."""
        for name, value in values.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"{group}/{name}", value, step)


class Trackers:
    """All who follow a run, as one; nobody in processes that write nothing.

    One that raises is left out from there on, and `say` tells: training goes on. What happens to metrics.jsonl happens
    to the run itself.
    """

    def __init__(
        self, parts: tuple[TrackerPart, ...], folder: Path, done: int, say: Callable[[str], None], *, here: bool
    ) -> None:
        self._say = say
        self._lines = Jsonl().open(folder, done) if here else Silent()
        self._others: dict[str, Tracker] = {}
        for part in parts if here else ():
            if not isinstance(part, Jsonl):
                self._others[type(part).__name__.lower()] = part.open(folder, done)

    def log(self, step: int, line: Mapping[str, Any]) -> None:
        self._lines.log(step, line)
        self._tell("log", step, line)

    def scores(self, step: int, name: str, scores: Scores) -> None:
        self._tell("scores", step, name, scores)

    def picture(self, step: int, path: Path) -> None:
        self._tell("picture", step, path)

    def flush(self) -> None:
        self._lines.flush()
        self._tell("flush")

    def close(self) -> None:
        self._tell("close")

    def _tell(self, event: str, *about: Any) -> None:
        from gflow_core.machine.streams import seeded  # imports torch

        for name, tracker in list(self._others.items()):
            with noted() as pressed, untouched(), seeded(0):
                try:
                    getattr(tracker, event)(*about)
                except BaseException as error:
                    if pressed:
                        raise KeyboardInterrupt from error
                    del self._others[name]
                    self._say(f"tracker {name} raised {raised(error)}; it is left out, training goes on")
