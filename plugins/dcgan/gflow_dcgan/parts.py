"""The plugin's parts: their options and checks. The work is in the modules that `build` imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from gflow_core import (
    DataShape,
    EncoderPart,
    Latent,
    Progress,
    Result,
    Subject,
    Uniform,
    encoder_faults,
    held_out,
    option,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gflow_core import Spec

__all__ = [
    "ConvDiscriminator",
    "ConvSampler",
    "DropFeature",
    "GuidedBackprop",
    "LatentWalk",
    "Rule",
    "SixConvDiscriminator",
    "SvmFeatures",
    "TransposedConv",
    "ValueFunction",
    "VectorArithmetic",
    "not_trained_on",
]


# ------------------------------------------------------------------ networks


def _square(data: DataShape | None, sizes: str, fits: Callable[[int], bool]) -> Iterable[str]:
    """Why the data are not square images of these sizes."""
    if data is None:
        yield "needs a [dataset] that says which images to make"
    elif data.kind != "image":
        yield f"works on images, the data is {data}; set dataset.use to images"
    elif data.shape[1] != data.shape[2] or not fits(data.shape[1]):
        yield f"works on square images of {sizes} pixels, the data is {data}; set dataset.image_size"


@attrs.frozen(kw_only=True)
class _Conv:
    """Options that the sampler and the discriminator share."""

    width: int = option(
        128, doc="Feature maps at half the image's side, doubled where the side is halved (the paper: 128).", ge=1
    )
    max_width: int = option(1024, doc="Feature maps at most (the paper: 1024, at 4x4).", ge=1)
    kernel_size: Literal[4, 5] = option(
        5, doc="Side of the kernels: 5 as published, or 4 as in most later code.", unit="pixels"
    )
    use_batch_norm: bool = option(
        True, doc="Batch norm everywhere but on the sampler's output and the discriminator's input."
    )
    conditional: bool = option(
        False,
        doc="Read labels, classes one-hot or real numbers as they are: beside z in the sampler, as constant planes "
        "beside the image in the discriminator.",
    )

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from _square(data, "16, 32, 64, 128 or 256", lambda size: size in (16, 32, 64, 128, 256))

    def _network(self, data: DataShape, join: Literal["layer", "planes"]) -> dict[str, Any]:
        """What the built networks take."""
        from gflow_core import StridedLabels

        return {
            "width": self.width,
            "max_width": self.max_width,
            "kernel_size": self.kernel_size,
            "use_batch_norm": self.use_batch_norm,
            "labels": StridedLabels(size=data.label_size, join=join) if self.conditional else None,
        }


@attrs.frozen(kw_only=True)
class ConvSampler(_Conv):
    """DCGAN's sampler: z -> linear -> 4x4 -> transposed convolutions of stride 2 with batch norm and ReLU -> tanh."""

    latent: Latent = option(factory=lambda: Uniform(dim=100), doc="Law of z (the paper: 100 numbers, uniform).")

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from super().check(data)
        if data is not None and data.kind == "image" and (data.low, data.high) != (-1.0, 1.0):
            yield f"ends in tanh, the data is {data}"

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_core import StridedSampler

        assert data is not None
        channels, size, _ = data.shape
        return StridedSampler(self.latent.dim, channels, size, **self._network(data, "layer"))


@attrs.frozen(kw_only=True)
class ConvDiscriminator(_Conv):
    """DCGAN's discriminator: convolutions of stride 2 with batch norm and leaky ReLU down to 4x4 -> linear."""

    head: Literal["flatten", "mean"] = option(
        "flatten", doc="The logit is linear in the last 4x4 maps (flatten, as published), or in their means (mean)."
    )
    slope: float = option(0.2, doc="Slope of leaky ReLU for negative values.", ge=0)

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_core import StridedDiscriminator

        assert data is not None
        channels, size, _ = data.shape
        network = self._network(data, "planes")
        return StridedDiscriminator(channels, size, head=self.head, slope=self.slope, **network)


@attrs.frozen(kw_only=True)
class SixConvDiscriminator:
    """The discriminator of the paper's feature experiment: six 3x3 convolutions, two a size, and a linear head.

    At 32 px and width 128 its layers, max-pooled to 4x4, make the paper's 28,672 features. Kernels and strides are
    ours: its text does not print them.
    """

    conditional: ClassVar[bool] = False

    width: int = option(
        128, doc="Feature maps of the first two layers; the next two have twice, the last two four times as many.", ge=1
    )

    def check(self, data: DataShape | None) -> Iterable[str]:
        return _square(data, "16 or more", lambda size: size >= 16)

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_dcgan.six_conv import SixConv

        assert data is not None
        channels, size, _ = data.shape
        return SixConv(channels, size, width=self.width)


# ------------------------------------------------------------------ analyzers: value_function, svm_features


def not_trained_on(dataset: Any) -> Any:
    """The data set part of the other split, none of whose items are trained on; None where there is none."""
    return None if getattr(dataset, "split", "all") == "all" else held_out(dataset)


@attrs.frozen(kw_only=True)
class ValueFunction:
    """The game's value V(G, D) = E log D(x) + E log(1 - D(G(z))), D = sigmoid(logit), and how far D is from the best.

    On items of the other split (test where the run trains on train), and on the training items beside them: a
    discriminator that knows its data by heart has a higher V there. For the best D, V = -2 log 2 + 2 JS in nats;
    any other has a lower V, so `js` = (V + 2 log 2) / 2 bounds the Jensen-Shannon divergence from below in
    expectation, and may be negative. JS is at most log 2. A critic trained by another loss has its logit read alike:
    the bound holds for any D that judges items one by one. Where samples and data follow one law, D = 1/2 and the
    accuracy is 0.5.

    A discriminator with batch norm is by default judged as it plays in training, where real and generated items are
    normalised by the statistics of batches of their own. It then tells batches apart: the bound is on the divergence
    between batches of m items, which may be far above that of items, and is named `js_batches`. All batches have m
    items: `batch_size`, or half of the smallest set; what is left over is dropped. With running statistics, a mean of
    both, D is another function of items, and often a useless one.

    Where the data are points of a known law p on the line or in the plane, D is compared with the best,
    D* = p / (p + q), by running statistics, as D* is a function of points; q is a Gaussian kernel density estimate of
    samples. `distance_to_optimal` is the mean |D - D*| over half real, half generated points, and `value_optimal` is
    V of this D*, with q's error in it.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler", "discriminator"})

    samples: int = option(10_000, doc="Samples drawn.", ge=2)
    real_samples: int = option(
        10_000, doc="Held-out items, and as many training items, or all where there are fewer.", ge=2
    )
    batch_norm: Literal["batch", "eval"] = option(
        "batch", doc="What the discriminator's batch norm goes by: each batch's own statistics, or running ones."
    )
    batch_size: int = option(
        128,
        doc="Items that pass a network at once; those of a batch share their statistics, and in sets of fewer than two "
        "batches these are smaller.",
        ge=2,
    )
    density_samples: int = option(10_000, doc="Further samples that q is estimated from, where p is known.", ge=20)
    bandwidth: float | None = option(
        None,
        doc="Standard deviation of the estimate's kernel, in the data's units; by default that of the highest "
        "likelihood of one half of them under the other, of four a decade.",
        gt=0,
    )
    resolution: int = option(100, doc="Points along each axis of the heat maps.", unit="points", ge=10)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from spec.label_faults()

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Held-out data that is missing is missed before training, not after."""
        if (other := not_trained_on(spec.dataset)) is not None:
            other.load(progress)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_dcgan.value_function import value_function

        return lambda subject: value_function(self, subject)


def _distinct(values: tuple[Any, ...]) -> str | None:
    return None if len(set(values)) == len(values) else "names one twice"


def _some(values: tuple[Any, ...]) -> str | None:
    return _distinct(values) if values else "needs at least one value"


@attrs.frozen(kw_only=True)
class SvmFeatures:
    """What the discriminator has learned, as features of a linear classifier (sections 5.1 and 5.2).

    Every convolutional layer is max-pooled to a grid of 4x4, flattened and concatenated, and an L2-SVM (squared
    hinge, one against the rest) is trained on the labels of the training split and tested on the other. C is chosen
    on training items set aside. Activations are read where the network offers `conv_features`, as the DCGAN networks
    do; of other networks it is the output of each convolution, before what follows it.

    With `labels`, the classifier learns from only so many labelled items, as many of each class, and the draw is
    repeated (the paper on SVHN: 1000); C is still chosen on `validation` further labelled ones. Without it C is
    chosen, and then all training items count.

    Baselines: `raw` pixels; `random`, the same network with fresh weights; `kmeans`, one layer of k-means on whitened
    patches (Coates and Ng 2011). The trained network and the random one both have their batch norm set by the same
    training images, so that they differ by weights alone.

    Memory: 8 bytes a feature and training item, with `solver = "liblinear"`, which copies them to sparse float64, 32,
    and 4 a feature and test item: CIFAR-10 with the paper's 28,672 features takes 13 GB or 47 GB. `train_samples`
    bounds it.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "discriminator"})

    grid: int = option(4, doc="Side of the grid that maps are pooled to; smaller maps stay (the paper: 4).", ge=1)
    baselines: tuple[Literal["raw", "random", "kmeans"], ...] = option(
        (), doc="Other features that go through the same.", check=_distinct
    )
    train_samples: int | None = option(None, doc="Training items used; all by default.", ge=2)
    test_samples: int | None = option(None, doc="Items of the other split tested on; all by default.", ge=1)
    labels: int | None = option(
        None, doc="Labelled items that are learned from, as many of each class; all by default (SVHN: 1000).", ge=1
    )
    repeats: int = option(1, doc="Draws of `labels`, whose accuracies are averaged.", ge=1)
    validation: int | None = option(
        None, doc="Training items that C is chosen on, beside those of `labels`; a tenth of all by default.", ge=1
    )
    C: tuple[float, ...] = option(
        (0.01, 0.1, 1.0, 10.0), doc="Weights of the squared hinge that are tried.", gt=0, check=_some
    )
    standardize: bool = option(
        True,
        doc="Shift and scale each feature to mean 0 and variance 1 / d over the training items, d the number of "
        "features: items have about unit length, and the same C suit any d.",
    )
    solver: Literal["liblinear", "lbfgs"] = option(
        "liblinear",
        doc="scikit-learn's LinearSVC, or the same minimum by scipy's L-BFGS, all classes at once: several times "
        "faster and smaller on many features.",
    )
    tolerance: float = option(1e-4, doc="Relative gradient at which the solver stops.", gt=0)
    max_iter: int = option(1000, doc="Its iterations at most; the table says whether it converged.", ge=1)
    kmeans_centroids: int = option(1600, doc="Centroids of `kmeans`: it has four times as many features.", ge=2)
    kmeans_patches: int = option(100_000, doc="Patches that they are fitted to.", ge=2)
    kmeans_size: int = option(6, doc="Side of the patches.", unit="pixels", ge=2)
    batch_size: int = option(256, doc="Images that pass the network at once; bounds the memory.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        data = spec.dataset.data_shape()
        if data.kind != "image":
            yield f"reads the convolutional layers of images, the data is {data}"
        elif "kmeans" in self.baselines and min(data.shape[1:]) < self.kmeans_size:
            yield f"kmeans_size = {self.kmeans_size} is larger than the images, {data}"
        if data.classes is None:
            yield f"classifies, and the data has no classes ({data}); use a data set with class labels"
        elif data.classes < 2:
            yield f"classifies, and the data has one class ({data})"
        elif self.labels is not None and self.labels % data.classes:
            yield f"labels = {self.labels} is not a multiple of the {data.classes} classes"
        if spec.discriminator is not None and spec.discriminator.conditional:
            yield "the discriminator reads labels, so that its features would tell them; use an unconditional one"
        if held_out(spec.dataset) is None:
            yield (
                "tests on held-out items, and the data set has no option split with train and test; use one that has, "
                'such as cifar10 or mnist5k with split = "train"'
            )
        elif spec.dataset.split == "all":
            yield 'tests on held-out items, and dataset.split = "all" leaves none; set it to "train"'
        if self.kmeans_patches < self.kmeans_centroids:
            yield f"kmeans_patches = {self.kmeans_patches} are fewer than kmeans_centroids = {self.kmeans_centroids}"
        if self.repeats > 1 and self.labels is None:
            yield f"repeats = {self.repeats} draws of the labelled items need labels, their number"

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Held-out data that is missing is missed before training, not after."""
        not_trained_on(spec.dataset).load(progress)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_dcgan.svm_features import svm_features

        return lambda subject: svm_features(self, subject)


# ------------------------------------------------------------------ analyzers: latent_walk, vector_arithmetic


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

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

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

        return lambda subject: latent_walk(self, subject)


def _signs(value: tuple[str, ...]) -> str | None:
    return None if value else "needs one sign a concept, got none"


def _sample_numbers(value: tuple[tuple[int, ...], ...]) -> str | None:
    return "samples are numbered from 0" if any(i < 0 for group in value for i in group) else None


@attrs.frozen(kw_only=True)
class VectorArithmetic:
    """z(A) - z(B) + z(C), where z of a concept is the mean over some exemplars (section 6.3.2, Figure 7).

    The image of the result stands in the centre of a grid, the others have uniform noise added to z; the same
    arithmetic on pixels stands below. Name the concepts by class (`concepts`: the exemplars are the most confident
    samples of each class) or by their numbers on the picture `samples` (`indices`). The samples are the same at every
    step of a run, so that their numbers stay; without either option this picture is all there is. z is not clipped:
    `outside_support` is the share of its components that leave a uniform law's interval. A conditional sampler makes
    every image with one `label`, for the arithmetic is of z alone.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

    concepts: tuple[int, ...] = option((), doc="A class for each sign, as the encoder's classifier counts them.", ge=0)
    indices: tuple[tuple[int, ...], ...] = option(
        (), doc="For each sign the numbers of its exemplars, such as [[0, 4, 9], [...], [...]].", check=_sample_numbers
    )
    signs: tuple[Literal["+", "-"], ...] = option(
        ("+", "-", "+"), doc="How the concepts' mean z are added up.", check=_signs
    )
    exemplars: int = option(3, doc="Samples that a concept's z is the mean of (the paper: 3).", ge=1, le=20)
    candidates: int = option(
        200, doc="Samples drawn, numbered and shown, from which exemplars are chosen.", ge=1, le=2500
    )
    noise: float = option(
        0.25, doc="Half the width of the uniform noise on z around the result (the paper: 0.25).", ge=0
    )
    grid: int = option(3, doc="Side of the grid around the result, odd (the paper: 3).", unit="images", ge=1, le=15)
    encoder: EncoderPart | None = option(
        None, doc="Network that classifies: finds the exemplars of `concepts`, and says what class the result is of."
    )
    label: int | str | None = option(
        None, doc='Label of every image, for a conditional sampler: a class, or all conditions: "Smiling=1,Male=-1".'
    )
    batch_size: int = option(128, doc="Images that pass the encoder at once; bounds the memory.", ge=1)

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

        return lambda subject: vector_arithmetic(self, subject)


# ------------------------------------------------------------------ analyzers: guided_backprop, drop_feature


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

        foresee(self, spec)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_dcgan.guided_backprop import guided_backprop

        return lambda subject: guided_backprop(self, subject)


def _no_region(region: tuple[float, ...]) -> str | None:
    x0, y0, x1, y1 = region
    return None if x0 < x1 and y0 < y1 else f"is empty, got {list(region)}; x0 < x1 and y0 < y1 are needed"


@attrs.frozen(kw_only=True)
class Rule:
    """A feature that needs no person to see it: something bright in one region of the image."""

    region: tuple[float, float, float, float] = option(
        doc="x0, y0, x1, y1 in shares of the image's width and height, from its upper left corner.",
        ge=0,
        le=1,
        check=_no_region,
    )
    brighter: float = option(
        0.0, doc="The feature is where the mean over channels is above this, in the data's units (-1 to 1)."
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

        return lambda subject: drop_feature(self, subject)


# ------------------------------------------------------------------ analyzers: transposed_conv


@attrs.frozen(kw_only=True)
class TransposedConv:
    """Transposed convolution, checked in exact arithmetic: its size, its matrix, its gradient, and its checkerboard.

    Compares torch's layer with an explicit sparse matrix, with the convolution of the zero-stuffed input and with
    gradients, and counts the kernel taps that reach each pixel. Needs no data and no training. The defaults are the
    first such layer of DCGAN's sampler.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    input_size: int = option(4, doc="Side of the input.", unit="pixels", ge=1, le=16)
    kernel_size: int = option(5, doc="Side of the kernel.", unit="pixels", ge=1, le=8)
    stride: int = option(2, doc="Output pixels from one input pixel to the next.", unit="pixels", ge=1, le=4)
    padding: int = option(2, doc="Pixels that are left out on each side; below kernel_size.", unit="pixels", ge=0)
    output_padding: int = option(1, doc="Pixels that are added on the far sides; below stride.", unit="pixels", ge=0)
    channels: int = option(1, doc="Maps in and out of the layers that are checked; figures draw one.", ge=1, le=8)

    def check(self, spec: Spec) -> Iterable[str]:
        size = (self.input_size - 1) * self.stride - 2 * self.padding + self.kernel_size + self.output_padding
        if self.padding >= self.kernel_size:
            yield f"padding {self.padding} must be below kernel_size {self.kernel_size}"
        elif size < 1:
            yield f"the output has {size} pixels a side; lower padding or raise input_size"
        if self.output_padding >= self.stride:
            yield f"output_padding {self.output_padding} must be below stride {self.stride}"

    def build(self) -> Callable[[Subject], Result]:
        from gflow_dcgan.transposed_conv import transposed_conv

        return lambda subject: transposed_conv(self, subject)
