"""gflow ls: what there is."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from gflow_core.errors import RecipeError
from gflow_core.plugins import KINDS, plugins
from gflow_core.recipe import load
from gflow_core.schema import registry_of

__all__ = ["command"]

WHAT = {f"{kind}s": kind for kind in (*KINDS, "optimizer", "schedule")}
"""The word on the command line -> the kind of part."""


@click.command("ls")
@click.argument("what", required=False, type=click.Choice([*WHAT, "recipes"]))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(what: str | None, as_json: bool) -> None:
    """List every part, the parts of one kind, or the recipes in ./recipes."""
    if what == "recipes":
        rows = [_recipe(path) for path in sorted(Path("recipes").glob("*.toml"))]
        columns: tuple[str, ...] = ("recipe", "title")
    else:
        rows = [row for kind in ([WHAT[what]] if what else WHAT.values()) for row in _parts(kind)]
        columns = ("name", "provider", "doc") if what else ("kind", "name", "provider", "doc")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        _print([[row[column] for column in columns] for row in rows])
    else:
        click.echo("none in ./recipes" if what == "recipes" else "none", err=True)


def _parts(kind: str) -> list[dict[str, str]]:
    registry = registry_of(plugins(), kind)
    return [
        {
            "kind": kind,
            "name": name,
            "provider": registry.entry(name).provider,
            "doc": registry.find(name).doc.partition("\n")[0],
        }
        for name in registry
    ]


def _recipe(path: Path) -> dict[str, str]:
    try:
        return {"recipe": str(path), "title": load(path).spec.title}
    except RecipeError as error:
        return {"recipe": str(path), "title": f"BROKEN: {error.problems[0]} (gflow validate {path})"}


def _print(rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns, the last one cut at the width of a terminal."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        line = "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        click.echo(line.rstrip()[:limit])
