"""Gram spectra of real images' features beside those of generated images, and the mixtures fitted to each
(`rmt.real_versus`).

The paper's section 6 for both: that GAN features behave as a Gaussian mixture would say little of GANs if those of real
images did not (Seddik et al. 2020 show the same of CNN features of real images), and nothing of whether the two
spectra agree, which is the third comparison here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor

from gflow_core.contracts import Progress, Result, Subject
from gflow_core.rng import Streams
from gflow_core.spec import Spec
from gflow_rmt.representation import Representation, law_name
from gflow_rmt.rotation import Rows, compare, from_centre, resolved, rotations
from gflow_rmt.spectra import Floats, distance, gram_eigenvalues
from gflow_rmt.spectrum import COLOURS, histogram, log_bins, remark, scored
from gflow_rmt.surrogate import Mixture

if TYPE_CHECKING:
    from gflow_rmt.parts import RealVersus

__all__ = ["halves", "real_versus"]

REAL = "#009E73"
"""Okabe and Ito's bluish green."""

QUANTILES = (0.025, 0.975)


def real_versus(part: RealVersus, subject: Subject) -> Result:
    """Three comparisons, each with its p-value; tables `distances` and `eigenvalues`, figure `spectra`.

    Real images: the first max(N, 2 n) of each class in a fixed order. DataError where the data has fewer.
    """
    data, streams = subject.data, subject.streams
    assert data is not None
    representation = Representation.of(part, subject)
    found_real = representation.real(max(part.N, 2 * part.n), data)
    real = found_real[:, : part.N]
    gan = representation.draw(part.N, streams.fork("features"))
    for features in (real, gan):
        Mixture.of(features)  # says in words where a class does not vary

    # Each with the mixture fitted to it: as they are, and rotated as normal features might as well have been.
    spectra: dict[str, list[Floats]] = {}
    scores: dict[str, float | int | str | None] = {}
    for name, features in (("real", real), ("gan", gan)):
        pairs = _with_mixture(part, representation, features, streams.fork(name), subject.progress, name)
        spectra[name], spectra[f"{name}_mixture"] = (list(side) for side in zip(*pairs, strict=True))
        scores |= scored(f"{name}_", [distance(*pair) for pair in pairs])
        scores |= scored(f"{name}_normal_", from_centre(spectra[name]))

    # One with the other, and two halves of the real ones.
    others = []
    for i in range(part.reference):
        others.append([resolved(gram_eigenvalues(x)) for x in halves(found_real, part.n, streams["halves"])])
        subject.progress("halves of the real images", i + 1, part.reference)
    observed = distance(spectra["gan"][0], spectra["real"][0])
    scores |= scored("gan_real_", [observed, *(distance(*pair) for pair in others)])
    spectra["halves"] = [pair[0] for pair in others]

    words = _trained_on(subject.spec)
    scores["note"] = (
        f"real images: {words}. Chance is, for a mixture, what normal features with the same moments show (rotation "
        "test); for gan_real, what two halves of the real images show (without a common image, but from one set). "
        "A mixture is the further off the fewer images m it is fitted to: whether features are normal, real_normal and "
        "gan_normal tell."
    )
    return Result(
        scores=scores,
        tables={"distances": _distances(scores), "eigenvalues": _eigenvalues(part, spectra)},
        figures={"spectra": _figure(part, spectra, scores, f"{representation.encoder.name}, step {subject.step:,}")},
        manifest=representation.manifest(
            t=law_name(part.t),
            n_real=found_real.shape[1],
            real_images=words,
            reference=f"{part.reference} rotations; {part.reference} pairs of halves",
            remark=remark(part, gan),
        ),
    )


def _with_mixture(
    part: RealVersus,
    representation: Representation,
    features: Tensor,
    streams: Streams,
    progress: Progress,
    name: str,
) -> list[tuple[Floats, Floats]]:
    """Spectra of sample and mixture: of features [K, N, p] first, then of as many rotated ones as `reference` says."""
    rows, found = Rows.of(features), []
    for i in range(part.reference + 1):
        q = rows.identity() if i == 0 else rotations(part.K, part.N, streams["rotation"])
        pair = compare(rows, *representation.split(q), part.t, streams["surrogate"], 1)
        found.append((pair.sample, pair.mixture))
        progress(f"rotations, {name}", i, part.reference)
    return found


