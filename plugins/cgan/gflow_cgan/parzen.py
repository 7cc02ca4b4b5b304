"""The Parzen-window log-likelihood of held-out items (`cgan.parzen`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor

from gflow_core import (
    DataError,
    DataShape,
    Diverged,
    Progress,
    Result,
    Source,
    Subject,
    distances,
    double,
    draw_from,
    held_out,
    no_progress,
    real_index,
)

__all__ = ["Estimate", "estimate", "log_density", "parzen"]


def log_density(
    x: Tensor,
    centres: Tensor,
    bandwidths: Sequence[float],
    *,
    progress: Progress = no_progress,
    what: str = "log density",
    entries: int = 1 << 24,
) -> Tensor:
    """log p(x) of the Gaussian kernel density on the centres [m, d], for x [n, d]: [bandwidths, n], float64, in nats.

    log p(x) = logsumexp_i(-|x - s_i|^2 / (2 sigma^2)) - log m - d/2 log(2 pi sigma^2). The distances are formed once
    for all bandwidths, about `entries` numbers at a time.
    """
    m, d = centres.shape
    x, centres = double(x), double(centres)
    middle = centres.mean(0)  # densities do not depend on the origin, the rounding of matrix products does
    found = []
    for piece in distances(x - middle, centres - middle, entries):
        squares = piece.square_()
        nearest = squares.amin(1)
        squares -= nearest[:, None]  # the nearest centre adds exp(0): no sum vanishes, whatever sigma and d
        rows = []
        for sigma in bandwidths:
            kernels = (squares / (-2 * sigma**2)).exp_().sum(1)
            normaliser = math.log(m) + d / 2 * math.log(2 * math.pi * sigma**2)
            rows.append(kernels.log() - nearest / (2 * sigma**2) - normaliser)
        found.append(torch.stack(rows).cpu())
        progress(what, sum(part.shape[1] for part in found), len(x))
    return torch.cat(found, 1)


@attrs.frozen(eq=False)
class Estimate:
    """What a kernel density says of test items, at the bandwidth that validation items chose."""

    curve: Tensor
    """Mean log-likelihood of the validation items by bandwidth, [bandwidths]."""
    bandwidth: float
    at_edge: bool
    """Whether that is the first or the last bandwidth tried: a better one may lie beyond."""
    mean: float
    """Mean log-likelihood of the test items, in nats."""
    error: float
    """Its standard error over the test items."""


def estimate(
    centres: Tensor,
    validation: Tensor,
    test: Tensor,
    bandwidths: Sequence[float],
    progress: Progress = no_progress,
    what: str = "parzen",
) -> Estimate:
    """The kernel density on the centres [m, d]: bandwidth by validation items [v, d], score of test items [n, d]."""
    curve = log_density(validation, centres, bandwidths, progress=progress, what=f"{what}, bandwidth").mean(1)
    best = int(curve.argmax())
    values = log_density(test, centres, [bandwidths[best]], progress=progress, what=what)[0]
    return Estimate(
        curve=curve,
        bandwidth=bandwidths[best],
        at_edge=best in (0, len(bandwidths) - 1),
        mean=float(values.mean()),
        error=float(values.std()) / len(values) ** 0.5,
    )


def parzen(
    subject: Subject,
    *,
    samples: int,
    validation: int,
    held_out_samples: int | None,
    bandwidths: tuple[float, float],
    grid: int,
) -> Result:
    """Scores of samples and of real items, table and figure of the log-likelihood by bandwidth.

    Windows stand on `samples`; `grid` bandwidths between the two are tried on `validation` training items;
    `held_out_samples` None: all held-out items are scored. DataError: too few items.
    """
    data, progress = subject.data, subject.progress
    assert data is not None
    other_part = held_out(subject.spec.dataset)
    other = other_part.load(progress)
    if len(data) < 2 or len(other) < 2:
        raise DataError(
            f"cgan.parzen: {len(data)} training and {len(other)} held-out items; two of each are needed at least, take "
            "more data (dataset.limit)"
        )
    # Validation items are no centres: each would be its own, and the smallest bandwidth the best.
    n_validation = min(validation, len(data) // 2)
    index = real_index(data, n_validation + samples)
    n_test = len(other) if held_out_samples is None else min(held_out_samples, len(other))
    device = subject.runtime.device
    real = _items(data, index[n_validation:]).to(device)
    choosing = _items(data, index[:n_validation]).to(device)
    test = _items(other, real_index(other, n_test)).to(device)
    generated = _samples(samples, subject, data.shape)

    tried = np.geomspace(*bandwidths, grid).tolist()
    fake = estimate(generated, choosing, test, tried, progress, "parzen, samples")
    calibration = estimate(real, choosing, test, tried, progress, "parzen, real items")
    scores: dict[str, float | int | str | None] = {}
    for suffix, found in (("", fake), ("_real", calibration)):
        scores |= {
            f"log_likelihood{suffix}": found.mean,
            f"log_likelihood{suffix}_se": found.error,
            f"bandwidth{suffix}": found.bandwidth,
            f"bandwidth{suffix}_at_edge": int(found.at_edge),
        }
    rows = zip(tried, fake.curve.tolist(), calibration.curve.tolist(), strict=True)
    return Result(
        scores=scores,
        tables={"bandwidths": [{"bandwidth": b, "samples": f, "real": r} for b, f, r in rows]},
        figures={"bandwidths": _figure(tried, fake, calibration, subject.step)},
        manifest={
            **subject.protocol(),
            "n_fake": samples,
            "n_real": len(real),
            "n_validation": n_validation,
            "n_held_out": n_test,
            "held_out_split": other_part.split,
            "held_out_data": other.fingerprint,
            "range": "[0, 1]" if data.shape.low is not None else "the data's own",
            "bandwidths": [*bandwidths, grid],
        },
    )


def _items(data: Source, index: Tensor) -> Tensor:
    """The items at `index` [n], in [0, 1] where their range is known: [n, d], on the CPU."""
    return _unit(data.batch(index).x, data.shape)


def _samples(n: int, subject: Subject, shape: DataShape) -> Tensor:
    """n samples as `_items` gives items, on the device."""
    found: list[Tensor] = []
    for x in draw_from(subject, n):
        if not bool(x.isfinite().all()):
            raise Diverged(
                f"step {subject.step}: samples are NaN or infinite (cgan.parzen); the sampler has diverged: train with "
                "a lower rate, or analyze an earlier checkpoint"
            )
        found.append(_unit(x, shape))
    return torch.cat(found)


def _unit(x: Tensor, shape: DataShape) -> Tensor:
    """x [n, *shape] flattened to [n, d], from its range to [0, 1] where it has one."""
    x = x.flatten(1)
    return x if shape.low is None or shape.high is None else (x - shape.low) / (shape.high - shape.low)


def _figure(bandwidths: Sequence[float], fake: Estimate, real: Estimate, step: int) -> Figure:
    """Mean log-likelihood of the validation items by bandwidth, with the chosen ones."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for found, colour, name in ((real, "0.5", "real items"), (fake, "tab:blue", "samples")):
        axes.plot(bandwidths, found.curve.numpy(), color=colour, marker="o", ms=3, label=f"windows on {name}")
        axes.plot(
            found.bandwidth,
            float(found.curve.max()),
            color=colour,
            marker="*",
            ms=14,
            linestyle="none",
            label=rf"chosen, $\sigma$ = {found.bandwidth:.3g}",
        )
    # Below the best bandwidth the curve falls without bound; what matters is the height of the peaks.
    top, bottom = (pick(float(pick(e.curve)) for e in (fake, real)) for pick in (max, min))
    last = min(float(e.curve[-1]) for e in (fake, real))
    low = max(bottom, top - 1.3 * (top - last)) if top > last else bottom
    margin = 0.06 * (top - low) or 1.0
    axes.set(
        xscale="log",
        xlabel=r"bandwidth $\sigma$",
        ylabel="mean log-likelihood of validation items (nats)",
        ylim=(low - margin, top + margin),
        title=f"step {step}: held-out items {fake.mean:.4g} ± {fake.error:.2g} nats\n"
        f"with real items for samples {real.mean:.4g} ± {real.error:.2g}",
    )
    axes.title.set_fontsize(10)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure
