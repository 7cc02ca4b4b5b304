"""What random-matrix theory says of the spectrum of features (`rmt.theory`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gflow_core import Result, Subject
from gflow_rmt import marchenko_pastur, spikes
from gflow_rmt.deterministic_equivalent import Equivalent, SpectralLaw
from gflow_rmt.options import Represented, Surrogate
from gflow_rmt.representation import Representation, law_name
from gflow_rmt.rotation import rotations
from gflow_rmt.spectra import gram, gram_eigenvalues
from gflow_rmt.surrogate import Mixture

__all__ = ["class_blocks_of", "class_mean_spikes", "theory"]

Floats = npt.NDArray[np.float64]

DAMPING = (1.0, 0.1)
"""z of the resolvent's check, in units of the variance of a feature within a class."""
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"


def theory(subject: Subject, options: Surrogate, *, reference: int, rotated: int, level: float, top: int) -> Result:
    """Both spectra against three theories: scores, tables `eigenvalues` and `class_means`, figure `theory`."""
    representation = Representation.of(subject, options)
    features = representation.draw(options.N, subject.streams)
    moments, sample = representation.split(features)
    mixture = Mixture.of(moments)
    generator = subject.streams["mixture"]
    total, p = options.K * options.n, sample.shape[-1]

    # The deterministic equivalent of the fitted mixture, and how far chance alone takes a draw of it from that.
    fitted = _Fitted.to(mixture, options.n, subject)
    law = fitted.law
    gan = gram_eigenvalues(sample)
    drawn: list[Floats] = []
    for i in range(reference):
        surrogate = mixture.draw(options.n, options.t, generator)
        drawn.append(gram_eigenvalues(surrogate))
        subject.progress("spectra of mixtures", i + 1, reference)
    chance = [law.distance(values) for values in drawn]
    scores: dict[str, float | int | str | None] = {
        "KS(GAN, theory)": law.distance(gan),
        "KS(GMM, theory)": float(np.mean(chance)),
        "KS(GMM, theory)_largest": max(chance),
    }
    errors = {"GAN": fitted.errors(sample), "GMM": fitted.errors(surrogate)}
    if rotated:
        # The same with normal features of the same means and covariances: moments of m images are not the law's.
        found = [_rotated(features, representation, subject) for _ in range(rotated)]
        scores["KS(normal, theory)"] = float(np.mean([distance for distance, _ in found]))
        errors["normal"] = {z: float(np.mean([error[z] for _, error in found])) for z in DAMPING}
    scores |= {f"resolvent_error({name}, z={z:g})": e for name, found in errors.items() for z, e in found.items()}
    scores |= {
        "bulk_edge": law.edge,
        "beyond_edge(GAN)": int((gan > law.edge).sum()),
        "beyond_edge(GMM)": float(np.mean([(values > law.edge).sum() for values in drawn])),
        "beyond_edge(theory)": float(total * (1 - law.distribution(law.edge))),
    }

    # White noise: its law, with the variance of the bulk, and how many eigenvalues are too large for it.
    variance = spikes.noise_variance(gan, total, p)
    scores |= {
        "not_white_noise(GAN)": _edge(sample, level).count,
        "not_white_noise(GMM)": _edge(surrogate, level).count,
        "bulk_variance": variance,
        "within_class_variance": fitted.variance,
    }
    tables = {"eigenvalues": _eigenvalues(top, gan, drawn, law)}
    if options.K > 1:
        tables["class_means"] = _class_means(mixture, fitted.variance, sample, surrogate)
        scores["class_means_visible"] = sum(row["visible"] for row in tables["class_means"])
    return Result(
        scores=scores,
        tables=tables,
        figures={"theory": _figure(options, top, subject.step, gan, drawn, law, variance, p)},
        manifest=representation.manifest(t=law_name(options.t), reference=reference, rotated=rotated, level=level),
    )


