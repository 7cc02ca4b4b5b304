"""gflow sample RUN --n N --out FILE|FOLDER"""

from __future__ import annotations

import os
from pathlib import Path

import click

__all__ = ["command"]

_PICTURE = 10_000  # more would be no picture
_FILES = (".png", ".npy", ".npz", ".zip")


@click.command("sample")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--n", default=64, show_default=True, type=click.IntRange(min=1), help="Samples to draw.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="A .png (a grid, or a scatter plot of vectors), a .npy ([N, *shape], in the data's range), a .npz (images as "
    "bytes, and labels), a .zip of PNGs, or a folder of them, which goes on where it was stopped.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the latents; the run's own by default.")
@click.option(
    "--checkpoint", metavar="NAME", help="Draw from this one (such as 000100, or best) instead of the newest."
)
@click.option("--best", "checkpoint", flag_value="best", help="As --checkpoint best: see train.keep_best.")
@click.option("--replica", default=0, type=click.IntRange(min=0), help="Which of a run's replicas, from 0.")
@click.option(
    "--label",
    metavar="LABEL",
    help="What a conditional sampler is asked for: a class by name or index, or a number for each condition, such as "
    "Smiling=1,Male=-1; without it every class in turn.",
)
@click.option("--scheduler", metavar="ADDRESS|FILE", help="Spread the work over the workers of this dask scheduler.")
def command(
    run: Path,
    n: int,
    out: Path,
    seed: int | None,
    checkpoint: str | None,
    replica: int,
    label: str | None,
    scheduler: str | None,
) -> None:
    """Draw from a run's sampler (its averaged weights where it keeps them)."""
    from gflow_core.errors import GflowError, harmless

    kind = "" if out.is_dir() else out.suffix.lower()
    if kind and kind not in _FILES:
        raise GflowError(f"--out {out}: end the name in {', '.join(_FILES)}, or in none of these for a folder of PNGs")
    if not out.parent.is_dir():
        raise GflowError(f"--out {out}: the folder {out.parent} does not exist")
    if not os.access(out.parent, os.W_OK):
        raise GflowError(f"--out {out}: the folder {out.parent} cannot be written to; choose another")
    if kind == ".png" and n > _PICTURE:
        raise GflowError(
            f"--n {n}: a picture holds {_PICTURE} samples at most; name a folder, or write an array with --out FILE.npy"
        )

    import torch

    from gflow_core.export.samples import write_samples
    from gflow_core.nn.labels import label_name
    from gflow_core.nn.sampling import dealt
    from gflow_core.parts.loading import of_run
    from gflow_core.runs.console import RunConsole
    from gflow_core.runs.drawing import Drawing
    from gflow_core.runs.pictures import draw_samples
    from gflow_core.runs.session import workers

    with of_run(run) as said:
        for line in said:
            click.echo(harmless(line), err=True)
        drawing = Drawing(run, checkpoint, seed, replica, label)
    shape = drawing.recipe.spec.data_shape()
    if kind == ".png":
        with workers(scheduler) as spread:
            x = torch.cat(list(drawing.chunks(n, spread)))
        if shape is None:
            raise GflowError(f"--out {out}: the recipe has no [dataset] that says how to draw; write --out FILE.npy")
        classes = dealt(drawing.labels, n) if shape.classes and drawing.labels is not None else None
        draw_samples(out, x, shape, classes=classes)
    else:
        with workers(scheduler) as spread, RunConsole() as console:
            write_samples(drawing, n, out, spread, console.progress)
    which = ""
    if label is not None and shape is not None and drawing.labels is not None:
        which = f" of {label_name(drawing.labels[0], shape, drawing.class_names)}"
    click.echo(harmless(f"{n} samples{which}: {out}"))
