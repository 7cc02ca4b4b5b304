"""Particles moved by a run's velocity, beside the run, and the picture of it (`flow_field`)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import attrs
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from gflow_core.data.feed import Feed
from gflow_core.methods.fields import Everywhere, Field, FlowState, clamp_bounds
from gflow_core.methods.flow import ParticleFlow
from gflow_core.nn.batch_norm import unsynchronised
from gflow_core.optim.freezing import freeze
from gflow_core.optim.player import evaluating, make_player
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import at
from gflow_core.parts.training import Experiment

__all__ = ["flow_field"]

AT_ONCE = 4096
"""Points of the heat map at once; bounds the memory, changes nothing else."""


@attrs.frozen(eq=False)
class _Moment:
    """The field at one move, on the CPU."""

    places: Tensor
    """Where arrows stand [k, 2]: on their grid or, where the field is known at particles alone, at those shown."""
    arrows: Tensor
    """Velocities there [k, 2]."""
    heat: Tensor | None
    """What the field knows, or its speed, on the heat map's grid [resolution, resolution], row by row upwards.

    None where that is known at particles alone."""
    label: str
    """What the heat map is called; empty where it is the speed."""
    scores: dict[str, float]
    """The mean speed, and what the field observes."""


def flow_field(
    subject: Subject, rules: ParticleFlow, *, particles: int, loops: int, arrows: int, resolution: int
) -> Result:
    """Move particles as one outer loop of `rules` does, by a velocity of its own that goes on learning.

    `loops` are the moves; `arrows` and `resolution` points along an axis. Scores: the mean displacement; at the first
    and last move the mean speed ||v|| and what the field observes. The run's own networks and streams stay as they
    are.
    """
    streams, device = subject.streams, subject.runtime.device
    assert subject.data is not None
    x = _start(subject, rules, particles)
    choice = torch.randint(len(subject.data), (min(len(subject.data), 1500),), generator=streams["flow_field.shown"])
    real = subject.data.batch(choice, device).x
    window = _window(real, x)
    cells, tips = (_grid(window, n).to(device) for n in (resolution, arrows))

    rules = attrs.evolve(rules, pool_size=len(x), inner_loops=loops)
    velocity = rules.velocity.build(_beside(subject, rules), rules)
    bounds = clamp_bounds(rules.clamp, subject.data.shape)
    step_size = at(rules.step_size, subject.step)
    state = FlowState(start=x, x=x, sums=x.new_zeros(len(velocity.observes) + 2))

    moments, path = [], [x[:particles].cpu()]
    for loop in range(loops):
        subject.progress("moving particles", loop, loops)
        with torch.enable_grad(), velocity.at(state, subject.step) as field:
            v = field(slice(None))
            if loop in (0, loops - 1):
                moments.append(_look(field, real, x, v, particles, tips, cells))
        x = x + step_size * v
        if bounds != (None, None):
            x = x.clamp(*bounds)
        state.x, state.moves = x, loop + 1
        path.append(x[:particles].cpu())
    subject.progress("moving particles", loops, loops)

    first, last = moments[0], moments[-1]
    assert state.start is not None
    return Result(
        scores={
            "displacement": float((x - state.start).norm(dim=1).mean()),
            **{
                f"{name}_{when}": moment.scores[name]
                for name in first.scores
                for when, moment in (("start", first), ("end", last))
            },
        },
        figures={
            "flow_field": _figure(
                window, real.cpu(), torch.stack(path), first, last, f"The flow at step {subject.step}"
            )
        },
        manifest={
            "velocity": str(rules.velocity),
            "step_size": step_size,
            "particles": len(x),
            "inner_loops": loops,
            "real_points": len(real),
        },
    )


def _start(subject: Subject, rules: ParticleFlow, particles: int) -> Tensor:
    """Where particles are before they move: so many of the sampler's, or a whole cloud [n, 2]."""
    assert subject.sampler is not None
    if rules.sampler == "none":
        cloud = subject.sampler.particles
        assert isinstance(cloud, Tensor)
        return cloud.detach().clone()
    z = subject.spec.sampler.latent.draw(particles, subject.streams["flow_field.latent"]).to(subject.runtime.device)
    with torch.no_grad(), evaluating(subject.sampler), subject.runtime.autocast():
        x: Tensor = subject.sampler(z)
    return x.to(z.dtype)


def _beside(subject: Subject, rules: ParticleFlow) -> Experiment:
    """What the velocity is built over: copies of the networks that it trains, data and draws of the analyzer's own."""
    assert subject.data is not None
    assert subject.spec.train is not None
    train = attrs.evolve(subject.spec.train, accumulate=1)  # few points may not divide into pieces
    spec = attrs.evolve(subject.spec, objective=rules, train=train)
    # Analyzers run in one process: no gradient is averaged with others.
    alone = attrs.evolve(subject.runtime, rank=0, world=1)
    feed = Feed(subject.data, alone, subject.streams, augment=train.augment)
    feed.done = subject.step
    experiment = Experiment(
        spec=spec, runtime=alone, streams=subject.streams, data=subject.data, feed=feed, sampler=subject.sampler
    )
    for name in rules.velocity.players:
        module = unsynchronised(copy.deepcopy(getattr(subject, name)))
        setattr(experiment, name, module)
        still = freeze(module, spec.networks[name].freeze, f"{name}.freeze")
        player = make_player(module, spec.optimizer[name], alone, clip=train.clip, still=still)
        player.train()
        player.set_rates(subject.step)
        experiment.players[name] = player
    return experiment


