"""The value of the game, and the discriminator against the best one (`dcgan.value_function`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal

import attrs
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from gflow_core import (
    Diverged,
    GflowError,
    Result,
    Source,
    Subject,
    batch_statistics,
    draw_from,
    draw_labels,
    goes_by_batches,
    label_pool,
    push,
    real_index,
)
from gflow_dcgan.splits import not_trained_on

__all__ = ["Judged", "estimate_density", "finite", "jensen_shannon", "latents", "value", "value_function"]

COLOURS = {"held out": "#2166AC", "training": "0.15", "generated": "#D6392B"}

CHUNK = 8192
"""Points that go through a network at once."""

FEW = 2000
"""Points that are enough for a mean or a quantile of a kernel estimate, whose time grows with their number."""

RARE = 1e-3
"""Share of the items in regions so thin that D* is not drawn there."""

SHOWN = 400
"""Points of each kind in a picture."""

BANDWIDTHS = np.geomspace(1e-4, 1, 17)
"""Kernel widths that are tried, in standard deviations of the samples."""

LogDensity = Callable[[Tensor], Tensor]
"""Points [n, d] on the CPU -> log density [n], float64."""

Array = np.ndarray[Any, np.dtype[Any]]


@attrs.frozen(eq=False)
class Judged:
    """Items and what the discriminator says of them."""

    name: str
    real: bool
    logit: Tensor
    """[n], float64, on the CPU."""
    x: Tensor
    """The items [n, d] themselves, on the CPU in float64, where they are vectors; [n, 0] of images."""
    together: int = 1
    """Neighbours that were judged by their common statistics, which divide n; 1 where each is judged by itself."""

    @property
    def probability(self) -> Tensor:
        """D(x) [n]."""
        return self.logit.sigmoid()

    @property
    def log_likelihood(self) -> Tensor:
        """log D(x) of real items, log(1 - D(x)) of generated ones, [n], in nats and without overflow."""
        return -F.softplus(-self.logit if self.real else self.logit)

    @property
    def accuracy(self) -> float:
        """The share on the right side of D = 1/2; an item at 1/2 is half right."""
        right = self.logit.sign() * (1 if self.real else -1)
        return float((right + 1).mean() / 2)

    def row(self) -> dict[str, Any]:
        return {
            "items": self.name,
            "n": len(self.logit),
            "mean_log_likelihood": float(self.log_likelihood.mean()),
            "accuracy": self.accuracy,
            "mean_probability": float(self.probability.mean()),
            "mean_logit": float(self.logit.mean()),
        }


def value(real: Judged, fake: Judged) -> tuple[float, float]:
    """V = E log D(x) + E log(1 - D(G(z))) (seed eq. 5) and its standard error, in nats.

    Items that were judged together are one observation, their mean.
    """
    terms = [judged.log_likelihood.view(-1, judged.together).mean(1) for judged in (real, fake)]
    return sum(float(t.mean()) for t in terms), math.sqrt(sum(float(t.var()) / len(t) for t in terms))


def jensen_shannon(value: float) -> float:
    """(V + 2 log 2) / 2 in nats: JS of the best discriminator's V, a lower bound on it of any other's."""
    return value / 2 + math.log(2)


def value_function(
    subject: Subject,
    *,
    samples: int,
    real_samples: int,
    batch_norm: Literal["batch", "eval"],
    batch_size: int,
    density_samples: int,
    bandwidth: float | None,
    resolution: int,
) -> Result:
    """V on held-out and on training items, the histograms of D, and D against D* where p is known."""
    data = subject.data
    assert data is not None
    other_part = not_trained_on(subject.spec.dataset)
    other: Source | None = None if other_part is None else other_part.load(subject.progress)

    discriminator = subject.discriminator
    assert discriminator is not None
    with batch_statistics(discriminator) if batch_norm == "batch" else nullcontext():
        batchwise = goes_by_batches(discriminator)
        together = _together(data, other, samples, real_samples, batch_size) if batchwise else 1
        fake = _judge_samples(subject, samples, batch_size, together)
        train = _judge_data(subject, "training", data, real_samples, batch_size, together)
        held = None if other is None else _judge_data(subject, "held out", other, real_samples, batch_size, together)
    real = train if held is None else held
    v, error = value(real, fake)
    v_train, _ = value(train, fake)
    # What is judged by its batch tells batches apart: the divergence that V bounds is theirs.
    js, between = ("js_batches", f" between batches of {together}") if batchwise else ("js", "")
    scores: dict[str, float | int | str | None] = {
        "value": v,
        "value_error": error,
        "value_train": v_train,
        js: jensen_shannon(v),
        f"{js}_error": error / 2,
        f"{js}_train": jensen_shannon(v_train),
        "js_bound": math.log(2),
        "accuracy": (real.accuracy + fake.accuracy) / 2,
        "accuracy_real": real.accuracy,
        "accuracy_train": train.accuracy,
        "accuracy_fake": fake.accuracy,
        "logit_real": float(real.logit.mean()),
        "logit_train": float(train.logit.mean()),
        "logit_fake": float(fake.logit.mean()),
    }
    sets = [judged for judged in (held, train, fake) if judged is not None]
    text = (
        f"V = {v:.4g} \u00b1 {error:.2g} ({real.name}), {v_train:.4g} (training)\n"
        f"JS{between} = {jensen_shannon(v):.3g} nats, a lower bound; at most log 2 = 0.693\n"
        f"accuracy {(real.accuracy + fake.accuracy) / 2:.3f}: {real.accuracy:.3f} real, {fake.accuracy:.3f} generated"
    )
    figures = {"histogram": _histogram(sets, text, subject.step)}
    protocol = subject.protocol()
    manifest = {
        "sampler_batch_norm": protocol.pop("batch_norm"),
        **protocol,
        "discriminator_batch_norm": batch_norm,
        "batch_size": together if batchwise else batch_size,
        "n_real": len(real.logit),
        "n_train": len(train.logit),
        "n_fake": len(fake.logit),
        "real_items": real.name,
        "held_out_split": None if other is None else other_part.split,
        "held_out_data": None if other is None else other.fingerprint,
    }
    known = data.log_density is not None and data.shape.shape in ((1,), (2,))
    # D* is a function of points: out of the block above D is one as well, by its running statistics.
    if known and not subject.spec.discriminator.conditional and not goes_by_batches(discriminator):
        log_q, bandwidth = _model_density(subject, density_samples, bandwidth)
        manifest |= {"n_density": density_samples, "bandwidth": bandwidth, "optimal_batch_norm": "eval"}
        optimal = Optimal(subject, log_q)
        best = [attrs.evolve(judged, logit=optimal.best(judged.x), together=1) for judged in (real, fake)]
        gaps = [(optimal.own(judged.x).sigmoid() - judged.probability).abs().mean() for judged in best]
        scores["distance_to_optimal"] = float(sum(gaps)) / 2
        scores["value_optimal"], _ = value(*best)
        draw = _curves if data.shape.shape == (1,) else _heat_maps
        running = "; D by running statistics" if batchwise else ""
        gap = f"mean |D - D*| = {scores['distance_to_optimal']:.3g}"
        note = f"q estimated with bandwidth {bandwidth:.2g}; {gap}{running}"
        figures["optimal"] = draw(optimal, real.x, fake.x, resolution, note)
    return Result(
        scores=scores, tables={"items": [judged.row() for judged in sets]}, figures=figures, manifest=manifest
    )


# ------------------------------------------------------------------ what D says


def _together(data: Source, other: Source | None, samples: int, real_samples: int, batch_size: int) -> int:
    """Items of a batch: of all sets alike, lest their number tell them apart, and two batches of the smallest set."""
    real = [min(real_samples, len(source)) for source in (data, other) if source is not None]
    fewest = min(samples, *real)
    if fewest < 4:
        raise GflowError(
            f"dcgan.value_function: two batches for batch norm need 4 items, and there are {fewest}; raise samples, "
            'real_samples or the size of the data set, or set batch_norm = "eval"'
        )
    return min(batch_size, fewest // 2)


def _pieces(index: Tensor, batch_size: int, together: int) -> tuple[Tensor, ...]:
    """The batches that go through D: whole ones, without the rest, where the items of one are judged together."""
    size = batch_size if together == 1 else together
    pieces: tuple[Tensor, ...] = index[: len(index) // together * together].split(size)
    return pieces


def finite(logit: Tensor, step: int) -> Tensor:
    """These logits; Diverged where one is NaN or infinite."""
    if not bool(logit.isfinite().all()):
        raise Diverged(
            f"step {step}: logits are NaN or infinite; the networks have diverged: train with a lower rate, or analyze "
            "an earlier checkpoint"
        )
    return logit


@torch.no_grad()
def _logits(subject: Subject, x: Tensor, y: Tensor | None) -> Tensor:
    """Logits of x [B, *shape] on the CPU in float64, [B]; a conditional discriminator reads y."""
    assert subject.discriminator is not None
    given = (x, y) if subject.spec.discriminator.conditional else (x,)
    with subject.runtime.autocast():
        logit: Tensor = subject.discriminator(*given)
    return finite(logit.float().cpu().double(), subject.step)


def _judge_data(subject: Subject, name: str, data: Source, real_samples: int, batch_size: int, together: int) -> Judged:
    """Some items of the data, the same ones in every run, with their own labels."""
    pieces = _pieces(real_index(data, real_samples), batch_size, together)
    batches = (data.batch(piece, subject.runtime.device) for piece in pieces)
    found = [(_logits(subject, batch.x, batch.y), _kept(batch.x)) for batch in batches]
    logit, kept = (torch.cat(values) for values in zip(*found, strict=True))
    subject.progress(f"{name} items", len(logit), len(logit))
    return Judged(name, True, logit, kept, together)


def latents(subject: Subject, n: int) -> tuple[Tensor, Tensor | None]:
    """z [n, dim], and labels [n] or [n, k] that follow the data's, None where the sampler reads none; on the CPU."""
    spec, streams = subject.spec, subject.streams
    z, y = spec.sampler.latent.draw(n, streams["latent"]), None
    if spec.sampler.conditional:
        y = draw_labels(label_pool(subject.data, spec.dataset.data_shape()), n, streams["label"])
    return z, y


def _judge_samples(subject: Subject, n: int, batch_size: int, together: int) -> Judged:
    """Samples with the labels that they were made from, which follow the data's."""
    assert subject.sampler is not None
    z, y = latents(subject, n)
    logits, kept = [], []
    pieces = _pieces(torch.arange(n), batch_size, together)
    for done, index in enumerate(pieces, 1):
        given = None if y is None else y[index].to(subject.runtime.device)
        (x,) = push(subject.sampler, z[index], given, subject.runtime, chunk=n)
        logits.append(_logits(subject, x, given))
        kept.append(_kept(x))
        subject.progress("batches of samples", done, len(pieces))
    return Judged("generated", False, torch.cat(logits), torch.cat(kept), together)


def _kept(x: Tensor) -> Tensor:
    """Points [B, d] on the CPU in float64; of images nothing, [B, 0]."""
    return x.cpu().double() if x.dim() == 2 else x.new_empty(len(x), 0)


def _histogram(sets: list[Judged], text: str, step: int) -> Figure:
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    bins = np.linspace(0, 1, 51).tolist()
    for judged in sets:
        axes.hist(
            judged.probability.numpy(),
            bins=bins,
            weights=np.full(len(judged.logit), 1 / len(judged.logit)),
            histtype="step" if judged.name == "training" else "stepfilled",
            color=COLOURS[judged.name],
            alpha=1 if judged.name == "training" else 0.5,
            label=f"{judged.name}, mean {float(judged.probability.mean()):.3f}",
        )
    axes.axvline(0.5, color="black", linewidth=1, linestyle="--", label="where the laws agree")
    axes.set(xlabel="D(x) = sigmoid of the logit", ylabel="share of the items", xlim=(0, 1))
    axes.set_title(f"step {step:,}\n{text}", fontsize=9, loc="left")
    figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    return figure


