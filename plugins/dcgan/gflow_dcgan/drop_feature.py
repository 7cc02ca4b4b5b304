"""Making the sampler forget a feature (`dcgan.drop_feature`): the window experiment, the paper's section 6.3.1.

The maps h [B, C, h, w] are those that enter the sampler's last convolution. A logistic regression over places,

    p(feature | h_ij) = sigmoid(w . h_ij + b),    h_ij in R^C,

is fitted to places with and without the feature; what it says draws the feature is set to zero, and the sampler draws
again from the same z.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core import (
    DataShape,
    Diverged,
    GflowError,
    Result,
    Runtime,
    Streams,
    Subject,
    draw_labels,
    fingerprint,
    image_grid,
    label_pool,
    push,
)
from gflow_dcgan.annotations import Annotated, Box, Grid, bright, by_boxes, by_rule, read_boxes
from gflow_dcgan.layers import convolutions, example_labels
from gflow_dcgan.options import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gflow_core import Spec

__all__ = ["Linear", "drop_feature", "dropping", "foresee", "patches", "pick"]

Chosen = Callable[[Tensor], Tensor]
"""Maps [B, C, h, w] -> which of them are set to zero, bool, of a shape that broadcasts to theirs."""

By = Literal["weight", "activation"]
"""What is set to zero."""

HELD_OUT = 0.2
"""Share of the images with the feature that the fits do not see."""

PIECE = 1024
"""Places whose patches are formed at once, when the feature is looked for."""

CONTROLS = 5
"""Random choices that the control averages over."""

SHEET = 15
"""Images in a row of the contact sheet."""

GAP = 2
"""Pixels between images in the figure."""


# ------------------------------------------------------------------ the layer


@attrs.frozen(eq=False)
class _Layer:
    """The maps that enter the sampler's last convolution."""

    conv: nn.Module
    channels: int
    grid: Grid

    @classmethod
    def of(cls, sampler: nn.Module, run: Callable[[], object]) -> _Layer:
        """`run` draws some samples. Raises GflowError where there is no convolution."""
        order = convolutions(sampler, (nn.Conv2d, nn.ConvTranspose2d), run)
        if not order:
            raise GflowError(
                f"dcgan.drop_feature: the sampler ({type(sampler).__name__}) uses neither nn.Conv2d nor "
                "nn.ConvTranspose2d; choose a convolutional one"
            )
        held: list[Tensor] = []
        with order[-1].register_forward_pre_hook(lambda module, given: held.append(given[0])):
            run()
        return cls(order[-1], held[-1].shape[1], (held[-1].shape[2], held[-1].shape[3]))


