"""The experiment over and over: are the leading eigenvalues normal, and those of the mixture? (`rmt.simulations`)

Sections 7.3 and 7.4 of the paper: S repeats with fresh z and fresh t, each with the Gram spectrum of the sampler's
features and that of the mixture fitted to them. Eigenvalues of one matrix repel each other and are no sample of
anything; the second eigenvalues of S repeats are S independent draws of one law, for which the usual tests are made.

The control is the same experiment on the same images' features, rotated within each class as `rotation` has it: where
features are normal, as the paper claims, rotated and other ones are alike in law, and so are both experiments; what
the control shows is due to moments that were estimated from m images.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor, nn

from gflow_core.contracts import Result, Subject
from gflow_core.data import fingerprint
from gflow_core.errors import GflowError
from gflow_core.rng import Streams
from gflow_rmt.representation import Representation, law_name
from gflow_rmt.rotation import rotations
from gflow_rmt.spectra import Floats, gram_eigenvalues
from gflow_rmt.spectrum import COLOURS as HOUSE
from gflow_rmt.surrogate import Mixture

if TYPE_CHECKING:
    from gflow_rmt.parts import Simulations

__all__ = ["anderson_darling", "compared", "holm", "journal", "normality", "paired", "simulations"]

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

COLOURS = {"sample": HOUSE["GAN"], "mixture": HOUSE["mixture"]}
LABELS = {"sample": "GAN", "mixture": "its mixture"}


def simulations(part: Simulations, subject: Subject) -> Result:
    """Tables `normality`, `comparison`, `moments`, `repeats`, with refit `rotation`; figures `eigenvalues`, `spectrum`.

    Where the subject has a work folder, repeats are kept there as they come, and are gone on from. Raises GflowError
    where an eigenvalue does not vary.
    """
    representation = Representation.of(part, subject)
    rank = min(part.K * part.n, representation.encoder.dim)
    if max(part.eigenvalues) > rank:
        raise GflowError(
            f"eigenvalues: features have {rank} dimensions, so eigenvalue {max(part.eigenvalues)} of their Gram matrix "
            "is always 0; name smaller ones"
        )
    manifest = representation.manifest(t=law_name(part.t), refit=part.refit)
    key = {**manifest, **_identity(part, subject, representation)}
    with journal(subject.work, key) as (rows, append):
        if len(rows) < part.S:
            subject.progress("repeats", len(rows), part.S)
            repeat = _repeat(part, subject, representation)
            for i in range(len(rows), part.S):
                append({"repeat": i, **repeat(subject.streams.fork(f"repeat.{i}"))})
                subject.progress("repeats", i + 1, part.S)
    rows = rows[: part.S]

    pairs = PAIRS if part.refit else {"gan": "mixture"}
    tops = {name: np.array([row[name]["top"] for row in rows]) for pair in pairs.items() for name in pair}
    values = {name: top[:, np.array(part.eigenvalues) - 1] for name, top in tops.items()}
    for name, found in values.items():
        for number, column in zip(part.eigenvalues, found.T, strict=True):
            if np.ptp(column) <= 1e-6 * abs(column.mean()):
                raise GflowError(
                    f"eigenvalue {number} ({name}) is the same in all repeats; the sampler ignores z there, or has "
                    "collapsed; name other eigenvalues, or analyze another checkpoint"
                )
    tested = {name: normality(found) for name, found in values.items()}
    comparison = {name: compared(values[name], values[other]) for name, other in pairs.items()}
    rotation = paired(values["gan"], values["rotated"]) if part.refit else []

    def table(found: Mapping[str, list[dict[str, float]]]) -> list[Row]:
        return [
            {"of": name, "eigenvalue": number, **row}
            for name, rows in found.items()
            for number, row in zip(part.eigenvalues, rows, strict=True)
        ]

    tables = {
        "normality": table(tested),
        "comparison": table(comparison),
        "moments": _moments(part.eigenvalues, values),
        "repeats": [
            {"repeat": i, **{f"{name}_{k}": float(v) for name, top in tops.items() for k, v in enumerate(top[i], 1)}}
            for i in range(part.S)
        ],
    }
    if rotation:
        tables["rotation"] = table({"gan - rotated": rotation})
    return Result(
        scores=_scores(part, tested, comparison, rotation),
        tables=tables,
        figures={
            "eigenvalues": _eigenvalues(part, values, tested["gan"], comparison),
            "spectrum": _spectrum(part, pairs, rows),
        },
        manifest={**manifest, "S": part.S, "eigenvalues": list(part.eigenvalues)},
    )


# ------------------------------------------------------------------ the experiment


def _repeat(part: Simulations, subject: Subject, representation: Representation) -> Callable[[Streams], Row]:
    """What one repeat does, given its own streams (sections 6.1 and 7.3)."""
    if not part.refit:
        once = Mixture.of(representation.draw(part.m, subject.streams.fork("moments"), what="features for the moments"))

        def with_one_mixture(streams: Streams) -> Row:
            sample = representation.draw(part.n, streams, what=None)
            return {"gan": _kept(sample), "mixture": _kept(once.draw(part.n, part.t, streams["t"]))}

        return with_one_mixture

    def with_its_own(streams: Streams) -> Row:
        features = representation.draw(part.N, streams, what=None)
        rotated = rotations(part.K, part.N, streams["rotation"]).to(features) @ features
        row: Row = {}
        for (name, other), x in zip(PAIRS.items(), (features, rotated), strict=True):
            moments, sample = representation.split(x)
            mixture = Mixture.of(moments).draw(part.n, part.t, streams["t"])
            row |= {name: _kept(sample), other: _kept(mixture)}
        return row

    return with_its_own


def _kept(x: Tensor) -> dict[str, Any]:
    """What is kept of the spectrum of features [K, n, p]: the largest eigenvalues, and counts in the bins of EDGES."""
    spectrum = gram_eigenvalues(x)
    counts, _ = np.histogram(spectrum.clip(EDGES[0], EDGES[-1]), EDGES)
    return {"top": spectrum[:TOP].tolist(), "counts": counts.tolist()}


def _identity(part: Simulations, subject: Subject, representation: Representation) -> dict[str, Any]:
    """What repeats depend on beside what the manifest says of it. Not S: it only says how many there are."""
    assert subject.sampler is not None
    runtime = subject.runtime
    return {
        "z": repr(representation.law()),
        "t": repr(part.t),
        "sampler": repr(subject.spec.sampler),
        "sampler_sha256": _weights(subject.sampler),
        "classifier_weights": representation.classifier.weights if representation.classifier else None,
        "batch_size": part.batch_size,
        "seed": subject.streams.seed,
        "step": subject.step,
        "device": f"{runtime.device.type}, {runtime.precision}",
    }


def _weights(network: nn.Module) -> str:
    """sha256 over the names and values of parameters and buffers."""
    state = {name: value.detach().cpu() for name, value in sorted(network.state_dict().items())}
    return hashlib.sha256(f"{list(state)} {fingerprint(*state.values())}".encode()).hexdigest()


# ------------------------------------------------------------------ repeats already there


@contextmanager
def journal(work: Path | None, key: Mapping[str, Any]) -> Iterator[tuple[list[Row], Callable[[Row], None]]]:
    """The repeats found under this key, and the function that adds one, in work/repeats.jsonl or only in memory.

    A header with the key, then a line a repeat, flushed to the disk before the next one starts. A last line that was
    cut short is dropped; under another key the file starts anew. GflowError where it cannot be read or written.
    """
    rows: list[Row] = []
    if work is None:
        yield rows, rows.append
        return
    path = work / "repeats.jsonl"
    header = json.dumps({"format": FORMAT, **key}, sort_keys=True, default=str).encode() + b"\n"
    with _refusing(path):
        work.mkdir(parents=True, exist_ok=True)
        rows, whole = _read(path, header)
        file = path.open("ab")
        file.truncate(whole)
    with file:

        def write(line: bytes) -> None:
            with _refusing(path):
                file.write(line)
                file.flush()
                os.fsync(file.fileno())

        def append(row: Row) -> None:
            write(json.dumps(row).encode() + b"\n")
            rows.append(row)

        if not whole:
            write(header)
        yield rows, append


def _read(path: Path, header: bytes) -> tuple[list[Row], int]:
    """The repeats in a journal with this header, up to the first line that is not whole, and the bytes they take."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if not lines or lines[0] != header:
        return [], 0
    rows: list[Row] = []
    whole = len(header)
    for line in lines[1:]:
        try:
            row = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            row = None
        if not isinstance(row, dict) or row.get("repeat") != len(rows):
            break
        rows.append(row)
        whole += len(line)
    return rows, whole


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GflowError(
            f"{path}: {error.strerror}; it keeps the repeats, make room for it or let it be written"
        ) from error


# ------------------------------------------------------------------ statistics


def normality(values: Floats) -> list[dict[str, float]]:
    """Of each column of values [S, k], S independent numbers: tests of normality, and how far from normal it is.

    Shapiro-Wilk and Anderson-Darling with their p-values, raw and after Holm's correction over the k columns; skewness
    and excess kurtosis, which for a normal law have the standard errors sqrt(6/S) and sqrt(24/S).
    """
    rows = []
    for x in values.T:
        shapiro, (a2, p) = stats.shapiro(x), anderson_darling(x)
        rows.append(
            {
                "skewness": float(stats.skew(x)),
                "excess_kurtosis": float(stats.kurtosis(x)),
                "shapiro_w": float(shapiro.statistic),
                "shapiro_p": float(shapiro.pvalue),
                "anderson_a2": a2,
                "anderson_p": p,
            }
        )
    return _with_holm(rows, "shapiro", "anderson")


def compared(a: Floats, b: Floats) -> list[dict[str, float]]:
    """Of each column of a and b [S, k], independent samples: do they have one law, and how far apart are they?

    Two-sample Kolmogorov-Smirnov and Welch's t with their p-values, raw and after Holm's correction over the columns.
    `smd` is (mean of a - mean of b) over the root of the mean variance, `smd_error` its standard error, `sd_ratio` the
    standard deviation of a over that of b.
    """
    s, rows = len(a), []
    for x, y in zip(a.T, b.T, strict=True):
        ks, welch = stats.ks_2samp(x, y), stats.ttest_ind(x, y, equal_var=False)
        sd_x, sd_y = float(x.std(ddof=1)), float(y.std(ddof=1))
        smd = float(x.mean() - y.mean()) / ((sd_x**2 + sd_y**2) / 2) ** 0.5
        rows.append(
            {
                "smd": smd,
                "smd_error": (2 / s + smd**2 / (4 * s)) ** 0.5,
                "sd_ratio": sd_x / sd_y,
                "ks": float(ks.statistic),
                "ks_p": float(ks.pvalue),
                "welch_t": float(welch.statistic),
                "welch_p": float(welch.pvalue),
            }
        )
    return _with_holm(rows, "ks", "welch")