# ------------------------------------------------------------------ the best D


@attrs.frozen(eq=False)
class Optimal:
    """The best discriminator of a subject whose data have a known law, beside the subject's own."""

    subject: Subject
    log_q: LogDensity

    def log_p(self, x: Tensor) -> Tensor:
        assert self.subject.data is not None
        assert self.subject.data.log_density is not None
        return self.subject.data.log_density(x)

    def best(self, x: Tensor) -> Tensor:
        """The logit of D* = p / (p + q) (seed eq. 7), log p - log q, at x [n, d]."""
        return self.log_p(x) - self.log_q(x)

    def log_density(self, x: Tensor) -> Tensor:
        """log (p + q) at x [n, d]."""
        return torch.logaddexp(self.log_p(x), self.log_q(x))

    def own(self, x: Tensor) -> Tensor:
        """The discriminator's logit at x [n, d]."""
        here = x.to(self.subject.runtime.device, torch.get_default_dtype())
        return torch.cat([_logits(self.subject, piece, None) for piece in here.split(CHUNK)])


def estimate_density(x: Tensor, bandwidth: float | None, floor: float) -> tuple[LogDensity, float]:
    """A Gaussian kernel density estimate from points x [n, d], and its bandwidth.

    Without a bandwidth, the one under which one half of x is likeliest given the other half, of four a decade below the
    spread of x. (Rules of thumb, as Scott's, smooth over modes that are narrow.) `floor` > 0 stands for the spread
    where x has none.
    """
    from sklearn.neighbors import KernelDensity

    points = x.double().numpy()

    def fit(points: Array, width: float) -> KernelDensity:
        return KernelDensity(bandwidth=width, rtol=1e-3).fit(points)

    if bandwidth is None:
        half = len(points) // 2
        spread = max(float(points.std(0).mean()), floor)
        bandwidth = max(
            (float(width) for width in spread * BANDWIDTHS),
            key=lambda width: fit(points[:half], width).score_samples(points[half : half + FEW]).mean(),
        )
    model = fit(points, bandwidth)
    return lambda at: torch.from_numpy(model.score_samples(at.double().numpy())), bandwidth


