"""What the sampler makes of the way from one latent to another, beside the training images (`dcgan.latent_walk`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from textwrap import shorten
from typing import Any

import attrs
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gflow_core import (
    DataShape,
    EncoderPart,
    Features,
    Result,
    Streams,
    Subject,
    Vectors,
    as_stored,
    double,
    draw_labels,
    image_grid,
    label_in,
    label_pool,
    lerp,
    nearest,
    push,
    real_index,
    slerp,
)

__all__ = ["Walks", "latent_walk", "measure"]

PATHS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"linear": lerp, "spherical": slerp}

NUMBERS = (
    "length",
    "length_ratio",
    "jump_ratio",
    "neighbour_jump_ratio",
    "squared_speed",
    "distance",
    "distance_at_ends",
    "neighbours",
)
"""What is measured of each walk."""


class Pixels(Vectors):
    """Images as their own features, pixel by pixel."""

    name = "pixels"


@attrs.frozen(eq=False)
class Walks:
    """R walks of k points each, and their nearest training images."""

    x: Tensor
    """The images [R, k, *shape]."""
    f: Tensor
    """Their features, or pixels [R, k, d]."""
    distance: Tensor
    """Distance from the image, rounded to 8 bits, to the nearest training image [R, k], float64."""
    neighbour: Tensor
    """Its place among those searched [R, k]."""
    g: Tensor
    """Its features, or pixels [R, k, d]."""


def latent_walk(
    subject: Subject,
    *,
    paths: Sequence[str],
    rows: int,
    steps: int,
    fine: int,
    encoder: EncoderPart | None,
    real_samples: int | None,
    batch_size: int,
) -> Result:
    """Table `walks`, a row each; scores are means over the rows of a path, where the number exists.

    Figures: one a path, `linear`, `spherical` and `cross_fade`, of images over their nearest training images; and
    `profile`, step lengths and distances along the way. Distances are in units of the data, [-1, 1] a pixel, or of the
    encoder's features. Raises Diverged where samples are NaN or infinite.
    """
    data = subject.data
    assert data is not None
    device = subject.runtime.device
    network = encoder.build(data.shape, device, subject.progress) if encoder else Pixels(data.x[0].numel())
    features = Features(subject, network, batch_size)
    searched = real_index(data, features.count(real_samples))
    # Of the seed alone, so that pictures of one run show the same walks at every step.
    streams = Streams(subject.spec.seed).fork("dcgan.latent_walk")

    t = torch.linspace(0, 1, fine)
    z0, z1, y = _ends(subject, rows, streams)
    x = {path: _images(subject, PATHS[path](z0, z1, t), y) for path in paths}
    first = torch.randint(len(searched), (rows,), generator=streams["real"])
    second = (first + torch.randint(1, max(len(searched), 2), (rows,), generator=streams["real"])) % len(searched)
    a, b = (data.batch(searched[ends]).x.to(t.dtype) for ends in (first, second))
    x["cross_fade"] = lerp(a.flatten(1), b.flatten(1), t).unflatten(2, data.shape.shape)

    walks = _walks(x, features, len(searched))
    found = {path: measure(walk) for path, walk in walks.items()}
    names = [label_in(data, label, data.shape) for label in y] if y is not None else None
    table = [
        {"path": path, "row": i, **({"label": names[i] if path in PATHS else None} if names else {}), **numbers}
        for path, walked in found.items()
        for i, numbers in enumerate(walked)
    ]

    scores: dict[str, float | int | str | None] = {}
    for path, walked in found.items():
        for name in NUMBERS:
            known = [numbers[name] for numbers in walked if numbers[name] is not None]
            scores[f"{path}_{name}"] = fmean(known) if known else None
        if path in PATHS:
            scores.update(_support(path, z0, z1, t, subject.spec.sampler.latent))

    figures = {"profile": _profile(walks, f"step {subject.step:,}: along the way, a line a row ({network.name})")}
    shown = torch.linspace(0, fine - 1, steps).round().long()
    for path, walk in walks.items():
        near = searched[walk.neighbour[:, shown]]
        items = data.batch(near.flatten()).x.unflatten(0, near.shape)
        labels = names if path in PATHS else None
        title = f"step {subject.step:,}, {path.replace('_', '-')} ({network.name}; numbers over {fine} points)"
        figures[path] = _strips(walk.x[:, shown], items, t[shown], found[path], labels, data.shape, title)
    manifest = features.manifest(n_real=len(searched), n_fake=rows * fine, rows=rows, fine=fine)
    return Result(scores=scores, tables={"walks": table}, figures=figures, manifest=manifest)


# ------------------------------------------------------------------ walking


def _ends(subject: Subject, rows: int, streams: Streams) -> tuple[Tensor, Tensor, Tensor | None]:
    """Both latents of each row [rows, dim], and its label where the sampler reads labels."""
    data, sampler = subject.data, subject.spec.sampler
    assert data is not None
    z0, z1 = (sampler.latent.draw(rows, streams["latent"]) for _ in range(2))
    return (
        z0,
        z1,
        draw_labels(label_pool(data, data.shape), rows, streams["label"]) if sampler.conditional else None,
    )


def _images(subject: Subject, z: Tensor, y: Tensor | None) -> Tensor:
    """The sampler's images at z [R, k, d], [R, k, *shape] on the CPU; the label y [R] holds along a row."""
    assert subject.sampler is not None
    labels = y.repeat_interleave(z.shape[1], 0) if y is not None else None
    pieces = push(subject.sampler, z.flatten(0, 1), labels, subject.runtime)
    images: Tensor = torch.cat([x.cpu() for x in pieces]).unflatten(0, z.shape[:2])
    return images


