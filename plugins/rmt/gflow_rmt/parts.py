"""The plugin's parts: their options and checks. The work is in the modules that `build` imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core import (
    Bernoulli,
    DataShape,
    EncoderPart,
    Equicorrelated,
    Latent,
    Normal,
    Progress,
    Result,
    Subject,
    TruncatedNormal,
    Uniform,
    encoder_faults,
    option,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gflow_core import Spec

__all__ = [
    "BigGanDeep",
    "Concentration",
    "Eigenvectors",
    "MlpDiscriminator",
    "MlpSampler",
    "NoiseLaws",
    "RealVersus",
    "Represented",
    "ResampleWeights",
    "Simulations",
    "Spectrum",
    "Theory",
]


# ------------------------------------------------------------------ BigGAN-deep


@attrs.frozen(kw_only=True)
class BigGanDeep:
    """BigGAN-deep's generator (Brock et al. 2019), class-conditional on ImageNet's 1000; loads its public weights.

    50,388,609, 55,880,833 and 56,163,905 parameters at 128, 256 and 512 px. The paper's network is the one of 256 px
    with the weights of the public PyTorch port, whose names of tensors and peculiarities it has. z is read as it is.
    """

    conditional: ClassVar[bool] = True

    image_size: Literal[128, 256, 512] = option(256, doc="Height and width of the images.", unit="pixels")
    channels: int = option(
        128, doc="Feature maps of the last block, which others are multiples of (published: 128).", ge=8
    )
    weights: str = option(
        "random",
        doc="A fresh initialisation from the run's seed (random), which makes patterns of colour and no objects, or "
        "the path of a file: a state dict with the public port's names, such as its biggan-deep-256.",
        check=lambda value: None if value.strip() else 'expected "random" or the path of a file, got an empty string',
    )
    truncation: float = option(
        0.4,
        doc="Chooses the batch-norm statistics among those of truncations 0, 0.02, ..., 1; the law of z has it as its "
        "scale.",
        gt=0,
        le=1,
    )
    interpolation: Literal["published", "corrected"] = option(
        "published",
        doc="How statistics between two rows are weighed: as the public code does, the wrong way round (so that "
        "rounding shifts the row at truncations .14, .28, .56, .58 and .94), or the right way round.",
    )
    latent: Latent = option(
        factory=lambda: TruncatedNormal(dim=128, bound=2.0, scale=0.4),
        doc="Law of z, of length 128 (published: normal, |z| <= 2, times the truncation).",
    )

    def data_shape(self) -> DataShape:
        """RGB images in [-1, 1] of ImageNet's classes."""
        return DataShape("image", (3, self.image_size, self.image_size), -1.0, 1.0, classes=1000)

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is not None and data != self.data_shape():
            yield f"makes {self.data_shape()}, the data is {data}; remove [dataset], or give all of ImageNet's classes"
        if self.latent.dim != 128:
            yield f"latent.dim = {self.latent.dim}; the network reads 128 numbers, set latent.dim = 128"
        if isinstance(self.latent, TruncatedNormal) and self.latent.scale != self.truncation:
            yield (
                f"truncation = {self.truncation:g} chooses the statistics, but z has latent.scale = "
                f"{self.latent.scale:g}; set both to the same number"
            )

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_rmt.biggan_deep import build_biggan_deep

        return build_biggan_deep(self)


# ------------------------------------------------------------------ the MLP GAN


@attrs.frozen(kw_only=True)
class _Mlp:
    """What both networks of the MLP GAN share."""

    conditional: bool = option(
        True,
        doc="Read the label, one-hot (real labels as they are), beside z or x; without it, one law for all classes.",
    )
    label_width: int | None = option(
        None, doc="Units of a layer that y goes through first; without it y joins as it is.", ge=1
    )
    slope: float = option(0.2, doc="Slope of leaky ReLU for negative values (the paper does not print its own).", ge=0)

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None:
            yield "needs a [dataset] that says what to make"
        elif data.kind == "image" and data.low is None:
            yield f"works on images of a known range, the data is {data}"


def _some(widths: tuple[int, ...]) -> str | None:
    return None if widths else "needs at least one hidden layer"


@attrs.frozen(kw_only=True)
class MlpSampler(_Mlp):
    """The paper's MNIST generator: five hidden layers of leaky ReLU, then batch norm, and a linear one with tanh.

    tanh spans the pixels' range; vectors go without. On 28x28 digits in ten classes: 2,563,216 parameters.
    """

    widths: tuple[int, ...] = option(
        (128, 256, 512, 1024, 1024), doc="Units of the hidden layers (not printed in the paper).", ge=1, check=_some
    )
    latent: Latent = option(factory=lambda: Normal(dim=100), doc="Law of z (published: N(0, I) in 100 dimensions).")

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_rmt.mlp_gan import build_sampler

        assert data is not None
        return build_sampler(self, data)


