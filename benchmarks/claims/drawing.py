"""What the papers' figures share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Literal

from ledger import Found
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D


def over_steps(panel: Axes, found: Found, score: str, colour: str, style: str = "-") -> Line2D | None:
    """A score over the looks that have it: the median of the seeds, and all of them in a band; None where none has."""
    steps = [step for step in found.looked(score) if found(score, step)]
    if not steps:
        return None
    values = [found(score, step) for step in steps]
    panel.fill_between(steps, [*map(min, values)], [*map(max, values)], color=colour, alpha=0.15, linewidth=0)
    (line,) = panel.plot(steps, [*map(median, values)], style, color=colour, linewidth=1.5)
    return line


def plain(panel: Axes, which: Literal["major", "both"] = "major") -> None:
    """A faint grid, and no frame above and on the right."""
    panel.grid(alpha=0.25, which=which, linewidth=0.4)
    panel.spines[["top", "right"]].set_visible(False)


def samples(names: Sequence[Sequence[str]], folders: Sequence[Sequence[Path | None]], n: int = 2_500) -> Figure:
    """Samples of the first seed of each run over real points, as `names` stand; what was not run stays empty."""
    from gflow_core.runs.drawing import draw

    size = len(names), len(names[0])
    figure = Figure(figsize=(3 * size[1], 3.1 * size[0]), layout="constrained")
    panels = figure.subplots(*size, squeeze=False)
    for panel, folder in zip(panels.flat, chain(*folders), strict=True):
        panel.set(aspect="equal", xticks=[], yticks=[])
        if folder is None:
            continue
        x, recipe = draw(folder, n)
        assert recipe.spec.dataset is not None
        real = recipe.spec.dataset.load().x[:n]
        for points, colour, label in ((real, "0.75", "real"), (x, "#08519c", "generated")):
            panel.scatter(*points.numpy().T, s=2, c=colour, label=label, linewidths=0, alpha=0.6)
        low, high = real.min(0).values, real.max(0).values
        middle, half = ((low + high) / 2).tolist(), 0.65 * float((high - low).max())
        panel.set(**{f"{axis}lim": (at - half, at + half) for axis, at in zip("xy", middle, strict=True)})
    for panel, name in zip(panels[0], names[0], strict=True):
        panel.set_title(name.rpartition("/")[2])
    for panel, line in zip(panels[:, 0], names, strict=True):
        panel.set_ylabel(line[0].split("/")[-2])
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, markerscale=5, frameon=False)
    return figure
