"""Scores of images by their pixels: options and checks, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.parts.nouns import Progress
from gflow_core.parts.options import option
from gflow_core.scores.feature_scores import encoder_faults, smooth_faults
from gflow_core.scores.held_out import held_out, held_out_faults

if TYPE_CHECKING:
    import torch

    from gflow_core.parts.spec import Spec

__all__ = ["ClassificationAccuracy", "Inversion", "MsSsim", "SlicedWasserstein"]


@attrs.frozen(kw_only=True)
class _OfImages:
    """What they share."""

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})
    smallest: ClassVar[int]
    """Side of the smallest images that it can look at."""

    def check(self, spec: Spec) -> Iterable[str]:
        data = spec.dataset.data_shape()
        if data.kind != "image":
            yield f"compares images, the data is {data}"
        elif min(data.shape[1:]) < self.smallest:
            yield f"compares images of {self.smallest} pixels at least, the data is {data}"


@attrs.frozen(kw_only=True)
class MsSsim(_OfImages):
    """Mean MS-SSIM of pairs of samples, beside that of pairs of data: how alike images are, 1 being the same.

    A measure of variety (Odena et al. 2017): a sampler that collapsed makes pairs more alike than those of the data.
    Where the sampler reads classes both images of a pair are of one class, and the score is the mean over classes.
    MS-SSIM (Wang et al. 2003) has five scales, each half the size of the one before; of images too small for the
    11 x 11 window at all of them the first ones count, their exponents divided by the sum of them.
    """

    cite: ClassVar[tuple[str, ...]] = ("wang2003multiscale", "odena2017conditional")
    smallest: ClassVar[int] = 11  # SSIM's window

    pairs: int = option(100, doc="Pairs of samples and of data, of each class (Odena et al.: 100) or in all.", ge=2)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_core.scores.ms_ssim import mean_ms_ssim

        return lambda subject: mean_ms_ssim(subject, pairs=self.pairs)


@attrs.frozen(kw_only=True)
class SlicedWasserstein(_OfImages):
    """Sliced Wasserstein distance of patches of the Laplacian pyramid, times 1,000, by level and their mean.

    Karras et al. 2018 (Progressive GAN), Section 5: a level holds what is between two sizes, the coarsest one all that
    is left. Patches of 7 x 7, each channel of a level normalised by all of its patches, are compared by the mean over
    directions of the distance W1 of their projections. The same distance of other data from the same stands beside
    it, `_real`; it falls as patches grow.
    """

    of_samples: ClassVar[bool] = True
    cite: ClassVar[tuple[str, ...]] = ("karras2018progressive",)
    smallest: ClassVar[int] = 7  # a patch
    better: ClassVar[Mapping[str, str]] = {"sliced_wasserstein": "min"}

    samples: int = option(
        1000, doc="Samples, and data items in each of two sets (the authors: 16,384); at most half of the data.", ge=1
    )
    patches: int = option(128, doc="Patches of an image at each level (the authors').", ge=1)
    projections: int = option(512, doc="Directions on the unit sphere (the authors': 4 times 128).", ge=1)
    seed: int = option(0, doc="Seed of the directions and of the places of patches.", ge=0)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_core.scores.patches import sliced_patches

        return lambda subject: sliced_patches(
            subject, samples=self.samples, patches=self.patches, projections=self.projections, seed=self.seed
        )


@attrs.frozen(kw_only=True)
class ClassificationAccuracy(_OfImages):
    """Classification accuracy score: how well a classifier that learned from samples knows held-out data.

    Ravuri and Vinyals 2019. The same classifier, taught as long by as many training items, stands beside it, `_real`: a
    sampler of the data's own law scores as much. Theirs is a ResNet-50 on ImageNet; here a small CNN reads pixels,
    or a linear classifier an encoder's features, and the score is called CAS(name) after it.
    """

    cite: ClassVar[tuple[str, ...]] = ("ravuri2019classification",)
    smallest: ClassVar[int] = 8
    better: ClassVar[Mapping[str, str]] = {"CAS": "max"}

    encoder: EncoderPart | None = option(
        None, doc="Network whose features a linear classifier learns from; without it a small CNN learns from pixels."
    )
    samples: int = option(
        5000, doc="Samples, and training items, that are learned from; at most as many as the data.", ge=2
    )
    held_out: int = option(5000, doc="Held-out items, or all where there are fewer.", ge=1)
    epochs: int = option(5, doc="Passes over what is learned from.", ge=1)
    width: int = option(16, doc="Channels of the CNN at the images' own size; twice as many at each half.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if not spec.sampler.conditional:
            yield "learns from labelled samples, and the sampler reads no labels"
        elif not spec.dataset.data_shape().classes:
            yield f"learns classes, and the data has none: {spec.dataset.data_shape()}"
        if self.encoder is not None:
            yield from encoder_faults(self.encoder, spec)
        yield from held_out_faults(spec.dataset)

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Weights and held-out data that are missing are missed before training."""
        if self.encoder is not None:
            self.encoder.build(spec.dataset.data_shape(), device, progress)
        held_out(spec.dataset).load(progress)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_core.scores.classification import classification_accuracy

        return lambda subject: classification_accuracy(
            subject,
            encoder=self.encoder,
            samples=self.samples,
            held_out_samples=self.held_out,
            epochs=self.epochs,
            width=self.width,
        )


