"""What is drawn of the checks."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gflow_vgrow.divergences import PUBLISHED
from gflow_vgrow.theory.checks import OfDivergence
from gflow_vgrow.theory.in_time import Decay

__all__ = ["decay_figure", "errors_figure"]

_COLOURS = {"kl": "#0072B2", "js": "#D55E00", "logd": "#009E73", "jeffreys": "#CC79A7", "logistic": "#555555"}
_LABELS = {"kl": "KL", "js": "JS", "logd": "logD", "jeffreys": "Jeffreys", "logistic": "logistic regression"}


def decay_figure(paths: dict[str, Decay]) -> Figure:
    """F(t) with tangents of slope -E||v||^2, and -dF/dt measured against E||v||^2."""
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, path in paths.items():
        colour, label = _COLOURS[name], _LABELS[name]
        t, f = path.t.numpy(), path.divergence.numpy()
        left.plot(t, f, color=colour, lw=1.8, label=label)
        for when, half in ((0.0, 0.12), (0.25, 0.12), (1.0, 0.25), (2.2, 0.4)):
            at = int(np.searchsorted(t, min(when, t[-1])))
            span = np.array([max(-half, -t[at]), half])
            left.plot(t[at] + span, f[at] - float(path.speed[at]) * span, color="black", lw=1.0, zorder=3)
            left.plot(t[at], f[at], "o", color="black", ms=2.5, zorder=4)
        right.plot(t[2:-2], -path.slope.numpy(), color=colour, lw=1.8)
        right.plot(t[::25], path.speed[::25].numpy(), "o", ms=4, mfc="white", mec=colour, mew=1.2)
    left.set(xlabel="time t", ylabel=r"$F(t) = D_f(q_t\,\Vert\,p)$", xlim=(0, min(4.0, float(t[-1]))), ylim=(0, None))
    left.set_title("Decay of the divergence", loc="left", fontsize=10)
    handles, _ = left.get_legend_handles_labels()
    handles.append(
        Line2D([], [], color="black", lw=1.0, marker="o", ms=2.5, label=r"tangent of slope $-E\Vert v\Vert^2$")
    )
    left.legend(handles=handles, frameon=False, fontsize=9)
    right.set(xlabel="time t", ylabel="rate", yscale="log", xlim=(0, float(t[-1])), ylim=(1e-6, None))
    right.set_title(r"Lemma 1.2: $-dF/dt = E_{q_t}\Vert v_t\Vert^2$", loc="left", fontsize=10)
    line = Line2D([], [], color="grey", lw=1.8, label=r"$-dF/dt$ measured")
    dots = Line2D([], [], color="grey", lw=0, marker="o", ms=4, mfc="white", label=r"$E\Vert v\Vert^2$ predicted")
    right.legend(handles=[line, dots], frameon=False, fontsize=9)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92", lw=0.6)
        axes.set_axisbelow(True)
    return figure


def _pretty(quantity: str) -> str:
    """A quantity's name with the signs that a figure can have."""
    signs = {"||v||^2": "‖v‖²", "||": "‖", "grad": "∇", "div(": "∇·(", "div v": "∇·v", "int ": "∫ ", "<": "⟨", ">": "⟩"}
    for plain, sign in signs.items():
        quantity = quantity.replace(plain, sign)
    return quantity.replace("^-1", "⁻¹").replace("-", "\u2212").replace("∇ ", "∇")


def errors_figure(checks: list[OfDivergence]) -> Figure:
    """Relative error of each check on a log axis, one line a quantity, with its tolerance."""
    lines = list(dict.fromkeys((check.statement, check.quantity) for check in checks))
    figure = Figure(figsize=(10.5, 0.31 * len(lines) + 1.5), layout="constrained")
    axes = figure.subplots()
    names = [*PUBLISHED, "logistic"]
    floor = 1e-17
    for y, key in enumerate(lines):
        here = [check for check in checks if (check.statement, check.quantity) == key]
        for i, check in enumerate(here):
            offset = (i - (len(here) - 1) / 2) * 0.085
            axes.plot(check.tolerance, y + offset, marker="|", color="0.45", ms=7, mew=1.3, zorder=2)
            axes.plot(
                max(check.error, floor),
                y + offset,
                marker="o" if check.dim == 1 else "s",
                ms=4.8,
                color=_COLOURS[check.divergence],
                mec="white" if check.ok else "red",
                mew=0.5 if check.ok else 1.6,
                zorder=3,
            )
        if y and lines[y - 1][0] != key[0]:
            axes.axhline(y - 0.5, color="0.8", lw=0.7, zorder=1)
    for statement in dict.fromkeys(key[0] for key in lines):
        places = [y for y, key in enumerate(lines) if key[0] == statement]
        middle = (places[0] + places[-1]) / 2
        axes.text(1.01, middle, statement, transform=axes.get_yaxis_transform(), va="center", fontsize=9, weight="bold")
    axes.set_yticks(range(len(lines)), [_pretty(quantity) for _, quantity in lines], fontsize=8)
    axes.set(
        xscale="log", xlabel="relative error (0 drawn as 1e-17)", ylim=(len(lines) - 0.4, -0.6), xlim=(floor / 2, 10)
    )
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.92", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    handles = [Line2D([], [], lw=0, marker="o", ms=5, color=_COLOURS[name], label=_LABELS[name]) for name in names]
    handles += [
        Line2D([], [], lw=0, marker="o", ms=5, color="0.6", label="1-D"),
        Line2D([], [], lw=0, marker="s", ms=5, color="0.6", label="2-D"),
        Line2D([], [], lw=0, marker="|", ms=8, mew=1.3, color="0.45", label="tolerance"),
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8, handletextpad=0.2
    )
    return figure
