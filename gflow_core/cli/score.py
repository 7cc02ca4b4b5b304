"""gflow score A B [OVERRIDES...]"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gflow_core.cli.words import refuse_options

if TYPE_CHECKING:
    from rich.console import Console

    from gflow_core.scores.judge import Judgement

__all__ = ["command"]


@click.command("score", context_settings={"ignore_unknown_options": True})
@click.argument("judged", metavar="A")
@click.argument("reference", metavar="B")
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED)
@click.option("--encoder", metavar="NAME|TABLE", help="Network of the features, such as inception (gflow ls encoders).")
@click.option(
    "--metric",
    "metrics",
    metavar="NAMES",
    default="frechet",
    show_default=True,
    help="Analyzers of samples alone, such as frechet, kernel, inception, prdc and two_sample: a,b,...",
)
@click.option("--n", type=click.IntRange(min=1), help="Items of each; as the analyzers' defaults have it without.")
@click.option("--image-size", type=click.IntRange(min=1), help="Resize images of files to so many pixels.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="Read images of files as grey (1) or RGB (3).")
@click.option("--against", type=click.Choice(["train", "test"]), help="Split of the data of the recipe B.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of a run's samples and of random subsets.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where to compute.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    judged: str,
    reference: str,
    overrides: tuple[str, ...],
    metrics: str,
    channels: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Score one set of items, A, against another, B, as the analyzers of a run do.

    Each is a folder, zip or tar of images, a .npy or .npz, a run folder (its samples) or a recipe (its data).
    Overrides change other options of a metric.

    \b
    gflow score samples/ real.zip --encoder inception --metric frechet,kernel,prdc
    gflow score runs/dcgan_mnist5k-s0-001 dcgan_mnist5k --encoder mnist_cnn --metric kernel kernel.subset_size=500
    """
    from gflow_core import score
    from gflow_core.errors import harmless
    from gflow_core.parts.loading import of_run
    from gflow_core.runs.console import RunConsole, terminal

    refuse_options([judged, reference, *overrides], {})
    with ExitStack() as stack:
        for one in (judged, reference):
            if (Path(one) / "recipe.toml").is_file():
                for line in stack.enter_context(of_run(Path(one))):
                    click.echo(harmless(line), err=True)
        console = stack.enter_context(RunConsole(stderr=True))
        found = score(
            judged,
            reference,
            *overrides,
            metrics=[name.strip() for name in metrics.split(",") if name.strip()],
            channels=None if channels is None else int(channels),
            progress=console.progress,
            **options,
        )
    if as_json:
        click.echo(json.dumps(_plain(found), indent=2))
    else:
        _print(found, terminal())


def _plain(found: Judgement) -> dict[str, Any]:
    """As JSON has it: what result.json of each analyzer would say."""
    from gflow_core.runs.record import plain

    results = {name: {"scores": one.scores, "manifest": one.manifest} for name, one in found.results.items()}
    body = {"judged": found.judged, "reference": found.reference, "results": results, "doubts": list(found.doubts)}
    return dict(plain(body))


def _print(found: Judgement, console: Console) -> None:
    """A row a score, what stands beside it in the same row; then what the scores depend on, and what to doubt."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from gflow_core.errors import harmless
    from gflow_core.recipes.changes import value_text
    from gflow_core.report.page import score_rows
    from gflow_core.report.read import Finding

    def table(*columns: str) -> Table:
        made = Table(box=SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            made.add_column(column, overflow="fold")
        return made

    def add(to: Table, *cells: str) -> None:
        to.add_row(*(escape(harmless(cell)) for cell in cells))

    scores = table("metric", "score", "value", "beside it")
    for name, result in found.results.items():
        for i, row in enumerate(score_rows(Finding(0, result.scores))):
            beside = "  ".join(f"{what} {value.text}" for what, value in row.beside)
            value = "-" if row.value is None else row.value.text + (f" ± {row.value.error}" if row.value.error else "")
            add(scores, "" if i else name, row.name, value, beside)
    depends = table("what they depend on", "")
    for key in dict.fromkeys(key for result in found.results.values() for key in result.manifest):
        known = ((name, result.manifest.get(key)) for name, result in found.results.items())
        texts = {name: value_text(value) for name, value in known if value is not None}
        common = len(texts) == len(found.results) and len(set(texts.values())) == 1
        if texts:
            add(depends, key, next(iter(texts.values())) if common else "  ".join(map(": ".join, texts.items())))
    for line in (f"judged     {found.judged}", f"reference  {found.reference}"):
        console.print(harmless(line), markup=False, soft_wrap=True)
    console.print(scores)
    console.print(depends)
    for doubt in found.doubts:
        console.print(harmless(f"doubt: {doubt}"), markup=False, soft_wrap=True)
