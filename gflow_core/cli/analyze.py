"""gflow analyze RUN [NAME | OVERRIDES...]"""

from __future__ import annotations

from pathlib import Path

import click

from gflow_core.cli.words import refuse_options

__all__ = ["command"]


@click.command("analyze", context_settings={"ignore_unknown_options": True})
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[NAME | OVERRIDES]...")
@click.option(
    "--scheduler", metavar="ADDRESS|FILE", help="Spread long analyses over the workers of this dask scheduler."
)
def command(run: Path, words: tuple[str, ...], scheduler: str | None) -> None:
    """Run a finished run's analyzers again: those named, or all; overrides change their options.

    A name may also be an analyzer's that the recipe lacks; its options come after those of the recipe's own.

    \b
    gflow analyze runs/vgrow_ring8-s0-001 vgrow.flow_field analyze.0.particles=1000
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
        load_run(run).analyze(*names, overrides=overrides, scheduler=scheduler)
