"""gflow validate: check recipes without running them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gflow_core.cli.kinds import name_of
from gflow_core.errors import Problem, RecipeError, printable
from gflow_core.recipe import Recipe, load

__all__ = ["command"]


@click.command("validate")
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE...")
def command(recipes: tuple[str, ...]) -> None:
    """Check recipes without running them: every problem of every file.

    Exit code 0 when all are good, 2 otherwise.
    """
    problems: list[Problem] = []
    for path in recipes:
        if (path.startswith("~") or "=" in path) and not Path(path).exists():
            told = "no such file; validate takes files only, `gflow resolve RECIPE OVERRIDES` checks overrides"
            problems.append(Problem("", told, path))
            continue
        try:
            click.echo(printable(f"ok  {path}  {_summary(load(path))}"))
        except RecipeError as error:
            problems += error.problems
    if problems:
        # One after another on two streams: what is good first, then what is not.
        sys.stdout.flush()
        raise RecipeError(problems)


def _summary(recipe: Recipe) -> str:
    """The parts of a recipe in one line."""
    spec = recipe.spec
    parts = [
        f"{kind} {name_of(kind, part)}"
        for kind in ("dataset", "sampler", "discriminator", "objective")
        if (part := getattr(spec, kind)) is not None
    ]
    if spec.objective is not None and spec.train is not None:
        parts.append(f"{spec.train.steps} steps")
    if spec.analyze:
        parts.append("analyze " + " ".join(analysis.name for analysis in spec.analyze))
    return f"({', '.join(parts) or 'empty'})"
