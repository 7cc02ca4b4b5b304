"""gflow analyze RUN [NAME | OVERRIDES...] [--checkpoint NAME | --every-checkpoint]"""

from __future__ import annotations

from pathlib import Path

import click

from gflow_core.cli.paths import PATH
from gflow_core.cli.words import refuse_options

__all__ = ["command"]


@click.command("analyze", context_settings={"ignore_unknown_options": True})
@click.argument("run", type=PATH)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[NAME | OVERRIDES]...")
@click.option("--checkpoint", metavar="NAME", help="Look at this one (such as 000100) instead of the newest.")
@click.option("--every-checkpoint", is_flag=True, help="Look at every checkpoint that is kept.")
@click.option(
    "--scheduler", metavar="ADDRESS|FILE", help="Spread long analyses over the workers of this dask scheduler."
)
def command(
    run: Path, words: tuple[str, ...], checkpoint: str | None, every_checkpoint: bool, scheduler: str | None
) -> None:
    """Run a finished run's analyzers again: those named, or all; overrides change their options.

    With --checkpoint or --every-checkpoint their results stand beside the run's own, under the checkpoint's step.

    A name may also be an analyzer's that the recipe lacks; its options come after those of the recipe's own.

    \b
    gflow analyze runs/vgrow_ring8-s0-001 flow_field flow_field.particles=1000
    """
    from gflow_core import load_run
    from gflow_core.errors import harmless
    from gflow_core.parts.loading import of_run

    refuse_options([str(run), *words], {})
    names = tuple(word for word in words if "=" not in word and not word.startswith("~"))
    overrides = tuple(word for word in words if word not in names)
    with of_run(run) as said:
        for line in said:
            click.echo(harmless(line), err=True)
        load_run(run).analyze(
            *names,
            overrides=overrides,
            checkpoint=checkpoint,
            every_checkpoint=every_checkpoint,
            scheduler=scheduler,
        )
