"""gflow cp: a recipe of one's own, from one that is there."""

from __future__ import annotations

from pathlib import Path

import click

from gflow_core.cli.paths import PATH
from gflow_core.errors import GflowError, printable, typed
from gflow_core.files.whole import written_aside
from gflow_core.recipes.standalone import standalone

__all__ = ["command"]


@click.command("cp")
@click.argument("recipe")
@click.argument("dest", type=PATH, metavar="DEST.toml")
@click.option("--force", is_flag=True, help="Overwrite DEST.toml.")
def command(recipe: str, dest: Path, force: bool) -> None:
    """Copy RECIPE, by name or file, into a file of your own, with its comments.

    The copy stands alone: one that extends another is written out with what it inherits, defaults left out.

    \b
    gflow cp vgrow_celeba mine.toml
    gflow run mine.toml
    """
    if dest.suffix != ".toml":
        raise GflowError(
            f"{dest}: a recipe's file ends in .toml; write {dest / 'mine.toml' if dest.is_dir() else f'{dest}.toml'}"
        )
    if not dest.parent.is_dir():
        raise GflowError(f"{dest}: there is no folder {dest.parent}; make it first")
    if dest.exists() and not force:
        raise GflowError(f"{dest} is there already; --force overwrites it")
    text = standalone(recipe, typed(dest))
    with written_aside(dest) as aside:
        aside.write_text(text, encoding="utf-8")
    click.echo(printable(f"{dest}  (gflow validate {typed(dest)}; gflow run {typed(dest)})"))
