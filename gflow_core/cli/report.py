"""gflow report RUN..."""

from __future__ import annotations

from pathlib import Path

import click

from gflow_core.cli.paths import FOLDER, PATH

__all__ = ["command"]


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="RUN...")
@click.option(
    "--out",
    type=FOLDER,
    metavar="DIR",
    help="Folder for the page: by default the run's own, and report/ for several runs.",
)
@click.option("--only", multiple=True, metavar="NAME", help="An analysis that counts; may be repeated. All by default.")
@click.option("--open", "show", is_flag=True, help="Open the page in the browser.")
def command(runs: tuple[Path, ...], out: Path | None, only: tuple[str, ...], show: bool) -> None:
    """Write a page about a run, or a comparison of several: samples, curves, scores, recipe, environment.

    The page is one HTML file that needs no network and nothing beside it. A sweep's folder stands for its runs.

    \b
    gflow report runs/vgrow_ring8-s0-001 --open
    gflow report runs/vgrow_ring8-s*-001 --out report
    gflow report runs/vgrow_ring8-sweep --out report
    """
    from gflow_core.errors import harmless
    from gflow_core.report import write_report

    page = write_report(runs, out, only)
    for sentence in page.missing:
        click.echo(harmless(f"note: {sentence}"), err=True)
    click.echo(page.path)
    if show:
        click.launch(str(page.path.resolve()))
