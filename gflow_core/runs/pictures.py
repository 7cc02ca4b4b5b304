"""Pictures of samples and data: a grid of images, with captions or without, or points in the plane."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from gflow_core.errors import Diverged, printable
from gflow_core.files.whole import written_aside
from gflow_core.parts.nouns import DataShape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "bytes_of",
    "draw_captioned",
    "draw_points",
    "draw_samples",
    "finite",
    "image_grid",
    "own_style",
    "scatter",
    "write_gif",
]

_LETTERS = 12  # pixels of a caption's letters
_LINE = 15
_LINES = 3  # of a caption
_CELL = 104  # pixels that an image with a caption is wide, at least


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


def draw_captioned(path: Path, x: Tensor, shape: DataShape, captions: Sequence[str] = ()) -> None:
    """Write images x [N, *shape] as a PNG, whole or not at all: nearly a square, with a caption below each.

    Small images are enlarged by whole pixels. A caption has the width of its image; what is too long is cut.
    Raises Diverged where images are not finite.
    """
    height, width = x.shape[2:]
    times = -(-_CELL // max(height, width)) if max(height, width) < _CELL else 1
    pixels = image_grid(x, shape, 1, gap=0).repeat(times, 0).repeat(times, 1)
    images = np.split(pixels, len(x))
    with own_style():
        from matplotlib import get_data_path

        font = ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _LETTERS)
    cell = max(width * times, _CELL if captions else 0)
    wrapped = [_wrapped(printable(caption), cell, font.getlength) for caption in captions]
    below = _LINE * max(map(len, wrapped), default=0)
    columns, gap = int((len(x) - 1) ** 0.5) + 1, 8 if captions else 2
    rows, step = -(-len(x) // columns), (cell + gap, height * times + below + gap)
    picture = Image.new("RGB", (columns * step[0] + gap, rows * step[1] + gap), "white")
    pen = ImageDraw.Draw(picture)
    for i, image in enumerate(images):
        left, top = gap + i % columns * step[0], gap + i // columns * step[1]
        picture.paste(Image.fromarray(image), (left + (cell - width * times) // 2, top))
        for line, text in enumerate(wrapped[i] if wrapped else ()):
            pen.text((left + cell / 2, top + height * times + line * _LINE), text, "black", font, anchor="ma")
    with written_aside(path) as aside:
        picture.save(aside, format="png")


def _wrapped(text: str, width: float, length: Callable[[str], float]) -> list[str]:
    """The text in lines of the width, broken at spaces where there are any; "..." for what does not fit into all."""
    lines: list[str] = []
    rest = text.strip()[: int(_LINES * width) + 1]  # no letter is narrower than a pixel, save marks on others
    while rest and len(lines) < _LINES:
        most = next((i for i in range(len(rest) + 1) if length(rest[:i]) > width), len(rest) + 1) - 1
        if most < len(rest) and len(lines) + 1 == _LINES:
            while most and length(rest[:most] + "\u2026") > width:
                most -= 1
            return [*lines, rest[:most] + "\u2026"]
        if most < len(rest) and " " in rest[: most + 1]:
            most = rest[: most + 1].rindex(" ")
        most = max(most, 1)
        lines.append(rest[:most].strip())
        rest = rest[most:].strip()
    return lines


def draw_points(path: Path, x: Tensor, classes: Tensor | None = None, names: Sequence[str] = ()) -> None:
    """Write a scatter plot of data x [N, d] as a PNG, whole or not at all; `classes` [N] have colours, and `names`."""
    with written_aside(path) as aside, own_style():
        scatter(x, classes=classes, name="data", names=names).savefig(aside, format="png", dpi=120)


def finite(x: Tensor) -> Tensor:
    """Samples x [N, ...] as they are. Raises Diverged where some are not finite: they are not to be shown as if."""
    if wrong := len(x) - int(x.isfinite().flatten(1).all(1).sum()):
        raise Diverged(
            f"{wrong} of {len(x)} samples are NaN or infinite, and cannot be drawn; the sampler has diverged: train "
            "with a lower rate, or look at an earlier checkpoint"
        )
    return x


def bytes_of(x: Tensor, shape: DataShape) -> Tensor:
    """Images x [N, C, H, W] as bytes: the data's range becomes 0 to 255, rounded, and values beyond it saturate.

    On the CPU. Raises Diverged where images are not finite.
    """
    low, high = (shape.low, shape.high) if shape.low is not None and shape.high is not None else (-1.0, 1.0)
    pixels = ((finite(x.detach().float().cpu()) - low) * (255 / (high - low))).round().clamp(0, 255)
    return pixels.to(torch.uint8)


def image_grid(x: Tensor, shape: DataShape, columns: int | None = None, gap: int = 2) -> np.ndarray[Any, Any]:
    """Images x [N, C, H, W] row by row in one picture [height, width, 3] of bytes, white `gap` pixels around each.

    Values beyond the data's range saturate. One channel is shown as grey; more than three show three. Raises Diverged
    where images are not finite.
    """
    pixels = bytes_of(x, shape)
    pixels = pixels[:, :3] if x.shape[1] >= 3 else pixels[:, :1].expand(-1, 3, -1, -1)
    n, _, height, width = pixels.shape
    columns = min(columns or int((n - 1) ** 0.5) + 1, n)
    rows = -(-n // columns)
    cells = torch.full((rows * columns, 3, height + gap, width + gap), 255, dtype=torch.uint8)
    cells[:n, :, :height, :width] = pixels
    grid = cells.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return F.pad(grid, (gap, 0, gap, 0), value=255).permute(1, 2, 0).contiguous().numpy()


def scatter(
    x: Tensor,
    real: Tensor | None = None,
    classes: Tensor | None = None,
    name: str = "generated",
    names: Sequence[str] = (),
) -> Figure:
    """Points x [N, d]: their first two coordinates (a histogram where d is 1), real points behind them.

    They are called `name`, or have a colour for each of their `classes` [N], of which there are ten, by its name.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    sets = [] if real is None else [("real", real, "0.75")]
    if classes is None:
        sets += [(name, x, "tab:blue")]
    else:
        called = [printable(names[c]) if names else f"class {c}" for c in classes.unique().tolist()]
        sets += [(called[i], x[classes == c], f"C{c % 10}") for i, c in enumerate(classes.unique().tolist())]
    for label, points, colour in sets:
        p = finite(points.detach().float().cpu()).numpy()
        if p.shape[1] == 1:
            axes.hist(p[:, 0], bins=60, density=True, alpha=0.6, color=colour, label=label)
        else:
            axes.scatter(p[:, 0], p[:, 1], s=4, alpha=0.6, color=colour, label=label, linewidths=0)
    if x.shape[1] > 1 and real is not None and len(real):
        _window(axes, x, real)
    elif x.shape[1] > 1:
        axes.set_aspect("equal", "datalim")
    if len(sets) <= 12:  # more would hide the points
        axes.legend(loc="upper right", markerscale=3)
    return figure


