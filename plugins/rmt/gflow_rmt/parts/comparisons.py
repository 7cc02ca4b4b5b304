"""Gram spectra beside that of the Gaussian mixture: options of spectrum, noise_laws, simulations, and others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core import Bernoulli, Equicorrelated, Latent, Normal, Progress, Result, Subject, Uniform, option
from gflow_rmt.options import Represented, Surrogate, T, check_law

if TYPE_CHECKING:
    import torch

    from gflow_core import Spec

__all__ = ["NoiseLaws", "RealVersus", "ResampleWeights", "Simulations", "Spectrum"]


@attrs.frozen(kw_only=True)
class Spectrum(Surrogate):
    """Gram spectra of features of generated images and of the Gaussian mixture with their means and covariances."""

    cite: ClassVar[tuple[str, ...]] = ("seddik2020rmt",)

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

        return lambda subject: spectrum(
            subject, self, reference=self.reference, top=self.top, theory=self.theory, repeat=self.repeat
        )


@attrs.frozen(kw_only=True)
class NoiseLaws(Represented):
    """Spectra under every law of z times every law of t: is the spectrum invariant to them?"""

    cite: ClassVar[tuple[str, ...]] = ("seddik2020rmt",)

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
    laws_t: tuple[Latent, ...] = option(factory=lambda: (Normal(dim=1), Bernoulli(dim=1)), doc=T)
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

        return lambda subject: noise_laws(
            subject, self, laws_z=self.laws_z, laws_t=self.laws_t, reference=self.reference, repeats=self.repeats
        )


@attrs.frozen(kw_only=True)
class Simulations(Surrogate):
    """Eigenvalues over many repeats with fresh z: are they normal, and those of the mixture's repeats?"""

    cite: ClassVar[tuple[str, ...]] = ("seddik2020rmt",)

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

        return lambda subject: simulations(
            subject, self, repeats=self.S, eigenvalues=self.eigenvalues, refit=self.refit
        )


@attrs.frozen(kw_only=True)
class RealVersus(Surrogate):
    """The same spectra for real images, generated images, and the mixtures fitted to each, in one figure."""

    cite: ClassVar[tuple[str, ...]] = ("seddik2020rmt",)
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

        return lambda subject: real_versus(subject, self, reference=self.reference, top=self.top)


@attrs.frozen(kw_only=True)
class ResampleWeights(Surrogate):
    """Spectra when named layers' weights are replaced by draws of a law fitted to each (the paper's section 8)."""

    cite: ClassVar[tuple[str, ...]] = ("seddik2020rmt",)

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

        return lambda subject: analyze(
            subject,
            self,
            layers=self.layers,
            law=self.law,
            repeats=self.repeats,
            redraw=self.redraw,
            reference=self.reference,
        )
