"""z(A) - z(B) + z(C) with mean latents of exemplars (`dcgan.vector_arithmetic`): the paper's Figure 7."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import attrs
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gflow_core import (
    DataShape,
    Diverged,
    Encoder,
    Features,
    GflowError,
    Result,
    Streams,
    Subject,
    image_grid,
    parse_label,
    push,
)
from gflow_dcgan.options import ArithmeticOptions

__all__ = ["Seen", "choose", "combine", "read_label", "surroundings", "vector_arithmetic"]

HOW = (
    "set indices to lists of their numbers, one a sign, as in indices = [[0, 4, 9], [1, 2, 8], [3, 5, 7]]; or concepts "
    "to classes and encoder to a network that sees them"
)


@attrs.frozen(eq=False)
class Seen:
    """What a classifier says of n images."""

    classes: Tensor
    """The most probable class of each [n]."""
    confidence: Tensor
    """Its probability [n]."""
    count: int
    """Classes that there are."""

    def name(self, i: int) -> str:
        """ "8 (0.97)": the class of image i and its probability."""
        return f"{int(self.classes[i])} ({float(self.confidence[i]):.2f})"


def vector_arithmetic(subject: Subject, options: ArithmeticOptions) -> Result:
    """The figure `samples`, numbered; and `arithmetic`, with table `exemplars`, where the concepts are chosen.

    Scores: the norm of the result's z over the mean norm of the exemplars' (`norm_ratio`); for a uniform law the share
    of its components outside the interval; with an encoder the class seen in the result, its probability, the share of
    noisy neighbours of that class, and class and probability of the same arithmetic on pixels. Raises GflowError where
    a class has fewer samples than `exemplars`, Diverged where samples are NaN or infinite.
    """
    data = subject.data
    assert data is not None
    latent, shape = subject.spec.sampler.latent, data.shape
    # Of the seed alone: samples keep their numbers at every step, and under another name in the recipe.
    streams = Streams(subject.spec.seed).fork("dcgan.vector_arithmetic")
    label = read_label(options.label, shape)
    features = Features.of(subject, options.encoder, options.batch_size) if options.encoder is not None else None
    if features is not None:
        check_concepts(options.concepts, features.encoder, shape, subject.runtime.device)
    z = latent.draw(options.candidates, streams["latent"])
    x = _images(subject, z, label)
    seen = _classified(features, x) if features is not None else None

    result = Result(manifest=_manifest(subject, options, features))
    titles = [f"{i}: {seen.name(i)}" if seen else f"{i}" for i in range(len(x))]
    result.figures["samples"] = _sheet(x, titles, shape, f"step {subject.step:,}: samples by number")
    if not (options.concepts or options.indices):
        result.scores["note"] = f"choose exemplars on samples.png: {HOW}"
        return result

    if options.concepts:
        assert seen is not None
        chosen = choose(seen, options.concepts, options.exemplars)
    else:
        chosen = torch.tensor(options.indices)
    means, centre = combine(z[chosen], options.signs)
    around = surroundings(centre, options.grid**2, options.noise, streams)
    pixel_means, pixels = combine(x[chosen], options.signs)
    pixels = pixels.clamp(shape.low, shape.high)
    made = _images(subject, torch.cat([means, around]), label)
    mean_images, grid = made[: len(means)], made[len(means) :]

    result.scores["norm_ratio"] = float(centre.norm() / z[chosen].norm(dim=2).mean())
    if hasattr(latent, "low") and hasattr(latent, "high"):
        result.scores["outside_support"] = float(((centre < latent.low) | (centre > latent.high)).double().mean())
    caption = ["", ""]
    if features is not None:
        of_grid, of_pixels = _classified(features, grid), _classified(features, pixels[None])
        result.scores |= _class_scores(of_grid, of_pixels)
        caption = [f"class {of_grid.name(len(grid) // 2)}", f"class {of_pixels.name(0)}"]
    result.tables["exemplars"] = [
        {"concept": c, "sign": options.signs[c], "sample": i}
        | ({"class": int(seen.classes[i]), "confidence": float(seen.confidence[i])} if seen else {})
        for c, group in enumerate(chosen.tolist())
        for i in group
    ]
    names = [f"class {c}" for c in options.concepts] or [", ".join(map(str, group)) for group in options.indices]
    result.figures["arithmetic"] = _figure(
        [
            torch.cat([x[group], mean[None], pixel[None]])
            for group, mean, pixel in zip(chosen, mean_images, pixel_means, strict=True)
        ],
        names,
        options.signs,
        grid,
        pixels,
        caption,
        shape,
        f"step {subject.step:,}: arithmetic on mean latents, and on mean images",
    )
    return result


def read_label(text: int | str | None, shape: DataShape) -> Tensor | None:
    """The option `label` as one label; None where it is not set. Raises GflowError for what is no label of the data."""
    try:
        return parse_label(str(text), shape) if text is not None else None
    except ValueError as error:
        raise GflowError(f"dcgan.vector_arithmetic: label: {error}") from None


# ------------------------------------------------------------------ arithmetic


def check_concepts(concepts: Sequence[int], encoder: Encoder, data: DataShape, device: torch.device) -> None:
    """Raise GflowError for a class that is none of the classifier's."""
    if concepts:
        classes = encoder.classify(torch.zeros(1, *data.shape, device=device)).shape[1]
        if max(concepts) >= classes:
            raise GflowError(
                f"dcgan.vector_arithmetic: concepts names class {max(concepts)}, and the encoder's are 0 to "
                f"{classes - 1}"
            )


