"""memorization: distances from samples to training items, beside those from held-out items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.parts.nouns import DataShape
from gflow_core.scores.distances import nearest
from gflow_core.scores.features import Features, real_index
from gflow_core.scores.held_out import held_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["memorization"]

COLUMNS = 4
"""Pairs side by side in the figure."""


def memorization(
    subject: Subject,
    *,
    encoder: EncoderPart | None,
    samples: int,
    real_samples: int | None,
    held_out_samples: int,
    quantile: float,
    pairs: int,
    batch_size: int,
) -> Result:
    """The ratio of median distances, the share of near samples, and pictures of the nearest `pairs`.

    Without an encoder vectors are compared as they are; `real_samples` None: all training items are searched. The
    recipe's data set has another split, which the held-out items are of.
    """
    features = Features.of(subject, encoder, batch_size)
    data, device = subject.data, subject.runtime.device
    assert data is not None
    n_real = features.count(real_samples)
    train = features.real(n_real).to(device)
    other_part = held_out(subject.spec.dataset)
    other = other_part.load(subject.progress)
    n_other = min(held_out_samples, len(other))
    real, _, _ = nearest(features.real(n_other, other).to(device), [train])

    fake, closest = [], _Closest(pairs)
    for seen, x in features.with_images(samples):
        distance, neighbour, _ = nearest(seen, [train])
        fake.append(distance)
        closest.add(distance, x, neighbour)
    found = torch.cat(fake)

    near = float(real.quantile(quantile))
    median, median_real = float(found.median()), float(real.median())
    figures = {"distances": _histogram(found, real, near, f"step {subject.step}, {features.encoder.name}")}
    if data.shape.kind == "image":
        items = data.batch(real_index(data, n_real)[closest.neighbour]).x
        figures["pairs"] = _pairs(closest.x, items, closest.distance, data.shape)
    return Result(
        scores={
            # Held-out items that are training items: no distance to measure by.
            "distance_ratio": median / median_real if median_real > 0 else None,
            "close_share": float((found <= near).double().mean()),
            "median_distance": median,
            "median_distance_held_out": median_real,
        },
        figures=figures,
        manifest=features.manifest(
            n_real=n_real,
            n_fake=samples,
            n_held_out=n_other,
            held_out_split=other_part.split,
            held_out_data=other.fingerprint,
            quantile=quantile,
        ),
    )


class _Closest:
    """The pairs of smallest distance of those added, nearest first, on the CPU."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.distance = torch.empty(0, dtype=torch.float64)
        self.neighbour = torch.empty(0, dtype=torch.int64)
        self.x = torch.empty(0)

    def add(self, distance: Tensor, x: Tensor, neighbour: Tensor) -> None:
        """distance [B], samples x [B, *shape], indices of their neighbours [B]."""
        x = x.cpu()
        self.distance, order = torch.cat([self.distance, distance]).sort(stable=True)
        order = order[: self.count]
        self.distance = self.distance[: self.count]
        self.neighbour = torch.cat([self.neighbour, neighbour])[order]
        self.x = (torch.cat([self.x, x]) if len(self.x) else x)[order]


def _histogram(fake: Tensor, real: Tensor, near: float, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    # The few farthest samples would squeeze the rest into one bin.
    high = max(float(real.max()), float(fake.quantile(0.99)), 1e-12)
    bins = torch.linspace(0, high, 61).tolist()
    for name, values, colour in (("held out", real, "0.6"), ("samples", fake, "tab:blue")):
        share = torch.full_like(values, 1 / len(values))
        axes.hist(values.clamp(max=high), bins=bins, weights=share, color=colour, alpha=0.6, label=name)
    axes.axvline(near, color="black", linewidth=1, linestyle="--", label="near")
    axes.set_xlabel("distance to the nearest training item")
    axes.set_ylabel("share")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    return figure


def _pairs(x: Tensor, items: Tensor, distance: Tensor, shape: DataShape) -> Figure:
    """Samples x [P, C, H, W] beside training items, with the distance over each pair."""
    from matplotlib.figure import Figure

    assert shape.low is not None
    assert shape.high is not None
    both = ((torch.cat([x, items.to(x)], 3) - shape.low) / (shape.high - shape.low)).clamp(0, 1)
    rows = -(-len(both) // COLUMNS)
    figure = Figure(figsize=(2 * COLUMNS, 1.25 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False).flat
    for axes in grid:
        axes.set_axis_off()
    for axes, pair, value in zip(figure.axes, both.permute(0, 2, 3, 1).numpy(), distance.tolist(), strict=False):
        axes.imshow(pair[..., :3] if pair.shape[2] >= 3 else pair[..., 0], cmap="gray", vmin=0, vmax=1)
        axes.set_title(f"{value:.3g}", fontsize="x-small")
    figure.suptitle("sample | nearest training item", fontsize="small")
    return figure