@attrs.frozen(eq=False)
class _Fitted:
    """The theory of one mixture."""

    equivalent: Equivalent
    law: SpectralLaw
    variance: float
    """Of a feature within a class, on average: the unit of z in the resolvent's check."""

    @classmethod
    def to(cls, mixture: Mixture, n: int, subject: Subject) -> _Fitted:
        equivalent = Equivalent.of(mixture, n)
        within = [float(c.centred.double().square().mean()) for c in mixture.components]
        return cls(equivalent, equivalent.law(subject.progress), float(np.mean(within)))

    def errors(self, x: Tensor) -> dict[float, float]:
        """z -> largest error of the class blocks of R(z) of features x [K, n, p] of unit variance within classes."""
        found = {}
        for z in DAMPING:
            error = class_blocks_of(x, z * self.variance) - self.equivalent.class_blocks(z * self.variance)
            found[z] = self.variance * float(np.abs(error).max())
        return found


def _rotated(features: Tensor, representation: Representation, subject: Subject) -> tuple[float, dict[float, float]]:
    """KS distance and resolvent errors of the features [K, N, p] rotated, and fitted anew (see `rotation`)."""
    classes, size, _ = features.shape
    turned = rotations(classes, size, subject.streams["rotation"]) @ features.double()
    moments, sample = representation.split(turned.to(features))
    fitted = _Fitted.to(Mixture.of(moments), representation.options.n, subject)
    return fitted.law.distance(gram_eigenvalues(sample)), fitted.errors(sample)


def _edge(x: Tensor, level: float) -> spikes.Edge:
    """The edge test on features x [K, n, p] about their mean, which costs one of the K n dimensions."""
    rows = x.flatten(0, -2)
    n, p = rows.shape
    return spikes.standing_out(gram_eigenvalues(rows - rows.mean(0)), n - 1, p, level)


def class_blocks_of(x: Tensor, z: float) -> Floats:
    """J_a' (G + z)^-1 J_b / sqrt(n_a n_b) of features x [K, n, p]: [K, K]."""
    k, n, _ = x.shape
    g = gram(x).cpu().numpy()
    indicators = np.repeat(np.eye(k), n, axis=0) / n**0.5
    blocks: Floats = indicators.T @ np.linalg.solve(g + z * np.eye(k * n), indicators)
    return blocks


# ------------------------------------------------------------------ tables


def _eigenvalues(top: int, gan: Floats, drawn: Sequence[Floats], law: SpectralLaw) -> list[dict[str, Any]]:
    """The largest, beside the theory's quantiles (k - 1/2)/n from above."""
    top = min(top, len(gan))
    expected = law.quantile(1 - (np.arange(top) + 0.5) / len(gan))
    values = np.stack(drawn)
    return [
        {
            "rank": k + 1,
            "GAN": float(gan[k]),
            "GMM": float(values[:, k].mean()),
            "GMM_sd": float(values[:, k].std()),
            "theory": float(expected[k]),
        }
        for k in range(top)
    ]


@attrs.frozen(eq=False)
class ClassMeanSpikes:
    """What class means add to white noise of variance 1, about the mean of all."""

    t: Floats
    """Eigenvalues [K - 1] of the covariance of the class means, largest first."""
    directions: Floats
    """What each does to the classes, [K - 1, K]; rows of length 1."""


def class_mean_spikes(means: Floats, variance: float) -> ClassMeanSpikes:
    """Of class means [K, p] in noise of the variance, classes of one size."""
    centred = means - means.mean(0)
    values, vectors = np.linalg.eigh(centred @ centred.T / (len(means) * variance))
    return ClassMeanSpikes(values[:0:-1].clip(0), vectors[:, :0:-1].T)


def _class_means(mixture: Mixture, variance: float, sample: Tensor, surrogate: Tensor) -> list[dict[str, Any]]:
    """For each direction in which the class means differ: BBP's prediction, and what is found in both samples.

    Means of m rows differ by p / (m K) through noise alone, in its unit: t is what they differ by beyond that. The
    mixture has the estimated means themselves, and its outliers lie that much further.
    """
    k, n, p = sample.shape
    means = torch.stack([c.mean for c in mixture.components]).double().cpu().numpy()
    found = class_mean_spikes(means, variance)
    found = attrs.evolve(found, t=(found.t - p * np.mean([1 / len(c.centred) for c in mixture.components]) / k).clip(0))
    g = p / (k * n)
    labels = np.repeat(found.directions, n, axis=1) / n**0.5
    observed = [_closest(x, labels) for x in (sample, surrogate)]
    rows = []
    for j, t in enumerate(found.t):
        row: dict[str, Any] = {"direction": j + 1, "t": float(t), "threshold": g**0.5}
        row |= {"visible": int(spikes.visible(t, g)), "BBP": float(variance / g * spikes.outlier(t, g))}
        row |= {name: float(values[j]) for name, (values, _) in zip(("GAN", "GMM"), observed, strict=True)}
        row |= {"overlap_BBP": float(spikes.label_overlap(t, g))}
        row |= {f"overlap_{name}": float(o[j]) for name, (_, o) in zip(("GAN", "GMM"), observed, strict=True)}
        rows.append(row)
    return rows


