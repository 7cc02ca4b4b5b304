"""Run folders at a glance: how far each is, what it found. Reads a few small files a run; needs no torch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import attrs

from gflow_core.errors import GflowError, for_people
from gflow_core.files.inside import check_inside, is_plain
from gflow_core.files.locks import in_use
from gflow_core.files.run_folder import (
    RUN_NAME,
    checkpoint_names,
    checkpoint_order,
    last_metrics,
    lock_of,
    read_manifest,
    read_recipe,
    read_result,
)
from gflow_core.recipes.changes import told_apart, trained_by
from gflow_core.runs.best import Best, best_of, goal_of

__all__ = ["Summary", "differing", "duration", "runs_of", "summaries", "summary"]

State = Literal["running", "stopped", "diverged", "trained", "analyzed", "broken"]

_SIGNS = ("recipe.toml", "manifest.json", "metrics.jsonl", "checkpoints")


@attrs.frozen(kw_only=True)
class Summary:
    """One run folder."""

    path: Path
    recipe: str
    """Stem of the recipe's file."""
    state: State
    """running: a process is at work on it; stopped: not all is trained; diverged: nor will it be, `problem` says
    where it met NaN; trained: all, or until it `ended` early, analyses are lacking (or the recipe has none); analyzed:
    all is there; broken: `problem` says what cannot be read."""
    problem: str = ""
    created: float
    """When it began, in seconds since 1970."""
    title: str = ""
    note: str = ""
    """What was noted when it began."""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """Dotted name -> value, of all in its recipe that makes it another run than those of other recipes."""
    seed: int | None = None
    step: int = 0
    """Steps done: those that a checkpoint holds; while it runs, those that were logged."""
    steps: int = 0
    """Steps in all; 0 where nothing is trained."""
    scores: Mapping[str, Mapping[str, float | int | str | None]] = attrs.field(factory=dict)
    """Analysis -> its last scores, in the recipe's order."""
    best: Best | None = None
    """Its best checkpoint, where the recipe names a score (`train.keep_best`)."""
    ended: str = ""
    """Why training ended before the recipe's end; empty where it did not."""

    @property
    def age(self) -> float:
        """Seconds since the run began."""
        return max(time.time() - self.created, 0.0)


@for_people
def summaries(*folders: Path | str) -> list[Summary]:
    """Every run in the folders, and in the folders there that are no runs themselves; newest first.

    A folder that is a run is an only one; without any it is `runs`, which need not be there. Raises GflowError where
    there is no such folder.
    """
    paths: dict[Path, None] = {}
    here = [Path("runs")] if not folders and Path("runs").is_dir() else []
    for folder in here or map(Path, folders):
        if not folder.is_dir():
            raise GflowError(f"{folder}: no such folder; gflow run makes run folders under runs/")
        paths |= dict.fromkeys([folder] if _is_run(folder) else _runs_in(folder, deeper=True))
    return sorted(map(summary, paths), key=lambda one: (one.created, one.path.name), reverse=True)


def differing(runs: Sequence[Summary]) -> list[Mapping[str, Any]]:
    """For each run, the options in which it differs from others of its recipe among them; None where unset."""
    found: list[Mapping[str, Any]] = [{} for _ in runs]
    for recipe in {one.recipe for one in runs}:
        alike = [i for i, one in enumerate(runs) if one.recipe == recipe and one.options]
        for i, options in zip(alike, told_apart([runs[i].options for i in alike]), strict=True):
            found[i] = options
    return found


def runs_of(paths: Iterable[Path]) -> list[Path]:
    """The paths, each folder that is no run but holds some, as a sweep's does, replaced by these."""
    found: list[Path] = []
    for path in paths:
        inside = [] if not path.is_dir() or _is_run(path) else sorted(_runs_in(path, deeper=False))
        found += inside or [path]
    return found


