"""Gram spectra of a GAN's features and of the Gaussian mixture with their moments (`rmt.spectrum`).

The paper's sections 6.1 and 6.2: G = X X' / p (eq. 125) of K n rows, once of features of generated images, once of
draws from the mixture (eq. 123), and the eigenvalues of both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gflow_core import Result, Subject
from gflow_rmt.deterministic_equivalent import spectral_density
from gflow_rmt.options import Represented, Surrogate
from gflow_rmt.representation import Representation, law_name
from gflow_rmt.rotation import Pair, from_centre, resolved, rotated_pairs, share_beyond
from gflow_rmt.spectra import Distance, Floats, distance, gram_eigenvalues, share_above
from gflow_rmt.surrogate import Mixture

__all__ = ["COLOURS", "READING", "band", "histogram", "log_bins", "overlay", "remark", "scored", "spectrum"]

COLOURS = {"GAN": "#0072B2", "mixture": "#D55E00", "normal": "0.72"}
"""Okabe and Ito's blue and vermilion, which all eyes tell apart."""

RANGE = (0.025, 0.975)
"""Quantiles that hold 95 %."""

READING = (
    "A mixture is fitted to m images, so even normal features lie apart from theirs: chance is by how much (rotation "
    "test). The p of a mixture is two-sided: where it is small, features are not normal, be they nearer to their "
    "mixture than normal ones or further from it. The p of normal features asks the same without a mixture."
)
"""How to read the scores, in a score of its own."""


def spectrum(subject: Subject, options: Surrogate, *, reference: int, top: int, theory: bool, repeat: bool) -> Result:
    """Both spectra, their distances with p-values, and the leading eigenvalues and directions side by side."""
    representation, streams = Representation.of(subject, options), subject.streams
    features = representation.draw(options.N, streams.fork("features"))
    mixture = Mixture.of(representation.split(features)[0])

    # The same work on the features as they are, and rotated as normal features might as well have been.
    top = min(top, options.K * options.n, features.shape[2])
    found = rotated_pairs(representation, features, options.t, reference, streams, "rotations", top)

    scores: dict[str, float | int | str | None] = {
        **scored("", [pair.distance for pair in found]),
        **scored("normal_", from_centre([pair.sample for pair in found]), two_sided=False),
    }
    if repeat:
        again = representation.draw(options.n, streams.fork("repeat"), what="features again")
        apart = distance(found[0].sample, resolved(gram_eigenvalues(again)))
        scores |= {f"{name}_repeat": value for name, value in _numbers(apart).items()}
    scores["note"] = READING
    density = spectral_density(mixture, options.n, progress=subject.progress) if theory else None
    place = f"{representation.encoder.name}, step {subject.step:,}"
    return Result(
        scores=scores,
        tables={"eigenvalues": _table(found, features.shape[2])},
        figures={"spectrum": _figure(options, found, density, scores, place)},
        manifest=representation.manifest(
            t=law_name(options.t), reference=f"rotation test, {reference} rotations", remark=remark(options, features)
        ),
    )


def scored(prefix: str, distances: list[Distance], *, two_sided: bool = True) -> dict[str, float]:
    """The first distance, the mean of the others, which chance made, and the p-value of the first among them.

    Two-sided for distances to a mixture, which may be too small as well as too large; else the share as large.
    """
    p_value = share_beyond if two_sided else share_above
    found: dict[str, float] = {}
    for name in _numbers(distances[0]):
        value, *others = (getattr(d, name) for d in distances)
        found |= {
            f"{prefix}{name}": value,
            f"{prefix}{name}_chance": float(np.mean(others)),
            f"{prefix}{name}_p": p_value(value, others),
        }
    return found


def _numbers(found: Distance) -> dict[str, float]:
    return {"ks": found.ks, "wasserstein": found.wasserstein}


def remark(options: Represented, features: Tensor) -> str:
    """What to bear in mind of the mixture that was fitted to these features."""
    p, text = features.shape[2], ""
    if options.moments == "reuse":
        text = (
            f"the {options.n} images of the sample are among the {options.m} for the moments, which flatters the "
            "match, of leading directions above all; "
        )
    rank = min(options.m - 1, p)
    short = f"less than the {p} features" if rank < p else "all that the features have"
    return (
        f"{text}{options.moments}: each class's covariance, from {options.m} images, has rank at most {rank}, {short}"
    )


def _zeros(values: Floats) -> float:
    return float((values == 0).mean())


