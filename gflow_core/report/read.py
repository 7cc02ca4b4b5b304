"""A run folder as it is, whole or damaged: whatever cannot be read is named in `Run.missing`. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from gflow_core.errors import GflowError, PluginError
from gflow_core.files.inside import check_inside, is_plain
from gflow_core.files.reading import number, read_bytes
from gflow_core.files.run_folder import checkpoint_names, parse_metrics, read_manifest, read_recipe, read_result
from gflow_core.parts.foreign import own
from gflow_core.recipes.changes import BEGAN, changed_on_the_way, changes, value_text
from gflow_core.recipes.files import changed_files
from gflow_core.recipes.recipe import Recipe, load
from gflow_core.runs.summary import Summary, summary

__all__ = ["Analysis", "Finding", "Run", "Score", "read"]

Score = float | int | str | None

_STEP = re.compile(r"\d{1,18}")
_SEED = re.compile(r"seed(\d{1,18})")


@attrs.frozen
class Finding:
    """What an analyzer found at one step: its result.json and the files beside it."""

    step: int
    scores: Mapping[str, Score] = attrs.field(factory=dict)
    manifest: Mapping[str, Any] = attrs.field(factory=dict)
    seeds: Mapping[int, Mapping[str, Score]] = attrs.field(factory=dict)
    """Seed -> its own scores, where the run has replicas; `scores` are then means."""
    files: tuple[Path, ...] = ()
    """Pictures (PNG, GIF) and tables (CSV)."""


@attrs.frozen
class Analysis:
    """All that one analyzer left in the folder."""

    name: str
    final: Finding | None
    during: tuple[Finding, ...] = ()
    """What it found while the run trained, oldest first."""
    replicas: Mapping[int, Analysis] = attrs.field(factory=dict)
    """Seed -> what was found for that seed alone."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Oldest first, the final one last; of two at one step the final one counts."""
        last = () if self.final is None else (self.final,)
        return (*(found for found in self.during if not last or found.step < last[0].step), *last)


@attrs.frozen
class Run:
    """A run folder, read."""

    path: Path
    table: Mapping[str, Any]
    """recipe.toml as it stands; empty where it is damaged."""
    recipe: Recipe | None
    """The checked recipe; None where it is damaged or a plugin of it is missing."""
    manifest: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    samples: Mapping[int, Path]
    """Step -> picture, oldest first."""
    analyses: tuple[Analysis, ...]
    checkpoints: Mapping[str, int]
    """Name -> bytes, oldest first."""
    summary: Summary
    """Its state, and how far it is, as `gflow ls runs` tells it."""
    equilibrium: Mapping[str, float]
    """Metric -> its value where samples and data follow one law, as the objective states it; else empty."""
    missing: tuple[str, ...]
    """What is not there or cannot be read, a sentence each."""

    @property
    def title(self) -> str:
        """The recipe's title, or the folder's name."""
        return str(self.table.get("title") or self.name)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def train(self) -> Mapping[str, Any]:
        """The table [train]."""
        return _table(self.table.get("train"))

    @property
    def seeds(self) -> list[int]:
        """The seed of the run, or of each of its replicas."""
        first, count = self.train.get("seed", 0), self.train.get("replicas", 1)
        if not (isinstance(first, int) and isinstance(count, int)):
            return [0]
        return list(range(first, first + max(1, min(count, 10_000))))

    @property
    def seconds(self) -> float | None:
        """How long it trained; None where no line of metrics says so."""
        return next((s for line in reversed(self.metrics) if (s := number(line.get("seconds"))) is not None), None)

    @property
    def created(self) -> datetime | None:
        """When it was started; None where its manifest does not say."""
        try:
            time = datetime.fromisoformat(self.manifest.get("created", ""))
        except (TypeError, ValueError):
            return None
        return time if time.tzinfo else time.replace(tzinfo=UTC)


def read(path: Path) -> Run:
    """Read a run folder. Raises GflowError where it is none, or something in it leads out of it; all else that is
    wrong goes into `missing`.
    """
    check_inside(path)
    file = path / "recipe.toml"
    if not file.is_file():
        what = "not a run folder (it has no recipe.toml)" if path.exists() else "no such run folder"
        raise GflowError(f"{path}: {what}; gflow run makes them under runs/")
    missing: list[str] = []
    table: dict[str, Any] = {}
    recipe = None
    try:
        table = read_recipe(path)
    except (OSError, GflowError) as error:
        missing.append(str(error))
    else:
        try:
            recipe = load(file, begun=True)
        except GflowError as error:
            missing.append(f"The recipe cannot be checked here, so defaults and equilibria are not shown: {error}")
    metrics = _metrics(path / "metrics.jsonl", bool(table.get("objective")), missing)
    samples = {
        int(picture.stem): picture
        for picture in sorted(path.glob("samples/*.png"), key=lambda p: (len(p.stem), p.stem))
        if _STEP.fullmatch(picture.stem)
    }
    if not samples and table.get("objective"):
        missing.append("No sample pictures were drawn yet.")
    analyses = _analyses(path / "analysis", _names(table), missing)
    for analysis in analyses:
        if analysis.final is None and not analysis.during:
            missing.append(f"{analysis.name} has no result yet; gflow analyze makes it.")
    manifest = _manifest(path, missing)
    before = manifest.get(BEGAN)
    if isinstance(before, dict) and table:
        missing += [
            f"{name} was {value_text(began)} when the run began, and is {value_text(now)} in recipe.toml."
            for name, (began, now) in changes(before, table).items()
        ]
    missing += [f"Not one recipe all the way: {how}." for how in changed_on_the_way(manifest)]
    try:
        missing += changed_files(manifest)
    except GflowError as error:
        missing.append(str(error))
    return Run(
        path,
        table,
        recipe,
        {key: value for key, value in manifest.items() if key != BEGAN},
        metrics,
        samples,
        analyses,
        _checkpoints(path / "checkpoints"),
        summary(path),
        _equilibrium(recipe, missing),
        tuple(missing),
    )


