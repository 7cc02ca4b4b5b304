"""gflow run RECIPE [OVERRIDES...]"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gflow_core.cli.paths import FOLDER, PATH
from gflow_core.cli.words import refuse_options

__all__ = ["command"]

_MEANT = {"--seed": "train.seed", "--seeds": "train.seed", "--steps": "train.steps"}


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("recipe", type=PATH)
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED)
@click.option("--dry-run", is_flag=True, help="Print the plan; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print the plan as JSON.")
@click.option(
    "--runs",
    type=FOLDER,
    default=Path("runs"),
    show_default=True,
    help="Folder in which the run folder is made.",
)
@click.option(
    "--scheduler", metavar="ADDRESS|FILE", help="Spread long analyses over the workers of this dask scheduler."
)
@click.option("--name", metavar="NAME", help="Name of the run folder in place of RECIPE-sSEED-NNN.")
@click.option("--note", metavar="TEXT", default="", help="Kept with the run, and shown by gflow ls runs and reports.")
@click.option("--no-analyze", is_flag=True, help="Only train; gflow analyze makes the analyses later.")
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    runs: Path,
    scheduler: str | None,
    name: str | None,
    note: str,
    no_analyze: bool,
) -> None:
    """Train and analyze a recipe.

    \b
    gflow run recipes/vgrow_mnist5k.toml
    gflow run recipes/vgrow_ring8.toml objective.divergence=js train.seed=3
    """
    from gflow_core.recipes import recipe as recipes

    refuse_options([str(recipe), *overrides], _MEANT)
    if as_json and not dry_run:
        raise click.UsageError("--json prints the plan: write --dry-run as well")
    loaded = recipes.load(recipe, overrides)
    if dry_run:
        from gflow_core.cli.plan import print_plan

        print_plan(loaded, as_json=as_json)
        return

    from gflow_core.cli.launch import launch

    how = {"runs": runs, "scheduler": scheduler, "analyze": not no_analyze, "name": name, "note": note}
    launch(loaded.spec, _work, (recipe, overrides, how))


def _work(recipe: Path, overrides: tuple[str, ...], how: dict[str, Any]) -> None:
    from gflow_core.runs import api

    api.run(recipe, *overrides, **how)
