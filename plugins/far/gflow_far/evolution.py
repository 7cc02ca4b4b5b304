"""Real and generated points over training (`far.evolution`): the paper's Figures 1 and 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from gflow_core import GflowError, Result, Subject, draw_from

__all__ = ["evolution", "thinned"]

CHUNK = 10_000
"""Samples drawn at once."""

COLUMNS = 4
"""Panels in a row, at most."""

Points = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")


def evolution(subject: Subject, *, samples: int, panels: int) -> Result:
    """Draw `samples` points of this moment, and a picture of this and all earlier moments, `panels` at most.

    Table `points` (x, y): this moment's. Score `moments`: how many there are so far.
    """
    assert subject.data is not None
    now = torch.cat([x.float().cpu() for x in draw_from(subject, samples, CHUNK)]).numpy()
    # A finished run analyzed again, or resumed, may have met this step or later ones already.
    found = {
        step: folder / "points.csv"
        for step, folder in subject.earlier.items()
        if step < subject.step and (folder / "points.csv").is_file()
    }
    shown = thinned([*found, subject.step], panels)
    moments = [(step, now if step == subject.step else _read(found[step])) for step in shown]
    # The same real points at every moment: an even walk through the data set.
    real = subject.data.x[torch.linspace(0, len(subject.data) - 1, min(samples, len(subject.data))).long()]
    return Result(
        scores={"moments": len(found) + 1},
        tables={"points": [{"x": x, "y": y} for x, y in now.tolist()]},
        figures={"evolution": _figure(real.float().numpy(), moments)},
        manifest={"n_fake": samples, "n_real_shown": len(real)},
    )


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most `most` (>= 1) of the items, evenly spaced, with the last and, where most > 1, the first."""
    n = len(items)
    if most == 1 or n == 1:
        return list(items[-1:])
    count = min(n, most)
    return [items[round(i * (n - 1) / (count - 1))] for i in range(count)]


def _read(path: Path) -> Points:
    """Points [n, 2] of an earlier moment."""
    try:
        points = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
        if points.shape[1] != 2:
            raise ValueError(f"{points.shape[1]} columns, not 2")
    except (OSError, ValueError, IndexError) as error:
        raise GflowError(f"{path}: cannot be read ({error}); delete {path.parent} to go on without it") from error
    return points


def _figure(real: Points, moments: Sequence[tuple[int, Points]]) -> Figure:
    rows = math.ceil(len(moments) / COLUMNS)
    columns = math.ceil(len(moments) / rows)
    # The real points set the scale, the same in every panel; samples far outside are not shown.
    low, high = real.min(0), real.max(0)
    centre, half = (low + high) / 2, float((high - low).max()) / 2 * 1.2 + 1e-6
    size = 2.6 if len(moments) > 1 else 4.5
    figure = Figure(figsize=(size * columns, size * rows + 0.5), layout=ConstrainedLayoutEngine(hspace=0.05))
    panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes, (step, points) in zip(panels, moments, strict=False):
        axes.scatter(*real.T, s=12, lw=0, color="#2166AC", alpha=0.5, label="real", rasterized=True)
        axes.scatter(*points.T, s=5, lw=0, color="#D6392B", alpha=0.6, label="generated", rasterized=True)
        axes.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half), aspect="equal")
        axes.set_title(f"step {step:,}", fontsize=10)
        axes.tick_params(labelsize=7)
    for i in range(len(moments), len(panels)):
        panels[i].set_visible(False)
        panels[i - columns].tick_params(labelbottom=True)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, markerscale=3, frameon=False, fontsize=9)
    return figure
