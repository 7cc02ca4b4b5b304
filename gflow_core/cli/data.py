"""gflow data: prepare data sets, and look at them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gflow_core.cli.paths import PATH
from gflow_core.errors import GflowError

if TYPE_CHECKING:
    from gflow_core.runs.console import RunConsole
    from gflow_core.runs.look import Look

__all__ = ["command"]

_ROWS = 40  # classes, or conditions, that a table tells


@click.group("data")
def command() -> None:
    """Prepare and look at data sets."""


@command.command("prepare")
@click.argument("recipe", type=PATH)
@click.argument("overrides", nargs=-1, metavar="[OVERRIDES]...")
def prepare(recipe: Path, overrides: tuple[str, ...]) -> None:
    """Load the data set of RECIPE, decoding its images into the cache where that is needed; train nothing."""
    from gflow_core.recipes.recipe import load

    spec = load(recipe, overrides).spec
    if spec.dataset is None:
        raise GflowError(f"{recipe}: dataset: there is no [dataset] to prepare")
    from gflow_core.nn.labels import class_list
    from gflow_core.runs.blame import blaming
    from gflow_core.runs.build import read_data
    from gflow_core.runs.console import RunConsole

    with RunConsole() as console, blaming(spec):
        source = read_data(spec.dataset, console.progress)
    console.say(f"{len(source):,} items, {source.shape}")
    if source.class_names:
        console.say(f"classes {class_list(len(source.class_names), source.class_names, 20)}")
    caches = [cache for cache in (source.cache, *(one.cache for one in source.joints)) if cache is not None]
    for cache in caches:
        console.say(f"cache {cache}")
    if not caches:
        console.say("no cache: this set needs no decoding")
    console.say(f"fingerprint {source.fingerprint}")


@command.command("look")
@click.argument("recipe", type=PATH)
@click.argument("overrides", nargs=-1, metavar="[OVERRIDES]...")
@click.option("--out", default="data.png", show_default=True, type=PATH, help="The picture, a .png.")
@click.option("--n", type=click.IntRange(1, 10_000), help="Items in it; by default 64 images, or 2048 points.")
@click.option("--augmented", is_flag=True, help="Change them as training will: flip, dither, train.augment.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def look(recipe: Path, overrides: tuple[str, ...], out: Path, n: int | None, augmented: bool, as_json: bool) -> None:
    """Draw what RECIPE's networks will see of its data, with labels, and count it; train nothing."""
    from gflow_core.runs.console import RunConsole
    from gflow_core.runs.look import look

    with RunConsole(quiet=as_json) as console:
        found = look(recipe, *overrides, out=out, n=n, augmented=augmented, progress=console.progress)
    if as_json:
        click.echo(json.dumps(_plain(found), indent=2))
        return
    console.say(f"{found.items:,} items, {found.shape}")
    console.say(f"values from {found.low:.4g} to {found.high:.4g}")
    _print_labels(found, console)
    console.say(f"picture {found.picture}: {found.shown:,} items" + (", augmented" if augmented else ""))


def _plain(found: Look) -> dict[str, object]:
    """What was found, as JSON has it."""
    return {
        "picture": str(found.picture),
        "shown": found.shown,
        "items": found.items,
        "shape": str(found.shape),
        "values": [found.low, found.high],
        "classes": dict(found.classes),
        "conditions": {
            name: dict(zip(("least", "mean", "greatest"), numbers, strict=True))
            for name, numbers in found.conditions.items()
        },
        "remarks": list(found.remarks),
        "fingerprint": found.fingerprint,
    }


def _print_labels(found: Look, console: RunConsole) -> None:
    """Items a class, or the range of each condition."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from gflow_core.errors import harmless

    rows = [(name, [f"{count:,}"]) for name, count in found.classes.items()]
    rows += [(name, [f"{number:.4g}" for number in numbers]) for name, numbers in found.conditions.items()]
    if not rows:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("class" if found.classes else "condition", overflow="fold")
    for heading in ("items",) if found.classes else ("least", "mean", "greatest"):
        table.add_column(heading, justify="right")
    for name, cells in rows[:_ROWS]:
        table.add_row(escape(harmless(name)), *cells)
    console.rich.print(table)
    if len(rows) > _ROWS:
        console.say(f"and {len(rows) - _ROWS} more, which --json tells")
