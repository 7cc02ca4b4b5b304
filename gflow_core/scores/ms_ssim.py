"""ms_ssim: how alike pairs of samples are, beside pairs of data, by MS-SSIM (Wang et al. 2003; Odena et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from gflow_core.errors import DataError
from gflow_core.machine.streams import Streams
from gflow_core.nn.sampling import draw_chunks
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Source
from gflow_core.scores.features import as_stored

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["exponents", "mean_ms_ssim", "ms_ssim"]

WINDOW = 11
"""Side of the window, in pixels."""

SIGMA = 1.5
"""Of the Gaussian window, in pixels."""

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of each scale, finest first (Wang et al. 2003)."""

CHUNK = 128
"""Images at once; even, so that no pair is torn."""

NAMED = 20
"""Classes up to which the figure names them."""


def mean_ms_ssim(subject: Subject, *, pairs: int) -> Result:
    """The mean over pairs of samples and over pairs of data: in each class where the sampler reads classes.

    The data are images of `WINDOW` pixels at least. DataError: too few of them for a pair.
    """
    data, part = subject.data, subject.spec.sampler
    assert data is not None
    assert subject.sampler is not None
    classes = _classes(data) if part.conditional and data.shape.classes else None
    groups = [-1] if classes is None else classes
    if not groups or len(data) < 2:
        raise DataError("ms_ssim: the data has no two items to compare (of one class); take more (dataset.limit)")

    index = {group: _some(data, group, 2 * pairs) for group in groups}
    items = (data.batch(i, subject.runtime.device).x for group in groups for i in index[group].split(CHUNK))
    real = _grouped(items, {group: len(index[group]) // 2 for group in groups}, data.shape, subject, "pairs of data")

    n = 2 * pairs * len(groups)
    labels = None if classes is None else torch.tensor(classes).repeat_interleave(2 * pairs)
    x = draw_chunks(
        subject.sampler,
        part,
        n,
        subject.streams,
        subject.runtime,
        labels=data.y if labels is None and part.conditional else labels,
        in_turn=labels is not None,
        chunk=CHUNK,
        spread=subject.map if n > CHUNK else map,
        train=subject.spec.train,
    )
    samples = (as_stored(piece, data.shape) for piece in x)
    fake = _grouped(samples, dict.fromkeys(groups, pairs), data.shape, subject, "pairs of samples")

    mean, error = _mean(fake.values())
    mean_real, error_real = _mean(real.values())
    found = Result(
        scores={"ms_ssim": mean, "ms_ssim_se": error, "ms_ssim_real": mean_real, "ms_ssim_real_se": error_real},
        manifest={
            **subject.protocol(),
            "n_real": sum(map(len, index.values())),
            "n_fake": n,
            "conversion": "x255",
            "pairs_within": "all" if classes is None else "class",
            "scales": len(exponents(data.shape)),
        },
    )
    title = f"step {subject.step}: pairs of {'all images' if classes is None else 'one class'}"
    if classes is None:
        found.figures["ms_ssim"] = _histogram(fake[-1], real[-1], title)
        return found
    means = {k: (float(fake[k].mean()), float(real[k].mean())) for k in classes}
    highest = max(one for _, one in means.values())
    found.scores["share_below_real_max"] = sum(one < highest for one, _ in means.values()) / len(means)
    found.tables["classes"] = [{"class": k, "ms_ssim": a, "ms_ssim_real": b} for k, (a, b) in means.items()]
    found.figures["ms_ssim"] = _by_class(means, highest, title)
    return found


def ms_ssim(x: Tensor, y: Tensor, shape: DataShape) -> Tensor:
    """MS-SSIM of each image x [B, *shape] with the same row of y, in the range of the data: [B], at most 1.

    prod_j cs_j^a_j l^a, with cs the mean contrast and structure of a scale and l the luminance of the coarsest, over
    windows that lie in the image (Wang et al. 2003). Means that are negative count as 0.
    """
    assert shape.low is not None
    assert shape.high is not None
    x, y = ((one.float() - shape.low) / (shape.high - shape.low) for one in (x, y))
    product = x.new_ones(len(x))
    powers = exponents(shape)
    for scale, power in enumerate(powers):
        if scale:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        luminance, structure = _compared(x, y)
        value = structure if scale < len(powers) - 1 else luminance * structure
        product = product * value.flatten(1).mean(1).clamp(min=0) ** power
    return product


def exponents(shape: DataShape) -> list[float]:
    """Of the scales at which the window still fits into the image, finest first; their sum is that of all five."""
    side = min(shape.shape[1:])
    fit = [power for scale, power in enumerate(EXPONENTS) if side >> scale >= WINDOW]
    return [power * sum(EXPONENTS) / sum(fit) for power in fit]


def _compared(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast with structure, at every place of the window: two maps [B, C, h, w]."""
    stacked = torch.stack([x, y, x * x, y * y, x * y]).flatten(0, 2)[:, None]
    at = torch.arange(WINDOW, device=x.device) - (WINDOW - 1) / 2
    window = (-(at**2) / (2 * SIGMA**2)).exp()
    window = (window / window.sum()).to(x)
    means = F.conv2d(F.conv2d(stacked, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    mx, my, xx, yy, xy = means.unflatten(0, (5, *x.shape[:2])).squeeze(3)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
    structure = (2 * (xy - mx * my) + c2) / ((xx - mx**2).clamp(min=0) + (yy - my**2).clamp(min=0) + c2)
    return luminance, structure


# ------------------------------------------------------------------ pairs


def _classes(data: Source) -> list[int]:
    """Classes that have a pair."""
    assert data.y is not None
    counts = torch.bincount(data.y)
    return [int(k) for k in (counts >= 2).nonzero()[:, 0]]


def _some(data: Source, group: int, n: int) -> Tensor:
    """Items of a class, or of all (-1), in random order, an even number of at most n: the same whatever the seed."""
    index = torch.arange(len(data)) if data.y is None or group < 0 else (data.y == group).nonzero()[:, 0]
    order = torch.randperm(len(index), generator=Streams(0).fork("ms_ssim")[f"pairs.{group}"])
    return index[order[: min(n, len(index)) // 2 * 2]]


def _grouped(
    pieces: Iterable[Tensor], sizes: Mapping[int, int], shape: DataShape, subject: Subject, what: str
) -> dict[int, Tensor]:
    """MS-SSIM of each image with the next, which is no other's, as many a group as `sizes` says: on the CPU."""
    total = sum(sizes.values())

    def compared() -> Iterator[Tensor]:
        done = 0
        for x in pieces:
            yield ms_ssim(x[::2], x[1::2], shape).cpu().double()
            done += len(x) // 2
            subject.progress(what, done, total)

    return dict(zip(sizes, torch.cat(list(compared())).split(list(sizes.values())), strict=True))


def _mean(groups: Iterable[Tensor]) -> tuple[float, float | None]:
    """The mean over groups, and its standard error; None where a group is one pair."""
    groups = list(groups)
    mean = sum(float(one.mean()) for one in groups) / len(groups)
    if min(map(len, groups)) < 2:
        return mean, None
    return mean, sum(float(one.var()) / len(one) for one in groups) ** 0.5 / len(groups)


# ------------------------------------------------------------------ figures


def _histogram(fake: Tensor, real: Tensor, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    high = max(float(torch.cat([fake, real]).nan_to_num().max()), 1e-6)
    bins = torch.linspace(0, high, 41).tolist()
    for name, values, colour in (("data", real, "0.6"), ("samples", fake, "tab:blue")):
        share = torch.full_like(values, 1 / len(values))
        axes.hist(values, bins=bins, weights=share, color=colour, alpha=0.6, label=f"{name}, mean {values.mean():.3f}")
        axes.axvline(float(values.mean()), color=colour, linewidth=1.5)
    axes.set(xlabel="MS-SSIM of a pair", ylabel="share of the pairs")
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _by_class(means: Mapping[int, tuple[float, float]], highest: float, title: str) -> Figure:
    """A point for each class, data against samples, as Figure 4 of Odena et al. 2017 has it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5.4), layout="constrained")
    axes = figure.add_subplot()
    fake, real = zip(*means.values(), strict=True)
    top = 1.08 * max(*fake, *real, 1e-6)
    axes.plot([0, top], [0, top], color="0.75", linewidth=1, label="as alike as the data")
    axes.axhline(highest, color="tab:red", linewidth=1, label="the data's most uniform class")
    axes.scatter(real, fake, s=20, color="tab:blue", zorder=3)
    if len(means) <= NAMED:
        for k, (one, other) in means.items():
            axes.annotate(str(k), (other, one), xytext=(5, -3), textcoords="offset points", fontsize=8)
    axes.set(xlabel="mean MS-SSIM, data", ylabel="mean MS-SSIM, samples", xlim=(0, top), ylim=(0, top), aspect="equal")
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure
