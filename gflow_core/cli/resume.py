"""gflow resume RUN [OVERRIDES...]"""

from __future__ import annotations

import platform
from pathlib import Path

import click

from gflow_core.cli.paths import PATH
from gflow_core.cli.words import refuse_options

__all__ = ["command"]


@click.command("resume", context_settings={"ignore_unknown_options": True})
@click.argument("run", type=PATH)
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED, metavar="[OVERRIDES]...")
@click.option(
    "--checkpoint",
    metavar="NAME",
    help="Continue from this one (such as 000100, or best) instead of the newest; what came after it is dropped.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Train to this many steps instead of the recipe's.")
@click.option(
    "--scheduler", metavar="ADDRESS|FILE", help="Spread long analyses over the workers of this dask scheduler."
)
@click.option("--no-analyze", is_flag=True, help="Only train; gflow analyze makes the analyses later.")
def command(
    run: Path,
    overrides: tuple[str, ...],
    checkpoint: str | None,
    steps: int | None,
    scheduler: str | None,
    no_analyze: bool,
) -> None:
    """Continue a run that was stopped, killed or cut off.

    On the same machine it computes bit for bit what an uninterrupted run would have. Overrides change its recipe from
    here on, which the manifest records.
    """
    from gflow_core.cli.launch import launch
    from gflow_core.errors import GflowError, harmless
    from gflow_core.machine.runtime import world_size
    from gflow_core.parts.loading import of_run
    from gflow_core.recipes.recipe import load
    from gflow_core.runs.record import RunFolder

    refuse_options([str(run), *overrides], {})
    if world_size() > 1 and not run.exists():
        raise GflowError(
            f"{run}: not on this machine ({platform.node()}); every machine reads the run that it resumes: put it on a "
            "file system that all see, or copy it to each"
        )
    with of_run(run) as said:
        for line in said:
            click.echo(harmless(line), err=True)
        spec = load(RunFolder(run).recipe, overrides, begun=True).spec
        launch(spec, _work, (run, overrides, checkpoint, steps, scheduler, not no_analyze))


def _work(
    run: Path,
    overrides: tuple[str, ...],
    checkpoint: str | None,
    steps: int | None,
    scheduler: str | None,
    analyze: bool,
) -> None:
    from gflow_core import load_run

    load_run(run).resume(overrides=overrides, checkpoint=checkpoint, steps=steps, scheduler=scheduler, analyze=analyze)
