"""gflow compare RUN..."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gflow_core.cli.paths import FILE, PATH

if TYPE_CHECKING:
    from gflow_core.scores.compare import Comparison

__all__ = ["command", "plain", "print_comparison"]


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--only", multiple=True, metavar="NAME", help="Compare the scores of this analyzer; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with each seed's value.")
@click.option("--csv", "out", type=FILE, metavar="FILE", help="Write a CSV file as well.")
def command(runs: tuple[Path, ...], only: tuple[str, ...], as_json: bool, out: Path | None) -> None:
    """Put the final scores of runs side by side: mean and standard deviation over seeds.

    Runs whose recipes differ in nothing but the seed share a column; the options in which columns differ name them. A
    sweep's folder stands for its runs.

    \b
    gflow compare runs/vgrow_ring8-s*-001
    gflow compare runs/vgrow_ring8-sweep
    """
    from gflow_core.errors import GflowError
    from gflow_core.scores.compare import compare

    if out is not None and not out.parent.is_dir():
        raise GflowError(f"--csv {out}: the folder {out.parent} does not exist")
    found = compare(runs, only)
    if out is not None:
        _write_csv(found, out)
    if as_json:
        click.echo(json.dumps(plain(found), indent=2))
    else:
        print_comparison(found)


def print_comparison(found: Comparison) -> None:
    """A comparison as a table: a column a group, a row a score."""
    from rich.console import Console

    from gflow_core.scores.compare import WIDTH, print_table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    print_table(found, console)


def plain(found: Comparison) -> dict[str, Any]:
    """A comparison as JSON has it."""
    return {
        "groups": [
            {"name": g.name, "options": dict(g.options), "runs": list(g.runs), "seeds": list(g.seeds)}
            for g in found.groups
        ],
        "rows": [
            {
                "analyzer": row.analyzer,
                "score": row.score,
                "values": [
                    {"n": len(c.values), "mean": _finite(c.mean), "std": c.std, "values": list(c.values)}
                    for c in row.cells
                ],
            }
            for row in found.rows
        ],
        "left_out": list(found.left_out),
    }


def _finite(value: float | None) -> float | str | None:
    """JSON has no NaN and no infinity: they are text, as in result.json."""
    return value if value is None or math.isfinite(value) else str(value)


def _write_csv(found: Comparison, path: Path) -> None:
    """One line a score and group; a score that is no number stands as it is."""
    from gflow_core.files.whole import written_aside

    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["analyzer", "score", "group", "n", "mean", "std", "values"])
        for row in found.rows:
            for cell, group in zip(row.cells, found.groups, strict=True):
                mean = cell.mean if cell.mean is not None else " | ".join(dict.fromkeys(map(str, cell.values)))
                group_name = group.name.replace("\n", " ")
                values = " ".join(map(str, cell.values))
                writer.writerow([row.analyzer, row.score, group_name, len(cell.values), mean, cell.std, values])
