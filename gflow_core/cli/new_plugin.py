"""gflow new-plugin: a package to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gflow_core.cli.paths import FOLDER
from gflow_core.skeleton import create

__all__ = ["command"]


@click.command("new-plugin")
@click.argument("name")
@click.option("--into", type=FOLDER, default=".", help="Where; here by default.")
def command(name: str, into: Path) -> None:
    """Write the distribution gflow-NAME: a sampler, an objective, a data set, an analyzer, a recipe, tests that pass.

    NAME is the prefix of its parts in recipes: lower-case letters and digits, single _ between them.
    """
    folder = create(name, into)
    click.echo(f"{folder}: made. What follows:")
    click.echo(f"    pip install -e {shlex.quote(f'{folder}[test]')}")
    click.echo(f"    pytest {shlex.quote(str(folder))}")
    click.echo(f"    gflow run {name}_spiral")
    click.echo(f"    gflow plugins check {name}")