@attrs.frozen(kw_only=True)
class MlpDiscriminator(_Mlp):
    """The paper's MNIST discriminator: five hidden layers of leaky ReLU, then a logit.

    On 28x28 digits in ten classes: 1,511,425 parameters.
    """

    widths: tuple[int, ...] = option(
        (1024, 512, 256, 128, 64), doc="Units of the hidden layers (not printed in the paper).", ge=1, check=_some
    )

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_rmt.mlp_gan import build_discriminator

        assert data is not None
        return build_discriminator(self, data)


# ------------------------------------------------------------------ features, class by class


_T = "Law of the surrogate's t, brought to mean 0 and variance 1; as long as the features, whatever its dim."


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
class _Surrogate(Represented):
    """Analyses that draw from the fitted mixture."""

    t: Latent = option(factory=lambda: Normal(dim=1), doc=_T)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        yield from check_law("t", self.t)


# ------------------------------------------------------------------ analyzers


@attrs.frozen(kw_only=True)
class Spectrum(_Surrogate):
    """Gram spectra of features of generated images and of the Gaussian mixture with their means and covariances."""

    reference: int = option(
        100,
        doc="Rotations of each class's features that calibrate the distances: what normal features of the same means "
        "and covariances give. Two-sided p-values are at least 2 / (reference + 1).",
        ge=1,
    )
    top: int = option(10, doc="Largest eigenvalues, and leading directions, that are compared one by one.", ge=1)
    theory: bool = option(
        True, doc="Draw the density that theory gives the mixture's eigenvalues; a minute where K m = 1500."
    )
    repeat: bool = option(
        False, doc="Draw n more images of each class: how far two samples of the generator are apart."
    )

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.spectrum import spectrum

        return lambda subject: spectrum(self, subject)