def _walks(x: dict[str, Tensor], features: Features, n_real: int) -> dict[str, Walks]:
    """The images [R, k, *shape] of each path with their features and neighbours: the data is read once for all."""
    data, device = features.subject.data, features.subject.runtime.device
    assert data is not None
    images = torch.cat(list(x.values()))
    # What is compared with training images is rounded as they are, so that a copy is at distance 0; steps along the
    # way are finer than 8 bits.
    every = images.flatten(0, 1)
    f, rounded = (
        torch.cat([features.encode(piece.to(device)).cpu() for piece in these.split(features.batch_size)])
        for these in (every, as_stored(every, data.shape))
    )
    if isinstance(features.encoder, Pixels):  # streamed: as floats they need not fit in memory
        real: Iterable[Tensor] = features.over(data, real_index(data, n_real))
    else:
        real = features.real(n_real).split(features.batch_size)
    distance, neighbour, g = nearest(rounded.to(device), real)
    found = [t.unflatten(0, (len(x), -1, images.shape[1])) for t in (f, distance, neighbour, g)]
    return {path: Walks(x[path], *(t[i] for t in found)) for i, path in enumerate(x)}


# ------------------------------------------------------------------ measuring


def _steps(f: Tensor) -> Tensor:
    """Distances between successive points of f [R, k, d]: [R, k - 1], float64."""
    step: Tensor = double(f).diff(dim=1).norm(dim=2)
    return step


def measure(walks: Walks) -> list[dict[str, Any]]:
    """The `NUMBERS` of each walk.

    A ratio is None where it has no denominator: ends that are alike, or a walk that does not move.
    """
    step, hop = _steps(walks.f), _steps(walks.g)
    straight = (double(walks.f[:, -1]) - double(walks.f[:, 0])).norm(dim=1)
    rate = step.shape[1]  # 1 / dt
    return [
        {
            "length": float(step[i].sum()),
            "length_ratio": _ratio(step[i].sum(), straight[i]),
            "jump_ratio": _ratio(step[i].max(), step[i].mean()),
            "neighbour_jump_ratio": _ratio(hop[i].max(), hop[i].mean()),
            "squared_speed": float((step[i] * rate).square().mean()),
            "distance": float(walks.distance[i].median()),
            "distance_at_ends": float(walks.distance[i, [0, -1]].mean()),
            "neighbours": len(walks.neighbour[i].unique()),
        }
        for i in range(len(step))
    ]


