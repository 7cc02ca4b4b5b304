"""gflow validate: check recipes without running them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import attrs
import click

from gflow_core.cli.kinds import name_of
from gflow_core.errors import Problem, RecipeError, printable
from gflow_core.parts.spans import Span
from gflow_core.recipes.recipe import Recipe, load

__all__ = ["command"]


@click.command("validate")
@click.argument("recipes", nargs=-1, required=True, type=click.Path(), metavar="RECIPE...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; problems are told on standard error as well.")
def command(recipes: tuple[str, ...], as_json: bool) -> None:
    """Check recipes without running them: every problem of every file.

    Exit code 0 when all are good, 2 otherwise.
    """
    problems: list[Problem] = []
    rows: list[dict[str, Any]] = []
    for path in recipes:
        found, summary = _check(path)
        problems += found
        rows.append({"recipe": path, "ok": not found, "summary": summary, "problems": [attrs.asdict(p) for p in found]})
        if not found and not as_json:
            click.echo(printable(f"ok  {path}  ({summary})"))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    if problems:
        # One after another on two streams: what is good first, then what is not.
        sys.stdout.flush()
        raise RecipeError(problems)


def _check(path: str) -> tuple[list[Problem], str]:
    """What is wrong with a recipe, or its parts in one line."""
    if (path.startswith("~") or "=" in path) and not Path(path).exists():
        told = "no such file; validate takes files only, `gflow resolve RECIPE OVERRIDES` checks overrides"
        return [Problem("", told, path)], ""
    try:
        return [], _summary(load(path))
    except RecipeError as error:
        return list(error.problems), ""


def _summary(recipe: Recipe) -> str:
    """The parts of a recipe in one line."""
    spec = recipe.spec
    parts = [
        f"{kind} {name_of(kind, part)}"
        for kind in ("dataset", "sampler", "discriminator", "objective")
        if (part := getattr(spec, kind)) is not None
    ]
    if spec.objective is not None and spec.train is not None:
        steps = spec.train.steps
        parts.append(steps.text if isinstance(steps, Span) else f"{steps} steps")
    if spec.analyze:
        parts.append("analyze " + " ".join(analysis.name for analysis in spec.analyze))
    return ", ".join(parts) or "empty"