def write_gif(path: Path, frames: Iterable[np.ndarray[Any, Any]], fps: int = 20) -> None:
    """Frames [H, W, 3] of bytes, so many a second, as a GIF that repeats for ever; it counts in hundredths of one."""
    images = map(Image.fromarray, frames)
    duration = 10 * max(round(100 / fps), 1)
    next(images).save(path, format="gif", save_all=True, append_images=images, duration=duration, loop=0)


def _window(axes: Axes, x: Tensor, real: Tensor) -> None:
    """The data's own window: pictures of other steps and runs have the same axes. Who is outside is said."""
    low, high = (bound.values[:2].cpu() for bound in (real.float().min(0), real.float().max(0)))
    middle, half = (low + high) / 2, 0.7 * float((high - low).max()) or 1.0
    axes.set_xlim(float(middle[0]) - half, float(middle[0]) + half)
    axes.set_ylim(float(middle[1]) - half, float(middle[1]) + half)
    axes.set_aspect("equal", "box")
    outside = int(((x.detach().float().cpu()[:, :2] - middle).abs() > half).any(1).sum())
    if outside:
        text = f"{outside:,} of {len(x):,} generated points lie outside"
        axes.text(0.02, 0.02, text, transform=axes.transAxes, fontsize="small", color="0.3")