def choose(seen: Seen, concepts: Sequence[int], exemplars: int) -> Tensor:
    """For each class of `concepts` the samples of that class with the highest confidence, [concepts, exemplars].

    Raises GflowError where a class has fewer.
    """
    counts = torch.bincount(seen.classes, minlength=seen.count).tolist()
    chosen = []
    for concept in concepts:
        if counts[concept] < exemplars:
            found = ", ".join(f"{c}: {n}" for c, n in enumerate(counts) if n)
            raise GflowError(
                f"dcgan.vector_arithmetic: of {len(seen.classes)} samples {counts[concept]} are of class {concept}, "
                f"and exemplars = {exemplars}; raise candidates, train longer, or name other classes (found {found})"
            )
        confidence = seen.confidence.where(seen.classes == concept, -1.0)
        chosen.append(confidence.argsort(descending=True, stable=True)[:exemplars])
    return torch.stack(chosen)


def combine(items: Tensor, signs: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Means of the exemplars, items [concepts, exemplars, ...] -> [concepts, ...], and their signed sum [...]."""
    means = items.mean(1)
    weight = torch.tensor([{"+": 1.0, "-": -1.0}[sign] for sign in signs]).to(means)
    return means, torch.tensordot(weight, means, 1)


def surroundings(z: Tensor, n: int, noise: float, streams: Streams) -> Tensor:
    """n latents [n, d], n odd: z [d] itself in the middle, the others with noise added, uniform on +-`noise`."""
    delta = (2 * torch.rand(n, len(z), generator=streams["noise"]) - 1) * noise
    delta[n // 2] = 0
    return z + delta.to(z)


# ------------------------------------------------------------------ images and their classes


def _images(subject: Subject, z: Tensor, label: Tensor | None) -> Tensor:
    """The sampler's images at z [n, d] under one label, [n, *shape], on the CPU. Raises Diverged if not finite."""
    assert subject.sampler is not None
    y = label.expand(len(z), *label.shape) if label is not None else None
    x = torch.cat([x.cpu() for x in push(subject.sampler, z, y, subject.runtime)])
    if not bool(x.isfinite().all()):
        raise Diverged(
            f"step {subject.step}: samples are NaN or infinite; train with a lower rate, or analyze an earlier "
            "checkpoint"
        )
    return x


def _classified(features: Features, x: Tensor) -> Seen:
    """What the encoder's classifier sees in x [n, *shape]."""
    device, classify = features.subject.runtime.device, features.encoder.classify
    logits = torch.cat([features.encode(p.to(device), classify).cpu() for p in x.split(features.batch_size)]).double()
    confidence, classes = logits.softmax(1).max(1)
    return Seen(classes, confidence, logits.shape[1])


def _class_scores(grid: Seen, pixels: Seen) -> dict[str, float | int | str | None]:
    middle = len(grid.classes) // 2
    same = (grid.classes == grid.classes[middle]).double()
    return {
        "class": int(grid.classes[middle]),
        "confidence": float(grid.confidence[middle]),
        "neighbours_same_class": float((same.sum() - 1) / (len(same) - 1)) if len(same) > 1 else None,
        "pixel_class": int(pixels.classes[0]),
        "pixel_confidence": float(pixels.confidence[0]),
    }


def _manifest(subject: Subject, options: ArithmeticOptions, features: Features | None) -> dict[str, Any]:
    return {
        **subject.protocol(),
        "n_fake": options.candidates,
        "concepts": list(options.concepts),
        "indices": [list(group) for group in options.indices],
        "signs": "".join(options.signs),
        "exemplars": options.exemplars,
        "noise": options.noise,
        "grid": options.grid,
        "label": options.label,
        "encoder": features.encoder.name if features else None,
        "weights": features.encoder.weights if features else None,
    }


# ------------------------------------------------------------------ pictures


def _show(axes: Axes, x: Tensor, shape: DataShape, columns: int = 1, gap: int = 0) -> None:
    axes.imshow(image_grid(x, shape, columns, gap), interpolation="none")
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_visible(False)


def _sheet(x: Tensor, titles: Sequence[str], shape: DataShape, title: str) -> Figure:
    """Images x [n, *shape] in a square of columns, a title above each."""
    _, height, width = shape.shape
    columns = int((len(x) - 1) ** 0.5) + 1
    rows = -(-len(x) // columns)
    gap = max(2, round(0.25 * height))
    inches = min(max(0.55, 1.25 * width / 150), 1.2) / (width + gap)  # about a dot for a pixel, within reason
    figure = Figure(figsize=(columns * (width + gap) * inches + 0.1, rows * (height + gap) * inches + 0.4))
    axes = figure.add_axes((0, 0, 1, 1 - 0.4 / figure.get_figheight()))
    _show(axes, x, shape, columns, gap)
    for i, words in enumerate(titles):
        row, column = divmod(i, columns)
        axes.text(
            gap + column * (width + gap) + width / 2,
            row * (height + gap) + 0.9 * gap,
            words,
            ha="center",
            va="bottom",
            fontsize=0.62 * gap * inches * 72,
        )
    figure.text(0.5, 1 - 0.2 / figure.get_figheight(), title, ha="center", va="center", fontsize=10)
    return figure


def _figure(
    columns: Sequence[Tensor],
    names: Sequence[str],
    signs: Sequence[str],
    grid: Tensor,
    pixels: Tensor,
    caption: Sequence[str],
    shape: DataShape,
    title: str,
) -> Figure:
    """A column a concept: exemplars, the image of their mean z, their mean image; then both results.

    `columns` are images [exemplars + 2, *shape] each, `grid` the results from z, `pixels` the one of pixels, and
    `caption` what a classifier sees in the two.
    """
    rows, k, last = len(columns[0]), len(columns), len(columns[0]) - 1
    figure = Figure(figsize=(0.95 * (k * 1.35 + last) + 0.9, 1.0 * rows + 0.9), layout="constrained")
    widths = [part for _ in columns for part in (0.35, 1)] + [0.35, last]
    cells = figure.add_gridspec(rows, 2 * k + 2, width_ratios=widths)
    for c, images in enumerate(columns):
        for row in range(rows):
            axes = figure.add_subplot(cells[row, 2 * c + 1])
            _show(axes, images[row : row + 1], shape)
            if row == 0:
                axes.set_title(fill(names[c], 18), fontsize=9)
            if c == 0:
                beside = {(last - 2) // 2: "exemplars", last - 1: "mean $z$", last: "mean image"}
                axes.set_ylabel(beside.get(row, ""), fontsize=9)
    for row in (last - 1, last):
        for c, sign in enumerate([*signs, "="]):
            if c or sign == "-":
                axes = figure.add_subplot(cells[row, 2 * c])
                axes.set_axis_off()
                axes.text(0.5, 0.5, {"-": "\N{MINUS SIGN}"}.get(sign, sign), ha="center", va="center", fontsize=16)
    side = round(len(grid) ** 0.5)
    axes = figure.add_subplot(cells[:last, 2 * k + 1])
    _show(axes, grid, shape, side, max(1, shape.shape[2] // 16))
    axes.set_title("\n".join(filter(None, ["sum of $z$, in the centre", caption[0]])), fontsize=9)
    axes = figure.add_subplot(cells[last, 2 * k + 1])
    _show(axes, pixels[None], shape)
    axes.set_xlabel("  ".join(filter(None, ["sum of images", caption[1]])), fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure
