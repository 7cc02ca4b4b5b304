"""gflow cite RECIPE|RUN [OVERRIDES]..."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gflow_core.cli.paths import PATH

__all__ = ["command"]


@click.command("cite")
@click.argument("what", metavar="RECIPE|RUN", type=PATH)
@click.argument("overrides", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(what: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print BibTeX of what a recipe, or a run's, uses: its parts, its data, and gflow.

    OVERRIDES, such as objective.velocity=svgd, exchange parts before.
    """
    from gflow_core.parts.loading import of_run
    from gflow_core.parts.plugins import plugins
    from gflow_core.recipes.citing import citations, own_entry
    from gflow_core.recipes.recipe import load

    begun = (what / "recipe.toml").is_file()
    if begun:
        with of_run(what) as said:
            for line in said:
                click.echo(line, err=True)
            spec = load(what / "recipe.toml", overrides, begun=True).spec
    else:
        spec = load(what, overrides).spec
    found = [own_entry(plugins().records[0].version), *citations(spec, plugins())]
    if as_json:
        click.echo(json.dumps([{"key": c.key, "parts": c.parts, "bibtex": c.bibtex} for c in found], indent=2))
        return
    click.echo("\n\n".join(f"% {', '.join(citation.parts)}\n{citation.bibtex}" for citation in found))
