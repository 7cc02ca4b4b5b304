"""What the papers' figures share."""

from __future__ import annotations

from statistics import median

from ledger import Found
from matplotlib.axes import Axes
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
