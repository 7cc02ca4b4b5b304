"""gflow resume RUN"""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("resume")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--checkpoint", metavar="NAME", help="Continue from this one (such as 000100) instead of the newest.")
def command(run: Path, checkpoint: str | None) -> None:
    """Continue a run that was stopped, killed or cut off.

    On the same machine it computes bit for bit what an uninterrupted run would have.
    """
    from gflow_core.cli.launch import launch
    from gflow_core.recipe import load
    from gflow_core.record import RunFolder

    launch(load(RunFolder(run).recipe).spec, _work, (run, checkpoint))


def _work(run: Path, checkpoint: str | None) -> None:
    from gflow_core import session
    from gflow_core.cli.console import RunConsole

    console = RunConsole()
    try:
        folder = session.resume(run, console, checkpoint)
    finally:
        console.close()
    pictures = sorted((folder.path / "samples").glob("*.png"))
    console.say(f"samples: {pictures[-1]}" if pictures else f"done: {folder.path}")
