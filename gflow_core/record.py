"""The run folder: everything a run leaves behind.

runs/vgrow_mnist5k-s0-001/
  recipe.toml         resolved; `gflow run` on it repeats the run
  manifest.json       versions, device, precision, git state, data fingerprint
  metrics.jsonl       one line a logged step
  samples/000100.png
  checkpoints/000100/
  analysis/NAME/      result.json, figures as PNG, tables as CSV
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gflow_core import checkpoint
from gflow_core.checkpoint import Checkpoint
from gflow_core.contracts import Result
from gflow_core.errors import CheckpointError, GflowError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RunFolder"]

_CHECKPOINT = re.compile(r"\d{6,}(-\d{3,})?")


class RunFolder:
    """One run's folder. Nothing in it is ever left half-written."""

    def __init__(self, path: Path) -> None:
        """Open an existing run folder. Raises GflowError if it is not one."""
        self.path = path
        if not (path / "recipe.toml").is_file():
            raise GflowError(f"{path}: not a run folder (it has no recipe.toml); gflow run makes one under runs/")

    @classmethod
    def create(cls, runs: Path, name: str, seed: int, recipe: str) -> RunFolder:
        """A new folder runs/NAME-sSEED-NNN, holding the resolved recipe."""
        try:
            runs.mkdir(parents=True, exist_ok=True)
            taken = [int(p.name.rpartition("-")[2]) for p in runs.glob(f"{name}-s{seed}-*") if p.name[-3:].isdigit()]
            number = max(taken, default=0) + 1
            while True:
                path = runs / f"{name}-s{seed}-{number:03d}"
                try:
                    path.mkdir()
                    break
                except FileExistsError:  # another process took the number
                    number += 1
            (path / "recipe.toml").write_text(recipe)
        except OSError as error:
            raise GflowError(
                f"{runs}: cannot make a run folder there: {error.strerror}; choose another with --runs"
            ) from error
        return cls(path)

    # -------------------------------------------------------------- text

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.toml"

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write manifest.json."""
        _write(self.path / "manifest.json", json.dumps(manifest, indent=2) + "\n")

    def read_manifest(self) -> dict[str, Any]:
        """What manifest.json says; empty where there is none."""
        try:
            manifest: dict[str, Any] = json.loads((self.path / "manifest.json").read_text())
        except OSError:
            return {}
        except ValueError as error:
            raise GflowError(f"{self.path / 'manifest.json'}: not JSON: {error}") from error
        return manifest

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    def metrics(self) -> list[dict[str, float]]:
        """Every line of metrics.jsonl; a last line cut short by a crash is left out."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        lines = []
        for line in path.read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
        return lines

    def rewind(self, step: int) -> None:
        """Drop what was recorded after `step`, which a resumed run will do again."""
        lines = [line for line in self.metrics() if line["step"] <= step]
        _write(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        for picture in (self.path / "samples").glob("*.png"):
            if picture.stem.isdigit() and int(picture.stem) > step:
                picture.unlink()

    # -------------------------------------------------------------- pictures and analyses

    def sample_path(self, step: int) -> Path:
        """Where the sample picture of a step belongs."""
        folder = self.path / "samples"
        folder.mkdir(exist_ok=True)
        return folder / f"{step:06d}.png"

    def write_result(self, name: str, result: Result, step: int, *, final: bool) -> Path:
        """Write what an analyzer found to analysis/NAME, or analysis/NAME/STEP during training."""
        folder = self.path / "analysis" / name
        if not final:
            folder /= f"{step:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        for table, rows in result.tables.items():
            _write_table(folder / f"{table}.csv", rows)
        for figure, drawing in result.figures.items():
            save_figure(drawing, folder / f"{figure}.png")
        body = {"step": step, "scores": result.scores, "manifest": result.manifest}
        _write(folder / "result.json", json.dumps(body, indent=2) + "\n")
        return folder

    # -------------------------------------------------------------- checkpoints

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints, oldest first: "000100", or "000100-007" seven safe points into the next step."""
        folder = self.path / "checkpoints"
        names = [p.name for p in folder.iterdir() if _CHECKPOINT.fullmatch(p.name)] if folder.is_dir() else []
        return sorted(names, key=lambda name: [int(part) for part in name.split("-")])

    def save(self, state: Checkpoint, part_way: int = 0, keep: int = 1) -> None:
        """Write a checkpoint and delete all but the newest `keep`."""
        name = f"{state.step:06d}" + (f"-{part_way:03d}" if part_way else "")
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        try:
            checkpoint.write(folder / name, state)
        except OSError as error:
            raise CheckpointError(
                f"{folder / name}: cannot be written: {error.strerror}; earlier checkpoints are untouched"
            ) from error
        for old in self.checkpoints()[:-keep]:
            shutil.rmtree(folder / old)
        for leftover in folder.glob(".*"):  # of writes that a crash cut short
            shutil.rmtree(leftover, ignore_errors=True)

    def load(self, name: str | None = None, only: tuple[str, ...] | None = None) -> Checkpoint:
        """The named checkpoint, or the newest. Raises CheckpointError; for a damaged one it offers the one before."""
        names = self.checkpoints()
        if not names:
            raise CheckpointError(f"{self.path}: no checkpoint was saved yet; start again with gflow run {self.recipe}")
        if name is None:
            name = names[-1]
        if name not in names:
            raise CheckpointError(f"{self.path}: no checkpoint {name}; there are {', '.join(names)}")
        try:
            return checkpoint.read(self.path / "checkpoints" / name, only)
        except CheckpointError as error:
            before = names[: names.index(name)]
            offer = (
                f"the one before it: --checkpoint {before[-1]}"
                if before
                else f"there is none before it; start again with gflow run {self.recipe}"
            )
            raise CheckpointError(f"{error}; {offer}") from error


def save_figure(figure: Figure, path: Path) -> None:
    """Write a matplotlib figure as PNG, whole or not at all."""
    aside = path.with_name(f".{path.name}.tmp")
    figure.savefig(aside, format="png", dpi=150, bbox_inches="tight")
    os.replace(aside, path)


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text)
    os.replace(aside, path)


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    aside = path.with_name(f".{path.name}.tmp")
    with aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
    os.replace(aside, path)
