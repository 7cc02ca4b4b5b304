"""sample_grid: samples at full resolution, and real items to look at beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from gflow_core.errors import printable
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

    from gflow_core.machine.streams import Streams
    from gflow_core.parts.spec import Spec

__all__ = ["SampleGrid", "grid_figure", "plane", "sample_grid"]

DPI = 150
"""Dots per inch at which the run folder writes figures: one dot is one pixel of the grid_figure."""


def _some_classes(classes: tuple[int, ...] | None) -> str | None:
    return "names none; leave it out for all" if classes == () else None


@attrs.frozen(kw_only=True)
class SampleGrid:
    """Samples as a grid_figure: a grid of images pixel by pixel, or points of the plane over real ones.

    The latents are the same at every step, so that pictures of one run show how the same samples change. Where the
    sampler reads labels, images have a row for each label and one latent a column.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sampler"})

    samples: int = option(64, doc="Samples drawn (some 2000 for points in the plane).", ge=1, le=10_000)
    columns: int | None = option(
        None,
        doc="Images in a row; nearly a square by default, or what makes `samples` with a row for each label.",
        ge=1,
    )
    classes: tuple[int, ...] | None = option(
        None, doc="Which classes have a row; the first twenty by default.", ge=0, check=_some_classes
    )
    real: bool = option(
        True,
        doc="Draw as many real items too, where there are data: images in real.png, points behind the samples.",
    )

    def check(self, spec: Spec) -> Iterable[str]:
        shape = spec.data_shape()
        if shape is None:
            yield "needs a [dataset] that says what samples look like"
        elif spec.dataset is None and spec.sampler.conditional and not shape.classes:
            yield f"needs a [dataset]: the sampler reads real labels ({shape}), which only data can tell"
        elif self.classes is not None and not (spec.sampler.conditional and shape.classes):
            yield "classes: the sampler reads no classes; remove it"
        elif self.classes is not None and max(self.classes) >= (shape.classes or 0):
            yield f"classes: {max(self.classes)} is not among the classes 0 to {(shape.classes or 0) - 1}"

    def build(self) -> Callable[[Subject], Result]:
        return lambda subject: sample_grid(
            subject, samples=self.samples, columns=self.columns, classes=self.classes, real=self.real
        )


def sample_grid(
    subject: Subject, *, samples: int, columns: int | None, classes: Sequence[int] | None, real: bool
) -> Result:
    """The figure `samples`, and for images `real` where `real` asks for it.

    Without `columns` nearly a square, or what makes `samples` with a row for each label that the sampler reads; without
    `classes` the first twenty have a row.
    """
    import torch

    from gflow_core.machine.streams import Streams
    from gflow_core.nn.sampling import draw_from
    from gflow_core.runs.pictures import image_grid

    data, shape = subject.data, subject.spec.data_shape()
    assert shape is not None
    streams = Streams(subject.spec.seed).fork("sample_grid")
    if shape.kind == "image" and subject.spec.sampler.conditional:
        return _by_label(subject, shape, streams, samples=samples, columns=columns, classes=classes, real=real)
    x = torch.cat([x.float().cpu() for x in draw_from(attrs.evolve(subject, streams=streams), samples)])
    items = None
    if real and data is not None:
        choice = torch.randperm(len(data), generator=streams["real"])[:samples]
        items = data.batch(choice).x.float()
    result = Result(manifest={"n_fake": len(x), "n_real": 0 if items is None else len(items)})
    if shape.kind == "image":
        result.figures["samples"] = grid_figure(image_grid(x, shape, columns))
        if items is not None:
            result.figures["real"] = grid_figure(image_grid(items, shape, columns))
    else:
        result.figures["samples"] = _scatter(x, items, f"step {subject.step}: {len(x):,} samples")
    return result


# ------------------------------------------------------------------ images


