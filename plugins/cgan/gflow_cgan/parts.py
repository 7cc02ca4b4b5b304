"""The plugin's parts: their options and checks. The work is in the modules that `build` imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    attention_faults,
    batch_norm_faults,
    encoder_faults,
    held_out,
    image_size_faults,
    option,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gflow_core import Spec

__all__ = [
    "ConvDiscriminator",
    "ConvSampler",
    "IntraFrechet",
    "LabelAccuracy",
    "MlpDiscriminator",
    "MlpSampler",
    "Parzen",
]


# ------------------------------------------------------------------ networks


_INIT = (
    "r of the initial weights U(-r, r), biases starting at 0; without it He's sqrt(6 / inputs) in every layer. The "
    "paper does not print its own."
)


@attrs.frozen(kw_only=True)
class _Mlp:
    """Options that the sampler and the discriminator share."""

    conditional: bool = option(
        True, doc="Read the label, too; without it the network has no layer for labels, as the paper's plain GAN."
    )
    dropout: float = option(
        0.5,
        doc="Share of units dropped after each hidden layer in training, of the labels' layer too, never of an input "
        "(the paper: 0.5, without saying where).",
        ge=0,
        lt=1,
    )

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None:
            yield "needs a [dataset] that says what to make"


@attrs.frozen(kw_only=True)
class MlpSampler(_Mlp):
    """CGAN's sampler as published: z and y each through a ReLU layer, both through another, a sigmoid per number.

    The sigmoid's [0, 1] is stretched to the data's range. On 28x28 digits in ten classes: 2,413,984 parameters.
    """

    cite: ClassVar[tuple[str, ...]] = ("mirza2014cgan",)

    z_width: int = option(200, doc="Units of the layer that reads z (the paper: 200).", ge=1)
    label_width: int = option(1000, doc="Units of the layer that reads y (the paper: 1000).", ge=1)
    width: int = option(1200, doc="Units of the layer that reads both (the paper: 1200).", ge=1)
    init_range: float | None = option(None, doc=_INIT, gt=0)
    latent: Latent = option(
        factory=lambda: Uniform(dim=100, low=0.0, high=1.0), doc="Law of z (the paper: uniform on [0, 1]^100)."
    )

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from super().check(data)
        if data is not None and data.low is None:
            yield f"ends in a sigmoid stretched to the data's range, the data is {data}; choose images"

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_cgan.mlp import Sampler

        assert data is not None
        assert data.low is not None
        assert data.high is not None
        return Sampler(
            self.latent.dim,
            data.label_size if self.conditional else 0,
            data.shape,
            low=data.low,
            high=data.high,
            z_width=self.z_width,
            label_width=self.label_width,
            width=self.width,
            dropout=self.dropout,
            init_range=self.init_range,
        )


@attrs.frozen(kw_only=True)
class MlpDiscriminator(_Mlp):
    """CGAN's discriminator as published: x and y each through a maxout layer, both through another, a logit.

    On 28x28 digits in ten classes: 1,224,351 parameters. The paper's last sigmoid is part of the loss.
    """

    cite: ClassVar[tuple[str, ...]] = ("mirza2014cgan", "goodfellow2013maxout")
    itemwise: ClassVar[bool] = True

    x_width: int = option(240, doc="Maxout units that read x (the paper: 240).", ge=1)
    x_pieces: int = option(5, doc="Linear maps of which each of them is the largest (the paper: 5).", ge=1)
    label_width: int = option(50, doc="Maxout units that read y (the paper: 50).", ge=1)
    label_pieces: int = option(5, doc="Pieces of each of them (the paper: 5).", ge=1)
    width: int = option(240, doc="Maxout units that read both (the paper: 240).", ge=1)
    pieces: int = option(4, doc="Pieces of each of them (the paper: 4).", ge=1)
    init_range: float | None = option(0.005, doc=_INIT, gt=0)
    max_norm: float | None = option(
        None,
        doc="Longest weight vector of a unit: longer ones act as if shortened to it, in the spirit of the norm "
        "constraint usual with maxout (Goodfellow et al. 2013), which shortens them after each update. Without it the "
        "published rate, 0.1, can blow the network up.",
        gt=0,
    )

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_cgan.mlp import Discriminator

        assert data is not None
        return Discriminator(
            data.shape,
            data.label_size if self.conditional else 0,
            low=data.low,
            high=data.high,
            x_width=self.x_width,
            x_pieces=self.x_pieces,
            label_width=self.label_width,
            label_pieces=self.label_pieces,
            width=self.width,
            pieces=self.pieces,
            dropout=self.dropout,
            init_range=self.init_range,
            max_norm=self.max_norm,
        )


@attrs.frozen(kw_only=True)
class _Conv:
    """Options that the sampler and the discriminator share."""

    cite: ClassVar[tuple[str, ...]] = ("mirza2014cgan",)
    conditional: ClassVar[bool] = True

    width: int = option(
        128, doc="Feature maps at half the image's side, doubled where the side is halved (DCGAN: 128).", ge=1
    )
    max_width: int = option(1024, doc="Feature maps at most (DCGAN: 1024, at 4x4).", ge=1)
    kernel_size: Literal[4, 5] = option(
        5, doc="Side of the kernels: 5 as in DCGAN's paper, or 4 as in most later code.", unit="pixels"
    )
    use_batch_norm: bool = option(
        True, doc="Batch norm everywhere but on the sampler's output and the discriminator's input."
    )
    norm_init: Literal["ones", "normal"] = option(
        "ones", doc="Scales that batch norm starts with: 1, or N(1, 0.02) (normal) as in DCGAN's own code."
    )
    spectral_norm: int = option(
        0,
        doc="Power iterations a training forward of spectral normalisation, on every convolution and linear layer "
        "(Miyato et al. 2018: 1, of the discriminator; SAGAN: 1, of both); 0 leaves it out.",
        ge=0,
    )
    attention: tuple[int, ...] = option(
        (),
        doc="Sides of the maps that a self-attention block follows (SAGAN, Zhang et al. 2019): 4, 8, ..., half the "
        "image's.",
        unit="pixels",
    )
    label_width: int | None = option(
        None, doc="Units of a layer that y goes through first; without it y joins as it is.", ge=1
    )

    join: Literal["layer", "planes", "norm", "projection"]  # each has its own as an option

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from batch_norm_faults(use_batch_norm=self.use_batch_norm, norm_init=self.norm_init, join=self.join)
        if data is None:
            yield "needs a [dataset] that says which images to make, and their labels"
            return
        if data.kind != "image":
            yield f"works on images, the data is {data}"
            return
        yield from (unfit := list(image_size_faults(data, 16, 256)))
        if not unfit:
            yield from attention_faults(self.attention, 4, min(data.shape[1:]) // 2)

    def _network(self, data: DataShape) -> dict[str, Any]:
        """What the built networks take."""
        from gflow_core import StridedLabels

        classes = data.classes is not None
        return {
            "labels": StridedLabels(size=data.label_size, join=self.join, width=self.label_width, classes=classes),
            "width": self.width,
            "max_width": self.max_width,
            "kernel_size": self.kernel_size,
            "use_batch_norm": self.use_batch_norm,
            "norm_init": self.norm_init,
            "spectral_norm": self.spectral_norm,
            "attention": self.attention,
        }


@attrs.frozen(kw_only=True)
class ConvSampler(_Conv):
    """A conditional sampler on DCGAN's guidelines: z and y -> linear -> 4x4 -> transposed convolutions -> tanh."""

    join: Literal["layer", "planes", "norm"] = option(
        "layer",
        doc="Where y comes in: beside z; as constant maps, one a number, beside the 4x4 maps; or in the scales and "
        "shifts of batch norm (norm: conditional batch norm, as in Miyato and Koyama 2018).",
    )
    latent: Latent = option(factory=lambda: Uniform(dim=100), doc="Law of z (DCGAN: uniform on [-1, 1]^100).")

    def check(self, data: DataShape | None) -> Iterable[str]:
        yield from super().check(data)
        if data is not None and data.kind == "image" and (data.low, data.high) != (-1.0, 1.0):
            yield f"ends in tanh, the data is {data}"

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_core import StridedSampler

        assert data is not None
        channels, height, width = data.shape
        return StridedSampler(self.latent.dim, channels, (height, width), **self._network(data))


