"""gflow data: prepare data sets."""

from __future__ import annotations

from pathlib import Path

import click

from gflow_core.errors import GflowError

__all__ = ["command"]


@click.group("data")
def command() -> None:
    """Prepare and look at data sets."""


@command.command("prepare")
@click.argument("recipe", type=click.Path(path_type=Path))
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
    console.say(f"cache {source.cache}" if source.cache else "no cache: this set needs no decoding")
    console.say(f"fingerprint {source.fingerprint}")
