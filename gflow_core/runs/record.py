"""The run folder: everything a run leaves behind.

runs/vgrow_mnist5k-s0-001/
  recipe.toml         resolved; `gflow run` on it repeats the run
  manifest.json       versions, device, precision, git state, data fingerprint
  metrics.jsonl       one line a logged step
  samples/000100.png
  checkpoints/000100/
  analysis/NAME/      result.json, figures as PNG, tables as CSV
  tensorboard/        with the tracker tensorboard: the curves and pictures again; curves.csv with csv
"""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from gflow_core.errors import CheckpointError, GflowError, typed
from gflow_core.files import checkpoint
from gflow_core.files.checkpoint import Checkpoint
from gflow_core.files.inside import check_inside, is_plain
from gflow_core.files.locks import held, holder
from gflow_core.files.run_folder import (
    BECOMES,
    check_free,
    checkpoint_names,
    checkpoint_order,
    lock_of,
    making_runs,
    read_manifest,
    read_metrics,
    read_recipe,
    read_result,
)
from gflow_core.files.sealed import sealed
from gflow_core.files.whole import LEFTOVERS, is_full, written_aside
from gflow_core.parts.analysis import Result
from gflow_core.parts.goal import Goal
from gflow_core.runs.best import best_of, goal_of, kept
from gflow_core.runs.pictures import own_style, write_gif

__all__ = ["RunFolder", "plain"]