def _ratio(a: Tensor, b: Tensor) -> float | None:
    return float(a / b) if b > 0 else None


def _support(path: str, z0: Tensor, z1: Tensor, t: Tensor, latent: Any) -> dict[str, float]:
    """How far a path's latents are from those that the sampler was trained on."""
    middle = PATHS[path](z0, z1, torch.tensor([0.5]))[:, 0].norm(dim=1)
    found = {f"{path}_middle_norm": float((middle / ((z0.norm(dim=1) + z1.norm(dim=1)) / 2)).mean())}
    if hasattr(latent, "low") and hasattr(latent, "high"):
        z = PATHS[path](z0, z1, t)
        found[f"{path}_outside_support"] = float(((z < latent.low) | (z > latent.high)).any(2).double().mean())
    return found


# ------------------------------------------------------------------ pictures


def _strips(
    x: Tensor,
    items: Tensor,
    t: Tensor,
    found: list[dict[str, Any]],
    labels: list[str] | None,
    shape: DataShape,
    title: str,
) -> Figure:
    """Each row of images x [R, k, *shape] over its nearest training images [R, k, *shape], numbers beside it."""
    rows, k = x.shape[:2]
    figure = Figure(figsize=(0.62 * k + 1.9, 1.3 * rows + 0.7), layout="constrained")
    height, width, gap = shape.shape[1], shape.shape[2], max(1, shape.shape[2] // 16)
    for i, axes in enumerate(figure.subplots(rows, 1, squeeze=False).flat):
        axes.imshow(image_grid(torch.cat([x[i], items[i].to(x)]), shape, k, gap), interpolation="none")
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0, labelsize=7)
        centres = [gap + j * (width + gap) + width / 2 for j in range(k)]
        axes.set_xticks(centres, [f"{time:.2f}" for time in t.tolist()] if i == rows - 1 else [])
        axes.set_yticks([gap + height / 2, 2 * gap + 1.5 * height], ["walk", "nearest"])
        numbers = found[i]
        words = []
        if labels is not None:
            label = f"class {labels[i]}" if shape.classes else labels[i]
            words = [shorten(word, 24, placeholder="...") for word in label.split(", ")]
        words += [
            f"{name.replace('_', ' ')} {numbers[name]:.2f}"
            for name in ("length_ratio", "jump_ratio")
            if numbers[name] is not None
        ]
        words.append(f"{numbers['neighbours']} neighbour{'s' * (numbers['neighbours'] != 1)}")
        axes.text(1.01, 0.5, "\n".join(words), transform=axes.transAxes, va="center", fontsize=7, linespacing=1.4)
    figure.axes[-1].set_xlabel("time $t$ along the path", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def _profile(walks: dict[str, Walks], title: str) -> Figure:
    """Speed and distance to the nearest training image against time: a column a path, a line a row."""
    figure = Figure(figsize=(3.4 * len(walks), 5), layout="constrained")
    grid = figure.subplots(2, len(walks), sharex=True, sharey="row", squeeze=False)
    for (upper, lower), (path, walk) in zip(grid.T, walks.items(), strict=True):
        step = _steps(walk.f)
        t = torch.linspace(0, 1, step.shape[1] + 1)
        middle = (t[1:] + t[:-1]) / 2
        for i in range(len(step)):
            if step[i].mean() > 0:
                upper.plot(middle, step[i] / step[i].mean(), color=f"C{i % 10}", lw=0.9)
            lower.plot(t, walk.distance[i], color=f"C{i % 10}", lw=0.9)
        upper.set_title(path.replace("_", "-"), fontsize=10)
        lower.set_xlabel("time $t$ along the path")
        for axes in (upper, lower):
            axes.grid(color="0.92", lw=0.6)
    for axes in grid[:, 0]:
        axes.set_ylim(bottom=0)
    grid[0, 0].set_ylabel("step / mean step")
    grid[1, 0].set_ylabel("distance to the nearest\ntraining image")
    figure.suptitle(title, fontsize=10)
    return figure
