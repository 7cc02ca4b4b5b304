"""Options that a part shares with its work, which knows no part."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from gflow_core import EncoderPart, option

__all__ = ["ArithmeticOptions", "Rule", "SvmOptions"]


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


def _distinct(values: tuple[Any, ...]) -> str | None:
    return None if len(set(values)) == len(values) else "names one twice"


def _some(values: tuple[Any, ...]) -> str | None:
    return _distinct(values) if values else "needs at least one value"


@attrs.frozen(kw_only=True)
class SvmOptions:
    """What `dcgan.svm_features` reads."""

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


def _signs(value: tuple[str, ...]) -> str | None:
    return None if value else "needs one sign a concept, got none"


def _sample_numbers(value: tuple[tuple[int, ...], ...]) -> str | None:
    return "samples are numbered from 0" if any(i < 0 for group in value for i in group) else None


@attrs.frozen(kw_only=True)
class ArithmeticOptions:
    """What `dcgan.vector_arithmetic` reads."""

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
