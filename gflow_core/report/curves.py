"""Curves over steps: thinned, smoothed and given bands over seeds; plain JSON that the page's script draws."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import attrs

from gflow_core.files.reading import number
from gflow_core.report.read import Analysis, Run
from gflow_core.runs.best import Best

__all__ = ["BESIDE", "Chart", "Curve", "curve", "metric_charts", "score_charts", "spread", "stems"]

POINTS = 1000
"""Points of a curve; of longer ones each point is the mean of several logged lines."""

_SMOOTHED = 40  # points from which a moving mean is drawn
_WINDOW = 0.05  # share of the points in that mean, as in the analyzer `losses`
BESIDE = ("real", "chance", "random", "held_out", "bound")
"""A score NAME_real is what NAME comes to on real items: one chart shows both."""

Series = Mapping[int, float]
"""Step -> value."""


@attrs.frozen
class Curve:
    """Values over steps: lists of one length."""

    name: str
    steps: list[int]
    values: list[float]
    smooth: list[float] | None
    """The moving mean of the values; None where they are too few for one."""
    low: list[float] | None
    high: list[float] | None
    """The band: least and greatest of the seeds, or a standard error to both sides. None for a single series."""
    seeds: int = 1
    color: int = 0


@attrs.frozen
class Chart:
    """Curves on one pair of axes, with lines to compare them to."""

    title: str
    curves: list[Curve]
    references: list[tuple[str, float]] = attrs.field(factory=list)
    best: tuple[int, float] | None = None
    """Step and value of the best checkpoint (`train.keep_best`)."""

    def as_json(self) -> dict[str, Any]:
        """What the script reads. It shows names as HTML would, so they are escaped here."""
        return {
            "curves": [
                {"name": escape(c.name), "x": c.steps, "color": c.color, "seeds": c.seeds}
                | {key: None if v is None else [_short(x) for x in v] for key, v in _columns(c).items()}
                for c in self.curves
            ],
            "references": [{"name": escape(name), "value": value} for name, value in self.references],
            "best": self.best and {"x": self.best[0], "y": _short(self.best[1])},
        }


def _columns(found: Curve) -> dict[str, list[float] | None]:
    return {"y": found.values, "smooth": found.smooth, "low": found.low, "high": found.high}


def _short(value: float) -> float | None:
    """Six digits; None, a gap, where the mean of huge values is not finite, which JSON lacks."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def curve(name: str, series: Sequence[Series], color: int = 0, error: Series | None = None) -> Curve | None:
    """The mean of the series over the steps that all of them have, with a band from the least to the greatest.

    `error` is what a single series may be off by. None where there is no such step.
    """
    steps = sorted(set.intersection(*(set(one) for one in series))) if series else []
    if not steps:
        return None
    columns = [[one[step] for one in series] for step in steps]
    values = [sum(column) / len(column) for column in columns]
    low = high = None
    if len(series) > 1:
        low, high = [min(column) for column in columns], [max(column) for column in columns]
    elif error is not None and all(step in error for step in steps):
        low = [value - error[step] for value, step in zip(values, steps, strict=True)]
        high = [value + error[step] for value, step in zip(values, steps, strict=True)]
    size = -(-len(steps) // POINTS)
    ends = steps[size - 1 :: size] + ([steps[-1]] if len(steps) % size else [])
    values = _thinned(values, size)
    smooth = None
    if low is not None and high is not None:
        low, high = _thinned(low, size), _thinned(high, size)
    if len(values) >= _SMOOTHED:
        smooth = _moving_mean(values)
        if low is not None and high is not None:
            low, high = _moving_mean(low), _moving_mean(high)
    return Curve(name, ends, values, smooth, low, high, len(series), color)


def _thinned(values: Sequence[float], size: int) -> list[float]:
    """Means of `size` neighbours each."""
    parts = (values[i : i + size] for i in range(0, len(values), size))
    return [sum(part) / len(part) for part in parts]


def _moving_mean(values: Sequence[float]) -> list[float]:
    """Means over a window in whose middle each value stands; it is cut off at both ends."""
    half = max(1, int(len(values) * _WINDOW) // 2)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    spans = ((max(0, i - half), min(len(values), i + half + 1)) for i in range(len(values)))
    return [(sums[end] - sums[start]) / (end - start) for start, end in spans]


# ------------------------------------------------------------------ metrics


def metric_charts(groups: Mapping[str, Sequence[Run]]) -> list[Chart]:
    """A chart a metric, a curve a group, its band over the seeds of the group's runs."""
    series = {name: [one for run in runs for one in _metrics(run)] for name, runs in groups.items()}
    metrics = dict.fromkeys(metric for found in series.values() for one in found for metric in one)
    charts = []
    for metric in metrics:
        curves = [
            drawn
            for color, (name, found) in enumerate(series.items())
            if (drawn := curve(name, [one[metric] for one in found if metric in one], color))
        ]
        values = {run.equilibrium[metric] for runs in groups.values() for run in runs if metric in run.equilibrium}
        if curves:
            charts.append(Chart(metric, curves, [("equilibrium", value) for value in sorted(values)]))
    return charts


def _metrics(run: Run) -> list[dict[str, dict[int, float]]]:
    """Metric -> step -> value, for each seed of the run."""
    alone: dict[str, dict[int, float]] = {}
    seeds: dict[str, dict[str, dict[int, float]]] = {}
    for line in run.metrics:
        _add(alone, line["step"], line)
        own = line.get("seeds")
        for seed, values in own.items() if isinstance(own, dict) else ():
            if isinstance(values, dict):
                _add(seeds.setdefault(seed, {}), line["step"], values)
    return list(seeds.values()) or [alone]


def _add(series: dict[str, dict[int, float]], step: int, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name not in ("step", "seconds", "seeds") and (found := number(value)) is not None:
            series.setdefault(name, {})[step] = found


# ------------------------------------------------------------------ scores


def stems(names: Iterable[str]) -> dict[str, str]:
    """Score -> the score that it belongs to: itself, or NAME where it is called NAME_real, NAME_chance, NAME_se.

    The shortest such name counts, so that NAME_real_se belongs to NAME as well.
    """
    known = list(names)
    found = {}
    for name in known:
        above = [other for other in known if name.startswith(f"{other}_")]
        found[name] = min(above, key=len, default=name)
    return found


def spread(name: str, scores: Container[str]) -> str | None:
    """The score that says how far off `name` may be: NAME_se, or the standard deviation over replicas, NAME (std)."""
    return next((error for error in (f"{name} (std)", f"{name}_se") if error in scores), None)


def score_charts(analysis: Analysis, best: Best | None = None) -> tuple[list[Chart], list[str]]:
    """A chart for each score that was measured at several steps; what it compares to stands in the same chart.

    Scores that never changed have none; they are named. That of the `best` checkpoint is marked.
    """
    findings = analysis.findings
    names = dict.fromkeys(name for found in findings for name in found.scores)
    errors = {name: spread(name, names) for name in names}
    belongs = stems(names)
    charts: dict[str, Chart] = {}
    for name in names:
        stem, error = belongs[name], errors[name]
        if name in errors.values():
            continue
        drawn = curve(
            name, _scores(analysis, name), error=next(iter(_scores(analysis, error)), None) if error else None
        )
        if drawn is None or len(drawn.steps) < 2:
            continue
        if name != stem and name[len(stem) + 1 :].startswith(BESIDE) and stem in charts:
            curves = charts[stem].curves
            curves.append(attrs.evolve(drawn, color=len(curves)))
        else:
            marked = best is not None and best.name == f"{analysis.name}.{name}"
            charts[name] = Chart(name, [drawn], best=(best.step, best.score) if best and marked else None)
    moving = [chart for chart in charts.values() if not all(map(_still, chart.curves))]
    return moving, [title for title, chart in charts.items() if chart not in moving]


def _still(drawn: Curve) -> bool:
    return all(len(set(values)) < 2 for values in (drawn.values, drawn.low or [], drawn.high or []))


def _scores(analysis: Analysis, name: str) -> list[dict[int, float]]:
    """Step -> value of a score, for each seed."""
    seeds = dict.fromkeys(seed for found in analysis.findings for seed in found.seeds)
    if seeds:
        each = [{f.step: f.seeds.get(seed, {}).get(name) for f in analysis.findings} for seed in seeds]
    else:
        each = [{found.step: found.scores.get(name) for found in analysis.findings}]
    finite = [{step: x for step, value in one.items() if (x := number(value)) is not None} for one in each]
    return [one for one in finite if one]