@attrs.frozen(kw_only=True)
class ConvDiscriminator(_Conv):
    """A conditional discriminator on DCGAN's guidelines: x and y -> convolutions of stride 2 to 4x4 -> logit."""

    head: Literal["flatten", "mean"] = option(
        "flatten", doc="The last 4x4 maps go on flattened (DCGAN), or as their means."
    )
    slope: float = option(0.2, doc="Slope of leaky ReLU for negative values.", ge=0)
    join: Literal["layer", "planes", "projection"] = option(
        "planes",
        doc="Where y comes in: beside the last maps in a hidden layer that reads both; as constant maps, one a number, "
        "beside the image; or as <embed(y), phi> added to the logit, phi what that is linear in (projection: Miyato "
        "and Koyama 2018).",
    )
    joint: int = option(256, doc='Units of the hidden layer of join = "layer".', ge=1)

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_core import StridedDiscriminator

        assert data is not None
        channels, height, width = data.shape
        network = self._network(data)
        network["labels"] = attrs.evolve(network["labels"], joint=self.joint)
        return StridedDiscriminator(channels, (height, width), head=self.head, slope=self.slope, **network)


# ------------------------------------------------------------------ analyzers


@attrs.frozen(kw_only=True)
class Parzen:
    """Log-likelihood of held-out items under a Gaussian Parzen window on samples, in nats.

    log p(x) = log mean_i N(x; s_i, sigma^2 I) over samples s_i: the papers' score, with images in [0, 1]. sigma is the
    bandwidth of the highest mean on `validation` training items; at the grid's edge `bandwidth_at_edge` is 1: widen it.
    The scores `_real` put training items in place of samples. On MNIST, Table 1 of Mirza & Osindero 2014 has 132 +- 1.8
    for CGAN and 225 +- 2 for GAN (10,000 samples, standard errors). The estimate is weak: in many dimensions it is far
    from the true one for any practical number of samples, and k-means centres of the training set score above good
    models (Theis et al. 2016, arXiv 1511.01844). Read it beside the scores `_real`, never alone.
    """

    cite: ClassVar[tuple[str, ...]] = ("mirza2014cgan",)
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})
    better: ClassVar[Mapping[str, str]] = {"log_likelihood": "max"}

    samples: int = option(10_000, doc="Samples that the windows stand on (the papers: 10,000).", ge=1)
    validation: int = option(
        1000, doc="Training items that sigma is chosen on, or half of them where there are fewer (usually 1,000).", ge=1
    )
    held_out: int | None = option(None, doc="Held-out items scored; all by default.", ge=2)
    bandwidths: tuple[float, float] = option(
        (0.05, 1.0),
        doc="Least and greatest sigma tried; for images in units of the full range of a pixel.",
        gt=0,
        check=lambda ends: None if ends[0] < ends[1] else "the first must be less than the second",
    )
    grid: int = option(25, doc="Values of sigma tried, evenly on a logarithmic scale.", ge=3)

    def check(self, spec: Spec) -> Iterable[str]:
        if held_out(spec.dataset) is None:
            yield (
                "scores held-out items, and the data set has no option split with train and test; use one that has, "
                'such as mnist5k with split = "train"'
            )
        elif spec.dataset.split == "all":
            yield 'scores items that were not trained on, and dataset.split = "all" leaves none; set it to "train"'

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Held-out data that is missing is missed before training, not after."""
        held_out(spec.dataset).load(progress)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_cgan.parzen import parzen

        return lambda subject: parzen(
            subject,
            samples=self.samples,
            validation=self.validation,
            held_out_samples=self.held_out,
            bandwidths=self.bandwidths,
            grid=self.grid,
        )


@attrs.frozen(kw_only=True)
class _ByClass:
    """What the analyzers share that ask the sampler for one class after the other."""

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

    encoder: EncoderPart | None  # each has it as an option
    batch_size: int = option(128, doc="Items that pass the encoder at once; bounds the memory.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        data = spec.dataset.data_shape()
        if not data.classes:
            yield f"asks for one class after the other, and the labels of the data are not classes ({data})"
        if not spec.sampler.conditional:
            yield (
                "asks for one class after the other, and the sampler reads no labels; choose one that does, such as "
                "cgan.conv"
            )
        if self.encoder is not None:
            yield from encoder_faults(self.encoder, spec)

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Weights that are missing are missed before training, not after; a network trained once is trained now."""
        if self.encoder is not None:
            self.encoder.build(spec.dataset.data_shape(), device, progress)