@attrs.frozen(kw_only=True)
class NoiseLaws(Represented):
    """Spectra under every law of z times every law of t: is the spectrum invariant to them?"""

    laws_z: tuple[Latent, ...] = option(
        factory=lambda: (
            Normal(dim=1),
            Uniform(dim=1, low=0.0, high=1.0),
            Uniform(dim=1, low=-1.0, high=1.0),
            Bernoulli(dim=1),
            Equicorrelated(dim=1, rho=0.5),
            Equicorrelated(dim=1, rho=1.0),
        ),
        doc="Laws of z, the first of which the others are compared with; in as many dimensions as the sampler reads.",
    )
    laws_t: tuple[Latent, ...] = option(factory=lambda: (Normal(dim=1), Bernoulli(dim=1)), doc=_T)
    reference: int = option(
        100,
        doc="Rotations of each class's features that calibrate the distances, as in rmt.spectrum; under each law of z.",
        ge=1,
    )
    repeats: int = option(
        5,
        doc="Independent samples under the first law of z, and draws of the mixture under the first law of t, whose "
        "distances from each other are the floor for those of other laws; p-values are at least 1 / (repeats + 1).",
        ge=2,
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if self.z is not None:
            yield "z: the laws of z are those of laws_z; remove it"
        if not self.laws_z or not self.laws_t:
            yield "laws_z and laws_t need one law each at least"
        for i, law in enumerate(self.laws_t):
            yield from check_law(f"laws_t.{i}", law)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.noise_laws import noise_laws

        return lambda subject: noise_laws(self, subject)


@attrs.frozen(kw_only=True)
class Simulations(_Surrogate):
    """Eigenvalues over many repeats with fresh z: are they normal, and those of the mixture's repeats?"""

    S: int = option(500, doc="Repeats (published: 500); more than a run already has are added to those.", ge=8)
    eigenvalues: tuple[int, ...] = option(
        (2, 3, 4, 5, 6), doc="Which eigenvalues, 1 the largest (published: 2 to 6); up to the tenth.", ge=1, le=10
    )
    refit: bool = option(
        True,
        doc="Fit the mixture anew in every repeat, to m images of its own; or once for all, to m images drawn before "
        "the first repeat, so that a repeat draws n images of each class instead of N.",
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if not self.eigenvalues:
            yield "eigenvalues: name one at least"
        elif len(set(self.eigenvalues)) < len(self.eigenvalues):
            yield "eigenvalues names one twice"
        elif self.m < self.N and max(self.eigenvalues) > self.K * self.n:
            yield f"eigenvalues: the Gram matrix of K (N - m) images has {self.K * self.n}, not {max(self.eigenvalues)}"
        if not self.refit and self.moments == "reuse":
            yield (
                'moments = "reuse" takes the sample from the images that the mixture is fitted to, in every repeat; '
                "with it set refit = true"
            )

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.simulations import simulations

        return lambda subject: simulations(self, subject)


@attrs.frozen(kw_only=True)
class Eigenvectors(_Surrogate):
    """Leading eigenvectors of both Gram matrices as scatter plots by class, with the class means' prediction."""

    vectors: int = option(4, doc="Leading eigenvectors, which are shown in pairs of neighbours.", ge=2)
    reference: int = option(
        100, doc="Rotations of each class's features that calibrate the distance, as in rmt.spectrum.", ge=1
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if self.n > 0 and self.vectors > self.K * self.n:
            yield f"vectors = {self.vectors} is more than the K n = {self.K * self.n} images of the sample"

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.eigenvectors import eigenvectors

        return lambda subject: eigenvectors(self, subject)


@attrs.frozen(kw_only=True)
class Theory(_Surrogate):
    """What random-matrix theory says of the spectrum: Marchenko-Pastur, deterministic equivalent, spikes."""

    reference: int = option(20, doc="Mixtures drawn, whose distances from the theory calibrate that observed.", ge=1)
    rotated: int = option(
        1,
        doc="Rotations of the features, normal features of the same means and covariances, that are split, fitted and "
        "compared as they are: what estimating the moments costs. Each takes as long as the theory itself.",
        ge=0,
    )
    level: float = option(0.01, doc="Of the Tracy-Widom edge test.", gt=0, lt=0.5)
    top: int = option(10, doc="Largest eigenvalues listed side by side.", ge=1)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.theory import theory

        return lambda subject: theory(self, subject)


@attrs.frozen(kw_only=True)
class Concentration(Represented):
    """Is the feature vector concentrated: tails of Lipschitz observations, and Lipschitz constants of the networks."""

    projections: int = option(100, doc="Random unit vectors u, whose u'x are observed.", ge=1)
    nu: int = option(5, doc="Degrees of freedom of Student's t vectors, which are not concentrated.", ge=3)
    reference: int = option(
        100,
        doc="Rotations of each class's features, normal features of the same means and covariances, whose exponents "
        "calibrate those observed.",
        ge=1,
    )
    points: int = option(16, doc="Points z, of the classes in turn, at which the Jacobian's norm is estimated.", ge=1)
    pairs: int = option(200, doc="Pairs z, z' whose |f(z) - f(z')| / |z - z'| are taken.", ge=1)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.concentration import concentration

        return lambda subject: concentration(self, subject)


@attrs.frozen(kw_only=True)
class RealVersus(_Surrogate):
    """The same spectra for real images, generated images, and the mixtures fitted to each, in one figure."""

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

    reference: int = option(
        100,
        doc="Rotations of each class's features, as in rmt.spectrum, and permutations of real and generated images, "
        "that calibrate the distances.",
        ge=1,
    )
    top: int = option(10, doc="Largest eigenvalues listed side by side.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        shape = spec.data_shape()
        if self.classifier is None or shape is None:
            return
        if not shape.classes:
            yield f"classifier: it tells the class of what the sampler makes, but the data ({shape}) has no classes"
        elif max(self.labels) >= shape.classes:
            yield f"class {max(self.labels)} is not among the data's {shape.classes} classes, 0 to {shape.classes - 1}"

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.real_versus import real_versus

        return lambda subject: real_versus(self, subject)


@attrs.frozen(kw_only=True)
class ResampleWeights(_Surrogate):
    """Spectra when named layers' weights are replaced by draws of a law fitted to each (the paper's section 8)."""

    layers: tuple[str, ...] = option(
        ("*",),
        doc="Names of linear and convolution layers, with * and ?; the message on a name that fits none lists them.",
        check=lambda names: None if names else "needs at least one name",
    )
    law: Literal["normal", "permutation"] = option(
        "normal",
        doc="Draws of a normal law with the layer's mean and variance, brought to its Frobenius norm, or its own "
        "values in another order.",
    )
    repeats: int = option(20, doc="Spectra with fresh z, from trained and from resampled weights each.", ge=2)
    redraw: bool = option(False, doc="Draw weights anew in every repeat: spectra then vary with them too.")
    reference: int = option(
        100, doc="Rotations of each class's features that calibrate distances to the mixture (rmt.spectrum).", ge=1
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if 0 < self.K * self.n < 6:
            yield f"K (N - m) = {self.K * self.n} images have no eigenvalues 2 to 6; at least 6 have"

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """As for all; names of layers that are missing are missed now too."""
        super().prepare(spec, device, progress)
        if spec.objective is not None:
            from gflow_rmt.resample_weights import check_layers

            check_layers(spec, self.layers)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.resample_weights import analyze

        return lambda subject: analyze(self, subject)
