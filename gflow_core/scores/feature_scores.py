"""Scores that compare samples with data in the features of an encoder: options and checks, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.parts.nouns import Progress
from gflow_core.parts.options import option
from gflow_core.scores.held_out import against_faults, held_out, held_out_faults, of_split

if TYPE_CHECKING:
    import torch

    from gflow_core.parts.spec import Spec

__all__ = ["Frechet", "Inception", "Kernel", "Memorization", "PathLength", "Prdc", "encoder_faults", "smooth_faults"]


@attrs.frozen(kw_only=True)
class _Scored:
    """What the scores share."""

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

    batch_size: int = option(128, doc="Items that pass the encoder at once; bounds the memory.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from against_faults(spec.dataset, getattr(self, "against", None))

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Weights and data that are missing are missed before training; a network trained once is trained now."""
        encoder: EncoderPart | None = getattr(self, "encoder", None)
        if encoder is not None:
            encoder.build(spec.dataset.data_shape(), device, progress)
        against: str | None = getattr(self, "against", None)
        if against is not None:
            of_split(spec.dataset, against).load(progress)


@attrs.frozen(kw_only=True)
class _Compared(_Scored):
    """Scores that compare features, or the vectors themselves."""

    encoder: EncoderPart | None = option(
        None, doc="Network whose features are compared; needed for images. Vectors are compared as they are without it."
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        data = spec.dataset.data_shape()
        if self.encoder is not None:
            yield from encoder_faults(self.encoder, spec)
        elif data.kind == "image":
            yield (
                f"compares images by the features of a network, and the data is {data}; set encoder = {{ use = ... }} "
                "(gflow ls encoders)"
            )


_AGAINST = "Split of the data set that samples are compared with, as in `split`; the one trained on by default."


@attrs.frozen(kw_only=True)
class _Distance(_Compared):
    """Scores of samples against the data that they are to be like."""

    against: Literal["train", "test"] | None = option(None, doc=_AGAINST)


def encoder_faults(encoder: EncoderPart, spec: Spec) -> Iterable[str]:
    """Why the encoder cannot read the recipe's data, or what its sampler makes; nothing if it can."""
    check = getattr(encoder, "check", None)
    for message in check(spec.data_shape()) if check is not None else ():
        yield f"encoder: {message}"


def smooth_faults(encoder: EncoderPart | None) -> Iterable[str]:
    """Why small changes of an item are lost on the encoder; nothing if they are not."""
    if encoder is not None and not getattr(encoder, "smooth", False):
        yield (
            "encoder: small changes of an image must show in its features, and this network does not promise that "
            "(inception rounds images to bytes); choose another (gflow ls encoders)"
        )


@attrs.frozen(kw_only=True)
class Frechet(_Distance):
    """The Frechet distance between Gaussians fitted to the features of samples and of data: FID, on its network.

    |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1^(1/2) C2 C1^(1/2))^(1/2) (Heusel et al. 2017). It is called FID
    with the encoder "inception" and FD(name) with any other, and stands beside the distance between two halves of
    the data. With no more items than features a covariance has not its full rank; `rank_deficient` says so of the data
    or the samples, `rank_deficient_halves` of the halves.
    """

    of_samples: ClassVar[bool] = True
    cite: ClassVar[tuple[str, ...]] = ("heusel2017gans",)
    better: ClassVar[Mapping[str, str]] = {"FID": "min", "FD": "min"}

    samples: int = option(10_000, doc="Samples drawn; the score falls as they grow, by an amount of its own.", ge=2)
    real_samples: int | None = option(None, doc="Data items compared with; all by default.", ge=4)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_core.scores.frechet import frechet

        return lambda subject: frechet(
            subject,
            encoder=self.encoder,
            against=self.against,
            samples=self.samples,
            real_samples=self.real_samples,
            batch_size=self.batch_size,
        )


@attrs.frozen(kw_only=True)
class Kernel(_Distance):
    """The squared maximum mean discrepancy with the cubic kernel (x'y / dim + 1)^3, unbiased: KID, on its network.

    The mean over random subsets (Binkowski et al. 2018). It is called KID with the encoder "inception" and KD(name)
    with any other, and stands beside the same between two halves of the data, which is 0 up to chance. Where an item
    lies so far off that its own kernel drowns all others in rounding, there is no score, and a warning says so.
    """

    of_samples: ClassVar[bool] = True
    cite: ClassVar[tuple[str, ...]] = ("binkowski2018demystifying",)
    better: ClassVar[Mapping[str, str]] = {"KID": "min", "KD": "min"}

    samples: int = option(10_000, doc="Samples drawn.", ge=2)
    real_samples: int = option(10_000, doc="Data items compared with, or all where there are fewer.", ge=4)
    subsets: int = option(100, doc="Random pairs of subsets that are averaged.", ge=1)
    subset_size: int = option(1000, doc="Items of each subset; two halves of the data have as many.", ge=2)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if self.samples < self.subset_size:
            yield f"samples = {self.samples} is less than a subset, subset_size = {self.subset_size}"
        if self.real_samples < 2 * self.subset_size:
            yield (
                f"real_samples = {self.real_samples} is less than two halves of subset_size = {self.subset_size}; the "
                "score between them is the calibration"
            )

    def build(self) -> Callable[[Subject], Result]:
        from gflow_core.scores.kernel import kernel

        return lambda subject: kernel(
            subject,
            encoder=self.encoder,
            against=self.against,
            samples=self.samples,
            real_samples=self.real_samples,
            subsets=self.subsets,
            subset_size=self.subset_size,
            batch_size=self.batch_size,
        )


@attrs.frozen(kw_only=True)
class Inception(_Scored):
    """exp E KL(p(y|x) || p(y)) by an encoder's classifier, the mean over splits: the Inception Score, on its network.

    Between 1 and the number of classes (Salimans et al. 2016). It is called IS with the encoder "inception" and
    classifier_score(name) with any other, and stands beside the data's own. Its `_std` over splits divides by their
    number, as the authors' code does.
    """

    of_samples: ClassVar[bool] = True
    cite: ClassVar[tuple[str, ...]] = ("salimans2016improved",)
    better: ClassVar[Mapping[str, str]] = {"IS": "max", "classifier_score": "max"}

    encoder: EncoderPart = option(doc="Network that classifies.")
    against: Literal["train", "test"] | None = option(
        None, doc="Split of the data set whose own score stands beside it; the one trained on by default."
    )
    samples: int = option(10_000, doc="Samples drawn; a multiple of `splits`.", ge=1)
    real_samples: int = option(10_000, doc="Data items scored for comparison, or all where there are fewer.", ge=1)
    splits: int = option(10, doc="Parts that are scored by themselves and averaged.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if not self.encoder.classifies:
            yield "encoder: the score is of class probabilities, and this network does not classify"
        yield from encoder_faults(self.encoder, spec)
        for name in ("samples", "real_samples"):
            if getattr(self, name) % self.splits:
                yield f"{name} = {getattr(self, name)} is not a multiple of splits = {self.splits}"

    def build(self) -> Callable[[Subject], Result]:
        from gflow_core.scores.inception import inception

        return lambda subject: inception(
            subject,
            encoder=self.encoder,
            against=self.against,
            samples=self.samples,
            real_samples=self.real_samples,
            splits=self.splits,
            batch_size=self.batch_size,
        )


@attrs.frozen(kw_only=True)
class Prdc(_Distance):
    """Precision, recall, density and coverage by balls that reach to the k-th nearest neighbour.

    Precision and recall are of Kynkaanniemi et al. 2019, density and coverage of Naeem et al. 2020. Identical
    laws do not score 1, so the scores between two halves of the data stand beside them. Balls are closed: an item at
    its very edge is in. The authors' code has them open, which differs only where distances are equal, as of copies.
    """

    of_samples: ClassVar[bool] = True
    cite: ClassVar[tuple[str, ...]] = ("kynkaanniemi2019improved", "naeem2020reliable")
    better: ClassVar[Mapping[str, str]] = dict.fromkeys(("precision", "recall", "density", "coverage"), "max")

    samples: int = option(10_000, doc="Samples drawn; more than `k`.", ge=2)
    real_samples: int = option(10_000, doc="Data items compared with, or all where there are fewer.", ge=4)
    k: int = option(5, doc="Neighbours that a ball reaches to (Naeem et al.: 5).", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if self.samples <= self.k:
            yield f"samples = {self.samples} leaves no {self.k} neighbours; samples must be more than k"
        if self.real_samples // 2 <= self.k:
            yield f"real_samples = {self.real_samples} leaves no {self.k} neighbours in half of them"

    def build(self) -> Callable[[Subject], Result]:
        from gflow_core.scores.prdc import prdc

        return lambda subject: prdc(
            subject,
            encoder=self.encoder,
            against=self.against,
            samples=self.samples,
            real_samples=self.real_samples,
            k=self.k,
            batch_size=self.batch_size,
        )


@attrs.frozen(kw_only=True)
class Memorization(_Compared):
    """How near samples are to training items, against how near held-out items are.

    `distance_ratio` is the median distance from a sample to its nearest training item over that of held-out items: 0
    for copies, 1 for draws of the data's own law, more for samples off the data. `close_share` is the share of samples
    at least as near as the nearest `quantile` of held-out items, which is `quantile` for draws of the data's law.
    Held-out items are the other split of the data set: test where the run trains on train, and the other way round.
    """

    of_samples: ClassVar[bool] = True
    samples: int = option(2000, doc="Samples drawn.", ge=1)
    real_samples: int | None = option(
        None, doc="Training items searched; all by default, because a copy of an item left out goes unseen.", ge=1
    )
    held_out: int = option(2000, doc="Held-out items, or all where there are fewer.", ge=1)
    quantile: float = option(0.05, doc="Share of held-out items that are called close to training.", gt=0, lt=1)
    pairs: int = option(32, doc="Samples nearest to training that are drawn beside their neighbours.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        yield from held_out_faults(spec.dataset)

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Held-out data that is missing is missed before training, as weights are."""
        super().prepare(spec, device, progress)
        held_out(spec.dataset).load(progress)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_core.scores.memorization import memorization

        return lambda subject: memorization(
            subject,
            encoder=self.encoder,
            samples=self.samples,
            real_samples=self.real_samples,
            held_out_samples=self.held_out,
            quantile=self.quantile,
            pairs=self.pairs,
            batch_size=self.batch_size,
        )


@attrs.frozen(kw_only=True)
class PathLength(_Compared):
    """Perceptual path length: how fast features change along paths between latents (Karras et al. 2019, StyleGAN).

    E |f(G(z(t))) - f(G(z(t + e)))|^2 / e^2, with f the encoder's features, z(t) the path between two draws and t
    uniform on [0, 1]: low where small steps in z are small ones to f. Theirs has LPIPS in place of f, so that the
    score is called PPL(name) after the encoder. Its `_trimmed` leaves out the lowest and the highest hundredth, as
    their code does.
    """

    cite: ClassVar[tuple[str, ...]] = ("karras2019style",)
    better: ClassVar[Mapping[str, str]] = {"PPL": "min", "PPL_trimmed": "min"}
    walks: ClassVar[bool] = True

    samples: int = option(2000, doc="Pairs of samples (the authors: 100,000).", ge=2)
    epsilon: float = option(
        1e-4, doc="Step along the path (the authors'); shorter ones drown in float32's rounding below 1e-5.", gt=0, le=1
    )
    path: Literal["auto", "linear", "spherical"] = option(
        "auto", doc="As the analyzer interpolation has it; auto: spherical for `normal` latents, linear for others."
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        yield from smooth_faults(self.encoder)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_core.scores.path_length import path_length

        return lambda subject: path_length(
            subject,
            encoder=self.encoder,
            samples=self.samples,
            epsilon=self.epsilon,
            path=self.path,
            batch_size=self.batch_size,
        )
