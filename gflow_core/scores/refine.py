"""refine: what moving samples along the trained discriminator does to them (DGflow, Ansari et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core.methods.refinement import Refined, Refinement, refinement_faults
from gflow_core.parts.analysis import Map, Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.parts.nouns import Progress
from gflow_core.parts.options import option
from gflow_core.scores.feature_scores import encoder_faults
from gflow_core.scores.held_out import compared_with
from gflow_core.scores.sample_grid import grid_figure, plane

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from torch import Tensor

    from gflow_core.machine.runtime import Runtime
    from gflow_core.nn.sampling import Given
    from gflow_core.parts.nouns import DataShape
    from gflow_core.parts.spec import Spec

__all__ = ["Refine", "refined"]

SHOWN = 64
"""Images in the figure, of each kind."""

SETS = ("", "_refined")
"""What scores of the samples before and after have behind their names."""

PROJECTIONS = 500
"""Directions that the sliced distance averages over, as in `two_sample`."""

THRESHOLD = 3.0
"""Standard deviations from its mode within which a point is of high quality, as in `mode_coverage`."""


@attrs.frozen(kw_only=True)
class Refine(Refinement):
    """Samples before and after they are refined (`gflow sample --refine`): the same z, scored twice.

    Images by their Frechet distance, precision and recall in the features of an encoder; vectors by their sliced
    Wasserstein-2 distance to held-out ones, and in the plane by the modes that they reach. The mean logit stands beside
    that of the data: one that rises above it says that samples run up the discriminator's errors.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler", "discriminator", "objective"})
    better: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("FID", "FID_refined", "FD", "FD_refined", "sliced_w2", "sliced_w2_refined"), "min"),
        **dict.fromkeys(("precision", "precision_refined", "recall", "recall_refined"), "max"),
        **dict.fromkeys(("high_quality_share", "high_quality_share_refined"), "max"),
    }

    encoder: EncoderPart | None = option(None, doc="Network whose features of images are compared; needed for them.")
    samples: int = option(2000, doc="Samples refined; more than 5, which precision and recall look round.", ge=6)
    batch_size: int = option(128, doc="Images that pass the encoder at once; bounds the memory.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from refinement_faults(spec)
        data = spec.dataset.data_shape()
        if data.kind == "vector" and self.encoder is not None:
            yield f"encoder: is for images, the data is {data}; leave it out"
        elif data.kind == "image" and self.encoder is None:
            yield (
                f"compares images by the features of a network, and the data is {data}; set encoder = {{ use = ... }} "
                "(gflow ls encoders)"
            )
        elif self.encoder is not None:
            yield from encoder_faults(self.encoder, spec)

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Weights and held-out data that are missing are missed before training."""
        if self.encoder is not None:
            self.encoder.build(spec.dataset.data_shape(), device, progress)
        elif (other := compared_with(spec.dataset, None)) is not None:
            other.load(progress)

    def build(self) -> Callable[[Subject], Result]:
        rule = Refinement.of(self.steps, self.eta, self.temperature, self.divergence)
        return lambda subject: refined(
            subject, rule, encoder=self.encoder, samples=self.samples, batch_size=self.batch_size
        )


def refined(
    subject: Subject, rule: Refinement, *, encoder: EncoderPart | None, samples: int, batch_size: int
) -> Result:
    """Scores of n samples and, with `_refined` behind their names, of the same once they moved; two figures.

    `logit` is the mean of d(G(z)), `logit_real` that of as many data items; the table of that name has it after each
    move.
    """
    import torch

    from gflow_core.scores.features import as_stored, real_index

    data, discriminator = subject.data, subject.discriminator
    assert data is not None
    assert subject.sampler is not None
    assert discriminator is not None
    work = Refined.of(subject.spec, subject.sampler, discriminator, rule)
    images = data.shape.kind == "image"
    pieces: tuple[list[Tensor], list[Tensor]] = ([], [])
    logits = []
    for *both, d in _pieces(subject, work, samples):
        for kept, x in zip(pieces, both, strict=True):
            kept.append(as_stored(x.cpu(), data.shape) if images else x.double().cpu())
        logits.append(d.double().cpu())
    sets = dict(zip(SETS, map(torch.cat, pieces), strict=True))
    curve = torch.cat(logits, 1).mean(1).tolist()
    result = Result(
        scores={"logit": curve[0], "logit_refined": curve[-1]},
        tables={"logit": [{"step": step, "logit": value} for step, value in enumerate(curve)]},
        manifest={**subject.protocol(), **attrs.asdict(rule), "n_fake": samples},
    )
    real = []
    for index in real_index(data, min(samples, len(data))).split(batch_size):
        batch = data.batch(index, subject.runtime.device)
        with torch.no_grad():
            given = (batch.x, batch.y) if work.reads_labels else (batch.x,)
            real.append(discriminator(*given).double().cpu())
    mean = result.scores["logit_real"] = float(torch.cat(real).mean())
    if encoder is not None:
        _score_images(result, subject, sets, encoder, batch_size)
        result.figures["samples"] = _images(sets, data.shape)
    else:
        _score_vectors(result, subject, sets)
        if data.shape.shape[0] > 1:
            result.figures["samples"] = _planes(sets, data.x.float(), rule)
    result.figures["logit"] = _curve(curve, mean, f"step {subject.step}: {rule}")
    return result


def _pieces(subject: Subject, work: Refined, n: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Samples before and after [B, *shape], and logits on the way [steps + 1, B], a piece at a time."""
    from gflow_core.methods.refinement import numbered
    from gflow_core.nn.portable import portable
    from gflow_core.nn.sampling import CHUNK, draw_given, label_pool

    part = subject.spec.sampler
    labels = label_pool(subject.data, subject.spec.data_shape()) if part.conditional else None
    given = draw_given(part, n, subject.streams, labels=labels, chunk=CHUNK)
    spread: Map = subject.map if n > CHUNK else map
    subject.progress("refining", 0, n)
    done = 0
    for found in spread(portable(partial(_both, work), subject), numbered(given, subject.streams)):
        yield found
        done += len(found[0])
        subject.progress("refining", done, n)


def _both(work: Refined, runtime: Runtime, item: tuple[int, Given]) -> tuple[Tensor, Tensor, Tensor]:
    from gflow_core.nn.sampling import sample

    moved, logits = work.moved(runtime, item)
    return sample(work.sampler, runtime, item[1]), sample(work.sampler, runtime, moved), logits


# ------------------------------------------------------------------ scores


def _score_images(
    result: Result, subject: Subject, sets: Mapping[str, Tensor], encoder: EncoderPart, batch_size: int
) -> None:
    import torch

    from gflow_core.scores.features import Features, score_name
    from gflow_core.scores.frechet import FeatureMoments, frechet_distance
    from gflow_core.scores.prdc import prdc_scores

    device = subject.runtime.device
    features = Features.of(subject, encoder, batch_size)
    n_real = features.count(None)
    real = features.real(n_real).to(device)
    moments = FeatureMoments.stream(real.split(batch_size))
    name = score_name("FID", "FD", features.encoder)
    for suffix, x in sets.items():
        fake = torch.cat([features.encode(piece.to(device)) for piece in x.split(batch_size)])
        result.scores[f"{name}{suffix}"] = frechet_distance(moments, FeatureMoments.stream(fake.split(batch_size)))
        near = prdc_scores(real[: len(fake)], fake, 5)
        result.scores |= {f"{key}{suffix}": near[key] for key in ("precision", "recall")}
    result.scores["rank_deficient"] = int(min(n_real, len(x)) <= features.encoder.dim)
    result.manifest |= features.manifest(n_real=n_real, n_fake=len(x))


def _score_vectors(result: Result, subject: Subject, sets: Mapping[str, Tensor]) -> None:
    import torch

    from gflow_core.machine.streams import Streams
    from gflow_core.parts.source import ImageModes
    from gflow_core.scores.held_out import compared_items
    from gflow_core.scores.mode_coverage import count_modes
    from gflow_core.scores.sliced import directions_on_sphere, sliced_wasserstein

    real, split = compared_items(subject)
    streams = Streams(0).fork("refine")
    n = min(len(sets[""]), len(real))
    reference = real.x[torch.randperm(len(real), generator=streams["real"])[:n]].double()
    directions = directions_on_sphere(PROJECTIONS, reference.shape[1], streams["directions"])
    modes = None if subject.data is None else subject.data.modes
    assert not isinstance(modes, ImageModes)  # vectors have none
    for suffix, x in sets.items():
        result.scores[f"sliced_w2{suffix}"] = sliced_wasserstein(x[:n], reference, directions, 2)
        if modes is not None:
            counts, share = count_modes(x.float(), modes, THRESHOLD)
            result.scores[f"modes_covered{suffix}"] = int((counts > 0).sum())
            result.scores[f"high_quality_share{suffix}"] = share
    result.manifest |= {"n_real": n, "split": split, "projections": PROJECTIONS, "threshold_std": THRESHOLD}


# ------------------------------------------------------------------ figures


def _images(sets: Mapping[str, Tensor], shape: DataShape) -> Figure:
    """The first images before, and the same to the right of them after."""
    import numpy as np

    from gflow_core.runs.pictures import image_grid

    before, after = (image_grid(x[:SHOWN], shape) for x in sets.values())
    return grid_figure(np.concatenate([before, np.full_like(before[:, :8], 255), after], 1))


def _planes(sets: Mapping[str, Tensor], real: Tensor, rule: Refinement) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    both = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, x, title in zip(both, sets.values(), ("samples", f"refined: {rule}"), strict=True):
        plane(axes, real)
        axes.scatter(x[:, 0], x[:, 1], s=4, alpha=0.6, color="tab:blue", linewidths=0, rasterized=True)
        axes.set_title(title, fontsize=10)
    return figure


def _curve(logits: list[float], real: float, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="move", ylabel="mean logit")
    axes.plot(logits, marker=".", label="samples")
    axes.axhline(real, color="0.5", ls="--", label="data")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False)
    return figure