def _model_density(subject: Subject, samples: int, bandwidth: float | None) -> tuple[LogDensity, float]:
    """q of the subject's sampler, from samples of its own: at points it was fitted to an estimate is too high."""
    assert subject.data is not None
    x = torch.cat([x.cpu() for x in draw_from(subject, samples, CHUNK)])
    subject.progress("density of the samples", len(x), len(x))
    return estimate_density(x, bandwidth, 1e-3 * float(subject.data.x.double().std()) or 1e-3)


def _curves(optimal: Optimal, real: Tensor, fake: Tensor, resolution: int, note: str) -> Figure:
    """D and D* on the line, over the densities."""
    low, high = _window(real)
    x = torch.linspace(float(low), float(high), 10 * resolution, dtype=torch.float64)[:, None]
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    upper.plot(x[:, 0], optimal.best(x).sigmoid(), color="black", linestyle="--", label="D* = p / (p + q)")
    upper.plot(x[:, 0], optimal.own(x).sigmoid(), color="tab:purple", label="D")
    upper.set(ylabel="probability of being real", ylim=(-0.03, 1.03))
    upper.set_title(
        f"The discriminator and the best one, step {optimal.subject.step:,}\n{note}", fontsize=9, loc="left"
    )
    for log_density, colour, label in (
        (optimal.log_p, COLOURS["held out"], "p, the data's law"),
        (optimal.log_q, COLOURS["generated"], "q, estimated"),
    ):
        lower.plot(x[:, 0], log_density(x).exp(), color=colour, label=label)
    for points, colour, height in ((real, COLOURS["held out"], 0.08), (fake, COLOURS["generated"], 0.03)):
        few = points[:SHOWN, 0]
        marks = {"s": 14, "marker": "|", "linewidths": 0.5, "transform": lower.get_xaxis_transform()}
        lower.scatter(few, np.full(len(few), height), color=colour, **marks)
    lower.margins(y=0.16)
    lower.set(xlabel="$x$", ylabel="density", xlim=(float(low), float(high)))
    figure.legend(loc="outside lower center", ncols=4, fontsize="small", frameon=False)
    return figure


def _heat_maps(optimal: Optimal, real: Tensor, fake: Tensor, resolution: int, note: str) -> Figure:
    """D, D* and their difference over the plane."""
    low, high = _window(real)
    middle, half = (low + high) / 2, float((high - low).max()) / 2
    steps = (torch.arange(resolution, dtype=torch.float64) + 0.5) * (2 * half / resolution) - half
    plane = torch.cartesian_prod(steps + middle[1], steps + middle[0]).flip(1)  # rows are x_2
    own, best = (f(plane).sigmoid().view(resolution, resolution).numpy() for f in (optimal.own, optimal.best))
    # Far from all items D* is a ratio of two tails, and one of them a kernel's.
    rare = optimal.log_density(torch.cat([real[:FEW], fake[:FEW]])).quantile(RARE)
    best = np.where((optimal.log_density(plane) < rare).view(resolution, resolution), np.nan, best)
    extent = [float(v) for v in (middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half)]
    figure = Figure(figsize=(13, 4.9), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    title = "D* = p / (p + q); grey: hardly an item"
    shown = (("D", own, "RdBu", 0.0), (title, best, "RdBu", 0.0), ("D - D*", own - best, "PuOr", -1.0))
    for axes, (title, values, colours, lowest) in zip(panels, shown, strict=True):
        image = axes.imshow(values, origin="lower", extent=extent, cmap=colours, vmin=lowest, vmax=1)
        axes.set(title=title, facecolor="0.8", xlabel="$x_1$", xlim=extent[:2], ylim=extent[2:])
        figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
        if axes is not panels[2]:
            for points, colour, name in ((real, "black", "real"), (fake, "#5DBB63", "generated")):
                axes.scatter(*points[:SHOWN].T, s=3, color=colour, linewidths=0, label=name)
    panels[0].set_ylabel("$x_2$")
    figure.suptitle(f"The discriminator and the best one, step {optimal.subject.step:,}: {note}", fontsize=10)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=4, frameon=False
    )
    return figure


def _window(real: Tensor) -> tuple[Tensor, Tensor]:
    """The corners of what is drawn, [d] each: the real points and a margin."""
    low, high = real.min(0).values, real.max(0).values
    margin = 0.15 * (high - low).max() + 1e-6
    return low - margin, high + margin
