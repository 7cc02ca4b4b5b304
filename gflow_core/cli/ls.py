"""gflow ls: what there is."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from gflow_core.cli.kinds import ALL, Kind
from gflow_core.errors import RecipeError, printable
from gflow_core.plugins import plugins
from gflow_core.recipe import load
from gflow_core.schema import registry_of

__all__ = ["command"]


@click.command("ls")
@click.argument("what", required=False, type=Kind("recipes"), metavar="[KIND|recipes]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(what: str | None, as_json: bool) -> None:
    """List every part, the parts of one KIND, or the recipes in ./recipes.

    KIND is samplers, discriminators, objectives, datasets, analyzers, encoders, latents, optimizers or schedules.
    """
    recipes = what == "recipes"
    kinds = [what] if what else ALL
    rows = [_recipe(path) for path in sorted(Path("recipes").glob("*.toml"))] if recipes else _parts(kinds)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("none in ./recipes" if recipes else "none", err=True)
    elif recipes:
        _print([(row["recipe"], row["title"]) for row in rows])
    else:
        # One heading a kind; the columns of all kinds stand below each other.
        width = max(len(row["name"]) for row in rows)
        for kind in kinds:
            if mine := [row for row in rows if row["kind"] == kind]:
                click.echo(f"{kind}s")
                _print([(f"  {row['name'].ljust(width)}", row["doc"] + _provider(row)) for row in mine])


def _parts(kinds: Sequence[str]) -> list[dict[str, str]]:
    registries = {kind: registry_of(plugins(), kind) for kind in kinds}
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


def _recipe(path: Path) -> dict[str, str]:
    try:
        return {"recipe": str(path), "title": load(path).spec.title}
    except RecipeError as error:
        return {"recipe": str(path), "title": f"BROKEN: {error.problems[0]} (gflow validate {path})"}


def _print(rows: Sequence[tuple[str, str]]) -> None:
    """Two aligned columns, cut at the width of a terminal."""
    width = max(len(first) for first, _ in rows)
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for first, second in rows:
        click.echo(printable(f"{first.ljust(width)}  {second}".rstrip())[:limit])