@attrs.frozen(kw_only=True)
class LabelAccuracy(_ByClass):
    """How often a classifier sees in a sample the class that it was asked for.

    The classifier's accuracy on held-out real items (`_real`) stands beside it, because samples of the data's own law
    would score no other; where the data set has no other split, on the data itself. Its classes must be the data's, in
    their order: mnist_cnn knows the ten digits and nothing else, though it would answer for ten kinds of clothes too.
    mnist_cnn learned the training digits of mnist5k, so on those its accuracy is too high.
    """

    better: ClassVar[Mapping[str, str]] = {"label_accuracy": "max", "label_accuracy_worst": "max"}

    encoder: EncoderPart = option(doc="Network that classifies, into the classes of the data.")
    samples_per_class: int = option(100, doc="Samples asked for of each class.", ge=1)
    real_samples: int = option(10_000, doc="Real items classified for comparison, or all where there are fewer.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        if not self.encoder.classifies:
            yield "encoder: the score is of the class seen, and this network does not classify"
        yield from super().check(spec)

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """As above; held-out data that is missing, and a classifier of other classes, are missed now too."""
        from gflow_cgan.label_accuracy import check_classes

        data = spec.dataset.data_shape()
        check_classes(self.encoder.build(data, device, progress), data, device)
        other = held_out(spec.dataset)
        if other is not None:
            other.load(progress)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_cgan.label_accuracy import label_accuracy

        return lambda subject: label_accuracy(
            subject,
            encoder=self.encoder,
            samples_per_class=self.samples_per_class,
            real_samples=self.real_samples,
            batch_size=self.batch_size,
        )


@attrs.frozen(kw_only=True)
class IntraFrechet(_ByClass):
    """The Frechet distance of each class: samples asked for it against its real items, in an encoder's features.

    The mean over classes and the worst one. It is called intra FID with the encoder "inception" and intra FD(name) with
    any other (Miyato & Koyama 2018, arXiv 1802.05637), and stands beside the distance between two halves of each class.
    With fewer items of a class than features a covariance has not its full rank; `rank_deficient` says so.
    """

    cite: ClassVar[tuple[str, ...]] = ("miyato2018projection", "heusel2017gans")
    better: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("intra FID", "intra FD", "intra FID_worst", "intra FD_worst"), "min"
    )

    encoder: EncoderPart | None = option(
        None, doc="Network whose features are compared; needed for images. Vectors are compared as they are without it."
    )
    samples_per_class: int = option(
        1000, doc="Samples asked for of each class; the score falls as they grow, by an amount of its own.", ge=2
    )
    real_samples_per_class: int | None = option(None, doc="Real items of each class; all by default.", ge=4)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        data = spec.dataset.data_shape()
        if self.encoder is None and data.kind == "image":
            yield (
                f"compares images by the features of a network, and the data is {data}; set encoder = {{ use = ... }} "
                "(gflow ls encoders)"
            )

    def build(self) -> Callable[[Subject], Result]:
        from gflow_cgan.intra_frechet import intra_frechet

        return lambda subject: intra_frechet(
            subject,
            encoder=self.encoder,
            samples_per_class=self.samples_per_class,
            real_samples_per_class=self.real_samples_per_class,
            batch_size=self.batch_size,
        )
