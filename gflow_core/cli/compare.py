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
    from gflow_core.scores.compare import Cell, Comparison

__all__ = ["command", "plain", "print_comparison"]

_LOG_WIDTH = 160  # columns where there is no terminal


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
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from gflow_core.errors import harmless

    def safe(text: str) -> str:
        return escape(harmless(text))

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("analyzer", overflow="fold")
    table.add_column("score", overflow="fold")
    for group in found.groups:
        table.add_column(f"{safe(group.name)}\nn={len(group.seeds)}", justify="right", overflow="fold")
    before = ""
    for row in found.rows:
        if before and row.analyzer != before:
            table.add_section()
        name = "" if row.analyzer == before else safe(row.analyzer)
        cells = (_cell(cell, len(group.seeds)) for cell, group in zip(row.cells, found.groups, strict=True))
        table.add_row(name, safe(row.score), *map(safe, cells))
        before = row.analyzer
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    console.print(table)
    if any(len(group.seeds) > 1 for group in found.groups):
        console.print("mean ± standard deviation over n seeds (n - 1 in the denominator)", markup=False)


def _cell(cell: Cell, n: int) -> str:
    """`1.234 ± 0.056`; the number of seeds stands beside it where some lack the score."""
    if not cell.values:
        return "-"
    few = f" (n={len(cell.values)})" if len(cell.values) != n else ""
    if cell.mean is None:
        return " | ".join(dict.fromkeys(str(value) for value in cell.values)) + few
    counted = all(isinstance(value, int) for value in cell.values) and cell.mean == int(cell.mean)
    mean = f"{cell.mean:.0f}" if counted else f"{cell.mean:.4g}"
    return mean + ("" if cell.std is None else f" ± {cell.std:.2g}") + few


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
    }


def _finite(value: float | None) -> float | str | None:
    """JSON has no NaN and no infinity: they are text, as in result.json."""
    return value if value is None or math.isfinite(value) else str(value)


def _write_csv(found: Comparison, path: Path) -> None:
    """One line a score and group; a score that is no number stands as it is."""
    from gflow_core.files.whole import written_aside

    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["analyzer", "score", "group", "n", "mean", "std"])
        for row in found.rows:
            for cell, group in zip(row.cells, found.groups, strict=True):
                mean = cell.mean if cell.mean is not None else " | ".join(dict.fromkeys(map(str, cell.values)))
                group_name = group.name.replace("\n", " ")
                writer.writerow([row.analyzer, row.score, group_name, len(cell.values), mean, cell.std])
