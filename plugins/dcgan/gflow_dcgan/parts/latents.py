"""What directions in the latent space mean: options of latent_walk and vector_arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core import EncoderPart, Progress, Result, Subject, encoder_faults, option
from gflow_dcgan.options import ArithmeticOptions

if TYPE_CHECKING:
    import torch

    from gflow_core import Spec

__all__ = ["LatentWalk", "VectorArithmetic"]


def _only_images(spec: Spec) -> Iterable[str]:
    if spec.dataset is not None and spec.dataset.data_shape().kind != "image":
        yield f"draws images, the data is {spec.dataset.data_shape()}; set dataset.use to images"


@attrs.frozen(kw_only=True)
class LatentWalk:
    """Walks from one latent to another (section 6.1): smooth where the sampler has learned, jumps where it memorises.

    Below each image stands the nearest training image. A path is measured at `fine` points: its length, also over the
    distance of its ends; its longest step over the mean step (`jump_ratio`, at most fine - 1), beside that of the walk
    over the nearest training images themselves (`neighbour_jump_ratio`: what a sampler that copies them would score);
    mean squared speed (step / dt)^2; distance to the nearest training image along it and at its ends; how many of them
    are nearest. Straight cross-fades between two training images are measured alike. The pairs are the same at every
    step of a run; a conditional sampler keeps one label along a row.

    A linear path stays where z is uniform, but its middle is shorter than normal z are; a spherical one keeps the
    length, but may leave an interval. `middle_norm` is the length of z half-way over that of the ends;
    `outside_support` the share of points that leave the interval with some component.
    """

    cite: ClassVar[tuple[str, ...]] = ("radford2016dcgan",)
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})
    walks: ClassVar[bool] = True

    path: Literal["linear", "spherical", "both"] = option(
        "both", doc="(1-t) z0 + t z1, or along the great circle, or both between the same pairs."
    )
    rows: int = option(6, doc="Pairs of latents.", ge=1, le=30)
    steps: int = option(10, doc="Images drawn of a path, both ends included.", ge=2, le=30)
    fine: int = option(64, doc="Points that a path is measured at; `steps` of them are drawn, evenly spaced.", ge=3)
    encoder: EncoderPart | None = option(
        None, doc="Network in whose features all distances are taken; Euclidean between pixels without it."
    )
    real_samples: int | None = option(
        None, doc="Training images searched; all by default, because a copy of one left out goes unseen.", ge=2
    )
    batch_size: int = option(256, doc="Images that are compared or pass a network at once; bounds the memory.", ge=1)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths by name."""
        return ("linear", "spherical") if self.path == "both" else (self.path,)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from _only_images(spec)
        if self.encoder is not None:
            yield from encoder_faults(self.encoder, spec)
        if self.fine < self.steps:
            yield f"fine = {self.fine} points cannot show steps = {self.steps} images; set fine to {self.steps} or more"

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Weights that are missing are missed before training, not after."""
        if self.encoder is not None:
            self.encoder.build(spec.dataset.data_shape(), device, progress)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_dcgan.latent_walk import latent_walk

        return lambda subject: latent_walk(
            subject,
            paths=self.paths,
            rows=self.rows,
            steps=self.steps,
            fine=self.fine,
            encoder=self.encoder,
            real_samples=self.real_samples,
            batch_size=self.batch_size,
        )


@attrs.frozen(kw_only=True)
class VectorArithmetic(ArithmeticOptions):
    """z(A) - z(B) + z(C), where z of a concept is the mean over some exemplars (section 6.3.2, Figure 7).

    The image of the result stands in the centre of a grid, the others have uniform noise added to z; the same
    arithmetic on pixels stands below. Name the concepts by class (`concepts`: the exemplars are the most confident
    samples of each class) or by their numbers on the picture `samples` (`indices`). The samples are the same at every
    step of a run, so that their numbers stay; without either option this picture is all there is. z is not clipped:
    `outside_support` is the share of its components that leave a uniform law's interval. A conditional sampler makes
    every image with one `label`, for the arithmetic is of z alone.
    """

    cite: ClassVar[tuple[str, ...]] = ("radford2016dcgan",)
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})
    walks: ClassVar[bool] = True

    def check(self, spec: Spec) -> Iterable[str]:
        yield from _only_images(spec)
        if self.grid % 2 == 0:
            yield f"grid = {self.grid} has no image in its centre; set an odd number"
        if self.encoder is not None:
            if not self.encoder.classifies:
                yield "encoder: classes are asked of it, and this network does not classify"
            yield from encoder_faults(self.encoder, spec)
        yield from self._check_choice()
        yield from self._check_label(spec)

    def _check_choice(self) -> Iterable[str]:
        if self.concepts and self.indices:
            yield "concepts and indices both choose the exemplars; remove one of them"
        for name in ("concepts", "indices"):
            count = len(getattr(self, name))
            if count and count != len(self.signs):
                yield f"{name} names {count} concepts and signs has {len(self.signs)}; give as many of both"
        if self.concepts and self.encoder is None:
            yield "concepts are classes that a network sees; set encoder = { use = ... } to one that classifies"
        if self.concepts and self.candidates < self.exemplars:
            yield f"exemplars = {self.exemplars} cannot be chosen from candidates = {self.candidates}"
        for i, group in enumerate(self.indices):
            if len(group) != self.exemplars:
                yield f"indices.{i} names {len(group)} samples and exemplars = {self.exemplars}; make them agree"
            if group and max(group) >= self.candidates:
                yield (
                    f"indices.{i}: samples are 0 to {self.candidates - 1}, got {max(group)}; choose others, or raise "
                    "candidates"
                )

    def _check_label(self, spec: Spec) -> Iterable[str]:
        conditional = spec.sampler is not None and spec.sampler.conditional
        if self.label is None:
            if conditional:
                yield (
                    "the sampler reads labels, and the arithmetic is of z under one of them; set label, as in "
                    'label = 3 or, with all conditions, label = "Smiling=1,Male=-1"'
                )
        elif not conditional:
            yield "label: the sampler reads no labels; remove it"

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Weights that are missing, and a label that cannot be read, are missed before training, not after."""
        from gflow_dcgan.vector_arithmetic import check_concepts, read_label

        data = spec.dataset.data_shape()
        read_label(self.label, data)
        if self.encoder is not None:
            check_concepts(self.concepts, self.encoder.build(data, device, progress), data, device)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_dcgan.vector_arithmetic import vector_arithmetic

        return lambda subject: vector_arithmetic(subject, self)
