"""mode_coverage of images: which modes a classifier sees in the samples' channels, and how evenly."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gflow_core.errors import GflowError
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import ImageModes
from gflow_core.scores.features import Features, real_index

__all__ = ["kl_uniform", "seen_modes"]


@attrs.frozen(eq=False)
class _ByChannel:
    """Images [B, C, H, W] -> what the classifier says of each channel, [B, C classes]."""

    classify: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        return self.classify(x.flatten(0, 1).unsqueeze(1)).reshape(len(x), -1)


def seen_modes(subject: Subject, encoder: EncoderPart, channel: DataShape, *, samples: int, batch_size: int) -> Result:
    """Modes that samples and as many real images are seen in, their divergence from the uniform law, and a picture.

    `channel` is the shape of what the encoder reads.
    GflowError: the data states no modes of images, or the encoder knows other classes than they have.
    """
    data = subject.data
    if data is None or not isinstance(modes := data.modes, ImageModes):
        raise GflowError("mode_coverage: the data set's Source has no modes of images; leave out encoder")
    built = encoder.build(channel, subject.runtime.device, subject.progress)
    features, read = Features(subject, built, batch_size), _ByChannel(built.classify)
    n_real = features.count(samples)
    index = real_index(data, n_real)

    def look() -> dict[str, Tensor]:
        return {"logits": torch.cat([found.cpu() for found in features.over(data, index, read)])}

    real = _count(features.cached("channels", data, n_real, look)["logits"], modes, built.name)
    fake = _count(features.fake(samples, "mode_coverage", read), modes, built.name)
    covered = int((fake > 0).sum())
    return Result(
        scores={
            "modes_covered": covered,
            "modes_total": modes.count,
            "modes_covered_real": int((real > 0).sum()),
            "kl_uniform": kl_uniform(fake),
            "kl_uniform_real": kl_uniform(real),
        },
        tables={
            "modes": [
                {"mode": i, "samples": int(a), "share": int(a) / samples, "share_real": int(b) / n_real}
                for i, (a, b) in enumerate(zip(fake, real, strict=True))
            ]
        },
        figures={"modes": _figure(fake, modes, f"step {subject.step}: {covered:,} of {modes.count:,} modes")},
        manifest=features.manifest(n_real=n_real, n_fake=samples),
    )


def kl_uniform(counts: Tensor) -> float:
    """KL(p || uniform) in nats of the law p that has these counts [modes]: log(modes) less p's entropy."""
    share = counts.double() / counts.sum()
    return math.log(len(counts)) + float(torch.special.xlogy(share, share).sum())


def _count(logits: Tensor, modes: ImageModes, name: str) -> Tensor:
    """Images in each mode [count], of logits [n, channels classes]."""
    known = logits.shape[1] // modes.channels
    if known != modes.classes:
        raise GflowError(
            f"mode_coverage: {name} knows {known} classes, and a channel of the data shows one of {modes.classes}; "
            "choose an encoder that was trained on these"
        )
    seen = logits.unflatten(1, (modes.channels, modes.classes)).argmax(2)
    return modes.index(seen).bincount(minlength=modes.count)


def _figure(counts: Tensor, modes: ImageModes, title: str) -> Figure:
    """Samples in each mode; a row for each class of the first channel."""
    figure = Figure(figsize=(10, 2.6), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(
        counts.view(modes.classes, -1).numpy(), aspect="auto", cmap="Blues", vmin=0, interpolation="nearest"
    )
    axes.set(ylabel="first channel", xlabel="the other channels", title=title)
    axes.set_yticks(range(modes.classes))
    figure.colorbar(image, ax=axes, label="samples")
    return figure