def halves(features: Tensor, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Two disjoint random choices of n of each class's features [K, N, p], N >= 2 n: [K, n, p] each."""
    classes, size, _ = features.shape
    order = torch.rand(classes, size, generator=generator).argsort(1)[:, : 2 * n]
    chosen = features[torch.arange(classes)[:, None], order]
    return chosen[:, :n], chosen[:, n:]


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
    if split and type(trained) is type(data) and attrs.evolve(trained, split=split) == data:
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


def _eigenvalues(part: RealVersus, spectra: dict[str, list[Floats]]) -> list[dict[str, Any]]:
    """The largest eigenvalues side by side, and where 95 % of the halves of the real images have them."""
    top = min(part.top, part.K * part.n)
    low, high = np.quantile([values[:top] for values in spectra["halves"]], QUANTILES, axis=0)
    return [
        {
            "i": i + 1,
            **{name: float(spectra[name][0][i]) for name in ("real", "real_mixture", "gan", "gan_mixture")},
            "real_halves_low": float(low[i]),
            "real_halves_high": float(high[i]),
        }
        for i in range(top)
    ]


# ------------------------------------------------------------------ picture


def _figure(part: RealVersus, spectra: dict[str, list[Floats]], scores: dict[str, Any], place: str) -> Figure:
    """A panel a comparison, all over the same bins; grey is what chance makes of the first."""
    edges = log_bins([spectra[name][0] for name in ("real", "real_mixture", "gan", "gan_mixture")], 50)
    figure = Figure(figsize=(14, 4.9), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    blue, red = COLOURS["GAN"], COLOURS["mixture"]
    shown = (
        (("real_", "real_normal_"), "real", REAL, "real_mixture", red, "95 % of rotated samples", spectra["real"][1:]),
        (("gan_", "gan_normal_"), "gan", blue, "gan_mixture", red, "95 % of rotated samples", spectra["gan"][1:]),
        (("gan_real_",), "real", REAL, "gan", blue, "95 % of halves of real images", spectra["halves"]),
    )
    names = {"real": "real", "gan": "GAN", "real_mixture": "its mixture", "gan_mixture": "its mixture"}
    for axes, (titles, first, colour, second, other, band, chance) in zip(panels, shown, strict=True):
        _band(axes, chance, edges, band)
        for name, own, width in ((first, colour, 2.0), (second, other, 1.4)):
            axes.stairs(histogram(spectra[name][0], edges), edges, color=own, linewidth=width, label=names[name])
        axes.set(xscale="log", xlim=(edges[0], edges[-1]), xlabel=r"eigenvalue $\lambda$ of $XX^\top/p$")
        axes.set_title("\n".join(f"{PAIRS[key]}: {_words(scores, key)}" for key in titles), fontsize=8.5, loc="left")
        axes.legend(fontsize="small", frameon=False)
    panels[0].set_ylabel("share of the eigenvalues per decade")
    figure.suptitle(
        f"Gram spectra of real and generated images' features, {place}: {part.K} x {part.n} images, mixtures from "
        f"{part.K} x {part.m} ({part.moments})",
        fontsize=10,
    )
    return figure


def _words(scores: dict[str, Any], prefix: str) -> str:
    ks, chance, p = (scores[f"{prefix}ks{suffix}"] for suffix in ("", "_chance", "_p"))
    return f"KS {ks:.3f} (chance {chance:.3f}, p = {p:.2g})"


def _band(axes: Axes, chance: Sequence[Floats], edges: Floats, label: str) -> None:
    low, high = np.quantile([histogram(values, edges) for values in chance], QUANTILES, axis=0)
    axes.stairs(high, edges, baseline=low, fill=True, color=COLOURS["normal"], label=label)