def paired(a: Floats, b: Floats) -> list[dict[str, float]]:
    """Of each column of a and b [S, k], whose rows belong together: the mean difference over the deviation of a.

    With its standard error and the paired t test, raw and after Holm's correction over the columns. Where a_i and b_i
    may be exchanged, as eigenvalues of normal features and of rotated ones may, differences are symmetric about 0.
    """
    rows = []
    for x, y in zip(a.T, b.T, strict=True):
        test, sd = stats.ttest_rel(x, y), float(x.std(ddof=1))
        rows.append(
            {
                "smd": float((x - y).mean()) / sd,
                "smd_error": float(stats.sem(x - y)) / sd,
                "paired_t": float(test.statistic),
                "paired_p": float(test.pvalue),
            }
        )
    return _with_holm(rows, "paired")


def anderson_darling(x: Floats) -> tuple[float, float]:
    """A^2 of numbers x [S] against the normal law with their mean and variance, and its p-value, at least 1e-24.

    The p-value by D'Agostino & Stephens (1986, table 4.9), for S >= 8. (SciPy's stops at 0.01, too soon to correct for
    several tests.)
    """
    s = len(x)
    z = np.sort((x - x.mean()) / x.std(ddof=1))
    odd = 2 * np.arange(1, s + 1) - 1
    a2 = float(-s - (odd * (stats.norm.logcdf(z) + stats.norm.logsf(z[::-1]))).mean())
    a = min(a2 * (1 + 0.75 / s + 2.25 / s**2), 10.0)  # beyond 10 the fitted parabola turns round
    if a >= 0.6:
        p = np.exp(1.2937 - 5.709 * a + 0.0186 * a**2)
    elif a > 0.34:
        p = np.exp(0.9177 - 4.279 * a - 1.38 * a**2)
    elif a > 0.2:
        p = 1 - np.exp(-8.318 + 42.796 * a - 59.938 * a**2)
    else:
        p = 1 - np.exp(-13.436 + 101.14 * a - 223.73 * a**2)
    return a2, float(p)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p-values: rejecting where it is <= alpha errs anywhere with probability <= alpha.

    Whatever the dependence of the tests (Holm 1979); eigenvalues of one matrix are dependent.
    """
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1)).clip(max=1)
    corrected = np.empty(len(p))
    corrected[order] = steps
    return [float(value) for value in corrected]


def _with_holm(rows: list[dict[str, float]], *tests: str) -> list[dict[str, float]]:
    """The rows, with `TEST_holm` beside every `TEST_p`."""
    corrected = {test: holm([row[f"{test}_p"] for row in rows]) for test in tests}
    found = []
    for i, row in enumerate(rows):
        new = {}
        for name, value in row.items():
            new[name] = value
            test = name.removesuffix("_p")
            if name.endswith("_p"):
                new[f"{test}_holm"] = corrected[test][i]
        found.append(new)
    return found


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
    part: Simulations,
    tested: Mapping[str, list[dict[str, float]]],
    comparison: Mapping[str, list[dict[str, float]]],
    rotation: list[dict[str, float]],
) -> dict[str, float | int | str | None]:
    """Counts of rejections at LEVEL after Holm's correction, and the largest effects, of sampler and control."""
    scores: dict[str, float | int | str | None] = {"S": part.S, "eigenvalues": len(part.eigenvalues)}
    scores |= {"skewness_error": (6 / part.S) ** 0.5, "excess_kurtosis_error": (24 / part.S) ** 0.5}
    for name, pairs in comparison.items():
        for test, rows in (("shapiro", tested[name]), ("anderson", tested[name]), ("ks", pairs), ("welch", pairs)):
            scores[f"{test}_rejects_{name}"] = sum(row[f"{test}_holm"] <= LEVEL for row in rows)
        for effect, rows in (("skewness", tested[name]), ("excess_kurtosis", tested[name]), ("smd", pairs)):
            scores[f"{effect}_largest_{name}"] = max((row[effect] for row in rows), key=abs)
        scores[f"sd_ratio_furthest_{name}"] = max((row["sd_ratio"] for row in pairs), key=lambda r: abs(np.log(r)))
    if rotation:
        scores["rotation_rejects"] = sum(row["paired_holm"] <= LEVEL for row in rotation)
        scores["rotation_smd_largest"] = max((row["smd"] for row in rotation), key=abs)
    scores["note"] = _note(part)
    return scores