def summary(path: Path) -> Summary:
    """One run. What is damaged makes it broken; nothing is raised."""
    named = RUN_NAME.fullmatch(path.name)
    about: dict[str, Any] = {"path": path, "recipe": named[1] if named else path.name, "created": _changed(path)}
    try:
        check_inside(path)
        manifest = read_manifest(path)
        about |= _origin(manifest)
        table = read_recipe(path)
        train = table.get("train", {})
        about |= {"title": table.get("title", ""), "seed": train.get("seed", 0), "options": trained_by(table, manifest)}
        about["steps"] = steps = train.get("steps", 0)
        names = [str(one.get("name", one.get("use"))) for one in table.get("analyze", [])]
        if not all(map(is_plain, names)):
            raise GflowError("recipe.toml: the name of an analysis is no name of a folder")
        about["step"] = step = _saved(path) or _looked_at(path, names)
        about["scores"] = {name: result["scores"] for name in names if (result := _result(path, name)) is not None}
        if (goal := goal_of(table)) is not None:
            about["best"] = best_of(path, goal)
        if in_use(lock_of(path)):
            logged = last_metrics(path / "metrics.jsonl") or {"step": 0}
            return Summary(state="running", **{**about, "step": max(step, logged["step"])})
    except FileNotFoundError as error:
        return Summary(state="broken", problem=f"{Path(error.filename).name} is missing", **about)
    except (GflowError, OSError) as error:
        return Summary(state="broken", problem=str(error), **about)
    ended = manifest.get("ended", {"step": None})
    if ended["step"] == step:
        about["ended"], steps = ended["why"], step
    analyzed = all((path / "analysis" / name / "result.json").is_file() for name in names)
    if step < steps and manifest.get("diverged"):
        return Summary(state="diverged", problem=str(manifest["diverged"]), **about)
    if step < steps or not (steps or analyzed):
        return Summary(state="stopped", **about)
    return Summary(state="analyzed" if names and analyzed else "trained", **about)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h`, `5 d`."""
    for unit, length in (("d", 2 * 86400), ("h", 2 * 3600), ("min", 2 * 60)):
        if seconds >= length:
            return f"{seconds / (length / 2):.0f} {unit}"
    return f"{seconds:.0f} s"


def _is_run(folder: Path) -> bool:
    return bool(RUN_NAME.fullmatch(folder.name)) or any(os.path.exists(folder / sign) for sign in _SIGNS)


def _runs_in(folder: Path, deeper: bool) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or not path.is_dir():
            continue
        if _is_run(path):
            yield path
        elif deeper:
            try:
                yield from _runs_in(path, deeper=False)
            except OSError:  # it may be one, for all that can be seen: `summary` tells what cannot be read
                yield path


def _changed(path: Path) -> float:
    """When the folder was last written to, for runs whose manifest does not tell when they began."""
    return path.stat().st_mtime


def _origin(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest adds: when the run began, and of what recipe (a run's own recipe.toml is not named for it)."""
    found: dict[str, Any] = {"note": manifest.get("note", "")}
    with suppress(KeyError, TypeError, ValueError, OverflowError):
        found["created"] = datetime.fromisoformat(manifest["created"]).astimezone(UTC).timestamp()
    if isinstance(manifest.get("recipe"), str) and (stem := Path(manifest["recipe"]).stem) != "recipe":
        found["recipe"] = stem
    return found


def _saved(path: Path) -> int:
    """Steps that the newest checkpoint holds."""
    newest = None
    while names := checkpoint_names(path / "checkpoints"):
        if (path / "checkpoints" / names[-1] / "checkpoint.json").is_file():
            return checkpoint_order(names[-1])[0]
        if names[-1] == newest:
            raise GflowError(f"checkpoint {newest} has no checkpoint.json")
        newest = names[-1]  # the run may be training: it may have saved another, and deleted this one
    return 0


def _looked_at(path: Path, names: Sequence[str]) -> int:
    """Steps that were done where each analysis has looked at the end: the checkpoints may be deleted since."""
    files = [path / "analysis" / name / "result.json" for name in names]
    steps = [int(read_result(file).get("step", 0)) for file in files if file.is_file()]
    return min(steps) if steps and len(steps) == len(names) else 0


def _result(path: Path, name: str) -> dict[str, Any] | None:
    """What the analysis found last: at the end, or at the newest step during training."""
    folder = path / "analysis" / name
    if (folder / "result.json").is_file():
        return read_result(folder / "result.json")
    during = [one for one in folder.iterdir() if one.name.isdecimal()] if folder.is_dir() else []
    for one in sorted(during, key=lambda one: int(one.name), reverse=True):
        if (one / "result.json").is_file():
            return read_result(one / "result.json")
    return None
