"""What the discriminator knows, and what it teaches: options of value_function, svm_features and sampler_gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core import Progress, Result, Subject, held_out, option
from gflow_dcgan.options import SvmOptions
from gflow_dcgan.splits import not_trained_on

if TYPE_CHECKING:
    import torch

    from gflow_core import Spec

__all__ = ["SamplerGradient", "SvmFeatures", "ValueFunction"]


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

    cite: ClassVar[tuple[str, ...]] = ("goodfellow2014gan",)
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

        return lambda subject: value_function(
            subject,
            samples=self.samples,
            real_samples=self.real_samples,
            batch_norm=self.batch_norm,
            batch_size=self.batch_size,
            density_samples=self.density_samples,
            bandwidth=self.bandwidth,
            resolution=self.resolution,
        )


@attrs.frozen(kw_only=True)
class SvmFeatures(SvmOptions):
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

    cite: ClassVar[tuple[str, ...]] = ("radford2016dcgan",)
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "discriminator"})

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

        return lambda subject: svm_features(subject, self)


@attrs.frozen(kw_only=True)
class SamplerGradient:
    """How hard either loss pulls the sampler now: |grad E log(1 - D(G(z)))| and |grad E log D(G(z))| in its parameters.

    Where the discriminator is sure, D(G(z)) near 0, the first vanishes and the second does not (Goodfellow et al. 2014,
    section 3): in the logit their slopes are D and 1 - D. `ratio` is the first over the second. Both networks play as
    in training, batch norm by each batch's own statistics, and whichever loss the run is trained by, both are measured;
    a critic's logit is read as if its loss were this game's.
    """

    cite: ClassVar[tuple[str, ...]] = ("goodfellow2014gan",)
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler", "discriminator"})

    samples: int = option(1024, doc="Samples whose mean loss is differentiated.", ge=2)
    batch_size: int = option(
        128,
        doc="Samples that pass the networks at once, and share the statistics of batch norm; up to twice as many where "
        "it does not divide `samples`.",
        ge=2,
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from spec.label_faults()

    def build(self) -> Callable[[Subject], Result]:
        from gflow_dcgan.sampler_gradient import sampler_gradient

        return lambda subject: sampler_gradient(subject, samples=self.samples, batch_size=self.batch_size)
