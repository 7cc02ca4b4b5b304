"""gflow sample RUN --n N --out FILE|FOLDER, or --video FILE"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import click
from click.core import ParameterSource

from gflow_core.cli.paths import FILE, PATH

__all__ = ["command"]

_PICTURE = 10_000  # more would be no picture
_FILES = (".png", ".npy", ".npz", ".zip")
_FILMS = (".gif", ".mp4")


@click.command("sample")
@click.argument("run", type=PATH)
@click.option(
    "--n", default=64, show_default=True, type=click.IntRange(min=1), help="Samples to draw; walks at a time of a film."
)
@click.option(
    "--out",
    type=PATH,
    help="A .png (a grid, or a scatter plot of vectors), a .npy ([N, *shape], in the data's range), a .npz (images as "
    "bytes, and labels), a .zip of PNGs, or a folder of them, which goes on where it was stopped.",
)
@click.option(
    "--video",
    metavar="FILE",
    type=FILE,
    help="In place of --out, a film of walks through the latents: a .gif, or an .mp4 where the program ffmpeg is.",
)
@click.option(
    "--latents", default=4, show_default=True, type=click.IntRange(min=2), help="Latents that each walk goes through."
)
@click.option("--frames", default=120, show_default=True, type=click.IntRange(min=2), help="Frames of the film.")
@click.option("--fps", default=20, show_default=True, type=click.IntRange(1, 100), help="Frames a second.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the latents; the run's own by default.")
@click.option(
    "--checkpoint", metavar="NAME", help="Draw from this one (such as 000100, or best) instead of the newest."
)
@click.option("--best", is_flag=True, help="As --checkpoint best: see train.keep_best.")
@click.option("--replica", default=0, type=click.IntRange(min=0), help="Which of a run's replicas, from 0.")
@click.option(
    "--label",
    metavar="LABEL",
    help="What a conditional sampler is asked for: a class by name or index, or a number for each condition, such as "
    "Smiling=1,Male=-1; without it every class in turn.",
)
@click.option("--text", metavar="WORDS", help='What a sampler of captions is asked for, such as "a thick three".')
@click.option(
    "--batch-norm",
    type=click.Choice(["eval", "standing"]),
    default="eval",
    show_default=True,
    help="Statistics of batch norm in the sampler: those of training, or standing ones, over its own samples.",
)
@click.option(
    "--refine",
    metavar="STEPS",
    type=click.IntRange(min=1),
    help="Move z so many steps along the discriminator first (DGflow, Ansari et al. 2021: 25).",
)
@click.option("--eta", default=0.1, show_default=True, type=click.FloatRange(min=0), help="Step size of --refine.")
@click.option(
    "--temperature", default=0.01, show_default=True, type=click.FloatRange(min=0), help="Of the noise of --refine."
)
@click.option(
    "--divergence",
    type=click.Choice(["kl", "js", "logd"]),
    default="kl",
    show_default=True,
    help="What --refine decreases.",
)
@click.option("--scheduler", metavar="ADDRESS|FILE", help="Spread the work over the workers of this dask scheduler.")
def command(
    run: Path,
    n: int,
    out: Path | None,
    video: Path | None,
    latents: int,
    frames: int,
    fps: int,
    seed: int | None,
    checkpoint: str | None,
    best: bool,
    replica: int,
    label: str | None,
    text: str | None,
    batch_norm: Literal["eval", "standing"],
    refine: int | None,
    eta: float,
    temperature: float,
    divergence: str,
    scheduler: str | None,
) -> None:
    """Draw from a run's sampler (its averaged weights where it keeps them)."""
    from gflow_core.errors import GflowError, harmless

    target, kind = _target(out, video, n, refine)
    if best and checkpoint is not None:
        raise click.UsageError(f"--best and --checkpoint {checkpoint} are two checkpoints; leave one of them out")
    checkpoint = "best" if best else checkpoint

    import torch

    from gflow_core.export.samples import write_samples
    from gflow_core.export.walk import write_walk
    from gflow_core.methods.refinement import Refinement
    from gflow_core.nn.labels import label_name
    from gflow_core.nn.sampling import dealt
    from gflow_core.parts.loading import of_run
    from gflow_core.runs.around import workers
    from gflow_core.runs.console import RunConsole
    from gflow_core.runs.drawing import Drawing
    from gflow_core.runs.pictures import draw_samples

    with of_run(run) as said:
        for line in said:
            click.echo(harmless(line), err=True)
        refinement = None if refine is None else Refinement.of(refine, eta, temperature, divergence)
        drawing = Drawing(run, checkpoint, seed, replica, label, text, batch_norm=batch_norm, refinement=refinement)
    shape = drawing.recipe.spec.data_shape()
    if kind == ".png":
        with workers(scheduler) as spread:
            x = torch.cat(list(drawing.chunks(n, spread)))
        if shape is None:
            raise GflowError(f"--out {out}: the recipe has no [dataset] that says how to draw; write --out FILE.npy")
        classes = dealt(drawing.labels, n) if shape.classes and drawing.labels is not None else None
        draw_samples(target, x, shape, classes=classes)
    else:
        with workers(scheduler) as spread, RunConsole() as console:
            if video is not None:
                write_walk(
                    drawing,
                    video,
                    n=n,
                    latents=latents,
                    frames=frames,
                    fps=fps,
                    spread=spread,
                    progress=console.progress,
                )
            else:
                write_samples(drawing, n, target, spread, console.progress)
    which = "" if text is None else f' of "{text}"'
    if label is not None and shape is not None and drawing.labels is not None:
        which = f" of {label_name(drawing.labels[0], shape, drawing.class_names)}"
    if batch_norm == "standing":
        which += ", with standing statistics of batch norm"
    if refinement is not None:
        which += f", refined ({refinement})"
    what = f"{frames} frames of {n} walks" if video is not None else f"{n} samples"
    click.echo(harmless(f"{what}{which}: {target}"))


def _target(out: Path | None, video: Path | None, n: int, refine: int | None) -> tuple[Path, str]:
    """What is to be written, and the suffix that says how; "" of a folder. Raises GflowError where it cannot be."""
    from gflow_core.errors import GflowError

    context = click.get_current_context()
    for name in ("latents", "frames", "fps") if video is None else ():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise GflowError(f"--{name}: is for a film; ask for one with --video FILE.gif, or leave it out")
    for name in ("eta", "temperature", "divergence") if refine is None else ():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise GflowError(f"--{name}: is for refined samples; ask for them with --refine 25, or leave it out")
    if refine is not None and video is not None:
        raise GflowError("--refine: a film walks through latents as they are; leave --refine or --video out")
    if (target := video or out) is None or (video is not None and out is not None):
        raise GflowError("what is to be written? Give --out for samples, or --video for a film of them")
    option = "--out" if video is None else "--video"
    kind = "" if target.is_dir() else target.suffix.lower()
    if video is not None and kind not in _FILMS:
        raise GflowError(f"--video {video}: end the name in {' or '.join(_FILMS)}")
    if video is None and kind and kind not in _FILES:
        raise GflowError(f"--out {out}: end the name in {', '.join(_FILES)}, or in none of these for a folder of PNGs")
    if not target.parent.is_dir():
        raise GflowError(f"{option} {target}: the folder {target.parent} does not exist")
    if not os.access(target.parent, os.W_OK):
        raise GflowError(f"{option} {target}: the folder {target.parent} cannot be written to; choose another")
    if kind in (".png", *_FILMS) and n > _PICTURE:
        raise GflowError(
            f"--n {n}: a picture holds {_PICTURE} samples at most; name a folder, or write an array with --out FILE.npy"
        )
    return target, kind
