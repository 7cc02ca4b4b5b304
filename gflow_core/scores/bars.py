"""A figure that scores share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["paired_bars"]


def paired_bars(scores: Mapping[str, float], beside: Mapping[str, float], label: str, title: str) -> Figure:
    """A bar for each score of the samples, and in grey the same score of what `label` says, in the same order."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6, 1.1 * len(scores)), 3.5), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.bar([i - 0.2 for i in range(len(scores))], list(scores.values()), 0.4, color="tab:blue")
    others = axes.bar([i + 0.2 for i in range(len(scores))], list(beside.values()), 0.4, color="0.75")
    for drawn, name in ((bars, "samples"), (others, label)):
        axes.bar_label(drawn, fmt="%.3f", fontsize="small")
        drawn.set_label(name)
    axes.set_xticks(range(len(scores)), list(scores))
    axes.margins(y=0.12)
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure
