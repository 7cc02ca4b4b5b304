"""Options that analyses of features share with their work, which knows no part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core import DataShape, EncoderPart, Latent, Normal, Progress, encoder_faults, option

if TYPE_CHECKING:
    import torch

    from gflow_core import Spec

__all__ = ["Represented", "Surrogate", "T", "check_law"]

T = "Law of the surrogate's t, brought to mean 0 and variance 1; as long as the features, whatever its dim."
"""What is said of an option that is a law of t."""


@attrs.frozen(kw_only=True)
class Represented:
    """What every analysis of features shares: K classes, N images of each, m of them for the mixture's moments."""

    needs: ClassVar[frozenset[str]] = frozenset({"sampler"})

    encoder: EncoderPart | None = option(
        None, doc="Network whose features are analyzed; needed for images. Vectors are their own features without it."
    )
    K: int = option(3, doc="Classes: the sampler's first K, unless `classes` names them.", ge=1)
    classes: tuple[int, ...] | None = option(None, doc="Which classes; as many as K.", ge=0)
    N: int = option(500, doc="Images of each class.", ge=3)
    m: int = option(330, doc="Images of each class that the mixture's mean and covariance are estimated from.", ge=2)
    moments: Literal["split", "reuse"] = option(
        "split",
        doc="Whether the n = N - m images of the sample are others than those m (split), or among them (reuse), which "
        "flatters the match where m is less than the number of features.",
    )
    z: Latent | None = option(None, doc="Law of z, in as many dimensions as the sampler reads; its own by default.")
    conversion: Literal["x255", "x256"] = option(
        "x255",
        doc="How x in [-1, 1] becomes 8 bits: (x+1)/2 times 255, rounded, or times 256, cut and clipped (published).",
    )
    classifier: EncoderPart | None = option(
        None, doc="Network that tells the class of what a sampler without labels makes; without it K is 1."
    )
    batch_size: int = option(64, doc="Images that pass sampler and encoder at once; bounds the memory.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        shape = spec.data_shape()
        if self.m >= self.N:
            yield f"m = {self.m} leaves nothing of N = {self.N} for the sample: m must be less than N"
        elif self.moments == "reuse" and self.n > self.m:
            yield f"moments = reuse: {self.n} images of the sample cannot be among m = {self.m}; set m >= N / 2"
        if self.classes is not None and len(self.classes) != self.K:
            yield f"classes names {len(self.classes)}, K = {self.K}"
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            yield "classes names one twice"
        if shape is None:
            yield "needs a [dataset] that says what samples look like"
            return
        yield from self._check_labels(spec, shape)
        if self.encoder is not None:
            yield from encoder_faults(self.encoder, spec)
        elif shape.kind == "image":
            yield (
                f"analyzes images by the features of a network, and the data is {shape}; set encoder = {{ use = ... }} "
                "(gflow ls encoders)"
            )

    def _check_labels(self, spec: Spec, shape: DataShape) -> Iterable[str]:
        if spec.sampler.conditional and self.classifier is not None:
            yield "classifier: the sampler reads labels, so the classes are known; remove it"
        elif self.classifier is not None:
            if not self.classifier.classifies:
                yield "classifier: this network does not classify"
            for message in encoder_faults(self.classifier, spec):
                yield message.replace("encoder:", "classifier:", 1)
        elif not spec.sampler.conditional:
            if self.K > 1:
                yield (
                    f"K = {self.K}: the sampler reads no labels; set K = 1, or classifier = {{ use = ... }}, which "
                    "tells the class of each image"
                )
            elif self.classes is not None:
                yield "classes: the sampler reads no labels; remove it, or set classifier = { use = ... }"
        elif not shape.classes:
            yield f"works class by class, and the sampler's labels are real numbers ({shape})"
        elif shape.classes < self.K:
            yield f"K = {self.K} is more than the {shape.classes} classes there are"
        elif self.classes is not None and max(self.classes) >= shape.classes:
            yield f"classes: {max(self.classes)} is not among the {shape.classes} classes, 0 to {shape.classes - 1}"

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Weights that are missing are missed before training, not after; a network trained once is trained now."""
        shape = spec.data_shape()
        assert shape is not None
        for part in (self.encoder, self.classifier):
            if part is not None:
                part.build(shape, device, progress)

    @property
    def labels(self) -> tuple[int, ...]:
        """The classes, by their numbers."""
        return self.classes if self.classes is not None else tuple(range(self.K))

    @property
    def n(self) -> int:
        """Images of each class in the sample."""
        return self.N - self.m


def check_law(name: str, law: Latent) -> Iterable[str]:
    """Why a law cannot be that of t: it needs known moments and uncorrelated components."""
    moments = getattr(law, "moments", None)
    if moments is None:
        yield f"{name}: this law does not state its moments, by which t is brought to mean 0 and variance 1"
    elif moments().covariance:
        yield f"{name}: its components are correlated, so the surrogate would not have the covariance it is fitted to"


@attrs.frozen(kw_only=True)
class Surrogate(Represented):
    """Analyses that draw from the fitted mixture."""

    t: Latent = option(factory=lambda: Normal(dim=1), doc=T)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        yield from check_law("t", self.t)
