"""Pictures of samples: a grid of images, or points in the plane over real ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gflow_core.errors import Diverged
from gflow_core.files.whole import written_aside
from gflow_core.parts.nouns import DataShape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_samples", "finite", "image_grid", "own_style", "scatter"]


@contextmanager
def own_style() -> Iterator[None]:
    """Figures made and saved within the block have matplotlib's own style, whatever a person's says.

    Their files are drawn by Agg, and no display is looked for.
    """
    if "matplotlib" not in sys.modules:
        _import_matplotlib()
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def _import_matplotlib() -> None:
    """It refuses to be imported where MPLBACKEND is not installed: a notebook's, in a process that it started."""
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend is not None:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend  # for whoever draws with pyplot, as importing it does


def draw_samples(
    path: Path,
    x: Tensor,
    shape: DataShape,
    real: Tensor | None = None,
    columns: int | None = None,
    classes: Tensor | None = None,
) -> None:
    """Write a picture of x [N, *shape] as PNG, whole or not at all.

    Images lie in rows of `columns`, nearly a square by default. `real` points lie behind vectors, which have the
    colours of their `classes` [N]. Raises Diverged where samples are not finite.
    """
    with written_aside(path) as aside:
        if shape.kind == "image":
            Image.fromarray(image_grid(x, shape, columns)).save(aside, format="png")
        else:
            with own_style():
                scatter(x, real, classes).savefig(aside, format="png", dpi=120)


def finite(x: Tensor) -> Tensor:
    """Samples x [N, ...] as they are. Raises Diverged where some are not finite: they are not to be shown as if."""
    if wrong := len(x) - int(x.isfinite().flatten(1).all(1).sum()):
        raise Diverged(
            f"{wrong} of {len(x)} samples are NaN or infinite, and cannot be drawn; the sampler has diverged: train "
            "with a lower rate, or look at an earlier checkpoint"
        )
    return x


def image_grid(x: Tensor, shape: DataShape, columns: int | None = None, gap: int = 2) -> np.ndarray[Any, Any]:
    """Images x [N, C, H, W] row by row in one picture [height, width, 3] of bytes, white `gap` pixels around each.

    Values beyond the data's range saturate. One channel is shown as grey; more than three show three. Raises Diverged
    where images are not finite.
    """
    low, high = (shape.low, shape.high) if shape.low is not None and shape.high is not None else (-1.0, 1.0)
    pixels = ((finite(x.detach().float().cpu()) - low) * (255 / (high - low))).round().clamp(0, 255)
    pixels = pixels.to(torch.uint8)[:, :3] if x.shape[1] >= 3 else pixels.to(torch.uint8)[:, :1].expand(-1, 3, -1, -1)
    n, _, height, width = pixels.shape
    columns = min(columns or int((n - 1) ** 0.5) + 1, n)
    rows = -(-n // columns)
    cells = torch.full((rows * columns, 3, height + gap, width + gap), 255, dtype=torch.uint8)
    cells[:n, :, :height, :width] = pixels
    grid = cells.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return F.pad(grid, (gap, 0, gap, 0), value=255).permute(1, 2, 0).contiguous().numpy()


def scatter(x: Tensor, real: Tensor | None = None, classes: Tensor | None = None) -> Figure:
    """Points x [N, d]: their first two coordinates (a histogram where d is 1), real points behind them.

    Points of different `classes` [N] have different colours, of which there are ten.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    sets = [] if real is None else [("real", real, "0.75")]
    if classes is None:
        sets += [("generated", x, "tab:blue")]
    else:
        sets += [(f"class {c}", x[classes == c], f"C{c % 10}") for c in classes.unique().tolist()]
    for label, points, colour in sets:
        p = finite(points.detach().float().cpu()).numpy()
        if p.shape[1] == 1:
            axes.hist(p[:, 0], bins=60, density=True, alpha=0.6, color=colour, label=label)
        else:
            axes.scatter(p[:, 0], p[:, 1], s=4, alpha=0.6, color=colour, label=label, linewidths=0)
    if x.shape[1] > 1:
        axes.set_aspect("equal", "datalim")
    if len(sets) <= 12:  # more would hide the points
        axes.legend(loc="upper right", markerscale=3)
    return figure