def _by_label(
    subject: Subject,
    shape: DataShape,
    streams: Streams,
    *,
    samples: int,
    columns: int | None,
    classes: Sequence[int] | None,
    real: bool,
) -> Result:
    """Images with a row for each label; real items of the same labels beside them."""
    import torch

    from gflow_core.nn.labels import label_in, label_rows
    from gflow_core.nn.sampling import by_label, label_pool
    from gflow_core.runs.pictures import image_grid

    data, sampler = subject.data, subject.sampler
    assert sampler is not None
    pool = label_pool(data, shape)
    rows = torch.tensor(classes) if classes else label_rows(pool, shape)
    names = [label_in(data, y, shape) for y in rows]
    columns = columns or -(-samples // len(rows))
    x = by_label(sampler, subject.spec.sampler, rows, columns, streams, subject.runtime).float()
    result = Result(manifest={"n_fake": len(x), "n_real": 0, "labels": names})
    result.figures["samples"] = grid_figure(image_grid(x, shape, columns), names)
    if real and data is not None:
        white = torch.full_like(x, 1.0 if shape.high is None else shape.high)  # where a label has too few
        items = white.unflatten(0, (len(rows), columns))
        for row, y in zip(items, rows, strict=True):
            index = (pool == y).reshape(len(pool), -1).all(1).nonzero().squeeze(1)[:columns]
            row[: len(index)] = data.batch(index).x.float()
            result.manifest["n_real"] += len(index)
        result.figures["real"] = grid_figure(image_grid(items.flatten(0, 1), shape, columns), names)
    return result


def grid_figure(pixels: np.ndarray[Any, Any], rows: Sequence[str] = ()) -> Figure:
    """A figure that is the grid_figure [height, width, 3] and nothing else: each pixel becomes one pixel of the PNG.

    `rows` names the rows of a grid, on the left.
    """
    from matplotlib.figure import Figure

    height, width = pixels.shape[:2]
    rows = list(map(printable, rows))  # matplotlib takes no lone surrogates
    margin = 12 + 9 * max(map(len, rows)) if rows else 0  # pixels; a letter of 7 points is 9 wide
    figure = Figure(figsize=((width + margin) / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((margin / (width + margin), 0, width / (width + margin), 1))
    axes.imshow(pixels, interpolation="none", aspect="auto")
    axes.set_axis_off()
    for i, name in enumerate(rows):
        at = (i + 0.5) / len(rows)
        x = 0.5 * margin / (width + margin)
        figure.text(x, 1 - at, name, ha="center", va="center", fontsize=7, parse_math=False)  # "$5-$10" is a name
    return figure


# ------------------------------------------------------------------ vectors


def plane(axes: Axes, real: Tensor) -> None:
    """Real points [n, d] in grey on their first two coordinates; they set the limits."""
    few = real[:5000]
    axes.scatter(few[:, 0], few[:, 1], s=3, color="0.75", linewidths=0, label="real", rasterized=True)
    low, high = real.min(0).values, real.max(0).values
    margin = 0.15 * (high - low)[:2].max() + 1e-6
    axes.set(
        xlim=(float(low[0] - margin), float(high[0] + margin)),
        ylim=(float(low[1] - margin), float(high[1] + margin)),
        xlabel="$x_1$",
        ylabel="$x_2$",
        aspect="equal",
    )


def _scatter(x: Tensor, real: Tensor | None, title: str) -> Figure:
    from matplotlib.figure import Figure

    n, x = len(x), x[x.isfinite().all(1)]
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    if x.shape[1] == 1:
        axes.set(xlabel="$x$", ylabel="density")
        both = [("real", real, "0.75"), ("samples", x, "tab:blue")]
        for name, points, colour in both:
            if points is not None and len(points):
                axes.hist(points[:, 0].numpy(), bins=60, density=True, alpha=0.6, color=colour, label=name)
    else:
        if real is not None:
            plane(axes, real)
        axes.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
        axes.scatter(x[:, 0], x[:, 1], s=5, alpha=0.6, color="tab:blue", linewidths=0, label="samples", rasterized=True)
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        inside = (x[:, 0] >= left) & (x[:, 0] <= right) & (x[:, 1] >= bottom) & (x[:, 1] <= top)
        if outside := n - int(inside.sum()):  # NaN is outside as well
            title += f", {outside:,} outside the picture"
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, markerscale=2.5, fontsize="small", frameon=False)
    return figure
