"""gflow run RECIPE [OVERRIDES...]"""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED)
@click.option("--dry-run", is_flag=True, help="Print the plan; write nothing.")
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder in which the run folder is made.",
)
def command(recipe: Path, overrides: tuple[str, ...], dry_run: bool, runs: Path) -> None:
    """Train and analyze a recipe.

    \b
    gflow run recipes/vgrow_mnist5k.toml
    gflow run recipes/vgrow_ring8.toml objective.divergence=js train.seed=3
    """
    from gflow_core import recipe as recipes

    loaded = recipes.load(recipe, overrides)
    if dry_run:
        from gflow_core.cli.plan import print_plan

        print_plan(loaded)
        return

    from gflow_core.cli.launch import launch

    launch(loaded.spec, _work, (recipe, overrides, runs))


def _work(recipe: Path, overrides: tuple[str, ...], runs: Path) -> None:
    from gflow_core import api

    api.run(recipe, *overrides, runs=runs)
