"""losses: the loss curves of a run, beside their values at equilibrium."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from gflow_core.errors import GflowError, did_you_mean
from gflow_core.files.run_folder import read_metrics
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.options import option

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gflow_core.parts.spec import Spec

    Array = np.ndarray[Any, np.dtype[np.float64]]

__all__ = ["Losses", "final_mean", "losses", "running_mean"]

DRAWN = 2000
"""Points of a curve; longer ones are drawn as bands from the lowest to the highest value in each piece."""

LAST = 0.1
"""Share of the steps, at the end, that final values are averaged over."""


@attrs.frozen(kw_only=True)
class Losses:
    """Loss curves from metrics.jsonl: every logged value thin, a running mean thick, the equilibrium dashed.

    At equilibrium samples and data follow one law; the objective says what its losses come to there. Scores are
    each loss's mean over the last tenth of the steps and, where the equilibrium is known, how far above it lies.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"objective"})

    metrics: tuple[str, ...] = option((), doc='Metrics to draw; by default all whose name contains "loss".')
    window: float = option(0.05, doc="Share of the steps that the running mean spans.", gt=0, le=1)

    def check(self, spec: Spec) -> Iterable[str]:
        return ()

    def build(self) -> Callable[[Subject], Result]:
        return lambda subject: losses(subject, metrics=self.metrics, window=self.window)


def losses(subject: Subject, *, metrics: Sequence[str], window: float) -> Result:
    """The figure `losses` and the final values; nothing where the run has logged no line yet.

    Of the `metrics` named, or all whose name contains "loss"; `window` is the share of the steps that the running
    mean spans. GflowError: no run folder, or it has no such metric.
    """
    if subject.folder is None:
        raise GflowError("losses: reads the run folder's metrics.jsonl, and there is no run folder")
    path = subject.folder / "metrics.jsonl"
    # A replica's own values stand in place of the means over replicas.
    logged = [line for line in read_metrics(path) if line["step"] <= subject.step]  # of a checkpoint: what came before
    lines = [line | line.pop("seeds", {}).get(str(subject.spec.seed), {}) for line in logged]
    known = list(dict.fromkeys(name for line in lines for name in line if name not in ("step", "seconds")))
    if not lines:
        return Result()
    for name in metrics:
        if name not in known:
            raise GflowError(
                f'losses: {path} has no metric "{name}"{did_you_mean(name, known)} (it has {", ".join(known)})'
            )
    names = metrics or tuple(name for name in known if "loss" in name)
    if not names:
        raise GflowError(f'losses: no metric of {path} is named "loss" (it has {", ".join(known)}); set metrics')
    lines_of = getattr(subject.spec.objective, "equilibrium", None)
    stated: Mapping[str, float | None] = lines_of() if lines_of is not None else {}
    equilibrium = {name: value for name, value in stated.items() if value is not None}
    result = Result(manifest={"last_share": LAST})
    curves = {name: _curve(lines, name) for name in names}
    for name, (steps, values) in curves.items():
        result.scores[name] = final_mean(steps, values)
        if name in equilibrium:
            result.scores[f"{name}_minus_equilibrium"] = final_mean(steps, values) - equilibrium[name]
    result.figures["losses"] = _figure(curves, equilibrium, window)
    return result


def _curve(lines: list[dict[str, Any]], name: str) -> tuple[Array, Array]:
    """Steps [n] and values [n] of one metric."""
    import numpy as np

    points = [(line["step"], line[name]) for line in lines if isinstance(line.get(name), int | float)]
    steps, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return steps, values


def final_mean(steps: Array, values: Array) -> float:
    """Mean over the last tenth of the steps. A line is the mean since the line before it, and counts as many steps."""
    import numpy as np

    weights = np.diff(steps, prepend=0.0)
    late = steps > (1 - LAST) * steps[-1]
    return float(np.average(values[late], weights=np.maximum(weights[late], 1)))


def running_mean(steps: Array, values: Array, span: float) -> Array:
    """Mean [n] over the lines within span/2 steps of each, fewer at the ends."""
    import numpy as np

    total = np.concatenate([[0.0], np.cumsum(values)])
    first = np.searchsorted(steps, steps - span / 2, side="left")
    last = np.searchsorted(steps, steps + span / 2, side="right")
    mean: Array = (total[last] - total[first]) / (last - first)
    return mean


# ------------------------------------------------------------------ the figure


def _figure(curves: Mapping[str, tuple[Array, Array]], equilibrium: Mapping[str, float], window: float) -> Figure:
    """One panel a loss, over one axis of steps: losses differ in scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1 + 2.2 * len(curves)), layout="constrained")
    panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for i, (axes, (name, (steps, values))) in enumerate(zip(panels, curves.items(), strict=True)):
        colour = f"C{i % 10}"
        _raw(axes, steps, values, colour)
        stride = -(-len(steps) // DRAWN)
        span = window * (steps[-1] - steps[0])
        mean = running_mean(steps, values, span)
        dot = "o" if len(steps) == 1 else None  # a line of one point shows nothing
        label = f"mean over {max(span, 1):,.0f} steps"
        axes.plot(steps[::stride], mean[::stride], color=colour, lw=1.8, marker=dot, label=label)
        if name in equilibrium:
            at = equilibrium[name]
            axes.axhline(at, color="black", lw=1, ls="--", label=f"{at:.4g} where samples follow the data's law")
        axes.set_title(name, loc="left", fontsize=10)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize="small", frameon=False, borderpad=0)
        axes.margins(x=0.01)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("step")
    return figure


def _raw(axes: Axes, steps: Array, values: Array, colour: str) -> None:
    import numpy as np

    if len(steps) <= DRAWN:
        axes.plot(steps, values, color=colour, lw=0.6, alpha=0.4, label="logged")
        return
    starts = np.linspace(0, len(steps), DRAWN // 2, endpoint=False).astype(int)
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    axes.fill_between(steps[starts], low, high, color=colour, lw=0, alpha=0.3, label="logged, range")
