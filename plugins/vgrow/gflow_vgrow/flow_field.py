"""A picture of the flow in the plane: density ratio, velocities, and particles on their way (`vgrow.flow_field`)."""

from __future__ import annotations

import copy
from collections.abc import Callable

import attrs
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from gflow_core import FlowRules, Result, Subject, at, clamp_bounds, evaluating, frozen, make_player, name_of
from gflow_vgrow.divergences import Divergence
from gflow_vgrow.flow import discriminator_loss, velocity

__all__ = ["flow_field"]


@attrs.frozen(eq=False)
class _Moment:
    """What the discriminator says at one moment, on the CPU."""

    log_ratio: Tensor
    """log r = -d on the heat map's grid [resolution, resolution], row by row upwards."""
    arrows: Tensor
    """Velocities on the arrows' grid [arrows^2, 2]."""
    velocity: Tensor
    """Velocities of the particles [n, 2]."""
    divergence: Tensor
    """The divergence's estimate from this moment's logits; 0-dimensional."""


def flow_field(
    subject: Subject,
    rules: FlowRules,
    *,
    divergence: Divergence,
    factor: Callable[[Tensor], Tensor],
    discriminator_steps: int,
    particles: int,
    loops: int,
    arrows: int,
    resolution: int,
) -> Result:
    """Move fresh particles as one outer loop does, with a copy of the discriminator that goes on learning.

    `rules`, `divergence`, its `factor` on grad d and `discriminator_steps` are those of the flow, `loops` the moves;
    `arrows` and `resolution` are points along an axis. Scores: the particles' mean displacement, their mean speed
    ||v|| at the first and last move, and the divergence estimated then. The run's own networks and streams stay as they
    are.
    """
    spec, runtime, streams = subject.spec, subject.runtime, subject.streams
    assert subject.data is not None
    assert subject.sampler is not None
    assert subject.discriminator is not None
    assert spec.train is not None
    data, device = subject.data, runtime.device
    bounds = clamp_bounds(rules.clamp, data.shape)
    batch_size = spec.train.batch_size

    z = spec.sampler.latent.draw(particles, streams["flow_field.latent"]).to(device)
    with torch.no_grad(), evaluating(subject.sampler), runtime.autocast():
        x = subject.sampler(z).to(z.dtype)

    def real(n: int, stream: str) -> Tensor:
        return data.batch(torch.randint(len(data), (n,), generator=streams[stream]), device).x

    shown = real(min(len(data), 1500), "flow_field.shown")
    window = _window(shown, x)
    cells, tips = (_grid(window, n).to(device) for n in (resolution, arrows))

    discriminator = copy.deepcopy(subject.discriminator)
    # Analyzers run in one process: no gradient is averaged with others.
    alone = attrs.evolve(runtime, rank=0, world=1)
    player = make_player(discriminator, spec.optimizer["discriminator"], alone)
    player.set_rates(subject.step)

    def v(x: Tensor) -> Tensor:
        """The velocity at x [n, 2], the discriminator in eval mode and frozen: [n, 2]."""
        with torch.enable_grad(), frozen(discriminator), evaluating(discriminator), runtime.autocast():
            return velocity(discriminator, x, factor)

    def look(x: Tensor) -> _Moment:
        with frozen(discriminator), evaluating(discriminator), torch.no_grad(), runtime.autocast():
            logits = [discriminator(points).to(x.dtype) for points in (cells, shown, x)]
        found = v(torch.cat([tips, x]))
        return _Moment(
            log_ratio=-logits[0].view(resolution, resolution).cpu(),
            arrows=found[: len(tips)].cpu(),
            velocity=found[len(tips) :].cpu(),
            divergence=divergence.estimate(logits[1], logits[2]).cpu(),
        )

    moments, path = [], [x.cpu()]
    step_size = at(rules.step_size, subject.step)
    with torch.enable_grad():
        for loop in range(loops):
            subject.progress("moving particles", loop, loops)
            discriminator.train()
            for _ in range(discriminator_steps):
                choice = torch.randperm(len(x), generator=streams["flow_field.particles"])[:batch_size]
                batch = real(batch_size, "flow_field.data")
                with runtime.autocast():
                    d_real, d_fake = discriminator(batch), discriminator(x[choice.to(device)])
                player.minimize(discriminator_loss(d_real.to(x.dtype), d_fake.to(x.dtype)))
            if loop in (0, loops - 1):
                moments.append(look(x))
            x = x + step_size * v(x)
            if bounds != (None, None):
                x = x.clamp(*bounds)
            path.append(x.cpu())
    subject.progress("moving particles", loops, loops)

    paths = torch.stack(path)
    first, last = moments[0], moments[-1]
    figure = _figure(window, shown.cpu(), tips.cpu(), paths, first, last, loops, subject.step)
    return Result(
        scores={
            "displacement": float((paths[-1] - paths[0]).norm(dim=1).mean()),
            "velocity_start": float(first.velocity.norm(dim=1).mean()),
            "velocity_end": float(last.velocity.norm(dim=1).mean()),
            "divergence_start": float(first.divergence),
            "divergence_end": float(last.divergence),
        },
        figures={"flow_field": figure},
        manifest={
            "divergence": name_of("vgrow.divergence", divergence),
            "step_size": step_size,
            "particles": particles,
            "inner_loops": loops,
            "real_points": len(shown),
        },
    )


