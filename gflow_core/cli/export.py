"""gflow export RUN --to FOLDER"""

from __future__ import annotations

from pathlib import Path

import click

from gflow_core.cli.paths import PATH

__all__ = ["command"]


@click.command("export")
@click.argument("run", type=PATH)
@click.option("--to", required=True, type=PATH, metavar="FOLDER", help="A new folder.")
@click.option("--checkpoint", metavar="NAME", help="Export this one (such as 000100) instead of the newest.")
@click.option("--replica", default=0, type=click.IntRange(min=0), help="Which of a run's replicas, from 0.")
@click.option("--onnx", is_flag=True, help="Write sampler.onnx as well; needs the extra onnx of gflow-core.")
@click.option("--license", "licence", metavar="TEXT", help='Of the model, for its card; "not stated" without.')
def command(run: Path, to: Path, checkpoint: str | None, replica: int, onnx: bool, licence: str | None) -> None:
    """Write a run's sampler into a folder that others load without gflow, with a page that says how."""
    from gflow_core.errors import harmless
    from gflow_core.export.sampler import export_sampler
    from gflow_core.parts.loading import of_run

    with of_run(run) as said:
        for line in said:
            click.echo(harmless(line), err=True)
        export_sampler(run, to, checkpoint=checkpoint, replica=replica, onnx=onnx, licence=licence)
    click.echo(harmless(f"exported: {to}"))
