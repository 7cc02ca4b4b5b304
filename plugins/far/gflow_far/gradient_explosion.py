"""The generator's gradient at fake points against their distance to real ones (`far.gradient_explosion`)."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor, nn

from gflow_core import (
    GflowError,
    Loss,
    Nonsaturating,
    Result,
    Runtime,
    Subject,
    draw_from,
    frozen,
    held_out,
    name_of,
)
from gflow_far.crowding import crowd, effective_number, lowest_scored, partial_rank_correlation

__all__ = ["Pull", "generator_gradient", "gradient_explosion", "measure"]

NONSATURATING = Nonsaturating()

CHUNK = 10_000
"""Points that go through a network at once."""

SHOWN = 4000
"""Real points in the pictures, at most."""

REAL, FAKE, CLOSE = "0.15", "#1B7837", "#E08214"

Array = np.ndarray[Any, np.dtype[Any]]
Window = tuple[float, float, float, float]


@attrs.frozen(eq=False)
class Pull:
    """Fake points y [n, 2], what the discriminator says of them, and their nearest real points x; float64."""

    y: Array
    x: Array
    """The real point nearest to each y [n, 2]."""
    index: Array
    """Its place in the data set [n]."""
    distance: Array
    """|x - y| [n]."""
    d_y: Array
    d_x: Array
    slope: Array
    """L'(d(y)) [n], how the sampler's loss changes with the logit."""
    gradient: Array
    """-grad_y L_G [n, 2]: where each fake point is pushed."""

    @property
    def norm(self) -> Array:
        """|grad_y L_G(y)| [n] (eq. 5)."""
        norm: Array = np.linalg.norm(self.gradient, axis=1)
        return norm

    @property
    def approximation(self) -> Array:
        """Eq. 6: |L'(d(y))| |d(x) - d(y)| / |x - y| [n]; NaN where x = y."""
        with np.errstate(divide="ignore", invalid="ignore"):
            steepness = np.abs(self.d_x - self.d_y) / self.distance
        return np.where(self.distance > 0, np.abs(self.slope) * steepness, np.nan)


def generator_gradient(
    discriminator: nn.Module, y: Tensor, runtime: Runtime, loss: Loss = NONSATURATING
) -> tuple[Tensor, Tensor, Tensor]:
    """d(y) [n], the slope L'(d(y)) [n] and grad_y L_G(y) = L'(d(y)) grad d(y) [n, *shape], for y [n, *shape].

    L is the sampler's loss on a logit; of the non-saturating one the slope is -sigmoid(-d) (eq. 5).

    The discriminator's parameters are frozen meanwhile, and its mode is the caller's.
    """
    y = y.detach().requires_grad_()
    with torch.enable_grad(), frozen(discriminator):
        with runtime.autocast():
            logit = discriminator(y)
        logit = logit.to(y.dtype)
        each = loss.sampler(logit.unsqueeze(-1), None)  # a mean over one item is that item's
        slope, gradient = torch.autograd.grad(each.sum(), [logit, y])
    return logit.detach(), slope, gradient


def measure(discriminator: nn.Module, real: Tensor, fake: Tensor, runtime: Runtime, loss: Loss = NONSATURATING) -> Pull:
    """The pull on each of the fake points [n, 2], and its nearest of the real points [N, 2]: n log N, in float64."""
    from scipy.spatial import KDTree

    x, y = (points.double().cpu().numpy() for points in (real, fake))
    distance, index = KDTree(x).query(y)
    found = [generator_gradient(discriminator, part.to(runtime.device), runtime, loss) for part in fake.split(CHUNK)]
    return Pull(
        y=y,
        x=x[index],
        index=index,
        distance=distance,
        d_y=torch.cat([d for d, _, _ in found]).cpu().double().numpy(),
        d_x=_logits(discriminator, real[torch.from_numpy(index)], runtime),
        slope=torch.cat([s for _, s, _ in found]).cpu().double().numpy(),
        gradient=-torch.cat([g for _, _, g in found]).cpu().double().numpy(),
    )


def gradient_explosion(
    subject: Subject,
    *,
    samples: int,
    delta: float | None,
    close: float,
    pairs: int,
    lowest: tuple[int, int],
    arrows: int,
    resolution: int,
) -> Result:
    """Scores over all fakes, close pairs and the rest; table `pairs`; figures `gradient` and `plane`.

    Of `samples` fakes those within `delta` of a real point are close, or without it the share `close` of them; the
    `pairs` closest are listed. `lowest`: how many of how many are called so, by the logit. The heat maps have
    `resolution` points along an axis, and `arrows` fakes an arrow.
    Gradient norms are those of eq. 5, per sample, in units of logit per unit of the data.
    """
    from scipy.stats import spearmanr

    assert subject.data is not None
    assert subject.discriminator is not None
    runtime, discriminator = subject.runtime, subject.discriminator
    real = subject.data.x.to(torch.get_default_dtype())
    fake = torch.cat([x.to(real.dtype).cpu() for x in draw_from(subject, samples, CHUNK)])
    fake = fake[fake.isfinite().all(1)]
    loss = getattr(subject.spec.objective, "loss", NONSATURATING)
    if not len(fake):
        raise GflowError("far.gradient_explosion: every sample is NaN or infinite; look at an earlier checkpoint")
    pull = measure(discriminator, real, fake, runtime, loss)
    limit = delta if delta is not None else float(np.quantile(pull.distance, close, method="lower"))
    within = pull.distance <= limit
    order = np.argsort(pull.distance, kind="stable")[:pairs]
    # Of close pairs the one with the largest gradient; where delta admits none, of the closest pairs.
    candidates = np.flatnonzero(within) if within.any() else order
    steepest = int(candidates[pull.norm[candidates].argmax()])
    shown = real[torch.linspace(0, len(real) - 1, min(len(real), SHOWN)).long()].double().numpy()
    plane = _plane(
        discriminator,
        runtime,
        real.double().numpy(),
        shown,
        pull,
        order,
        steepest,
        subject.step,
        arrows=arrows,
        resolution=resolution,
    )

    norm, near, far = pull.norm, pull.norm[within], pull.norm[~within]
    varies = np.ptp(norm) > 0 and np.ptp(pull.distance) > 0
    scores: dict[str, float | int | str | None] = {
        "finite_samples": len(fake),
        "gradient_median": float(np.median(norm)),
        "gradient_p95": float(np.quantile(norm, 0.95)),
        "gradient_max": float(norm.max()),
        "close_pairs": int(within.sum()),
        "delta": limit,
        "close_gradient_median": _median(near),
        "close_gradient_p95": float(np.quantile(near, 0.95)) if near.size else None,
        "close_gradient_max": float(near.max()) if near.size else None,
        "far_gradient_median": _median(far),
        "close_far_ratio": float(np.median(near) / np.median(far)) if near.size and far.size and _median(far) else None,
        "spearman": float(spearmanr(pull.distance, norm).statistic) if varies else None,
        **_crowding(subject, pull, real, lowest),
    }
    return Result(
        scores=scores,
        tables={"pairs": _pairs(pull, order)},
        figures={"gradient": _gradient_figure(pull, limit, order, subject.step), "plane": plane},
        manifest={
            **subject.protocol(),
            "n_real": len(real),
            "n_fake": samples,
            "close": close if delta is None else None,
            "delta": delta,
            "lowest": list(lowest),
            "loss": name_of("loss", loss),
        },
    )


def _crowding(subject: Subject, pull: Pull, real: Tensor, lowest: tuple[int, int]) -> dict[str, float | None]:
    """Scores of how the fakes share the real points, beside held-out points of the law; and of the lowest-scored."""
    from scipy.spatial import KDTree

    part = held_out(subject.spec.dataset)
    index, other = pull.index, None
    if part is not None:
        x = part.load(subject.progress).x[: len(index)].double().numpy()
        _, other = KDTree(real.double().numpy()).query(x)
        index = index[: len(x)]
    shared, chosen = crowd(pull.index), lowest_scored(pull.d_y, *lowest)

    def beside(values: Array) -> float | None:
        """The mean over the lowest-scored over that of the others."""
        values = values[: len(chosen)]
        rest = values[~chosen]
        return float(values[chosen].mean() / rest.mean()) if rest.size and rest.mean() > 0 else None

    return {
        "effective_points": effective_number(index),
        "effective_points_real": None if other is None else effective_number(other),
        "crowding": partial_rank_correlation(pull.norm, shared, pull.distance),
        "lowest_distance": beside(pull.distance),
        "lowest_crowd": beside(shared),
        "lowest_gradient": beside(pull.norm),
    }


def _median(values: Array) -> float | None:
    return float(np.median(values)) if values.size else None


def _pairs(pull: Pull, order: Array) -> list[dict[str, Any]]:
    """The closest pairs, closest first. Eq. 6 is left empty where the two points coincide."""
    norm, approximation = pull.norm, pull.approximation
    return [
        {
            "fake": int(i),
            "real": int(pull.index[i]),
            "y0_1": float(pull.y[i, 0]),
            "y0_2": float(pull.y[i, 1]),
            "x0_1": float(pull.x[i, 0]),
            "x0_2": float(pull.x[i, 1]),
            "distance": float(pull.distance[i]),
            "d_x0": float(pull.d_x[i]),
            "d_y0": float(pull.d_y[i]),
            "gradient_norm": float(norm[i]),
            "equation_6": float(approximation[i]) if np.isfinite(approximation[i]) else None,
        }
        for i in order
    ]


@torch.no_grad()
def _logits(discriminator: nn.Module, points: Tensor, runtime: Runtime) -> Array:
    """d at points [n, 2]: [n], float64."""
    with runtime.autocast():
        found = [discriminator(part.to(runtime.device)) for part in points.split(CHUNK)]
    return torch.cat(found).cpu().double().numpy()


# ------------------------------------------------------------------ gradient against distance


def _gradient_figure(pull: Pull, delta: float, order: Array, step: int) -> Figure:
    """Gradient norm against distance on logarithmic axes, with quantiles over bins of equally many points."""
    norm, distance = pull.norm, pull.distance
    drawn = (norm > 0) & (distance > 0)  # what a logarithm can show
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for which, colour, label in (
        (distance > delta, FAKE, "generated point"),
        (distance <= delta, CLOSE, rf"of a close pair ($\delta$ = {delta:.3g})"),
    ):
        axes.scatter(
            distance[drawn & which], norm[drawn & which], s=9, lw=0, alpha=0.4, color=colour, label=label, zorder=2
        )
    if drawn.any():
        axes.set(xscale="log", yscale="log")
        groups = [g for g in np.array_split(np.flatnonzero(drawn)[np.argsort(distance[drawn])], 14) if g.size]
        middle = [np.median(distance[g]) for g in groups]
        low, median, high = np.array([np.quantile(norm[g], [0.05, 0.5, 0.95]) for g in groups]).T
        axes.fill_between(middle, low, high, color="0.3", alpha=0.15, lw=0, label="5 to 95 %", zorder=1)
        axes.plot(middle, median, color="0.1", lw=1.8, marker="o", ms=3.5, label="median", zorder=4)
        axes.axvline(delta, color=CLOSE, lw=1, ls="--", zorder=1)
    listed = order[drawn[order] & (pull.approximation[order] > 0)]
    axes.scatter(
        distance[listed],
        pull.approximation[listed],
        s=26,
        marker="D",
        facecolor="none",
        edgecolor="#B2182B",
        lw=1,
        label=f"eq. 6, the {len(listed)} closest pairs",
        zorder=3,
    )
    axes.set_xlabel(r"distance to the nearest real point,  $\Vert x_0 - y_0\Vert$")
    axes.set_ylabel(r"generator's gradient,  $\Vert\nabla_{y} L_G(y)\Vert = |L_G'(d(y))|\,\Vert\nabla d(y)\Vert$")
    axes.tick_params(which="minor", labelsize=6)  # where the axis spans less than a decade these have labels
    axes.tick_params(axis="x", which="minor", labelrotation=45)
    axes.grid(True, which="major", color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    hidden = int((~drawn).sum())
    note = f" ({hidden} of them zero or at a real point, not shown)" if hidden else ""
    axes.set_title(f"The pull on {len(norm):,} generated points at step {step:,}{note}", loc="left", fontsize=10)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure


# ------------------------------------------------------------------ the plane


def _plane(
    discriminator: nn.Module,
    runtime: Runtime,
    real: Array,
    shown: Array,
    pull: Pull,
    order: Array,
    steepest: int,
    step: int,
    *,
    arrows: int,
    resolution: int,
) -> Figure:
    """d over the plane with the push on each fake (left), and around the steepest close pair (right)."""
    figure = Figure(figsize=(13, 6.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    low, high = real.min(0), real.max(0)
    whole = _square((low + high) / 2, float((high - low).max()) / 2 * 1.15)
    zoomed = _square((pull.x[steepest] + pull.y[steepest]) / 2, _zoom(real, pull, steepest))
    speed = max(float(np.median(pull.norm)), 1e-12)  # one reference for both panels, so that arrows compare

    for axes, window in ((left, whole), (right, zoomed)):
        _heat(figure, axes, window, discriminator, runtime, resolution)
    chosen = np.linspace(0, len(pull.y) - 1, min(arrows, len(pull.y))).round().astype(int)
    left.scatter(*shown.T, s=4, color=REAL, alpha=0.5, lw=0, zorder=2)
    left.scatter(*pull.y[chosen].T, s=7, color=FAKE, edgecolor="white", lw=0.2, zorder=3)
    _arrows(left, pull, chosen, speed, (whole[1] - whole[0]) / 14)
    left.scatter(*pull.y[order].T, s=45, facecolor="none", edgecolor=CLOSE, lw=1.3, zorder=5)
    x, y, width = zoomed[0], zoomed[2], zoomed[1] - zoomed[0]
    left.plot([x, x + width, x + width, x, x], [y, y, y + width, y + width, y], color="black", lw=1.1, zorder=6)

    right.scatter(*real[_within(real, zoomed)].T, s=22, color=REAL, alpha=0.7, lw=0, zorder=2)
    inside = np.flatnonzero(_within(pull.y, zoomed))
    inside = np.union1d(inside[:: max(1, len(inside) // max(arrows, 1))], [steepest])
    right.scatter(*pull.y[inside].T, s=22, color=FAKE, edgecolor="white", lw=0.4, zorder=3)
    _arrows(right, pull, inside, speed, width / 7)
    right.plot(*np.stack([pull.x[steepest], pull.y[steepest]]).T, color=CLOSE, lw=1.4, zorder=4)
    right.scatter(*pull.x[steepest], s=150, marker="*", color=REAL, edgecolor=CLOSE, lw=1.2, zorder=6)
    right.scatter(*pull.y[steepest], s=70, facecolor="none", edgecolor=CLOSE, lw=2, zorder=6)

    left.set_title(f"Step {step:,}: the discriminator, and where generated points are pushed", loc="left", fontsize=10)
    right.set_title(
        f"The steepest close pair: $d(x_0)$ = {pull.d_x[steepest]:.3g}, $d(y_0)$ = {pull.d_y[steepest]:.3g},\n"
        rf"$\Vert x_0 - y_0\Vert$ = {pull.distance[steepest]:.2g}, "
        rf"$\Vert\nabla L_G(y_0)\Vert$ = {pull.norm[steepest]:.3g} "
        rf"({pull.norm[steepest] / speed:.3g} $\times$ the median)",
        loc="left",
        fontsize=10,
    )
    handles = [
        Line2D([], [], lw=0, marker="o", ms=4, color=REAL, label="real"),
        Line2D([], [], lw=0, marker="o", ms=5, color=FAKE, label="generated"),
        Line2D(
            [],
            [],
            lw=0,
            marker=r"$\rightarrow$",
            ms=11,
            color="black",
            label=r"push $-\nabla_y L_G$ (lengths saturate)",
        ),
        Line2D([], [], lw=0, marker="o", ms=8, mfc="none", mec=CLOSE, label=f"the {len(order)} closest pairs"),
        Line2D([], [], lw=0, marker="s", ms=8, mfc="none", mec="black", label="shown on the right"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def _square(centre: Array, half: float) -> Window:
    half = max(half, 1e-9)
    return centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half


def _zoom(real: Array, pull: Pull, steepest: int) -> float:
    """Half the side of the zoomed window: a few times the pair's distance, and room for some real neighbours; never
    more than a tenth of the whole."""
    around = np.sort(np.linalg.norm(real - pull.x[steepest], axis=1))
    wanted = max(3 * float(pull.distance[steepest]), float(around[min(8, len(real) - 1)]), 1e-6)
    return min(wanted, max(float(np.ptp(real, axis=0).max()) / 10, float(pull.distance[steepest])))


def _within(points: Array, window: Window) -> Array:
    left, right, bottom, top = window
    x, y = points.T
    inside: Array = (left <= x) & (x <= right) & (bottom <= y) & (y <= top)
    return inside


def _heat(
    figure: Figure, axes: Axes, window: Window, discriminator: nn.Module, runtime: Runtime, resolution: int
) -> None:
    """d over the window in colours of its own scale, white at 0, and the line where d = 0."""
    left, right, bottom, top = window
    steps = (np.arange(resolution) + 0.5) / resolution
    x, y = np.meshgrid(left + steps * (right - left), bottom + steps * (top - bottom))
    cells = torch.from_numpy(np.stack([x, y], axis=-1).reshape(-1, 2)).to(torch.get_default_dtype())
    d = _logits(discriminator, cells, runtime).reshape(resolution, resolution)
    limit = max(float(np.quantile(np.abs(d), 0.98)), 1e-6)
    image = axes.imshow(
        d, origin="lower", extent=window, cmap="RdBu", vmin=-limit, vmax=limit, alpha=0.85, interpolation="bilinear"
    )
    if d.min() < 0 < d.max():
        axes.contour(x, y, d, levels=[0.0], colors="white", linewidths=1, alpha=0.9)
    axes.set(xlim=window[:2], ylim=window[2:], aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    axes.tick_params(labelsize=8)
    bar = figure.colorbar(image, ax=axes, extend="both", shrink=0.85, pad=0.015)
    bar.set_label("logit $d$  (blue: real, red: generated)", fontsize=9)


def _arrows(axes: Axes, pull: Pull, chosen: Array, speed: float, longest: float) -> None:
    """Arrows of length L |v| / (|v| + speed), which saturates at L = longest."""
    if not len(chosen):
        return
    drawn = pull.gradient[chosen] / (pull.norm[chosen, None] + speed) * longest
    axes.quiver(
        *pull.y[chosen].T,
        *drawn.T,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.0028,
        headwidth=4,
        color=(0, 0, 0, 0.8),
        zorder=4,
    )