def _note(part: Simulations) -> str:
    """How to read the tests."""
    words = [
        f"Repeats are independent, so the tests are valid; they reject at {LEVEL:g} after Holm's correction. With "
        f"S = {part.S} they may find departures too small to matter: read skewness, excess kurtosis and smd."
    ]
    if part.refit:
        words.append(
            "The mixture differs from normal features too, by moments estimated from m images: what is rejected of "
            "rotated features as well says nothing against the sampler. Whether its features are normal is what the "
            "rotation rows test."
        )
    else:
        words.append("The mixture was fitted once: smd and the tests of gan hold the error of that one fit.")
    if part.moments == "reuse":
        words.append("Moments and sample share images, so ks_p and welch_p, which take them for independent, are off.")
    return " ".join(words)


# ------------------------------------------------------------------ figures


def _eigenvalues(
    part: Simulations,
    values: Mapping[str, Floats],
    tested: Sequence[Mapping[str, float]],
    comparison: Mapping[str, Sequence[Mapping[str, float]]],
) -> Figure:
    """A column an eigenvalue: histograms with the fitted normal densities over QQ plots (the paper's figure 7 b, c)."""
    k = len(part.eigenvalues)
    figure = Figure(figsize=(max(6.5, 3.1 * k), 6.6), layout="constrained")
    panels = figure.subplots(2, k, squeeze=False)
    for i, number in enumerate(part.eigenvalues):
        shown = {"sample": values["gan"][:, i], "mixture": values["mixture"][:, i]}
        _histogram(panels[0, i], shown)
        _quantiles(panels[1, i], shown)
        lines = []
        for key, word, number_format in (("smd", "smd", "+.2f"), ("sd_ratio", "sd ratio", ".2f")):
            found = [format(rows[i][key], number_format) for rows in comparison.values()]
            lines.append(f"{word} {found[0]}" + (f" (rotated {found[1]})" if part.refit else ""))
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
        f"Leading eigenvalues of $XX'/p$ over {part.S} repeats: K = {part.K}, n = {part.n}, m = {part.m}", fontsize=11
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
    """Standardised order statistics against normal quantiles, with the 95 % range of each for a normal law."""
    s = len(next(iter(shown.values())))
    rank = np.arange(1, s + 1)
    theory = stats.norm.ppf((rank - 0.5) / s)
    low, high = (stats.norm.ppf(stats.beta.ppf(q, rank, s + 1 - rank)) for q in (0.025, 0.975))
    axes.fill_between(theory, low, high, color="0.85", linewidth=0, label="95 % of normal samples, point by point")
    axes.plot(theory, theory, color="0.4", linewidth=0.8)
    for name, x in shown.items():
        z = np.sort((x - x.mean()) / x.std(ddof=1))
        axes.plot(theory, z, ".", color=COLOURS[name], markersize=3, alpha=0.7)
    axes.set(xlabel="normal quantile")


def _spectrum(part: Simulations, pairs: Mapping[str, str], rows: Sequence[Row]) -> Figure:
    """All eigenvalues, mean counts over the repeats (the paper's figure 7 a), and the same of the control."""
    figure = Figure(figsize=(5.8 * len(pairs), 4.2), layout="constrained")
    panels = figure.subplots(1, len(pairs), sharex=True, sharey=True, squeeze=False)[0]
    counts = {name: np.mean([row[name]["counts"] for row in rows], axis=0) for pair in pairs.items() for name in pair}
    inside = np.flatnonzero(sum(counts.values())[1:-1]) + 1  # the bins at the ends hold what is outside EDGES
    first, last = (inside[0], inside[-1]) if len(inside) else (0, len(EDGES) - 2)
    titles = {"gan": "features of generated images", "rotated": "control: the same, rotated as normal features may be"}
    for axes, pair in zip(panels, pairs.items(), strict=True):
        for name, colour, filled in zip(pair, COLOURS.values(), (True, False), strict=True):
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
    size = part.K * part.n
    figure.suptitle(f"Spectrum of $XX'/p$, {size} eigenvalues, mean of {part.S} repeats", fontsize=11)
    return figure
