"""gflow ls: what there is."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
import click

from gflow_core.cli.kinds import Kind
from gflow_core.cli.paths import PATH
from gflow_core.errors import RecipeError, printable, typed
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.changes import value_text
from gflow_core.recipes.recipe import load
from gflow_core.recipes.shipped import shipped
from gflow_core.runs.summary import Summary, differing, duration, summaries

__all__ = ["command"]

_SCORES = 3  # in a run's line; --json has all
_ALWAYS = 5  # columns; the others where a run has something to say there
_WIDTH = 40  # of options and of a note in a run's line on a terminal


@click.command("ls")
@click.argument("what", required=False, type=Kind("recipes", "runs"), metavar="[KIND|recipes|runs]")
@click.argument("folders", nargs=-1, type=PATH, metavar="[FOLDER]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(what: str | None, folders: tuple[Path, ...], as_json: bool) -> None:
    """List every part, the parts of one KIND, the recipes in ./recipes and of installed plugins, or the
    runs in each FOLDER (./runs).

    KIND is samplers, discriminators, objectives, datasets, analyzers, encoders, latents, optimizers, schedules,
    flow.velocities, or a kind that a plugin owns, such as vgrow.divergences.

    A run is running, stopped, diverged, trained (analyses are lacking, or it has none), analyzed, or broken. The newest
    comes first, with its best and the step of that checkpoint where train.keep_best names a score, with the options in
    which it differs from the other runs of its recipe there, its note, and the first score of some of its analyses.
    """
    if folders and what != "runs":
        raise click.UsageError(f"a folder goes with runs only: gflow ls runs {folders[0]}")
    if what == "runs":
        _list_runs(folders, as_json)
        return
    if what == "recipes":
        _list_recipes(as_json)
        return
    kinds = [what] if what else list(plugins().kinds)
    rows = _parts(kinds)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("none", err=True)
    else:
        # One heading a kind; the columns of all kinds stand below each other.
        width = max(len(row["name"]) for row in rows)
        for kind in kinds:
            if mine := [row for row in rows if row["kind"] == kind]:
                click.echo(plugins().kinds[kind].plural)
                _print([(f"  {row['name'].ljust(width)}", row["doc"] + _provider(row)) for row in mine])


def _parts(kinds: Sequence[str]) -> list[dict[str, str]]:
    registries = {kind: plugins().registries[kind] for kind in kinds}
    entries = [(kind, registry.entry(name)) for kind, registry in registries.items() for name in registry]
    return [
        {
            "kind": kind,
            "name": entry.name,
            "provider": entry.provider,
            "doc": (inspect.getdoc(entry.part) or "").partition("\n")[0],
        }
        for kind, entry in entries
    ]


def _provider(row: dict[str, str]) -> str:
    """Who provides the part, where its name does not tell: vgrow.mlp is of gflow-vgrow, ring of the core."""
    plugin = row["name"].rpartition(".")[0] or "core"
    return "" if row["provider"].partition(" ")[0] == f"gflow-{plugin}" else f" ({row['provider']})"


def _list_recipes(as_json: bool) -> None:
    """Those in ./recipes first; then, under each distribution, those that come with it, by name."""
    ours = {recipe.path: recipe for recipe in shipped(plugins())}
    here = {path.resolve(): path for path in sorted(Path("recipes").glob("*.toml"))}
    rows = [_recipe(str(path), "") for real, path in here.items() if real not in ours]
    # In a checkout they are the same files, and listed once.
    rows += [_recipe(str(here.get(path, recipe.name)), recipe.dist) for path, recipe in ours.items()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("none in ./recipes, and no installed plugin ships any", err=True)
    else:
        for dist, group in groupby(rows, key=lambda row: row["dist"]):
            if dist:
                click.echo(printable(dist))
            indent = "  " if dist else ""
            _print([(indent + row["recipe"], row["title"]) for row in group])


def _recipe(name: str, dist: str) -> dict[str, str]:
    try:
        title = load(name).spec.title
    except RecipeError as error:
        title = f"BROKEN: {error.problems[0]} (gflow validate {typed(name)})"
    return {"recipe": name, "title": title, "dist": dist}


def _list_runs(folders: tuple[Path, ...], as_json: bool) -> None:
    found = summaries(*folders)
    both = zip(found, differing(found), strict=True)
    if as_json:
        click.echo(json.dumps([_run(one, options) for one, options in both], indent=2, default=str))
    elif not found:
        click.echo(f"none in {' or '.join(map(str, folders)) or './runs'}", err=True)
    else:
        heads = ("run", "seed", "steps", "state", "age", "best", "options", "note", "scores")
        rows = [heads, *(_line(*one) for one in both)]
        told = [i for i, column in enumerate(zip(*rows, strict=True)) if i < _ALWAYS or any(column[1:])]
        _print([tuple(row[i] for i in told) for row in rows])


def _run(one: Summary, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": str(one.path),
        "recipe": one.recipe,
        "title": one.title,
        "note": one.note,
        "options": options,
        "seed": one.seed,
        "step": one.step,
        "steps": one.steps,
        "state": one.state,
        "problem": one.problem,
        "created": datetime.fromtimestamp(one.created, UTC).isoformat(timespec="seconds"),
        "scores": one.scores,
        "best": attrs.asdict(one.best) if one.best else None,
        "ended": one.ended,
    }


def _line(one: Summary, options: Mapping[str, Any]) -> tuple[str, ...]:
    seed = "-" if one.seed is None else str(one.seed)
    steps = f"{one.step}/{one.steps}" if one.steps else "-"
    best = f"{one.best.score:.4g} at {one.best.step}" if one.best else ""
    words = " ".join(f"{key}={value_text(value)}" for key, value in options.items() if key != "train.steps")
    told = best, _short(words), _short(one.note)
    found = one.problem or (f"ended early: {one.ended}" if one.ended else _scores(one))
    return str(one.path), seed, steps, one.state, duration(one.age), *told, found


def _short(text: str) -> str:
    """Cut where a person reads it; other programs have all."""
    return text if len(text) <= _WIDTH or not sys.stdout.isatty() else f"{text[: _WIDTH - 3]}..."


def _scores(one: Summary) -> str:
    """The first number of each of the first analyses that found one."""
    numbers = [
        next((f"{key} {value:.4g}" for key, value in scores.items() if isinstance(value, int | float)), None)
        for scores in one.scores.values()
    ]
    return "  ".join([text for text in numbers if text][:_SCORES])


def _print(rows: Sequence[tuple[str, ...]]) -> None:
    """Aligned columns, cut at the width of a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(printable(line.rstrip())[:limit])
