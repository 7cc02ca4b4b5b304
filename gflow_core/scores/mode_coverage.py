"""mode_coverage: how many modes of a law in the plane the sampler reaches, and how much of it lies on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core.errors import GflowError
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.parts.nouns import DataShape, Progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from torch import Tensor

    from gflow_core.parts.source import Modes
    from gflow_core.parts.spec import Spec

__all__ = ["ModeCoverage", "count_modes", "kl_between", "mode_coverage"]

CHUNK = 10_000
"""Samples drawn at once."""

DRAWN = 5_000
"""Real points in the figure, at most."""


@attrs.frozen(kw_only=True)
class ModeCoverage:
    """How many modes of the data the samples reach: on the two-dimensional sets, and on stacked digits.

    In the plane a sample is of high quality if it lies within `threshold` standard deviations of its nearest mode; a
    mode is captured if at least one such sample lies at it. Perfect samples of a Gaussian do not score 1 but
    1 - exp(-threshold^2 / 2), .9889 at 3, so the share of the real points is reported beside the samples'. One sample
    captures a mode; KL(samples || data) between the modes of those of high quality, in nats, says whether each has its
    share. Of n perfect ones, beside m real points, it is about (modes - 1) (1 / n + 1 / m) / 2, `kl_data_chance`.

    Images are in the mode that the encoder's classifier sees, channel by channel (Metz et al. 2017), and
    KL(samples || uniform), in nats, says how evenly they fill the modes. Of n perfect samples it is about
    (modes - 1) / 2n; that of as many real images, as the same classifier sees them, stands beside it.
    """

    of_samples: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})
    better: ClassVar[Mapping[str, str]] = {"modes_covered": "max", "high_quality_share": "max", "kl_data": "min"}

    samples: int = option(2500, doc="Samples drawn (the usual protocol: 2500).", ge=1)
    threshold: float = option(
        3.0, doc="In the plane: standard deviations within which a sample is of high quality.", gt=0
    )
    encoder: EncoderPart | None = option(
        None, doc="Of images: network that classifies a channel by itself, such as mnist_cnn."
    )
    batch_size: int = option(128, doc="Images whose channels pass the encoder at once; bounds the memory.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        if spec.dataset is None:
            return
        data = spec.dataset.data_shape()
        if not getattr(spec.dataset, "has_modes", False):
            yield (
                "counts modes, and the data set states none (has_modes); gaussian, mixture, ring, grid, circles, "
                "checkerboard and stacked_mnist do"
            )
        elif data.kind == "vector" and self.encoder is not None:
            yield f"encoder: is for images, the data is {data}; leave it out"
        elif data.kind == "image" and self.encoder is None:
            yield 'classifies images; set encoder = { use = "mnist_cnn" }, or another that knows the digits'
        elif self.encoder is not None:
            if not self.encoder.classifies:
                yield "encoder: modes are what a classifier sees, and this network does not classify"
            check = getattr(self.encoder, "check", None)
            for message in check(one_channel(data)) if check is not None else ():
                yield f"encoder: {message}"

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Weights that are missing are missed before training, not after; a network trained once is trained now."""
        if self.encoder is not None:
            self.encoder.build(one_channel(spec.dataset.data_shape()), device, progress)

    def build(self) -> Callable[[Subject], Result]:
        if self.encoder is None:
            return lambda subject: mode_coverage(subject, samples=self.samples, threshold=self.threshold)
        encoder = self.encoder

        def seen(subject: Subject) -> Result:
            from gflow_core.scores.seen_modes import seen_modes

            channel = one_channel(subject.spec.dataset.data_shape())
            return seen_modes(subject, encoder, channel, samples=self.samples, batch_size=self.batch_size)

        return seen


def one_channel(data: DataShape) -> DataShape:
    """The images' shape with one channel, and without labels."""
    return DataShape("image", (1, *data.shape[1:]), data.low, data.high)