def _table(found: list[Pair], p: int) -> list[dict[str, Any]]:
    """The leading eigenvalues and how the spans of as many directions align, each with what normal features give."""
    samples, alignments = np.array([pair.sample for pair in found]), np.array([pair.alignment for pair in found])
    low, high = np.quantile(samples[1:], RANGE, axis=0)
    return [
        {
            "i": i + 1,
            "gan": found[0].sample[i],
            "mixture": found[0].mixture[i],
            "normal_low": low[i],
            "normal_high": high[i],
            "alignment": alignments[0, i],
            "alignment_chance": alignments[1:, i].mean(),
            "alignment_p": share_beyond(alignments[0, i], alignments[1:, i].tolist()),
            "alignment_random": (i + 1) / p,
        }
        for i in range(alignments.shape[1])
    ]


# ------------------------------------------------------------------ pictures


def log_bins(spectra: list[Floats], count: int) -> Floats:
    """Edges of `count` bins, alike in log, from the smallest eigenvalue of all that is not 0 to the largest."""
    values = np.concatenate([values[values > 0] for values in spectra])
    edges: Floats = np.geomspace(values.min() / 1.1, values.max() * 1.1, count + 1)
    return edges


def histogram(values: Floats, edges: Floats) -> Floats:
    """Share of the eigenvalues in each bin, per decade; what is 0 is in none."""
    found: Floats = np.histogram(values, edges)[0] / len(values) / np.diff(np.log10(edges))
    return found


def overlay(axes: Axes, sample: Floats, mixture: Floats, edges: Floats) -> None:
    """The two histograms, over a logarithmic axis."""
    axes.stairs(histogram(sample, edges), edges, color=COLOURS["GAN"], linewidth=1.8, label="GAN")
    axes.stairs(histogram(mixture, edges), edges, color=COLOURS["mixture"], linewidth=1.5, label="mixture")
    axes.set(xscale="log", xlim=(edges[0], edges[-1]))


def band(axes: Axes, spectra: list[Floats], edges: Floats, label: str) -> None:
    """Where 95 % of the spectra have each bin of their histograms."""
    low, high = np.quantile([histogram(values, edges) for values in spectra], RANGE, axis=0)
    axes.stairs(high, edges, baseline=low, fill=True, color=COLOURS["normal"], label=label)


def _figure(
    options: Represented,
    found: list[Pair],
    theory: tuple[Floats, Floats, float] | None,
    scores: dict[str, Any],
    place: str,
) -> Figure:
    """Left all eigenvalues, right the leading ones; grey is where normal features have them."""
    observed, normal = found[0], [pair.sample for pair in found[1:]]
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
    edges = log_bins([observed.sample, observed.mixture], 50)
    band(left, normal, edges, "95 % of normal features, same moments")
    overlay(left, observed.sample, observed.mixture, edges)
    if theory is not None:
        grid, density, _ = theory
        left.plot(grid, density * grid * np.log(10), color="black", lw=1, ls="--", label="mixture, in theory")
    zeros = {"GAN": _zeros(observed.sample), "mixture": _zeros(observed.mixture)}
    note = "; at 0: " + ", ".join(f"{name} {share:.1%}" for name, share in zeros.items()) if any(zeros.values()) else ""
    left.set(xlabel=r"eigenvalue $\lambda$ of $XX^\top/p$" + note, ylabel="share of the eigenvalues per decade")
    left.set_title(
        f"KS distance of GAN and its mixture {scores['ks']:.3f}, of normal features and theirs "
        f"{scores['ks_chance']:.3f} (two-sided p = {scores['ks_p']:.2g})\nof GAN and normal features "
        f"{scores['normal_ks']:.3f}; by chance {scores['normal_ks_chance']:.3f} (p = {scores['normal_ks_p']:.2g})",
        fontsize=9,
        loc="left",
    )

    top = observed.alignment.size
    i = np.arange(1, top + 1)
    low, high = np.quantile([values[:top] for values in normal], RANGE, axis=0)
    right.vlines(i, low, high, color=COLOURS["normal"], lw=7)
    right.plot(i, observed.sample[:top], "o", color=COLOURS["GAN"], ms=6)
    right.plot(i, observed.mixture[:top], "x", color=COLOURS["mixture"], ms=7, mew=2)
    right.set(yscale="log", xlabel="i", ylabel=r"$\lambda_i$")
    right.xaxis.get_major_locator().set_params(integer=True)
    right.set_title(f"the {top} largest", fontsize=9, loc="left")
    figure.suptitle(
        f"Gram spectra of features, {place}: {options.K} x {options.n} images, mixture from {options.K} x {options.m} "
        f"({options.moments})",
        fontsize=10,
    )
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small", frameon=False
    )
    return figure
