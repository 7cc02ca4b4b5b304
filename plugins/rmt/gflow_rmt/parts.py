"""The plugin's parts: their options and checks. The work is in the modules that `build` imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.builtin.analyzers.feature_scores import check_encoder
from gflow_core.builtin.latents import Bernoulli, Equicorrelated, Normal, TruncatedNormal, Uniform
from gflow_core.contracts import DataShape, EncoderPart, Latent, Progress, Result, Subject
from gflow_core.options import option

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gflow_core.spec import Spec

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
    """BigGAN-deep's generator, class-conditional on ImageNet's 1000 (Brock et al. 2019), with its public weights.

    50,388,609, 55,880,833 and 56,163,905 parameters at 128, 256 and 512 px.
    """

    conditional: ClassVar[bool] = True

    image_size: Literal[128, 256, 512] = option(256, doc="Height and width of the images.", unit="pixels")
    channels: int = option(
        128, doc="Feature maps of the last block, which others are multiples of (published: 128).", ge=8
    )
    weights: str = option(
        "random",
        doc="A fresh initialisation from the run's seed (random), or the path of a state dict with the public names.",
    )
    truncation: float = option(
        0.4,
        doc="Chooses the batch-norm statistics; the law of z has it as its scale.",
        gt=0,
        le=1,
    )
    interpolation: Literal["published", "corrected"] = option(
        "published",
        doc="Between two rows of statistics: the public code's weights, which are reversed, or the right way round.",
    )
    latent: Latent = option(
        factory=lambda: TruncatedNormal(dim=128, bound=2.0, scale=0.4), doc="Law of z; its scale is the truncation."
    )

    def data_shape(self) -> DataShape:
        """RGB images in [-1, 1] of ImageNet's classes."""
        return DataShape("image", (3, self.image_size, self.image_size), -1.0, 1.0, classes=1000)

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is not None and data != self.data_shape():
            yield f"makes {self.data_shape()}, the data is {data}"
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

    conditional: bool = option(True, doc="Read the label, one-hot, beside z or x; without it, one law for all classes.")

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None:
            yield "needs a [dataset] that says what to make"


@attrs.frozen(kw_only=True)
class MlpSampler(_Mlp):
    """The MNIST generator: five hidden layers, each linear, batch norm and leaky ReLU, then a linear one and tanh."""

    widths: tuple[int, ...] = option((128, 256, 512, 1024, 1024), doc="Units of the hidden layers.", ge=1)
    latent: Latent = option(factory=lambda: Normal(dim=100), doc="Law of z (published: N(0, I) in 100 dimensions).")

    def build(self, data: DataShape | None) -> nn.Module:
        from gflow_rmt.mlp_gan import build_sampler

        assert data is not None
        return build_sampler(self, data)


@attrs.frozen(kw_only=True)
class MlpDiscriminator(_Mlp):
    """Its discriminator: five hidden layers with leaky ReLU, then a logit."""

    widths: tuple[int, ...] = option((1024, 512, 256, 128, 64), doc="Units of the hidden layers.", ge=1)

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
        if self.classes is not None and len(self.classes) != self.K:
            yield f"classes names {len(self.classes)}, K = {self.K}"
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            yield "classes names one twice"
        if shape is None:
            yield "needs a [dataset] that says what samples look like"
            return
        yield from self._check_labels(spec, shape)
        if self.encoder is not None:
            yield from check_encoder(self.encoder, spec)
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
            for message in check_encoder(self.classifier, spec):
                yield message.replace("encoder:", "classifier:", 1)
        elif not spec.sampler.conditional:
            if self.K > 1:
                yield (
                    f"K = {self.K}: the sampler reads no labels; set K = 1, or classifier = {{ use = ... }}, which "
                    "tells the class of each image"
                )
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

    reference: int = option(100, doc="Pairs of independent mixtures whose distances calibrate the one observed.", ge=1)
    top: int = option(10, doc="Largest eigenvalues listed side by side.", ge=1)

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
    reference: int = option(100, doc="Pairs of independent mixtures whose distances calibrate those observed.", ge=1)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.noise_laws import noise_laws

        return lambda subject: noise_laws(self, subject)


@attrs.frozen(kw_only=True)
class Simulations(_Surrogate):
    """Eigenvalues over many repeats with fresh z: are they normal, and those of the mixture's repeats?"""

    S: int = option(500, doc="Repeats (published: 500).", ge=2)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.simulations import simulations

        return lambda subject: simulations(self, subject)


@attrs.frozen(kw_only=True)
class Eigenvectors(_Surrogate):
    """Leading eigenvectors of both Gram matrices as scatter plots by class, with the class means' prediction."""

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.eigenvectors import eigenvectors

        return lambda subject: eigenvectors(self, subject)


@attrs.frozen(kw_only=True)
class Theory(_Surrogate):
    """What random-matrix theory says of the spectrum: Marchenko-Pastur, deterministic equivalent, spikes."""

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.theory import theory

        return lambda subject: theory(self, subject)


@attrs.frozen(kw_only=True)
class Concentration(Represented):
    """Is the feature vector concentrated: tails of Lipschitz observations, and Lipschitz constants of the networks."""

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.concentration import concentration

        return lambda subject: concentration(self, subject)


@attrs.frozen(kw_only=True)
class RealVersus(_Surrogate):
    """The same spectra for real images, generated images, and the mixtures fitted to each, in one figure."""

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.real_versus import real_versus

        return lambda subject: real_versus(self, subject)


@attrs.frozen(kw_only=True)
class ResampleWeights(_Surrogate):
    """Spectra when named layers' weights are replaced by draws of a law fitted to them, layer by layer."""

    layers: tuple[str, ...] = option(("*",), doc="Names of the layers, with * and ? (gflow show lists none).")
    law: Literal["normal", "permutation"] = option(
        "normal", doc="Draws from a normal law of the layer's mean and variance, or its own values in another order."
    )

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.resample_weights import analyze

        return lambda subject: analyze(self, subject)