class RunFolder:
    """One run's folder. Nothing in it is ever left half-written."""

    def __init__(self, path: Path, *, elsewhere: bool = False) -> None:
        """Open an existing run folder. Raises GflowError if it is not one, or something in it leads out of it.

        One that is `elsewhere`, where another machine's process writes it, is not looked for.
        """
        self.path = path
        if not elsewhere:
            check_inside(path)
        if not elsewhere and not (path / "recipe.toml").is_file():
            raise GflowError(f"{path}: not a run folder (it has no recipe.toml); gflow run makes one under runs/")

    @classmethod
    def create(cls, runs: Path, name: str, seed: int, recipe: str, given: str | None = None) -> RunFolder:
        """A new folder runs/NAME-sSEED-NNN, or runs/GIVEN, holding the resolved recipe. GflowError if that is taken."""
        with making_runs(runs):
            runs.mkdir(parents=True, exist_ok=True)
            if given is not None:
                check_free(runs, given)
                (runs / given).mkdir()
                _write(runs / given / "recipe.toml", recipe)
                return cls(runs / given)
            taken = [re.fullmatch(re.escape(f"{name}-s{seed}-") + r"(\d+)", p.name) for p in runs.iterdir()]
            number = max((int(match[1]) for match in taken if match), default=0) + 1
            while True:
                path = runs / f"{name}-s{seed}-{number:03d}"
                try:
                    path.mkdir()
                    break
                except FileExistsError:  # another process took the number
                    number += 1
            _write(path / "recipe.toml", recipe)
        return cls(path)

    # -------------------------------------------------------------- text

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.toml"

    def analyses(self) -> list[str]:
        """The names of the recipe's analyses; the recipe is not checked."""
        try:
            return [str(one.get("name", one.get("use"))) for one in read_recipe(self.path).get("analyze", [])]
        except (OSError, GflowError):  # whoever loads it says what is wrong
            return []

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write manifest.json."""
        _write(self.path / "manifest.json", json.dumps(sealed(manifest), indent=2) + "\n")

    def change(self, recipe: str, manifest: Mapping[str, Any]) -> None:
        """Write recipe.toml anew, and the manifest that says so.

        The one rename of recipe.toml changes both: until then the manifest that was there holds, and this one after it,
        whenever a kill comes.
        """
        self.write_manifest({**self.read_manifest(), BECOMES: manifest})
        _write(self.recipe, recipe)
        self.write_manifest(manifest)

    def read_manifest(self) -> dict[str, Any]:
        """What manifest.json says; empty where there is none. Raises GflowError where it is damaged."""
        return read_manifest(self.path)

    def metrics(self) -> list[dict[str, Any]]:
        """Every line of metrics.jsonl that can be read; one that a crash cut short is left out."""
        return read_metrics(self.path / "metrics.jsonl")

    def rewind(self, name: str, goal: Goal | None = None) -> None:
        """Go back to the checkpoint `name`: drop what was recorded after it, which the resumed run does again.

        Of the later checkpoints the newest goes last, and before all else. Until then the run is where it was; from
        then on `name` is the newest, and whoever resumes drops what a kill left. Nothing is dropped that a checkpoint
        still counts on. Only the best goes after the newest, which may not be without it: between the two the run is
        at its best.
        """
        step, best = checkpoint_order(name)[0], kept(self.path, goal)
        after = [later for later in self.checkpoints() if checkpoint_order(later) > checkpoint_order(name)]
        for later in sorted(after, key=lambda later: later == best):
            checkpoint.delete(self.path / "checkpoints" / later)
        lines = [line for line in self.metrics() if line["step"] <= step]
        _write(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        for picture in (self.path / "samples").glob("*.png"):
            if picture.stem.isdecimal() and int(picture.stem) > step:
                picture.unlink()
        for pattern in ("*/*", "*/seed*/*"):  # a replica's own results lie one folder deeper
            for found in list((self.path / "analysis").glob(pattern)):
                if found.is_dir() and found.name.isdecimal() and int(found.name) > step:
                    shutil.rmtree(found)
        for pattern in ("*/result.json", "*/seed*/result.json"):  # of an end that the run had reached
            for result in (self.path / "analysis").glob(pattern):
                last, files = _stated(result.parent)
                if last > step:
                    for file in (*files, "result.json"):
                        (result.parent / file).unlink(missing_ok=True)
        for leftover in self.path.rglob(LEFTOVERS):
            # Of a checkpoint it is a folder, which `prune` deletes; beside recipe.toml a report may be being written.
            if leftover.is_file() and leftover.parent != self.path:
                leftover.unlink()

    @contextmanager
    def held(self, doing: str, say: Callable[[str], None] | None = None) -> Iterator[None]:
        """Claim the folder within the block: whoever writes into it does, and reads what it goes on from in there.

        Where another process is at work on it: GflowError, or with `say` its end is waited for, once that was told.
        """
        lock = lock_of(self.path)

        def waiting() -> None:
            assert say is not None
            say(f"{self.path}: waiting for {holder(lock)}, which is at work on this run")

        with ExitStack() as stack:
            try:
                stack.enter_context(held(lock, doing, waiting if say else None))
            except BlockingIOError:
                raise GflowError(
                    f"{self.path}: {holder(lock)} is at work on this run; try again when it is done"
                ) from None
            yield

    # -------------------------------------------------------------- pictures and analyses

    def sample_path(self, step: int) -> Path:
        """Where the sample picture of a step belongs."""
        folder = self.path / "samples"
        folder.mkdir(exist_ok=True)
        return folder / f"{step:06d}.png"

    def has_result(self, name: str, step: int) -> bool:
        """Whether an analyzer has looked after this step, during training."""
        return (self._result_folder(name, step, final=False) / "result.json").is_file()

    def write_result(self, name: str, result: Result, step: int, *, final: bool) -> Path:
        """Write what an analyzer found to analysis/NAME, or analysis/NAME/STEP during training: all of it, or nothing.

        What is in the place of another result is there for the moment that it takes to rename files.
        """
        folder = self._result_folder(name, step, final=final)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(LEFTOVERS):
            leftover.unlink()
        _, before = _stated(folder)
        suffixes = (("csv", result.tables), ("png", result.figures), ("gif", result.animations))
        files = sorted(f"{made}.{suffix}" for suffix, names in suffixes for made in names)
        body = {"step": step, "scores": result.scores, "manifest": result.manifest, "files": files}
        if result.seeds:
            body["seeds"] = [{"seed": seed, "scores": scores} for seed, scores in result.seeds.items()]
        with ExitStack() as renaming:  # the last one first, so result.json when all others are there

            def aside(file: str) -> Path:
                return renaming.enter_context(written_aside(folder / file))

            aside("result.json").write_text(json.dumps(sealed(plain(body)), indent=2) + "\n", encoding="utf-8")
            for table, rows in result.tables.items():
                _write_table(aside(f"{table}.csv"), rows)
            with own_style() if result.figures else nullcontext():
                for figure, drawing in result.figures.items():
                    drawing.savefig(aside(f"{figure}.png"), format="png", dpi=150, bbox_inches="tight")
            for animation, frames in result.animations.items():
                write_gif(aside(f"{animation}.gif"), frames)
            (folder / "result.json").unlink(missing_ok=True)
        for stale in before - set(files):  # an earlier analysis with other options made them, and nobody else
            (folder / stale).unlink(missing_ok=True)
        return folder

    def earlier_results(self, name: str, step: int) -> dict[int, Path]:
        """Step -> folder of what an analyzer found during training, before this step, oldest first."""
        folder = self.path / "analysis" / name
        found = {int(p.parent.name): p.parent for p in folder.glob("*/result.json") if p.parent.name.isdecimal()}
        return {one: found[one] for one in sorted(found) if one < step}

    def _result_folder(self, name: str, step: int, *, final: bool) -> Path:
        folder = self.path / "analysis" / name
        return folder if final else folder / f"{step:06d}"

    # -------------------------------------------------------------- checkpoints

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints, oldest first; see `checkpoint_names`."""
        return checkpoint_names(self.path / "checkpoints")

    def checkpoint_name(self, wanted: str | None = None) -> str:
        """The newest checkpoint's name, or that of the one wanted: "best", or a name ("100" will do for "000100")."""
        names = self.checkpoints()
        if not names:
            raise CheckpointError(
                f"{self.path}: no checkpoint was saved yet; start again with gflow run {typed(self.recipe)}"
            )
        if wanted is None:
            return names[-1]
        if wanted == "best":
            return self._best()
        match = [name for name in names if wanted in (name, name.lstrip("0") or "0")]
        if not match:
            raise CheckpointError(f"{self.path}: no checkpoint {wanted}; there are {', '.join(names)}")
        return match[0]

    def _best(self) -> str:
        goal = goal_of(read_recipe(self.path))
        if goal is None:
            raise CheckpointError(f"{self.path}: its recipe names no score to be the best by (train.keep_best)")
        if (found := best_of(self.path, goal)) is None:
            there = ", ".join(self.checkpoints())
            raise CheckpointError(f"{self.path}: {goal} was measured at none of its checkpoints yet ({there})")
        return found.checkpoint

    def finished_steps(self, wanted: str | None = None) -> list[str]:
        """The checkpoints of finished steps, oldest first, or the one wanted of them. CheckpointError without any."""
        newest = self.checkpoint_name()
        names = [name for name in self.checkpoints() if "-" not in name]
        if not names:
            raise CheckpointError(f"{self.path}: its only checkpoint, {newest}, was saved in the middle of a step")
        if wanted is None:
            return names
        name = self.checkpoint_name(wanted)
        if name not in names:
            raise CheckpointError(
                f"{self.path}: the checkpoint {name} was saved in the middle of a step; others are {', '.join(names)}"
            )
        return [name]

    def save(self, state: Checkpoint, part_way: int = 0, keep: int = 1, goal: Goal | None = None) -> None:
        """Write a checkpoint and delete all but the newest `keep`, and the best by `goal`."""
        name = f"{state.step:06d}" + (f"-{part_way:03d}" if part_way else "")
        folder = self.path / "checkpoints"
        try:
            folder.mkdir(exist_ok=True)
            checkpoint.write(folder / name, state)
        except OSError as error:
            if not self.path.is_dir():
                raise CheckpointError(
                    f"{self.path}: is not there any more: moved or deleted while it trained; where it is now, gflow "
                    "resume goes on from its newest checkpoint"
                ) from error
            again = f"gflow resume {typed(self.path)}" if self.checkpoints() else f"gflow run {typed(self.recipe)}"
            raise CheckpointError(
                f"{folder / name}: cannot be written: {error.strerror or error}; earlier checkpoints are untouched; "
                f"{'make room' if is_full(error) else 'once it can'}, then {again}"
            ) from error
        self.prune(keep, goal)

    def prune(self, keep: int, goal: Goal | None = None) -> None:
        """Delete all checkpoints but the newest `keep` and the best by `goal`, and what a kill left of others."""
        folder, best = self.path / "checkpoints", kept(self.path, goal)
        for old in self.checkpoints()[:-keep]:
            if old != best:
                checkpoint.delete(folder / old)
        for leftover in folder.glob(".*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def load(self, wanted: str | None = None, only: tuple[str, ...] | None = None) -> Checkpoint:
        """The checkpoint wanted (`checkpoint_name`), or the newest.

        Raises CheckpointError; for a damaged one it offers the one before.
        """
        name = self.checkpoint_name(wanted)
        try:
            return checkpoint.read(self.path / "checkpoints" / name, only)
        except CheckpointError as error:
            if self.checkpoint_name(wanted) != name:  # the run is training: it has saved, and deleted this one
                return self.load(wanted, only)
            names = self.checkpoints()
            before = names[: names.index(name)]
            resume = f"gflow resume {typed(self.path)} " if only is None else ""  # what draws takes --checkpoint itself
            if before:
                offer = f"the one before it: {resume}--checkpoint {before[-1]}"
            elif name != names[-1]:
                offer = f"the newest: {resume}--checkpoint {names[-1]}"
            else:
                offer = f"there is none before it; start again with gflow run {typed(self.recipe)}"
            raise CheckpointError(f"{error}; {offer}") from error


def _stated(folder: Path) -> tuple[int, set[str]]:
    """The step that a result.json is of, and the files that are part of it; 0 and none where it is damaged."""
    try:
        result = read_result(folder / "result.json", say=lambda _: None)
        return result.get("step", 0), set(filter(is_plain, result.get("files", [])))
    except (OSError, GflowError):
        return 0, set()


def _write(path: Path, text: str) -> None:
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)


def plain(value: Any) -> Any:
    """A score as JSON has it: numpy and torch scalars as numbers; NaN and infinities, which JSON lacks, as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
