"""gflow resolve: print a recipe with everything filled in."""

from __future__ import annotations

import click

from gflow_core.recipes import recipe as recipes
from gflow_core.recipes.writing import dumps

__all__ = ["command"]


@click.command("resolve")
@click.argument("recipe", type=click.Path())
@click.argument("overrides", nargs=-1)
@click.option("--origins", is_flag=True, help="Say on each line where its value came from.")
def command(recipe: str, overrides: tuple[str, ...], origins: bool) -> None:
    """Print RECIPE with its parents, OVERRIDES and every default filled in, as TOML.

    What it prints is a recipe itself.
    """
    loaded = recipes.load(recipe, overrides)
    click.echo(dumps(loaded.spec, loaded.origins if origins else None), nl=False)
