"""What single feature maps stand for: options of guided_backprop and drop_feature."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core import Progress, Result, Subject, option
from gflow_dcgan.options import Rule

if TYPE_CHECKING:
    import torch

    from gflow_core import Spec

__all__ = ["DropFeature", "GuidedBackprop"]


def _images(spec: Spec) -> Iterable[str]:
    data = spec.dataset.data_shape()
    if data.kind != "image":
        yield f"works on images, the data is {data}; set dataset.use to images"


@attrs.frozen(kw_only=True)
class GuidedBackprop:
    """What excites the discriminator's last convolutional layer: guided gradients of its maps' strongest responses.

    Guided backpropagation (Springenberg et al. 2014), as in the paper's Figure 5: for each map the images in which its
    response is greatest at any place, and the gradient of that response by their pixels, through (leaky) ReLUs only
    where it and their input are positive. It shows parts of the image whatever the weights are (Adebayo et al. 2018),
    so a discriminator with random weights, its batch norm set on the data, stands beside the trained one.

    concentration is the share of the gradient's energy in its strongest tenth of the pixels (0.1 where it is spread
    evenly); selectivity how many standard deviations the shown images' responses lie above the median.
    """

    cite: ClassVar[tuple[str, ...]] = ("radford2016dcgan", "springenberg2014striving")
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "discriminator"})

    features: int = option(6, doc="Maps that are shown: the first ones (the paper: 6).", ge=1)
    maps: tuple[int, ...] = option((), doc="Maps that are shown, by their numbers; replaces `features`.", ge=0)
    images: int = option(8, doc="Images shown for each map, those of the strongest responses.", ge=1)
    real_samples: int | None = option(None, doc="Data items that are looked through; all by default.", ge=2)
    batch_size: int = option(128, doc="Items that pass the discriminator at once; bounds the memory.", ge=2)

    def check(self, spec: Spec) -> Iterable[str]:
        return _images(spec)

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """A discriminator without convolutions, and maps that it lacks, are missed before training, not after."""
        from gflow_dcgan.guided_backprop import foresee

        foresee(spec, features=self.features, maps=self.maps)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_dcgan.guided_backprop import guided_backprop

        return lambda subject: guided_backprop(
            subject,
            features=self.features,
            maps=self.maps,
            images=self.images,
            real_samples=self.real_samples,
            batch_size=self.batch_size,
        )


@attrs.frozen(kw_only=True)
class DropFeature:
    """Make the sampler forget a feature: the window experiment of the paper's section 6.3.1.

    A logistic regression on the maps that enter the sampler's last convolution tells places with the feature from
    others, as many, of the same images. Then samples are drawn from the same z with something set to zero:

        by = "weight"      every map whose weight is > 0, everywhere (the paper)
        by = "activation"  activations > 0, of all maps, at places where the regression fires (p > 1/2)

    The feature is given by boxes that a person drew around it in the figure `samples`, or by a rule; without either
    that figure is all. found_before, found_after: the share of the region's places where the rule still holds, in
    fresh samples; with boxes, of the places inside them where a logistic regression on pixels (around each place)
    finds it, in images held out from both fits. found_random: with as many random maps, or places, dropped instead.
    change_inside and change_outside: mean absolute change of the pixels in and outside the region or boxes.
    """

    cite: ClassVar[tuple[str, ...]] = ("radford2016dcgan",)
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

    samples: int = option(150, doc="Samples that are annotated (the paper: 150).", ge=2, le=1000)
    annotations: str | None = option(
        None,
        doc="File of boxes, image, x0, y0, x1, y1: a sample's number in samples.png, and pixels from its upper left "
        "corner; lines of a .csv that begins with those names, or tables [[box]] of a .toml. It belongs to one run, at "
        "one step, with as many samples; ~ is the home folder.",
    )
    rule: Rule | None = option(None, doc="What annotates in a person's place: { region = [...], brighter = ... }.")
    by: Literal["weight", "activation"] = option("weight", doc="What is set to zero; see above.")
    places: int = option(
        16, doc="Places taken from each image that has the feature, at most: so many with it, so many without.", ge=1
    )
    images: int = option(25, doc="Images in the figure.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from _images(spec)
        if self.annotations is not None and self.rule is not None:
            yield "the feature is given twice; set either annotations or rule"
        if self.annotations is not None and not self.annotations.lower().endswith((".csv", ".toml")):
            yield f"annotations = {self.annotations!r}: boxes are read from a .csv or a .toml file"
        data = spec.dataset.data_shape()
        if self.rule is not None and data.low is not None and data.high is not None:
            brighter = self.rule.brighter
            if not data.low <= brighter < data.high:
                yield f"rule.brighter = {brighter:g}: images are from {data.low:g} to {data.high:g}; set it between"
        every = max((analysis.every for analysis in spec.analyze if analysis.part is self), default=0)
        if self.annotations is not None and every:
            yield (
                f"annotations belong to the samples of one step, and every = {every} looks at many; remove every, or "
                "set a rule instead"
            )

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """A file of boxes that is missing or wrong, and a sampler without convolutions, are missed before training."""
        if self.annotations is not None:
            from gflow_dcgan.annotations import read_boxes

            read_boxes(Path(self.annotations).expanduser(), self.samples, spec.dataset.data_shape())
        if self.annotations is not None or self.rule is not None:
            from gflow_dcgan.drop_feature import foresee

            foresee(spec)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_dcgan.drop_feature import drop_feature

        return lambda subject: drop_feature(
            subject,
            samples=self.samples,
            annotations=self.annotations,
            rule=self.rule,
            by=self.by,
            places=self.places,
            images=self.images,
        )
