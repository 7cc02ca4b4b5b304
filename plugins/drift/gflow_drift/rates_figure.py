"""How fast the field takes out a cosine, by its frequency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from gflow_drift.field import Kernel
from gflow_drift.limit import decay_rate

__all__ = ["rates_figure"]

_COLOURS: dict[Kernel, str] = {"laplace": "#d1495b", "gaussian": "#30638e"}


def rates_figure(frequencies: Sequence[float], measured: Mapping[Kernel, Sequence[float]]) -> Figure:
    """Left the decay rates per move, lines predicted and circles measured at w tau; right what a falling width does."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    w = np.geomspace(0.2, 8, 300)
    for kernel, colour in _COLOURS.items():
        left.plot(w, [decay_rate(f, 1.0, kernel) for f in w], color=colour, label=kernel)
        left.plot(frequencies, measured[kernel], "o", color=colour, mfc="white", ms=5)
    left.set(xscale="log", yscale="log", ylim=(1e-4, 1), xlabel=r"frequency $\omega\tau$", ylabel="decay rate per move")
    left.set_title("Fixed width (lines predicted, circles measured)", loc="left", fontsize=10)
    left.set_xticks([0.25, 0.5, 1, 2, 4, 8], ["¼", "½", "1", "2", "4", "8"])
    left.set_xticks([], minor=True)
    left.legend(frameon=False, fontsize=9)
    t = np.linspace(0, 30, 300)
    for frequency, colour in zip((0.5, 2.0, 8.0), ("#7fb3d5", "#30638e", "#12283d"), strict=True):
        start = (4 * frequency) ** 2 / 2
        total = [(math.exp(-start * math.exp(-0.4 * s)) - math.exp(-start)) / 0.4 for s in t]
        right.plot(t, np.exp(-np.array(total)), color=colour, label=rf"$\omega$ = {frequency:g}")
        right.plot(t, np.exp(-t * decay_rate(frequency, 1.0, "gaussian")), ":", color=colour)
    right.set(yscale="log", ylim=(0.05, 1.2), xlabel="moves", ylabel="what is left of a cosine")
    right.set_title(r"Gaussian width $4\,e^{-0.2 t}$ (dotted: 1 throughout)", loc="left", fontsize=10)
    right.legend(frameon=False, fontsize=9, loc="center right")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92", lw=0.6)
    return figure