def _equilibrium(recipe: Recipe | None, missing: list[str]) -> dict[str, float]:
    objective: Any = recipe.spec.objective if recipe is not None else None
    try:
        with own("equilibrium", objective):
            stated = objective.equilibrium() if hasattr(objective, "equilibrium") else {}
            values = {str(name): number(value) for name, value in stated.items()}
    except PluginError as error:
        missing.append(f"Values at equilibrium are not shown; of the objective {error}")
        return {}
    return {name: value for name, value in values.items() if value is not None}


def _names(table: Mapping[str, Any]) -> list[str]:
    """The analyses of a recipe, which need not be a valid one."""
    tables = table.get("analyze", [])
    return [
        str(one.get("name", one.get("use")))
        for one in (tables if isinstance(tables, list) else [])
        if isinstance(one, dict) and ("name" in one or "use" in one)
    ]


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _metrics(path: Path, trains: bool, missing: list[str]) -> list[dict[str, Any]]:
    try:
        content = read_bytes(path) if path.exists() else b""
    except OSError as error:
        missing.append(f"metrics.jsonl cannot be read: {error.strerror}")
        return []
    lines, total = parse_metrics(content), len(content.splitlines())
    if lost := total - len(lines):
        missing.append(
            f"metrics.jsonl: {lost} of {total} lines cannot be read and {'is' if lost == 1 else 'are'} left out."
        )
    if not lines and trains:
        missing.append("No metrics were logged yet (metrics.jsonl).")
    return sorted(lines, key=lambda line: line["step"])


def _manifest(path: Path, missing: list[str]) -> dict[str, Any]:
    try:
        found = read_manifest(path, missing.append)
    except (GflowError, OSError) as error:
        missing.append(str(error))
        return {}
    if not found:
        missing.append("manifest.json is missing: the environment is unknown.")
    return found


def _analyses(folder: Path, order: Sequence[str], missing: list[str]) -> tuple[Analysis, ...]:
    """In the recipe's order; what the recipe does not name comes last."""
    there = sorted(found.name for found in folder.iterdir() if found.is_dir()) if folder.is_dir() else []
    names = list(dict.fromkeys([*order, *there]))
    return tuple(_analysis(folder / name, name, missing) for name in names if is_plain(name))


def _analysis(folder: Path, name: str, missing: list[str]) -> Analysis:
    below = [found for found in folder.iterdir() if found.is_dir()] if folder.is_dir() else []
    steps = sorted((found for found in below if _STEP.fullmatch(found.name)), key=lambda found: int(found.name))
    seeds = {int(match[1]): found for found in below if (match := _SEED.fullmatch(found.name))}
    during = (_finding(found, int(found.name), missing) for found in steps)
    return Analysis(
        name,
        _finding(folder, None, missing),
        tuple(finding for finding in during if finding is not None),
        {seed: _analysis(seeds[seed], name, missing) for seed in sorted(seeds)},
    )


def _finding(folder: Path, step: int | None, missing: list[str]) -> Finding | None:
    path = folder / "result.json"
    if not path.is_file():
        return None
    try:
        result = read_result(path, missing.append)
    except (GflowError, OSError) as error:
        missing.append(str(error))
        return None
    stated, seeds = result.get("step"), result.get("seeds")
    listed = result.get("files")
    # Names only: a result.json from elsewhere must not make a page read files outside its folder.
    names = [str(name) for name in listed] if isinstance(listed, list) else [p.name for p in sorted(folder.iterdir())]
    files = [folder / name for name in names if is_plain(name) and Path(name).suffix in (".png", ".gif", ".csv")]
    missing += [f"{file}, which is part of its result, is missing." for file in files if not _is_own(file)]
    return Finding(
        step if step is not None else stated if isinstance(stated, int) else 0,
        result["scores"],
        result["manifest"],
        {one["seed"]: one["scores"] for one in seeds or () if isinstance(one.get("seed"), int)},
        tuple(filter(_is_own, files)),
    )


def _is_own(file: Path) -> bool:
    return file.is_file() and not file.is_symlink()


def _checkpoints(folder: Path) -> dict[str, int]:
    sizes = {}
    for name in checkpoint_names(folder):
        with suppress(FileNotFoundError):  # the run is training: it has saved another, and deletes this one
            sizes[name] = sum(p.stat().st_size for p in (folder / name).iterdir() if p.is_file())
    return sizes