@contextmanager
def dropping(conv: nn.Module, chosen: Chosen) -> Iterator[list[Tensor]]:
    """Within the block the maps that enter `conv` are zero where `chosen` says so.

    Gives a list that grows by the number of zeroed places of each image and map, [B, C], at every forward.
    """
    counts: list[Tensor] = []

    def drop(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        mask = chosen(given[0])
        counts.append(mask.expand_as(given[0]).sum((2, 3)).cpu())
        return (given[0].masked_fill(mask, 0), *given[1:])

    with conv.register_forward_pre_hook(drop):
        yield counts


# ------------------------------------------------------------------ fits


@attrs.frozen(eq=False)
class Linear:
    """A logistic regression, p = sigmoid(v . weight + bias) of vectors v [n, k] in their own units."""

    weight: Tensor
    bias: float
    scale: Tensor
    """Standard deviation of each of the k numbers over the fitted vectors."""

    @classmethod
    def fit(cls, v: Tensor, label: Tensor) -> Linear:
        """scikit-learn's, with its default L2 penalty on standardised vectors."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(v.double().numpy(), label.numpy())
        scaler, regression = model[0], model[1]
        scale = torch.from_numpy(scaler.scale_)
        weight = torch.from_numpy(regression.coef_[0]) / scale
        return cls(weight, float(regression.intercept_[0] - torch.from_numpy(scaler.mean_) @ weight), scale)

    def __call__(self, v: Tensor) -> Tensor:
        """The logit [...] of vectors [..., k]; positive where p > 1/2."""
        return v.double() @ self.weight.to(v.device) + self.bias

    def fires(self, h: Tensor) -> Tensor:
        """Where p > 1/2 in maps h [B, C, h, w], bool [B, h, w]; in float32, whatever the networks run in."""
        with torch.autocast(h.device.type, enabled=False):
            return torch.einsum("bchw,c->bhw", h.float(), self.weight.to(h.device, torch.float32)) + self.bias > 0

    def accuracy(self, v: Tensor, label: Tensor) -> float:
        """Share of the vectors that it puts on the right side; 0.5 by chance."""
        return float(((self(v) > 0) == label.bool()).double().mean())


def pick(positive: Tensor, images: Tensor, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random places, in each image as many with the feature as without, at most `most` of each.

    From positive [n, h, w] and the indices of the images, ascending: image [m], place (row-major) [m], label [m].
    """
    image, place, label = [], [], []
    for i in images.tolist():
        both = [mask.flatten().nonzero().flatten() for mask in (positive[i], ~positive[i])]
        count = min(most, *map(len, both))
        for kind, places in enumerate(both):
            place.append(places[torch.randperm(len(places), generator=generator)[:count]])
            image.append(torch.full((count,), i))
            label.append(torch.full((count,), 1 - kind))
    return torch.cat(image), torch.cat(place), torch.cat(label)


def patches(x: Tensor, grid: Grid, image: Tensor, place: Tensor) -> Tensor:
    """The pixels around the middle of some places, an eighth of the side wide.

    Of images x [n, C, H, W] those at image [m] and place (row-major) [m]: [m, C k k].
    """
    height, width = x.shape[2:]
    reach = max(1, min(height, width) // 16)
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    around = padded.unfold(2, 2 * reach + 1, 1).unfold(3, 2 * reach + 1, 1)  # [n, C, H, W, k, k], a view
    rows, columns = (
        ((torch.arange(count) + 0.5) * side / count).long() for count, side in zip(grid, (height, width), strict=True)
    )
    return around[image, :, rows[place // grid[1]], columns[place % grid[1]]].flatten(1)


def _patchwise(detector: Linear, area: Tensor, x: Tensor) -> Tensor:
    """Where in `area` [n, h, w] a detector of patches finds the feature in images x [n, C, H, W], bool [n, h, w]."""
    found = torch.zeros(area.shape, dtype=torch.bool)
    for one, inside, out in zip(x.split(1), area.flatten(1), found.flatten(1), strict=True):
        for place in inside.nonzero().squeeze(1).split(PIECE):
            out[place] = detector(patches(one, (area.shape[1], area.shape[2]), torch.zeros_like(place), place)) > 0
    return found


# ------------------------------------------------------------------ the experiment


@attrs.frozen(eq=False)
class _Artist:
    """The sampler, and how samples are drawn from it."""

    subject: Subject
    streams: Streams

    def latents(self, n: int) -> tuple[Tensor, Tensor | None]:
        """Fresh z [n, d], and labels for a conditional sampler."""
        subject, part = self.subject, self.subject.spec.sampler
        assert subject.data is not None
        z = part.latent.draw(n, self.streams["latent"])
        labels = label_pool(subject.data, subject.data.shape) if part.conditional else None
        return z, None if labels is None else draw_labels(labels, n, self.streams["label"])

    def chunks(self, z: Tensor, y: Tensor | None) -> Iterator[Tensor]:
        assert self.subject.sampler is not None
        return push(self.subject.sampler, z, y, self.subject.runtime)

    def images(self, z: Tensor, y: Tensor | None) -> Tensor:
        """The samples [n, C, H, W], on the CPU. Raises Diverged where they are NaN or infinite."""
        x = torch.cat([x.float().cpu() for x in self.chunks(z, y)])
        if not bool(x.isfinite().all()):
            raise Diverged(
                f"step {self.subject.step}: samples are NaN or infinite; train with a lower rate, or analyze an "
                "earlier checkpoint"
            )
        return x

    def vectors(self, layer: _Layer, z: Tensor, y: Tensor | None, image: Tensor, place: Tensor) -> Tensor:
        """The layer's activations at some places, of images in ascending order: [m, C], on the CPU."""
        found, held, first = [], [], 0
        with layer.conv.register_forward_pre_hook(lambda module, given: held.append(given[0])):
            for x in self.chunks(z, y):
                here = (first <= image) & (image < first + len(x))
                maps = held.pop().flatten(2)
                found.append(maps[image[here] - first, :, place[here]].float().cpu())
                first += len(x)
        return torch.cat(found)


def foresee(spec: Spec) -> None:
    """Try a fresh sampler. Raises GflowError where it has no convolution."""
    part, shape = spec.sampler, spec.dataset.data_shape()
    sampler: nn.Module = part.build(shape).eval()
    z, y = part.latent.draw(2, torch.Generator().manual_seed(0)), example_labels(part, shape)
    _Layer.of(sampler, lambda: list(push(sampler, z, y, Runtime(torch.device("cpu")))))


def drop_feature(
    subject: Subject, *, samples: int, annotations: str | None, rule: Rule | None, by: By, places: int, images: int
) -> Result:
    """Annotate, fit, drop, and look for the feature again.

    Figures `samples`, the numbered samples that boxes refer to, and `drop`; table `maps`, a row for each feature map.
    The figure `drop` and the scores of what became of the feature are left out where there is nothing to drop.
    Raises Diverged where samples are NaN or infinite, GflowError where fewer than two have the feature in part.
    """
    assert subject.data is not None
    assert subject.sampler is not None
    shape = subject.data.shape
    boxes = read_boxes(Path(annotations).expanduser(), samples, shape) if annotations else {}
    # Drawn from the run's seed, whatever the analysis is called: the boxes of a file belong to these samples.
    streams = Streams(subject.spec.seed).fork("dcgan.drop_feature")
    artist = _Artist(subject, streams)
    z, y = artist.latents(samples)
    x = artist.images(z, y)
    result = Result(
        figures={"samples": _contact_sheet(x, shape, subject.step)},
        manifest=subject.protocol() | {"n_fake": len(x), "by": by, "sheet": _sheet_digest(x)},
    )
    if rule is None and not boxes:
        result.scores["note"] = "nothing is dropped: annotate samples.png (annotations = FILE), or set a rule"
        return result
    layer = _Layer.of(subject.sampler, lambda: artist.images(z[:2], None if y is None else y[:2]))
    where = by_rule(rule, x, shape, layer.grid) if rule else by_boxes(boxes, len(x), shape, layer.grid)

    # Images are split, not places: neighbours are alike.
    share = where.positive.flatten(1).float().mean(1)
    known = ((share > 0) & (share < 1)).nonzero().flatten()
    if len(known) < 2:
        looked, mend = (
            (f"{len(x)}", "change the rule's region or brighter")
            if rule
            else (f"the {len(boxes)} annotated", "box more samples, and leave a part of each outside")
        )
        raise GflowError(
            f"dcgan.drop_feature: {len(known)} of {looked} samples have places both with and without the feature, and "
            f"two are needed; {mend}"
        )
    order = torch.randperm(len(known), generator=streams["split"])
    held_out = known[order[: math.ceil(HELD_OUT * len(known))]].sort().values
    image, place, label = pick(where.positive, known, places, streams["places"])
    test = torch.isin(image, held_out)
    v = artist.vectors(layer, z, y, image, place)
    fit = Linear.fit(v[~test], label[~test])
    result.scores |= {
        "images": len(known),
        "places": int((~test).sum()),
        "accuracy": fit.accuracy(v[test], label[test]),
    }

    # The feature is looked for again in fresh samples by the rule, or in the annotated ones that no fit has seen.
    if rule is not None:
        detect = partial(bright, rule, grid=layer.grid)
        z, y = artist.latents(samples)
        x = artist.images(z, y)
        where = by_rule(rule, x, shape, layer.grid)
    else:
        pixels = patches(x, layer.grid, image, place)
        detector = Linear.fit(pixels[~test], label[~test])
        result.scores["detector_accuracy"] = detector.accuracy(pixels[test], label[test])
        z, y, x = z[held_out], None if y is None else y[held_out], x[held_out]
        where = where.only(held_out)
        detect = partial(_patchwise, detector, where.area)
    result.manifest |= {"n_evaluated": len(x), "detector": "rule" if rule else "patches", "places": places}
    result.manifest |= {"region": list(rule.region), "brighter": rule.brighter} if rule else {"boxes": _digest(boxes)}

    def again(chosen: Chosen) -> tuple[Tensor, Tensor]:
        """The same samples with something dropped, and the share of each map [C] that was."""
        with dropping(layer.conv, chosen) as counts:
            altered = artist.images(z, y)
        return altered, torch.cat(counts).double().mean(0) / math.prod(layer.grid)

    after, dropped = again(_chosen(by, fit))
    result.scores |= {
        "maps": len(dropped),
        **({"maps_dropped": int((fit.weight > 0).sum())} if by == "weight" else {}),
        "activations_dropped": float(dropped.mean()),
    }
    result.tables["maps"] = [
        {"map": c, "weight": weight, "dropped": share}
        for c, (weight, share) in enumerate(zip((fit.weight * fit.scale).tolist(), dropped.tolist(), strict=True))
    ]
    if not bool(dropped.any()):
        lacking = {"weight": "map has a weight", "activation": "activation where the regression fires is"}[by]
        result.scores["note"] = f"nothing is dropped: no {lacking} above 0"
        return result

    controls = []
    for done in range(CONTROLS):
        subject.progress("controls", done, CONTROLS)
        controls.append(again(_at_random(by, fit, layer, streams["control"]))[0])
    inside = F.interpolate(where.area[:, None].float(), size=x.shape[2:], mode="nearest").squeeze(1) > 0
    for name, drawn in (("before", [x]), ("after", [after]), ("random", controls)):
        result.scores[f"found_{name}"] = _mean(detect(one)[where.area] for one in drawn)
        if name != "before":
            moved = [(one - x).abs().mean(1) for one in drawn]
            result.scores[f"change_inside_{name}"] = _mean(one[inside] for one in moved)
            result.scores[f"change_outside_{name}"] = _mean(one[~inside] for one in moved)
    result.figures["drop"] = _figure(
        shape,
        (x, after, controls[0]),
        where,
        result.scores,
        subject.step,
        by=by,
        images=images,
        kind="annotated" if rule is None else "fresh",
    )
    return result


def _mean(pieces: Iterable[Tensor]) -> float | None:
    """The mean over all numbers of the pieces; None where there is none."""
    every = torch.cat(list(pieces)).double()
    return float(every.mean()) if len(every) else None


def _sheet_digest(x: Tensor) -> str:
    """sha256 of samples x in [-1, 1] as 8-bit images: boxes belong to these and no others."""
    return fingerprint(x.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8))


def _digest(boxes: dict[int, list[Box]]) -> str:
    """sha256 of the boxes: scores depend on every one."""
    return hashlib.sha256(repr(boxes).encode()).hexdigest()


def _chosen(by: By, fit: Linear) -> Chosen:
    """What draws the feature, as `by` has it."""
    if by == "weight":
        return lambda h: (fit.weight > 0).to(h.device)[None, :, None, None]
    return lambda h: fit.fires(h)[:, None] & (h > 0)


def _at_random(by: By, fit: Linear, layer: _Layer, generator: torch.Generator) -> Chosen:
    """The control: as many maps, or positive activations at as many places of each image, drawn at random."""
    if by == "weight":
        drawn = torch.zeros(len(fit.weight), dtype=torch.bool)
        drawn[torch.randperm(len(drawn), generator=generator)[: int((fit.weight > 0).sum())]] = True
        return lambda h: drawn.to(h.device)[None, :, None, None]
    order = torch.randperm(math.prod(layer.grid), generator=generator)
    return lambda h: fit.fires(h).flatten(1)[:, order].unflatten(1, layer.grid)[:, None] & (h > 0)


# ------------------------------------------------------------------ figures


def _contact_sheet(x: Tensor, shape: DataShape, step: int) -> Figure:
    """The samples with their numbers, and rulers in pixels of each."""
    from matplotlib.figure import Figure

    _, height, width = shape.shape
    columns = min(SHEET, len(x))
    rows = -(-len(x) // columns)
    figure = Figure(figsize=(0.9 * columns + 0.5, 0.9 * height / width * rows + 1.2), layout="constrained")
    axes = figure.add_subplot()
    # Room for the number above each image; rulers are marked at the quarters.
    gap = max(4, height // 4)
    axes.imshow(image_grid(x, shape, columns, gap), interpolation="nearest")
    for i in range(len(x)):
        left, top = _corner(i, columns, shape, gap)
        number = axes.text(left, top - 0.08 * gap, str(i), fontsize=6, va="bottom")
        number.set_in_layout(False)  # each would be measured several times over
    axes.set_title(
        f"step {step:,}, samples 0 to {len(x) - 1}. Box: image,x0,y0,x1,y1 in pixels of the image, from its upper left "
        f"corner ({width} wide, {height} high)",
        fontsize=9,
    )
    for axis, count, side in ((axes.xaxis, columns, width), (axes.yaxis, rows, height)):
        marks = [(gap + i * (side + gap) + mark * side / 4 - 0.5, mark) for i in range(count) for mark in range(5)]
        axis.set_ticks(
            [at for at, mark in marks if mark in (0, 2, 4)],
            [f"{mark * side / 4:g}" for _, mark in marks if mark in (0, 2, 4)],
        )
        axis.set_ticks([at for at, _ in marks], minor=True)
        axis.set_tick_params(labelsize=5, length=3, width=0.5)
        axis.set_tick_params(which="minor", length=1.5, width=0.4)
    axes.spines[:].set_visible(False)
    # The rulers stand at the images, not beyond the gap.
    right, bottom = axes.get_xlim()[1] - gap, axes.get_ylim()[0] - gap
    axes.set(xlim=(gap - 1, right), ylim=(bottom, 0))
    return figure


def _corner(i: int, columns: int, shape: DataShape, gap: int) -> tuple[float, float]:
    """Where the upper left corner of image i stands in `image_grid`'s picture, x and y."""
    row, column = divmod(i, columns)
    return gap + column * (shape.shape[2] + gap) - 0.5, gap + row * (shape.shape[1] + gap) - 0.5


def _figure(
    shape: DataShape,
    drawn: Sequence[Tensor],
    where: Annotated,
    scores: dict[str, Any],
    step: int,
    *,
    by: By,
    images: int,
    kind: Literal["annotated", "fresh"],
) -> Figure:
    """The same z before, after, and with as much dropped at random; the places looked at outlined."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    # Images with the feature first.
    order = where.positive.flatten(1).any(1).int().argsort(descending=True, stable=True)[:images]
    columns = math.ceil(math.sqrt(len(order)))
    rows = math.ceil(len(order) / columns)
    _, height, width = shape.shape
    figure = Figure(figsize=(12, 4 * rows * height / (columns * width) + 1.4), layout="constrained")
    if by == "weight":
        what = f"{scores['maps_dropped']} of {scores['maps']} maps dropped"
        random = f"{scores['maps_dropped']} random maps dropped instead"
    else:
        what = f"{scores['activations_dropped']:.1%} of the activations dropped"
        random = "the same at as many random places"
    for axes, x, title, name in zip(
        figure.subplots(1, 3), drawn, ("before", what, random), ("before", "after", "random"), strict=True
    ):
        axes.imshow(image_grid(x[order], shape, columns, GAP), interpolation="nearest")
        axes.set_axis_off()
        mean = f", mean of {CONTROLS} draws" if name == "random" else ""
        axes.set_title(f"{title}\nfound in {scores[f'found_{name}']:.0%} of the outlined places{mean}", fontsize=10)
        for i, which in enumerate(order.tolist()):
            left, top = _corner(i, columns, shape, GAP)
            for x0, y0, x1, y1 in where.boxes[which]:
                corner = (left + x0, top + y0)
                axes.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor="#FF7F0E", linewidth=0.7))
    unseen = " that no fit has seen" if kind == "annotated" else ""
    count = f"{len(drawn[0])} {kind} sample{'s' * (len(drawn[0]) != 1)}"
    figure.suptitle(f"step {step:,}: {count}{unseen}, {len(order)} shown", fontsize=11)
    return figure