# ------------------------------------------------------------------ the figure


def _window(real: Tensor, particles: Tensor) -> tuple[float, float, float, float]:
    """(left, right, bottom, top): a square around the data, widened to hold nearly all particles, with margins."""
    inner = torch.quantile(particles.float(), torch.tensor([0.01, 0.99], device=particles.device), dim=0)
    points = torch.cat([real.float(), inner]).cpu()
    low, high = points.amin(0), points.amax(0)
    centre, half = (low + high) / 2, float((high - low).max()) / 2 * 1.15 + 1e-6
    x, y = centre.tolist()
    return x - half, x + half, y - half, y + half


def _grid(window: tuple[float, float, float, float], n: int) -> Tensor:
    """Centres of n x n equal cells, row by row upwards: [n^2, 2]."""
    left, right, bottom, top = window
    steps = (torch.arange(n) + 0.5) / n
    y, x = torch.meshgrid(bottom + steps * (top - bottom), left + steps * (right - left), indexing="ij")
    return torch.stack([x, y], dim=-1).view(-1, 2)


def _figure(
    window: tuple[float, float, float, float],
    real: Tensor,
    tips: Tensor,
    paths: Tensor,
    first: _Moment,
    last: _Moment,
    loops: int,
    step: int,
) -> Figure:
    figure = Figure(figsize=(12.4, 6.1), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    both = torch.cat([first.log_ratio, last.log_ratio]).abs()
    limit = max(float(torch.quantile(both[::2, ::2].flatten(), 0.98)), 1e-3)
    # One reference speed for both panels, so that arrows compare.
    speed = max(float(torch.cat([first.arrows, last.arrows]).norm(dim=1).median()), 1e-12)
    image = None
    for axes, moment in zip(panels, (first, last), strict=True):
        image = axes.imshow(
            moment.log_ratio.numpy(),
            origin="lower",
            extent=window,
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            alpha=0.85,
            interpolation="bilinear",
            zorder=0,
        )
        axes.scatter(*real.numpy().T, s=3, color="black", alpha=0.25, lw=0, zorder=1)
        _arrows(axes, tips, moment.arrows, speed, window, key=axes is panels[0])
        axes.set(xlim=window[:2], ylim=window[2:], aspect="equal", xlabel="$x_1$")
    start, end = paths[0].numpy(), paths[-1].numpy()
    panels[0].scatter(*start.T, s=16, facecolor="white", edgecolor="#1B7837", lw=0.9, zorder=4)
    panels[1].add_collection(
        LineCollection(list(paths.transpose(0, 1).numpy()), colors="#1B7837", lw=0.6, alpha=0.55, zorder=3)
    )
    panels[1].scatter(*start.T, s=8, facecolor="white", edgecolor="#1B7837", lw=0.6, alpha=0.8, zorder=4)
    panels[1].scatter(*end.T, s=16, facecolor="#1B7837", edgecolor="white", lw=0.5, zorder=5)
    panels[0].set_ylabel("$x_2$")
    panels[0].set_title("First move: where the particles start", loc="left", fontsize=10)
    panels[1].set_title(f"Move {loops}: their paths and where they end", loc="left", fontsize=10)
    assert image is not None
    bar = figure.colorbar(image, ax=panels, extend="both", shrink=0.86, pad=0.015)
    bar.set_label(r"$\log r = -d$    (blue: more real,  red: more generated)")
    handles = [
        Line2D([], [], lw=0, marker="o", ms=3, color="black", alpha=0.5, label="real"),
        Line2D([], [], lw=0, marker="o", ms=5, mfc="white", mec="#1B7837", label="particle, start"),
        Line2D([], [], lw=0.8, color="#1B7837", label="path"),
        Line2D([], [], lw=0, marker="o", ms=5, color="#1B7837", label="particle, end"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle(f"The flow at step {step}", fontsize=11)
    return figure


def _arrows(
    axes: Axes,
    tips: Tensor,
    velocities: Tensor,
    speed: float,
    window: tuple[float, float, float, float],
    *,
    key: bool,
) -> None:
    """Arrows of length L |v| / (|v| + speed), which saturates at L, one cell of their grid."""
    cell = (window[1] - window[0]) / round(len(tips) ** 0.5)
    norm = velocities.norm(dim=1, keepdim=True)
    drawn = (velocities / (norm + speed) * cell * 0.95).numpy()
    quiver = axes.quiver(
        *tips.numpy().T,
        *drawn.T,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.0026,
        headwidth=4,
        color=(0.15, 0.15, 0.15, 0.75),
        pivot="mid",
        zorder=2,
    )
    if key:
        label = rf"lengths saturate; $\Vert v\Vert = {_short(speed)}$:"
        place = {"labelpos": "W", "labelsep": 0.08, "fontproperties": {"size": 8}}
        axes.quiverkey(quiver, 0.975, 1.022, 0.95 * cell / 2, label, **place)


def _short(number: float) -> str:
    return np.format_float_positional(number, precision=2, fractional=False) if number >= 1e-3 else f"{number:.0e}"