def _look(field: Field, real: Tensor, x: Tensor, v: Tensor, shown: int, tips: Tensor, cells: Tensor) -> _Moment:
    """The field as it is now."""
    scores = {"velocity": float(v.norm(dim=1).mean())}
    if not isinstance(field, Everywhere):
        return _Moment(x[:shown].cpu(), v[:shown].cpu(), None, "", scores)

    def speed(points: Tensor) -> Tensor:
        found: Tensor = field.at(points).norm(dim=1)
        return found

    known, label = (speed, "") if field.witness is None else (field.witness, field.label)
    heat = torch.cat([known(points).detach() for points in cells.split(AT_ONCE)]).float().cpu()
    side = round(len(cells) ** 0.5)
    scores |= {name: float(value) for name, value in field.observe(real, x).items()}
    return _Moment(tips.cpu(), field.at(tips).cpu(), heat.view(side, side), label, scores)


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
    paths: Tensor,
    first: _Moment,
    last: _Moment,
    title: str,
) -> Figure:
    figure = Figure(figsize=(12.4, 6.1), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    # One reference speed for both panels, so that arrows compare.
    speed = max(float(torch.cat([first.arrows, last.arrows]).norm(dim=1).median()), 1e-12)
    for axes, moment in zip(panels, (first, last), strict=True):
        axes.scatter(*real.numpy().T, s=3, color="black", alpha=0.25, lw=0, zorder=1)
        _arrows(axes, moment, speed, window[1] - window[0], key=axes is panels[0])
        axes.set(xlim=window[:2], ylim=window[2:], aspect="equal", xlabel="$x_1$")
    _heat(figure, panels, window, first, last)
    start, end = paths[0].numpy(), paths[-1].numpy()
    panels[0].scatter(*start.T, s=16, facecolor="white", edgecolor="#1B7837", lw=0.9, zorder=4)
    panels[1].add_collection(
        LineCollection(list(paths.transpose(0, 1).numpy()), colors="#1B7837", lw=0.6, alpha=0.55, zorder=3)
    )
    panels[1].scatter(*start.T, s=8, facecolor="white", edgecolor="#1B7837", lw=0.6, alpha=0.8, zorder=4)
    panels[1].scatter(*end.T, s=16, facecolor="#1B7837", edgecolor="white", lw=0.5, zorder=5)
    panels[0].set_ylabel("$x_2$")
    panels[0].set_title("First move: where the particles start", loc="left", fontsize=10)
    panels[1].set_title(f"Move {len(paths) - 1}: their paths and where they end", loc="left", fontsize=10)
    handles = [
        Line2D([], [], lw=0, marker="o", ms=3, color="black", alpha=0.5, label="real"),
        Line2D([], [], lw=0, marker="o", ms=5, mfc="white", mec="#1B7837", label="particle, start"),
        Line2D([], [], lw=0.8, color="#1B7837", label="path"),
        Line2D([], [], lw=0, marker="o", ms=5, color="#1B7837", label="particle, end"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure


def _heat(
    figure: Figure, panels: Sequence[Axes], window: tuple[float, float, float, float], first: _Moment, last: _Moment
) -> None:
    """What the field knows behind both panels, in one scale of colours."""
    if first.heat is None or last.heat is None:
        return
    both = torch.cat([first.heat, last.heat]).abs()
    limit = max(float(torch.quantile(both[::2, ::2].flatten(), 0.98)), 1e-9)
    for axes, heat in zip(panels, (first.heat, last.heat), strict=True):
        image = axes.imshow(
            heat.numpy(),
            origin="lower",
            extent=window,
            cmap="RdBu_r" if first.label else "Oranges",
            vmin=-limit if first.label else 0,
            vmax=limit,
            alpha=0.85,
            interpolation="bilinear",
            zorder=0,
        )
    bar = figure.colorbar(image, ax=panels, extend="both" if first.label else "max", shrink=0.86, pad=0.015)
    bar.set_label(first.label or r"$\Vert v\Vert$")


def _arrows(axes: Axes, moment: _Moment, speed: float, width: float, *, key: bool) -> None:
    """Arrows of length L |v| / (|v| + speed), which saturates at L: a cell of their grid, or more at particles."""
    on_grid = moment.heat is not None
    longest = 0.95 * width / (round(len(moment.places) ** 0.5) if on_grid else 14)
    norm = moment.arrows.norm(dim=1, keepdim=True)
    drawn = (moment.arrows / (norm + speed) * longest).numpy()
    quiver = axes.quiver(
        *moment.places.numpy().T,
        *drawn.T,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.0026,
        headwidth=4,
        color=(0.15, 0.15, 0.15, 0.75),
        pivot="mid" if on_grid else "tail",
        zorder=2 if on_grid else 6,
    )
    if key:
        label = rf"lengths saturate; $\Vert v\Vert = {_short(speed)}$:"
        place = {"labelpos": "W", "labelsep": 0.08, "fontproperties": {"size": 8}}
        axes.quiverkey(quiver, 0.975, 1.022, longest / 2, label, **place)


def _short(number: float) -> str:
    return np.format_float_positional(number, precision=2, fractional=False) if number >= 1e-3 else f"{number:.0e}"