def _closest(x: Tensor, labels: Floats) -> tuple[Floats, Floats]:
    """Of the Gram matrix about the mean: the eigenvalue whose vector is closest to each of labels [j, n], and that
    vector's squared cosine to it.
    """
    rows = x.flatten(0, -2)
    values, vectors = np.linalg.eigh(gram(rows - rows.mean(0)).cpu().numpy())
    squares = (labels @ vectors) ** 2
    best = squares.argmax(1)
    return values[best], squares.max(1)


# ------------------------------------------------------------------ figure


def _figure(
    options: Represented,
    top: int,
    step: int,
    gan: Floats,
    drawn: Sequence[Floats],
    law: SpectralLaw,
    variance: float,
    p: int,
) -> Figure:
    """Histograms and curves over the logarithm of the eigenvalue; largest eigenvalues by rank."""
    total, ratio = len(gan), len(gan) / p
    figure = Figure(figsize=(11.5, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))

    everything = np.concatenate([gan, *drawn])
    low = max(law.nodes[0], float(everything[everything > law.nodes[0]].min()) / 1.5)
    bins = np.geomspace(low, max(float(everything.max()), float(law.quantile(1 - 0.1 / total))) * 1.2, 61)
    width = np.log(bins[1] / bins[0])
    left.hist(gan, bins, color=BLUE, alpha=0.45, label="generated images (GAN)")
    left.hist(drawn[-1], bins, histtype="step", color=ORANGE, linewidth=1.4, label="one draw of the mixture (GMM)")
    x = np.geomspace(bins[0], bins[-1], 1200)
    left.plot(x, total * width * x * law.density(x), color="black", linewidth=1.5, label="theory: the fitted mixture")
    white = marchenko_pastur.density(x, ratio, variance)
    left.plot(
        x,
        total * width * x * white,
        color=GREEN,
        linestyle="--",
        label="Marchenko-Pastur: white noise, bulk's variance",
    )
    left.axvline(law.edge, color=PURPLE, linestyle=":", label="theory's bulk edge")
    left.set_yscale("log")
    left.set(xscale="log", xlim=(bins[0], bins[-1]), xlabel="eigenvalue of $G = XX'/p$", ylabel="eigenvalues in a bin")
    left.set_ylim(0.1, None)
    zero = f"; share at 0: GAN {np.mean(gan < law.nodes[0]):.3g}, theory {law.atom:.3g}" if law.atom else ""
    left.set_title(f"All {total} eigenvalues{zero}", fontsize=10)

    top = min(max(top, 2), total)
    rank = np.arange(1, top + 1)
    values = np.stack(drawn)[:, :top]
    right.plot(rank, law.quantile(1 - (rank - 0.5) / total), color="black", marker="_", ms=12, linestyle="none")
    spread = np.abs(np.stack([values.min(0), values.max(0)]) - values.mean(0))
    right.errorbar(
        rank + 0.15, values.mean(0), spread, color=ORANGE, marker="s", ms=4, linestyle="none", capsize=2, linewidth=1
    )
    right.plot(rank - 0.15, gan[:top], color=BLUE, marker="o", ms=5, linestyle="none")
    right.axhline(law.edge, color=PURPLE, linestyle=":")
    right.set(yscale="log", xlabel="rank", ylabel="eigenvalue")
    right.set_title(f"The {top} largest (GMM: mean and range of {len(drawn)} draws)", fontsize=10)
    if top <= 12:
        right.set_xticks(rank)
    figure.suptitle(
        f"step {step}, K = {options.K}, n = {options.n} of each class, moments from m = {options.m}, p = {p}: "
        f"KS to the theory {law.distance(gan):.3f} (GAN), {np.mean([law.distance(v) for v in drawn]):.3f} (GMM)",
        fontsize=10,
    )
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure
