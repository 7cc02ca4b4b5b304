"""Trackers of other programs: `csv` for spreadsheets, `wandb` and `mlflow`, whose packages are extras."""

from __future__ import annotations

import csv
import json
import os
import re
import secrets
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import attrs

from gflow_core.files.inside import not_through_a_link
from gflow_core.files.whole import written_aside
from gflow_core.parts.contracts import Tracker
from gflow_core.parts.options import option
from gflow_core.runs.trackers import Scores, Silent, require

__all__ = ["Csv", "Mlflow", "Wandb"]


def numbers(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """`train/NAME` -> value of a line of training; of replicas `train, seed N/NAME` as well."""
    yield from _numbers("train", {name: value for name, value in line.items() if name != "seconds"})
    for seed, metrics in line.get("seeds", {}).items():
        yield from _numbers(f"train, seed {seed}", metrics)


def _numbers(group: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    return ((f"{group}/{name}", value) for name, value in values.items() if isinstance(value, int | float))


# ------------------------------------------------------------------ csv


@attrs.frozen
class Csv:
    """curves.csv in the run folder: a line of step, group, name and value for each metric, score and picture."""

    def open(self, folder: Path, done: int) -> Tracker:
        return _Table(folder / "curves.csv", done)


class _Table(Silent):
    """A CSV file whose lines end with step `done`: what an earlier stretch wrote beyond it is done again.

    So are the analyses at the end of a run: what one finds anew takes the place of what it found.
    """

    HEAD = ("step", "group", "name", "value")

    def __init__(self, path: Path, done: int) -> None:
        self._path = path
        kept = [row for row in self._rows() if int(row[0]) <= done]
        self._write(kept)
        self._found = {(int(step), group) for step, group, *_ in kept if int(step) == done}

    def _rows(self) -> list[list[str]]:
        with suppress(FileNotFoundError), self._path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.reader(file) if row and row[0].isdecimal()]
        return []

    def _write(self, rows: Iterable[Sequence[object]]) -> None:
        with written_aside(self._path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self.HEAD, *rows])

    def log(self, step: int, line: Mapping[str, Any]) -> None:
        self._add((step, *name.split("/", 1), value) for name, value in numbers(line))

    def scores(self, step: int, name: str, scores: Scores) -> None:
        rows = [(step, name, score, "" if value is None else value) for score, value in scores.items()]
        if (step, name) not in self._found:
            self._add(rows)
            return
        again = {(str(step), name, row[2]): row for row in rows}
        there = [again.pop((row[0], row[1], row[2]), row) for row in self._rows()]
        self._write([*there, *again.values()])

    def picture(self, step: int, path: Path) -> None:
        self._add([(step, "samples", "picture", f"samples/{path.name}")])

    def _add(self, rows: Any) -> None:
        with open(self._path, "a", newline="", encoding="utf-8", opener=not_through_a_link) as file:
            csv.writer(file).writerows(rows)


# ------------------------------------------------------------------ what is told once


class _Told:
    """What another program was told of a run: its own id of the run, and how far each curve goes.

    Such programs take nothing back. A resumed run repeats its steps bit for bit, so what was told of them is not told
    again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.id = ""
        self._last: dict[str, int] = {}
        with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            found = json.loads(path.read_text(encoding="utf-8"))
            self.id = str(found["id"])
            self._last = {str(name): int(step) for name, step in found["last"].items()}

    def begin(self, id: str) -> None:
        """From here on the run is known by `id`."""
        self.id = id
        self._write()

    def new(self, what: str, step: int) -> bool:
        """Whether `what` of a step has not been told; from here on it has."""
        if step <= self._last.get(what, -1):
            return False
        self._last[what] = step
        self._write()
        return True

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(self._path) as aside:
            aside.write_text(json.dumps({"id": self.id, "last": self._last}), encoding="utf-8")


# ------------------------------------------------------------------ wandb


@attrs.frozen(kw_only=True)
class Wandb:
    """Curves, scores and sample pictures for Weights & Biases, in wandb/ beside the run folder, for `wandb sync`."""

    project: str = option("gflow", doc="The project that the run appears in.")
    mode: Literal["offline", "online"] = option(
        "offline", doc="offline: nothing leaves the machine until `wandb sync`; online: uploaded as it comes."
    )
    entity: str | None = option(None, doc="The user or team that the project is of; None: wandb's own default.")

    def prepare(self) -> None:
        """Raise GflowError where the package wandb is missing."""
        require("wandb")

    def open(self, folder: Path, done: int) -> Tracker:
        return _Wandb(self, folder)


class _Wandb:
    def __init__(self, part: Wandb, folder: Path) -> None:
        import wandb

        self._image = wandb.Image
        self._told = _Told(folder / "wandb" / "gflow.json")
        if not self._told.id:
            self._told.begin(secrets.token_hex(4))
        self._run = wandb.init(
            project=part.project,
            entity=part.entity,
            mode=part.mode,
            dir=str(folder.parent),  # it links to logs elsewhere, which no run folder may
            id=self._told.id,
            resume="allow",
            name=folder.name,
            config=_recipe(folder),
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")  # wandb's own steps cannot be gone back to

    def log(self, step: int, line: Mapping[str, Any]) -> None:
        if self._told.new("train", step):
            self._run.log({"step": step, **dict(numbers(line))})

    def scores(self, step: int, name: str, scores: Scores) -> None:
        if self._told.new(f"scores of {name}", step):
            self._run.log({"step": step, **dict(_numbers(name, scores))})

    def picture(self, step: int, path: Path) -> None:
        if self._told.new("samples", step):
            self._run.log({"step": step, "samples": self._image(str(path))})

    def flush(self) -> None:
        """wandb writes in a process of its own."""

    def close(self) -> None:
        self._run.finish()


def _recipe(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    return {}


# ------------------------------------------------------------------ mlflow


@attrs.frozen(kw_only=True)
class Mlflow:
    """Curves, scores, sample pictures and the recipe for MLflow, in mlruns/ beside the run folder or on a server."""

    experiment: str = option("gflow", doc="The experiment that the run appears in.")
    tracking_uri: str | None = option(
        None, doc='Where to, such as "http://HOST:5000"; None: a file store, mlruns/ beside the run folder.'
    )

    def prepare(self) -> None:
        """Raise GflowError where the package mlflow is missing."""
        require("mlflow")

    def open(self, folder: Path, done: int) -> Tracker:
        return _Mlflow(self, folder)


_NAMED = re.compile(r"[^\w\-. :/]")
"""What MLflow has in no name."""


class _Mlflow:
    def __init__(self, part: Mlflow, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient

        store = (folder.parent / "mlruns").resolve()
        self._client = MlflowClient(tracking_uri=part.tracking_uri or store.as_uri())
        self._told = _Told(folder / "mlflow" / "gflow.json")
        if not self._told.id:
            found = self._client.get_experiment_by_name(part.experiment)
            experiment = found.experiment_id if found else self._client.create_experiment(part.experiment)
            self._told.begin(self._client.create_run(experiment, run_name=folder.name).info.run_id)
            if (folder / "recipe.toml").is_file():
                self._client.log_artifact(self._told.id, str(folder / "recipe.toml"))
        else:
            self._client.update_run(self._told.id, status="RUNNING")

    def log(self, step: int, line: Mapping[str, Any]) -> None:
        if self._told.new("train", step):
            self._points(step, numbers(line))

    def scores(self, step: int, name: str, scores: Scores) -> None:
        if self._told.new(f"scores of {name}", step):
            self._points(step, _numbers(name, scores))

    def picture(self, step: int, path: Path) -> None:
        if self._told.new("samples", step):
            self._client.log_artifact(self._told.id, str(path), "samples")

    def flush(self) -> None:
        """Each call has written."""

    def close(self) -> None:
        self._client.set_terminated(self._told.id)

    def _points(self, step: int, values: Iterator[tuple[str, float]]) -> None:
        for name, value in values:
            self._client.log_metric(self._told.id, _NAMED.sub("_", name), float(value), step=step)