def mode_coverage(subject: Subject, *, samples: int, threshold: float) -> Result:
    """Scores, samples and real points by mode, and a picture; `threshold` in standard deviations of a mode.

    GflowError: the data states no modes.
    """
    from gflow_core.parts.source import ImageModes

    data = subject.data
    if data is None or data.modes is None or isinstance(data.modes, ImageModes):
        raise GflowError("mode_coverage: the data set's Source has no modes of vectors; ring and grid have them")
    fake = _draw(samples, subject)
    counts, share = count_modes(fake, data.modes, threshold)
    counts_real, share_real = count_modes(data.x, data.modes, threshold)
    captured = counts > 0
    rows = [
        {"mode": i, "high_quality": int(a), "share": a.item() / samples, "share_real": b.item() / len(data)}
        for i, (a, b) in enumerate(zip(counts, counts_real, strict=True))
    ]
    return Result(
        scores={
            "modes_covered": int(captured.sum()),
            "modes_total": data.modes.count,
            "high_quality_share": share,
            "high_quality_share_real": share_real,
            "kl_data": kl_between(counts, counts_real),
            "kl_data_chance": _chance(counts, counts_real),
        },
        tables={"modes": rows},
        figures={"samples": _figure(fake, data.x, data.modes, captured, f"step {subject.step}", share)},
        manifest={
            **subject.protocol(),
            "n_fake": samples,
            "n_real": len(data),
            "threshold_std": threshold,
        },
    )


def _chance(counts: Tensor, counts_real: Tensor) -> float | None:
    """About what `kl_between` is of two samples of one law: half of chi-squared's mean; None where one is empty."""
    n, m = int(counts.sum()), int(counts_real.sum())
    return (len(counts) - 1) / 2 * (1 / n + 1 / m) if n and m else None


def _draw(n: int, subject: Subject) -> Tensor:
    """n samples [n, 2], on the CPU."""
    import torch

    from gflow_core.nn.sampling import draw_from

    return torch.cat([x.float().cpu() for x in draw_from(subject, n, CHUNK)])


def count_modes(x: Tensor, modes: Modes, threshold: float) -> tuple[Tensor, float]:
    """High-quality points at each mode [count], and their share of all. NaN is never of high quality."""
    index, distance = modes.nearest(x)
    good = distance <= threshold
    return index[good].bincount(minlength=modes.count), float(good.double().mean())


def kl_between(counts: Tensor, others: Tensor) -> float | None:
    """KL(p || q) in nats of the laws with these counts [modes]; None where p has none, or some where q has none."""
    import torch

    p, q = (each.double() / each.sum() for each in (counts, others))
    found = float((torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum())
    return found if math.isfinite(found) else None


def _figure(fake: Tensor, real: Tensor, modes: Modes, captured: Tensor, title: str, share: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    few = real[:DRAWN]
    axes.scatter(few[:, 0], few[:, 1], s=2, color="0.75", label="real", rasterized=True)
    axes.scatter(fake[:, 0], fake[:, 1], s=2, color="tab:blue", alpha=0.6, label="samples", rasterized=True)
    centres: Tensor | None = getattr(modes, "centres", None)
    if centres is not None:
        for name, marker, colour, which in (
            ("captured mode", "+", "tab:green", captured),
            ("missed mode", "x", "tab:red", ~captured),
        ):
            points = centres[which]
            if len(points):
                axes.scatter(points[:, 0], points[:, 1], s=60, marker=marker, color=colour, label=name)
    # The real points set the scale; samples far outside are counted, not shown.
    low, high = real.min(0).values, real.max(0).values
    margin = 0.15 * (high - low).max() + 1e-6
    axes.set_xlim(float(low[0] - margin), float(high[0] + margin))
    axes.set_ylim(float(low[1] - margin), float(high[1] + margin))
    axes.set_aspect("equal")
    axes.set_title(f"{title}: {int(captured.sum())} of {modes.count} modes, {share:.1%} of high quality")
    figure.legend(loc="outside lower center", ncols=4, markerscale=1.5, fontsize="small")
    return figure
