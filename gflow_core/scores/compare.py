"""Runs side by side: their final scores, grouped by recipe, averaged over seeds. Reads run folders; needs no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Any

import attrs

from gflow_core.errors import GflowError, did_you_mean, for_people, harmless, typed
from gflow_core.files.inside import check_inside
from gflow_core.files.run_folder import read_manifest, read_recipe, read_result
from gflow_core.recipes.changes import told_apart, trained_by, value_text
from gflow_core.runs.summary import runs_of, summary

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["WIDTH", "Cell", "Comparison", "Group", "Row", "comparable", "compare", "print_table"]

Score = float | int | str | None


@attrs.frozen
class Group:
    """Runs of one recipe that differ in their seeds."""

    name: str
    """The options in which its recipe differs from the other groups', a line each; the title of an only group."""
    options: Mapping[str, Any]
    """The same options and their values; None where an option is not set."""
    runs: tuple[str, ...]
    seeds: tuple[int, ...]


@attrs.frozen
class Cell:
    """One score in one group."""

    values: tuple[float | int | str, ...]
    """One a seed, in the order of the seeds; seeds that lack the score are left out."""

    @property
    def numbers(self) -> list[float]:
        """The values as numbers; empty where one of them is none."""
        found = [_number(value) for value in self.values]
        return [] if None in found else [value for value in found if value is not None]

    @property
    def mean(self) -> float | None:
        """The mean over seeds; None for what is no number."""
        return sum(self.numbers) / len(self.numbers) if self.numbers else None

    @property
    def std(self) -> float | None:
        """The standard deviation over seeds (n - 1); None with fewer than two, or where one or itself is not finite."""
        numbers = self.numbers
        if len(numbers) < 2 or not all(map(math.isfinite, numbers)):
            return None
        try:
            return stdev(numbers)
        except OverflowError:
            return None


@attrs.frozen
class Row:
    """One score of one analyzer, over the groups."""

    analyzer: str
    score: str
    cells: tuple[Cell, ...]


@attrs.frozen(repr=False)
class Comparison:
    """What `compare` found: columns and rows. Printed, it is their table."""

    groups: tuple[Group, ...]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...] = ()
    """Runs of a folder that there is nothing to compare of, and why, a sentence each."""

    def __repr__(self) -> str:
        from rich.console import Console

        console = Console(file=StringIO(), width=WIDTH, highlight=False, color_system=None)
        with console.capture() as capture:
            print_table(self, console)
        return capture.get().rstrip()


@attrs.frozen
class _Run:
    """One run folder, read."""

    path: Path
    title: str
    options: Mapping[str, Any]
    """Dotted name -> value, of all that tells groups apart."""
    names: Sequence[str]
    """Analyzers with results, in the recipe's order; what it does not name comes last."""
    manifests: Mapping[str, Mapping[str, Any]]
    """Analyzer -> what its scores depend on, the part's name included."""
    steps: Mapping[str, int]
    """Analyzer -> the step it looked at; the recipe's last one for the end of a run that ended early."""
    scores: Mapping[int, Mapping[str, Mapping[str, Score]]]
    """Seed -> analyzer -> score -> value."""


@for_people
def compare(paths: Sequence[Path | str], only: Iterable[str] = ()) -> Comparison:
    """Tabulate the final scores of run folders. `only` names the analyzers that count; all by default.

    A folder that is none but holds some, as a sweep's does, stands for those of them that have results.

    Raises GflowError where a folder is no run or holds no results, where one recipe and seed is there twice, and
    where scores of one analyzer depend on different things (their manifests differ).
    """
    only = list(dict.fromkeys(only))
    runs, left_out = [], []
    for given in map(Path, paths):
        for path in runs_of([given]):
            try:
                runs.append(_read(path, only))
            except GflowError as error:
                if path == given:
                    raise
                left_out.append(str(error).partition("\n")[0])
    if not runs:
        raise GflowError("\n".join(left_out) or "there is no run to compare")
    known = list(dict.fromkeys(name for run in runs for name in run.names))
    names = only or known
    for name in names:
        if name not in known:
            raise GflowError(f"no run has results of {name}{did_you_mean(name, known)} (there are {', '.join(known)})")
    _check_manifests(runs, names, known)

    members: list[list[_Run]] = []
    for run in runs:
        for group in members:
            if group[0].options == run.options:
                group.append(run)
                break
        else:
            members.append([run])
    _check_seeds(members)
    _check_steps(members, names)
    groups, seeds = [], []
    for group, told in zip(members, told_apart([group[0].options for group in members]), strict=True):
        name = "\n".join(f"{key}={value_text(value)}" for key, value in told.items())
        seeds.append({seed: scores for run in group for seed, scores in run.scores.items()})
        paths_of = tuple(str(run.path) for run in group)
        groups.append(Group(name or group[0].title or group[0].path.name, told, paths_of, tuple(sorted(seeds[-1]))))

    rows = []
    for name in names:
        scores = dict.fromkeys(score for found in seeds for one in found.values() for score in one.get(name, {}))
        for score in scores:
            columns = ([found[seed].get(name, {}).get(score) for seed in sorted(found)] for found in seeds)
            cells = tuple(Cell(tuple(v for v in values if v is not None)) for values in columns)
            rows.append(Row(name, score, cells))
    return Comparison(tuple(groups), tuple(rows), tuple(left_out))


def comparable(paths: Sequence[Path], only: Iterable[str] = ()) -> tuple[Comparison, list[str]]:
    """`compare` of the runs and analyses whose scores compare, and why each other one is left out.

    Raises GflowError as `compare` does, where nothing is left.
    """
    having, left_out, seen = [], [], {}
    for path in runs_of(paths):
        try:
            seen[path] = _read(path, ()).names
            having.append(path)
        except GflowError as error:
            whole = error
            left_out.append(str(error).partition("\n")[0])
    if not having:
        raise whole
    try:
        return compare(having, only), left_out
    except GflowError as error:
        whole = error
    names = list(only) or dict.fromkeys(name for one in seen.values() for name in one)
    kept = []
    for name in names:
        try:
            compare(having, [name])
            kept.append(name)
        except GflowError as error:
            left_out.append(str(error).partition("\n")[0])
    if not kept:
        raise whole
    return compare(having, kept), left_out


# ------------------------------------------------------------------ reading


def _read(path: Path, only: Sequence[str]) -> _Run:
    check_inside(path)
    if not (path / "recipe.toml").is_file():
        what = "not a run folder (it has no recipe.toml)" if path.exists() else "no such run folder"
        raise GflowError(f"{path}: {what}; gflow run makes them under runs/")
    table = read_recipe(path)
    files = {file.parent.name: file for file in sorted(path.glob("analysis/*/result.json"))}
    if not files:
        about = summary(path)
        if about.state in ("trained", "analyzed"):
            raise GflowError(f"{path}: holds no results yet; gflow analyze {typed(path)} makes them")
        raise GflowError(f"{path}: holds no results yet: it is {about.state}, {about.step} of {about.steps} steps")
    tables = table.get("analyze", [])
    order = [analysis.get("name", analysis.get("use")) for analysis in tables]
    uses = {name: analysis.get("use") for name, analysis in zip(order, tables, strict=True)}
    names = sorted(files, key=lambda name: order.index(name) if name in order else len(order))
    found = {name: read_result(files[name]) for name in names if not only or name in only}
    # Pictures and notes have no scores to compare.
    silent = {name for name, result in found.items() if name not in only and not set(result["scores"]) - {"note"}}
    found = {name: result for name, result in found.items() if name not in silent}
    names = [name for name in names if name not in silent]
    if not names:
        raise GflowError(
            f"{path}: its analyses have no scores; name an analyzer that has: gflow analyze {typed(path)} NAME"
        )

    seed = table.get("train", {}).get("seed", 0)
    scores: dict[int, dict[str, Mapping[str, Score]]] = {}
    for name, result in found.items():
        for one in result.get("seeds") or [{"seed": seed, "scores": result["scores"]}]:
            scores.setdefault(one["seed"], {})[name] = one["scores"]
    manifests = {name: {"analyzer": uses.get(name, name), **result["manifest"]} for name, result in found.items()}
    steps = {name: int(result.get("step", 0)) for name, result in found.items()}
    manifest = read_manifest(path)
    whole = table.get("train", {}).get("steps", 0)
    if any(step < whole for step in steps.values()):
        ended = manifest.get("ended", {}).get("step")  # where it should, as runs of other seeds do elsewhere
        steps = {name: whole if step == ended else step for name, step in steps.items()}
    return _Run(path, str(table.get("title", "")), trained_by(table, manifest), names, manifests, steps, scores)


# ------------------------------------------------------------------ what must agree


def _check_manifests(runs: Sequence[_Run], names: Sequence[str], known: Sequence[str]) -> None:
    """Raise GflowError at the analyzer whose scores depend on different things, with every key in which they do."""
    unlike: dict[str, list[str]] = {}
    for name in names:
        having = [run for run in runs if name in run.manifests]
        first = having[0]
        for key in dict.fromkeys(key for run in having for key in run.manifests[name]):
            one = first.manifests[name].get(key)
            for run in having if key != "overrides" else ():  # what an override changed stands in the rest
                other = run.manifests[name].get(key)
                if other != one:
                    difference = f"{key} is {value_text(one)} in {first.path} and {value_text(other)} in {run.path}"
                    unlike.setdefault(name, []).append(difference)
                    break
    if unlike:
        lines = [f"{name}: {'; '.join(differences)}" for name, differences in unlike.items()]
        rest = [name for name in known if name not in unlike]
        without = (
            f", or leave {' and '.join(unlike)} out: {' '.join(f'--only {name}' for name in rest)}" if rest else ""
        )
        lines.append(
            f"scores compare only where what they depend on is the same; repeat them with gflow analyze{without}"
        )
        raise GflowError("\n".join(lines))


def _check_steps(members: Sequence[Sequence[_Run]], names: Sequence[str]) -> None:
    """Raise GflowError where runs of one recipe were measured after different numbers of steps."""
    for group in members:
        for name in names:
            having = [run for run in group if name in run.steps]
            for run in having[1:]:
                if run.steps[name] != having[0].steps[name]:
                    raise GflowError(
                        f"{name}: measured after step {having[0].steps[name]} in {having[0].path} and after step "
                        f"{run.steps[name]} in {run.path}; finish the shorter run with gflow resume, or leave one out"
                    )


def _check_seeds(members: Sequence[Sequence[_Run]]) -> None:
    for group in members:
        seen: dict[int, _Run] = {}
        for run in group:
            for seed in run.scores:
                if seed in seen:
                    raise GflowError(
                        f"{seen[seed].path} and {run.path} have one recipe and one seed, {seed}: the spread over seeds "
                        "would count it twice; name one of them"
                    )
                seen[seed] = run


def _number(value: Score) -> float | None:
    """A score as a number. JSON has no NaN and no infinity: result.json holds them as text."""
    if isinstance(value, str):
        return float(value) if value in ("nan", "inf", "-inf") else None
    return None if value is None else float(value)


# ------------------------------------------------------------------ as a table

WIDTH = 160
"""Columns where there is no terminal."""


_NAMES, _BETWEEN, _NARROW = 40, 3, 14  # columns of analyzer and score, between two groups, and of a group at least


def print_table(found: Comparison, console: Console) -> None:
    """A column a group, a row a score."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    def safe(text: str) -> str:
        return escape(harmless(text))

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("analyzer", overflow="fold")
    table.add_column("score", overflow="fold")
    room = max((console.width - _NAMES) // len(found.groups) - _BETWEEN, _NARROW)
    for group in found.groups:
        name = "\n".join(_in_lines(line, room) for line in group.name.split("\n"))
        table.add_column(f"{safe(name)}\nn={len(group.seeds)}", justify="right", overflow="fold")
    before = ""
    for row in found.rows:
        if before and row.analyzer != before:
            table.add_section()
        name = "" if row.analyzer == before else safe(row.analyzer)
        cells = (_cell(cell, len(group.seeds)) for cell, group in zip(row.cells, found.groups, strict=True))
        table.add_row(name, safe(row.score), *map(safe, cells))
        before = row.analyzer
    console.print(table)
    if any(len(group.seeds) > 1 for group in found.groups):
        console.print("mean ± standard deviation over n seeds (n - 1 in the denominator)", markup=False)
    for sentence in found.left_out:
        console.print(f"left out: {harmless(sentence)}", markup=False, soft_wrap=True)


def _in_lines(name: str, room: int) -> str:
    """A dotted name and its value in lines that are no longer than there is room, broken where its parts end."""
    lines = [""]
    for part in re.split(r"(?<=[.=])", name):
        if lines[-1] and len(lines[-1] + part) > room:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _cell(cell: Cell, n: int) -> str:
    """`1.234 ± 0.056`; the number of seeds stands beside it where some lack the score."""
    if not cell.values:
        return "-"
    few = f" (n={len(cell.values)})" if len(cell.values) != n else ""
    if cell.mean is None:
        return " | ".join(dict.fromkeys(str(value) for value in cell.values)) + few
    counted = all(isinstance(value, int) for value in cell.values) and cell.mean == int(cell.mean)
    mean = f"{cell.mean:.0f}" if counted else f"{cell.mean:.4g}"
    return mean + ("" if cell.std is None else f" ± {cell.std:.2g}") + few
