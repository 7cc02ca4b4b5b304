"""gflow sample RUN --n N --out FILE"""

from __future__ import annotations

import os
from pathlib import Path

import click

__all__ = ["command"]


@click.command("sample")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--n", default=64, show_default=True, type=click.IntRange(min=1), help="Samples to draw.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .png (a grid, or a scatter plot of vectors) or a .npy ([N, *shape], in the data's range).",
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the latents; the run's own by default.")
@click.option("--checkpoint", metavar="NAME", help="Draw from this one (such as 000100) instead of the newest.")
def command(run: Path, n: int, out: Path, seed: int | None, checkpoint: str | None) -> None:
    """Draw from a run's sampler (its averaged weights where it keeps them)."""
    from gflow_core.errors import GflowError

    if out.suffix not in (".png", ".npy"):
        raise GflowError(f"--out {out}: end the name in .png for a picture or .npy for an array")
    if not out.parent.is_dir():
        raise GflowError(f"--out {out}: the folder {out.parent} does not exist")

    from gflow_core import session

    x, recipe = session.draw(run, n, checkpoint, seed)
    if out.suffix == ".png":
        from gflow_core.pictures import draw_samples

        draw_samples(out, x, recipe.spec.dataset.data_shape())
    else:
        import numpy as np

        aside = out.with_name(f".{out.name}.tmp")
        with aside.open("wb") as file:
            np.save(file, x.numpy(), allow_pickle=False)
        os.replace(aside, out)
    click.echo(f"{n} samples: {out}")