@attrs.frozen(kw_only=True)
class Inversion(_OfImages):
    """Latents whose samples come nearest to given images: what of them, or of held-out data, the sampler can make.

    Adam on z from several draws of its law, the best of which counts; labels are the images' own. The loss of an
    image is the mean squared error of its pixels and `weight` times an encoder's `distance`. Beside it stands the
    same of samples of the model itself, which it certainly can make: their error is what the search leaves over.
    """

    smallest: ClassVar[int] = 1
    walks: ClassVar[bool] = True

    images: str | None = option(
        None,
        doc="Folder, zip or tar of images to look for, read as image_folder reads them; held-out ones without.",
        check=lambda value: "expected a folder, zip or tar, got an empty string" if value == "" else None,
    )
    count: int = option(8, doc="Images, the first of them, and as many samples.", ge=1, le=64)
    steps: int = option(300, doc="Steps of Adam.", ge=1)
    starts: int = option(4, doc="Draws of z that each image is sought from.", ge=1)
    rate: float = option(0.05, doc="Adam's learning rate at first; it falls to 0 along a cosine.", gt=0)
    encoder: EncoderPart | None = option(None, doc="Network that is to see the same, too.")
    distance: Literal["maps", "features"] = option(
        "maps",
        doc="How far apart images are to it: by its maps at several depths as LPIPS measures it (maps), or by the mean "
        "squared error of its features (features).",
    )
    weight: float = option(1.0, doc="Weight of that distance.", ge=0)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        data = spec.dataset.data_shape()
        if self.images is not None and data.kind == "image":
            if spec.sampler.conditional:
                yield "looks for images, which have no labels, and the sampler reads labels; leave images out"
            if data.shape[1] != data.shape[2] or data.shape[0] not in (1, 3) or (data.low, data.high) != (-1.0, 1.0):
                yield f"reads images as squares of 1 or 3 channels in [-1, 1], the data is {data}; leave images out"
        if self.encoder is not None:
            yield from encoder_faults(self.encoder, spec)
            yield from smooth_faults(self.encoder)

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Weights, images and held-out data that are missing are missed before training."""
        if self.encoder is not None:
            self.encoder.build(spec.dataset.data_shape(), device, progress)
        if self.images is not None:
            from gflow_core.scores.inversion import images_of

            images_of(self.images, spec.dataset.data_shape(), self.count, progress)
        elif (other := held_out(spec.dataset)) is not None:
            other.load(progress)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_core.scores.inversion import inversion

        return lambda subject: inversion(
            subject,
            images=self.images,
            count=self.count,
            steps=self.steps,
            starts=self.starts,
            rate=self.rate,
            encoder=self.encoder,
            distance=self.distance,
            weight=self.weight,
        )
