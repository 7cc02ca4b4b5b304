"""The experiment over and over: are the leading eigenvalues normal, and those of the mixture? (`rmt.simulations`)

Sections 7.3 and 7.4 of the paper: S repeats with fresh z and fresh t, each with the Gram spectrum of the sampler's
features and that of the mixture fitted to them. Eigenvalues of one matrix repel each other and are no sample of
anything; the second eigenvalues of S repeats are S independent draws of one law, for which the usual tests are made.

The control is the same experiment on the same images' features, rotated within each class as `rotation` has it: where
features are normal, as the paper claims, rotated and other ones are alike in law, and so are both experiments; what
the control shows is due to moments that were estimated from m images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

from gflow_core import GflowError, Portable, Result, Streams, Subject, weights_hash
from gflow_rmt.journal import journal
from gflow_rmt.options import Surrogate
from gflow_rmt.repeated import compared, normality, paired
from gflow_rmt.representation import Representation, law_name
from gflow_rmt.rotation import rotations
from gflow_rmt.spectra import Floats, gram_eigenvalues
from gflow_rmt.spectrum import COLOURS, RANGE
from gflow_rmt.surrogate import Mixture, split

__all__ = ["simulations"]

Row = dict[str, Any]

FORMAT = 1
"""Part of the journal's key: raise it when the same key would hold other numbers."""

TOP = 10
"""Eigenvalues kept of each spectrum."""

EDGES = 10 ** np.linspace(-6, 6, 241)
"""Of the histogram that is kept of each spectrum, 20 bins a decade; what is outside counts in the bin at the end."""

LEVEL = 0.05
"""Of every test, after Holm's correction over the eigenvalues."""

PAIRS = {"gan": "mixture", "rotated": "rotated_mixture"}
"""What is compared: features and the mixture fitted to them, of the sampler and in the control."""

LABELS = {"GAN": "GAN", "mixture": "its mixture"}


def simulations(
    subject: Subject, options: Surrogate, *, repeats: int, eigenvalues: tuple[int, ...], refit: bool
) -> Result:
    """Tables `normality`, `comparison`, `moments`, `repeats`, with refit `rotation`; figures `eigenvalues`, `spectrum`.

    Where the subject has a work folder, repeats are kept there as they come, and are gone on from. Raises GflowError
    where an eigenvalue does not vary.
    """
    representation = Representation.of(subject, options)
    rank = min(options.K * options.n, representation.encoder.dim)
    if max(eigenvalues) > rank:
        raise GflowError(
            f"eigenvalues: features have {rank} dimensions, so eigenvalue {max(eigenvalues)} of their Gram matrix "
            "is always 0; name smaller ones"
        )
    manifest = representation.manifest(t=law_name(options.t), refit=refit)
    key = {**manifest, **_identity(subject, options, representation)}
    with journal(subject.work, key) as (rows, append):
        if len(rows) < repeats:
            subject.progress("repeats", len(rows), repeats)
            repeat = Repeat.of(subject, options, representation, refit=refit)
            for row in subject.map(repeat, range(len(rows), repeats)):
                append(row)
                subject.progress("repeats", len(rows), repeats)
    rows = rows[:repeats]

    pairs = PAIRS if refit else {"gan": "mixture"}
    tops = {name: np.array([row[name]["top"] for row in rows]) for pair in pairs.items() for name in pair}
    values = {name: top[:, np.array(eigenvalues) - 1] for name, top in tops.items()}
    for name, found in values.items():
        for number, column in zip(eigenvalues, found.T, strict=True):
            if np.ptp(column) <= 1e-6 * abs(column.mean()):
                raise GflowError(
                    f"eigenvalue {number} ({name}) is the same in all repeats; the sampler ignores z there, or has "
                    "collapsed; name other eigenvalues, or analyze another checkpoint"
                )
    tested = {name: normality(found) for name, found in values.items()}
    comparison = {name: compared(values[name], values[other]) for name, other in pairs.items()}
    rotation = paired(values["gan"], values["rotated"]) if refit else []

    def table(found: Mapping[str, list[dict[str, float]]]) -> list[Row]:
        return [
            {"of": name, "eigenvalue": number, **row}
            for name, rows in found.items()
            for number, row in zip(eigenvalues, rows, strict=True)
        ]

    tables = {
        "normality": table(tested),
        "comparison": table(comparison),
        "moments": _moments(eigenvalues, values),
        "repeats": [
            {"repeat": i, "of": name, **{f"lambda_{k}": float(v) for k, v in enumerate(top[i], 1)}}
            for i in range(repeats)
            for name, top in tops.items()
        ],
    }
    if rotation:
        tables["rotation"] = table({"gan - rotated": rotation})
    return Result(
        scores=_scores(repeats, tested, comparison, rotation) | {"note": _note(repeats, refit, options.moments)},
        tables=tables,
        figures={
            "eigenvalues": _eigenvalues(options, eigenvalues, values, tested["gan"], comparison),
            "spectrum": _spectrum(options, pairs, rows),
        },
        manifest={**manifest, "S": repeats, "eigenvalues": list(eigenvalues)},
    )


# ------------------------------------------------------------------ the experiment


@attrs.frozen(eq=False)
class Repeat:
    """What one repeat does, given its number, from streams of its own (sections 6.1 and 7.3).

    Repeats are independent, so workers of a cluster can share them out.
    """

    options: Surrogate
    seed: int
    """Of the streams that each repeat's own are forked from."""
    features: Portable[tuple[int, Streams], Tensor]
    """Images of each class and their streams -> features [K, n, p]."""
    once: Mixture | None
    """Where it is not fitted anew."""

    @classmethod
    def of(cls, subject: Subject, options: Surrogate, representation: Representation, *, refit: bool) -> Repeat:
        once = None
        if not refit:
            streams = subject.streams.fork("moments")
            once = Mixture.of(representation.draw(options.m, streams, what="features for the moments"))
        return cls(options, subject.streams.seed, representation.portable(_features), once)

    def __call__(self, i: int) -> Row:
        streams = Streams(self.seed).fork(f"repeat.{i}")
        return {"repeat": i, **(self._with_its_own(streams) if self.once is None else self._with(self.once, streams))}

    def _with(self, mixture: Mixture, streams: Streams) -> Row:
        options = self.options
        sample = self.features((options.n, streams))
        return {"gan": _kept(sample), "mixture": _kept(mixture.draw(options.n, options.t, streams["t"]))}

    def _with_its_own(self, streams: Streams) -> Row:
        options = self.options
        features = self.features((options.N, streams))
        rotated = rotations(options.K, options.N, streams["rotation"]).to(features) @ features
        row: Row = {}
        for (name, other), x in zip(PAIRS.items(), (features, rotated), strict=True):
            moments, sample = split(x, options.m, options.moments)
            mixture = Mixture.of(moments).draw(options.n, options.t, streams["t"])
            row |= {name: _kept(sample), other: _kept(mixture)}
        return row


def _features(representation: Representation, wanted: tuple[int, Streams]) -> Tensor:
    return representation.draw(*wanted, what=None)


def _kept(x: Tensor) -> dict[str, Any]:
    """What is kept of the spectrum of features [K, n, p]: the largest eigenvalues, and counts in the bins of EDGES."""
    spectrum = gram_eigenvalues(x)
    counts, _ = np.histogram(spectrum.clip(EDGES[0], EDGES[-1]), EDGES)
    return {"top": spectrum[:TOP].tolist(), "counts": counts.tolist()}


def _identity(subject: Subject, options: Surrogate, representation: Representation) -> dict[str, Any]:
    """What repeats depend on beside what the manifest says of it. Not how many there are."""
    assert subject.sampler is not None
    runtime = subject.runtime
    return {
        "format": FORMAT,
        "torch": torch.__version__,
        "z": repr(representation.law()),
        "t": repr(options.t),
        "sampler": repr(subject.spec.sampler),
        "sampler_sha256": weights_hash(subject.sampler),
        "classifier_weights": representation.classifier.weights if representation.classifier else None,
        "batch_size": options.batch_size,
        "seed": subject.streams.seed,
        "step": subject.step,
        "device": f"{runtime.device.type}, {runtime.precision}",
    }


# ------------------------------------------------------------------ tables and scores


def _moments(numbers: Sequence[int], values: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Mean of each eigenvalue over the repeats with its standard error, and its covariances with the others."""
    rows = []
    for name, found in values.items():
        covariance = np.cov(found.T).reshape(len(numbers), len(numbers))
        for i, number in enumerate(numbers):
            rows.append(
                {
                    "of": name,
                    "eigenvalue": number,
                    "mean": float(found[:, i].mean()),
                    "mean_error": float(covariance[i, i] / len(found)) ** 0.5,
                    **{f"covariance_{other}": float(c) for other, c in zip(numbers, covariance[i], strict=True)},
                }
            )
    return rows


def _scores(
    repeats: int,
    tested: Mapping[str, list[dict[str, float]]],
    comparison: Mapping[str, list[dict[str, float]]],
    rotation: list[dict[str, float]],
) -> dict[str, float | int | str | None]:
    """Counts of rejections at LEVEL after Holm's correction, and the largest effects, of sampler and control."""
    scores: dict[str, float | int | str | None] = {"S": repeats, "eigenvalues": len(tested["gan"])}
    scores |= {"skewness_error": (6 / repeats) ** 0.5, "excess_kurtosis_error": (24 / repeats) ** 0.5}
    for name, pairs in comparison.items():
        for test, rows in (("shapiro", tested[name]), ("anderson", tested[name]), ("ks", pairs), ("welch", pairs)):
            scores[f"{test}_rejects_{name}"] = sum(row[f"{test}_holm"] <= LEVEL for row in rows)
        for effect, rows in (("skewness", tested[name]), ("excess_kurtosis", tested[name]), ("smd", pairs)):
            scores[f"{effect}_largest_{name}"] = max((row[effect] for row in rows), key=abs)
        scores[f"sd_ratio_furthest_{name}"] = max((row["sd_ratio"] for row in pairs), key=lambda r: abs(np.log(r)))
    if rotation:
        scores["rotation_rejects"] = sum(row["paired_holm"] <= LEVEL for row in rotation)
        scores["rotation_smd_largest"] = max((row["smd"] for row in rotation), key=abs)
    return scores


def _note(repeats: int, refit: bool, moments: str) -> str:
    """How to read the tests."""
    words = [
        f"Repeats are independent, so the tests are valid; they reject at {LEVEL:g} after Holm's correction. With "
        f"S = {repeats} they may find departures too small to matter: read skewness, excess kurtosis and smd."
    ]
    if refit:
        words.append(
            "The mixture differs from normal features too, by moments estimated from m images: what is rejected of "
            "rotated features as well says nothing against the sampler. Whether its features are normal, the rotation "
            "rows ask of the mean of each eigenvalue."
        )
    else:
        words.append("The mixture was fitted once: smd and the tests of gan hold the error of that one fit.")
    if moments == "reuse":
        words.append(
            "Moments and sample share images, so smd_error, ks_p and welch_p, which take them for independent, are off."
        )
    return " ".join(words)


# ------------------------------------------------------------------ figures


def _eigenvalues(
    options: Surrogate,
    numbers: Sequence[int],
    values: Mapping[str, Floats],
    tested: Sequence[Mapping[str, float]],
    comparison: Mapping[str, Sequence[Mapping[str, float]]],
) -> Figure:
    """A column an eigenvalue: histograms with the fitted normal densities over QQ plots (the paper's figure 7 b, c)."""
    k = len(numbers)
    figure = Figure(figsize=(max(6.5, 3.1 * k), 6.6), layout="constrained")
    panels = figure.subplots(2, k, squeeze=False)
    for i, number in enumerate(numbers):
        shown = {"GAN": values["gan"][:, i], "mixture": values["mixture"][:, i]}
        _histogram(panels[0, i], shown)
        _quantiles(panels[1, i], shown)
        lines = []
        for key, word, number_format in (("smd", "smd", "+.2f"), ("sd_ratio", "sd ratio", ".2f")):
            found = [format(rows[i][key], number_format) for rows in comparison.values()]
            lines.append(f"{word} {found[0]}" + (f" (rotated {found[1]})" if len(found) > 1 else ""))
        panels[0, i].set_title("\n".join([rf"$\lambda_{{{number}}}$", *lines]), fontsize=9)
        test = tested[i]
        panels[1, i].set_title(
            f"GAN: skewness {test['skewness']:+.2f},\nexcess kurtosis {test['excess_kurtosis']:+.2f}\n"
            f"p (Holm): SW {test['shapiro_holm']:.2g}, AD {test['anderson_holm']:.2g}",
            fontsize=9,
        )
    panels[0, 0].set_ylabel("density over repeats")
    panels[1, 0].set_ylabel("standardised eigenvalue")
    figure.suptitle(
        f"Leading eigenvalues of $XX'/p$ over {len(values['gan'])} repeats: "
        f"K = {options.K}, n = {options.n}, m = {options.m}",
        fontsize=11,
    )
    handles, labels = panels[0, 0].get_legend_handles_labels()
    more, names = panels[1, 0].get_legend_handles_labels()
    figure.legend(
        [*handles, *more[:1]], [*labels, *names[:1]], loc="outside lower center", ncols=5, frameon=False, fontsize=9
    )
    return figure


def _histogram(axes: Axes, shown: Mapping[str, Floats]) -> None:
    """Both laws over the same bins, each with the normal density of its mean and variance."""
    bins = np.histogram_bin_edges(np.concatenate(list(shown.values())), "fd")
    if len(bins) > 61:
        bins = np.linspace(bins[0], bins[-1], 61)
    at = np.linspace(bins[0], bins[-1], 300)
    for name, x in shown.items():
        axes.hist(x, bins=bins.tolist(), density=True, color=COLOURS[name], alpha=0.35, label=LABELS[name])
        density = stats.norm.pdf(at, x.mean(), x.std(ddof=1))
        axes.plot(at, density, color=COLOURS[name], linewidth=1.4, label=f"normal, {LABELS[name]}")
    axes.set(xlabel="eigenvalue", yticks=[])
    axes.locator_params(axis="x", nbins=4)


def _quantiles(axes: Axes, shown: Mapping[str, Floats]) -> None:
    """Standardised order statistics against normal quantiles, with the range of each in 95 % of normal samples."""
    s = len(next(iter(shown.values())))
    theory = stats.norm.ppf((np.arange(1, s + 1) - 0.5) / s)
    low, high = np.quantile(_standardised(np.random.default_rng(0).normal(size=(2000, s))), RANGE, axis=0)
    axes.fill_between(theory, low, high, color="0.85", linewidth=0, label="95 % of normal samples, point by point")
    axes.plot(theory, theory, color="0.4", linewidth=0.8)
    for name, x in shown.items():
        axes.plot(theory, _standardised(x), ".", color=COLOURS[name], markersize=3, alpha=0.7)
    axes.set(xlabel="normal quantile")


def _standardised(x: Floats) -> Floats:
    """Numbers [..., S] in order, brought to mean 0 and variance 1."""
    found: Floats = np.sort((x - x.mean(-1, keepdims=True)) / x.std(-1, ddof=1, keepdims=True))
    return found


def _spectrum(options: Surrogate, pairs: Mapping[str, str], rows: Sequence[Row]) -> Figure:
    """All eigenvalues, mean counts over the repeats (the paper's figure 7 a), and the same of the control."""
    figure = Figure(figsize=(5.8 * len(pairs), 4.2), layout="constrained")
    panels = figure.subplots(1, len(pairs), sharex=True, sharey=True, squeeze=False)[0]
    counts = {name: np.mean([row[name]["counts"] for row in rows], axis=0) for pair in pairs.items() for name in pair}
    inside = np.flatnonzero(sum(counts.values())[1:-1]) + 1  # the bins at the ends hold what is outside EDGES
    first, last = (inside[0], inside[-1]) if len(inside) else (0, len(EDGES) - 2)
    titles = {"gan": "features of generated images", "rotated": "control: the same, rotated as normal features may be"}
    for axes, pair in zip(panels, pairs.items(), strict=True):
        for name, colour, filled in zip(pair, (COLOURS["GAN"], COLOURS["mixture"]), (True, False), strict=True):
            axes.stairs(
                counts[name][first : last + 1],
                EDGES[first : last + 2],
                fill=filled,
                color=colour,
                alpha=0.45 if filled else 1,
                linewidth=1.6,
                label={"gan": "GAN", "rotated": "rotated GAN"}.get(name, "its mixture"),
            )
        axes.set(xscale="log", xlabel="eigenvalue")
        axes.set_title(titles[pair[0]], fontsize=10)
        axes.legend(frameon=False)
    panels[0].set_ylabel("eigenvalues in the bin")
    size = options.K * options.n
    figure.suptitle(f"Spectrum of $XX'/p$, {size} eigenvalues, mean of {len(rows)} repeats", fontsize=11)
    return figure
