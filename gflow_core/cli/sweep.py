"""gflow sweep RECIPE [AXES | OVERRIDES...] [seeds=...]"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gflow_core.cli.paths import FOLDER, PATH
from gflow_core.cli.words import refuse_options

if TYPE_CHECKING:
    from gflow_core.sweeps import Member, Sweep

__all__ = ["command"]

_MEANT = {"--seed": "seeds", "--seeds": "seeds", "--steps": "train.steps"}


@click.command("sweep", context_settings={"ignore_unknown_options": True})
@click.argument("recipe", type=PATH)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[KEY=A,B | OVERRIDE | seeds=0:10]...")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Runs at once: one a GPU, or else one a core.")
@click.option(
    "--scheduler",
    metavar="ADDRESS|FILE",
    help="Run on the workers of this dask scheduler (tcp://HOST:8786, or its scheduler file), not on this machine.",
)
@click.option(
    "--runs",
    type=FOLDER,
    help="Folder of the run folders: runs/NAME-sweep by default.",
)
@click.option("--dry-run", is_flag=True, help="Print the runs and how they stand; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: what became of each run, and the comparison.")
def command(
    recipe: Path,
    words: tuple[str, ...],
    jobs: int | None,
    scheduler: str | None,
    runs: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a grid: every combination of the values of each axis KEY=A,B,... and of the seeds.

    Started again it skips what is finished and resumes what was stopped. It ends with the scores side by side.

    \b
    gflow sweep recipes/vgrow_ring8.toml objective.divergence=kl,js seeds=0:10
    gflow sweep recipes/vgrow_ring8.toml seeds=0,3,5 train.steps=100 --dry-run
    """
    from gflow_core.cli.compare import print_comparison
    from gflow_core.errors import GflowError, harmless
    from gflow_core.sweeps import plan, sweep

    refuse_options([str(recipe), *words], _MEANT)
    if dry_run:
        standing = plan(recipe, *words, runs=runs)
        _print_json(standing) if as_json else _print_plan(standing)
        return
    done = sweep(recipe, *words, runs=runs, scheduler=scheduler, jobs=jobs, stderr=as_json)
    if as_json:
        _print_json(done)
    elif done.comparison is not None:
        print_comparison(done.comparison)
        if done.note:
            click.echo(harmless(done.note))
    else:
        click.echo(harmless(done.note))
        for member in done.runs:
            click.echo(harmless(f"{member.path or member.cell.label}: {_state(member)}"))
    if lacking := [member for member in done.runs if member.state != "finished"]:
        raise GflowError(f"{len(lacking)} of {len(done.runs)} runs are not finished:" + "".join(map(_why, lacking)))


def _state(member: Member) -> str:
    words = {"stopped": f"to resume after step {member.step}", "trained": "to analyze", "busy": "another process's"}
    return words.get(member.state, member.state)


def _why(member: Member) -> str:
    where = f"\n    {member.log}" if member.log else ""
    reason = (member.problem or _state(member)).replace("\n", "\n    ")
    return f"\n  {member.cell.label or member.path}: {reason}{where}"


def _print_plan(standing: Sweep) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from gflow_core.errors import harmless, printable

    axes = list(standing.runs[0].cell.axes)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in (*axes, "state", "run"):
        table.add_column(escape(printable(name)), overflow="fold")
    for member in standing.runs:
        row = [*member.cell.axes.values(), _state(member), str(member.path or "")]
        table.add_row(*(escape(printable(text)) for text in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    console.print(table)
    if standing.note:
        click.echo(harmless(f"note: {standing.note}"), err=True)


def _print_json(done: Sweep) -> None:
    from gflow_core.cli.compare import plain

    runs: list[dict[str, Any]] = [
        {
            "overrides": list(member.cell.overrides),
            "seed": member.cell.spec.seed,
            "state": member.state,
            "step": member.step,
            "run": str(member.path) if member.path else None,
            "problem": member.problem or None,
            "log": str(member.log) if member.log else None,
        }
        for member in done.runs
    ]
    comparison = plain(done.comparison) if done.comparison is not None else None
    click.echo(json.dumps({"runs": runs, "comparison": comparison, "note": done.note or None}, indent=2))
