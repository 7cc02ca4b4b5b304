"""Gram spectra of real images' features beside those of generated images, and the mixtures fitted to each
(`rmt.real_versus`).

The paper's section 6 for both: that GAN features behave as a Gaussian mixture would say little of GANs if those of real
images did not (Seddik et al. 2020 show the same of CNN features of real images), and nothing of whether the two
spectra agree, which is the third comparison here.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor

from gflow_core import Progress, Result, Spec, Subject
from gflow_rmt.options import Represented, Surrogate
from gflow_rmt.representation import Representation, law_name
from gflow_rmt.rotation import Rows, from_centre, rotated_pairs
from gflow_rmt.spectra import Floats, distance
from gflow_rmt.spectrum import COLOURS, RANGE, READING, band, histogram, log_bins, remark, scored
from gflow_rmt.surrogate import Mixture

__all__ = ["exchanged", "real_versus"]

REAL = "#009E73"
"""Okabe and Ito's bluish green."""


def real_versus(subject: Subject, options: Surrogate, *, reference: int, top: int) -> Result:
    """Three comparisons, each with its p-value; tables `distances` and `eigenvalues`, figure `spectra`.

    Real images: the first N of each class in a fixed order. DataError where the data has fewer.
    """
    data, streams = subject.data, subject.streams
    assert data is not None
    representation = Representation.of(subject, options)
    features = {
        "real": representation.real(options.N, data),
        "gan": representation.draw(options.N, streams.fork("features")),
    }
    for some in features.values():
        Mixture.of(some)  # says in words where a class does not vary

    # Each with the mixture fitted to it: as they are, and rotated as normal features might as well have been.
    spectra: dict[str, list[Floats]] = {}
    scores: dict[str, float | int | str | None] = {}
    for name, some in features.items():
        found = rotated_pairs(representation, some, options.t, reference, streams.fork(name), f"rotations, {name}")
        spectra |= {name: [pair.sample for pair in found], f"{name}_mixture": [pair.mixture for pair in found]}
        scores |= scored(f"{name}_", [pair.distance for pair in found])
        scores |= scored(f"{name}_normal_", from_centre(spectra[name]), two_sided=False)

    # One with the other.
    gan, real = (representation.split(features[name])[1] for name in ("gan", "real"))
    other = exchanged(gan, real, reference, streams["exchange"], subject.progress)
    scores |= scored("gan_real_", [distance(*pair) for pair in other], two_sided=False)
    spectra["mixed"] = [values for pair in other[1:] for values in pair]

    words = _trained_on(subject.spec)
    scores["note"] = (
        f"real images: {words}. {READING} Of GAN and real, chance is between two samples to which the images "
        "of both were dealt out at random, class by class (permutation test)."
    )
    return Result(
        scores=scores,
        tables={"distances": _distances(scores), "eigenvalues": _eigenvalues(min(top, options.K * options.n), spectra)},
        figures={"spectra": _figure(options, spectra, scores, f"{representation.encoder.name}, step {subject.step:,}")},
        manifest=representation.manifest(
            t=law_name(options.t),
            n_real=options.N,
            real_images=words,
            reference=f"{reference} rotations; {reference} permutations",
            remark=remark(options, features["gan"]),
        ),
    )


def exchanged(
    a: Tensor, b: Tensor, count: int, generator: Generator, progress: Progress
) -> list[tuple[Floats, Floats]]:
    """Spectra of a and b [K, n, p], then `count` times those of two samples that their rows were dealt out to.

    Class by class, at random. If rows of each class have one law in a and b, all these pairs are exchangeable.
    """
    classes, n, _ = a.shape
    rows, found = Rows.of(torch.cat([a, b], 1)), []
    for i in range(count + 1):
        order = torch.rand(classes, 2 * n, generator=generator).argsort(1) if i else torch.arange(2 * n)
        c = torch.eye(2 * n, dtype=torch.float64)[order].expand(classes, 2 * n, 2 * n)
        found.append((rows.eigenvalues(c[:, :n]), rows.eigenvalues(c[:, n:])))
        progress("GAN and real images exchanged", i, count)
    return found


def _trained_on(spec: Spec) -> str:
    """Whether the sampler has seen the real images, in words."""
    data = spec.dataset
    split = getattr(data, "split", None)
    here = f"the {split} split" if split else "the data set"
    trained = data if spec.objective is not None else getattr(getattr(spec.sampler, "run", None), "dataset", None)
    if trained is None:
        return f"{here}; whether the sampler was trained on it is not known"
    if trained == data:
        return f"{here}, which the sampler was trained on"
    has_split = type(trained) is type(data) and "split" in attrs.fields_dict(type(data))  # joined ones have no option
    if has_split and attrs.evolve(trained, split=split) == data:
        return f"{here}; the sampler was trained on the {trained.split} split"
    return f"{here}; the sampler was trained on other data, or on these otherwise prepared"


# ------------------------------------------------------------------ tables


PAIRS = {
    "real_": "real and its mixture",
    "real_normal_": "real and normal features",
    "gan_": "GAN and its mixture",
    "gan_normal_": "GAN and normal features",
    "gan_real_": "GAN and real",
}


def _distances(scores: dict[str, Any]) -> list[dict[str, Any]]:
    keys = [f"{name}{suffix}" for name in ("ks", "wasserstein") for suffix in ("", "_chance", "_p")]
    return [{"pair": words, **{key: scores[prefix + key] for key in keys}} for prefix, words in PAIRS.items()]


def _eigenvalues(top: int, spectra: dict[str, list[Floats]]) -> list[dict[str, Any]]:
    """The largest eigenvalues side by side, and where 95 % of samples of GAN and real images, mixed, have them."""
    low, high = np.quantile([values[:top] for values in spectra["mixed"]], RANGE, axis=0)
    return [
        {
            "i": i + 1,
            **{name: float(spectra[name][0][i]) for name in ("real", "real_mixture", "gan", "gan_mixture")},
            "mixed_low": float(low[i]),
            "mixed_high": float(high[i]),
        }
        for i in range(top)
    ]


# ------------------------------------------------------------------ picture


def _figure(options: Represented, spectra: dict[str, list[Floats]], scores: dict[str, Any], place: str) -> Figure:
    """A panel a comparison, all over the same bins; grey is what chance makes."""
    edges = log_bins([spectra[name][0] for name in ("real", "real_mixture", "gan", "gan_mixture")], 50)
    figure = Figure(figsize=(14, 4.9), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    blue, red = COLOURS["GAN"], COLOURS["mixture"]
    shown = (
        (("real_", "real_normal_"), "real", REAL, "real_mixture", red, "95 % of rotated samples", spectra["real"][1:]),
        (("gan_", "gan_normal_"), "gan", blue, "gan_mixture", red, "95 % of rotated samples", spectra["gan"][1:]),
        (("gan_real_",), "real", REAL, "gan", blue, "95 % of both, mixed", spectra["mixed"]),
    )
    names = {"real": "real", "gan": "GAN", "real_mixture": "its mixture", "gan_mixture": "its mixture"}
    for axes, (titles, first, colour, second, other, words, chance) in zip(panels, shown, strict=True):
        band(axes, chance, edges, words)
        for name, own, width in ((first, colour, 2.0), (second, other, 1.4)):
            axes.stairs(histogram(spectra[name][0], edges), edges, color=own, linewidth=width, label=names[name])
        axes.set(xscale="log", xlim=(edges[0], edges[-1]), xlabel=r"eigenvalue $\lambda$ of $XX^\top/p$")
        axes.set_title("\n".join(f"{PAIRS[key]}: {_words(scores, key)}" for key in titles), fontsize=8.5, loc="left")
        axes.legend(fontsize="small", frameon=False)
    panels[0].set_ylabel("share of the eigenvalues per decade")
    figure.suptitle(
        f"Gram spectra of real and generated images' features, {place}: {options.K} x {options.n} images, mixtures "
        f"from {options.K} x {options.m} ({options.moments})",
        fontsize=10,
    )
    return figure


def _words(scores: dict[str, Any], prefix: str) -> str:
    ks, chance, p = (scores[f"{prefix}ks{suffix}"] for suffix in ("", "_chance", "_p"))
    return f"KS {ks:.3f} (chance {chance:.3f}, p = {p:.2g})"
