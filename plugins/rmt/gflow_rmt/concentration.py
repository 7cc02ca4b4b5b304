"""Are features concentrated vectors? Tails of Lipschitz observations, beside Gaussian ones (`rmt.concentration`).

A random vector x is (q-exponentially) concentrated if for every 1-Lipschitz f, with constants that do not grow with p,

    P(|f(x) - m_f| >= t) <= C exp(-(t / c)^q),      m_f a median of f(x)

(Ledoux 2001; Seddik et al. 2020, arXiv 2001.08370, Definition 1). Gaussian vectors are so with q = 2, and so is what
Lipschitz maps make of them; that GAN features behave as a Gaussian mixture rests on it. Of all 1-Lipschitz f these are
looked at: projections u'x on random unit vectors, the norm |x|, the distance |x - a| to other images' features, and the
largest feature. Class by class, f(x) less its median is divided by its scale 1.4826 median|f - m_f|, a robust standard
deviation. The exponent q is the slope of log(-log P) over log t in the upper tail. Of a Gaussian it is not 2 there (the
estimate has no C, and t is finite), so the same estimate on normal features of the same means and covariances stands
beside it: the features themselves, rotated (`rotation`), which makes the p-values exact. The contrast is Student's
multivariate t law of the same moments, mean + sqrt((nu - 2) / chi2_nu) (x - mean) for normal x: one random length for
all features, so that it is not concentrated.

A few f can show that x is not concentrated; that it is they make plausible at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats
from torch import Generator, Tensor

from gflow_core import Result, Subject
from gflow_rmt.lipschitz import Lipschitz, measure
from gflow_rmt.options import Represented
from gflow_rmt.representation import Representation
from gflow_rmt.rotation import rotations
from gflow_rmt.spectra import Floats, share_above
from gflow_rmt.surrogate import Mixture

__all__ = ["concentration", "exponent", "observe", "scaled", "student"]

Scores = dict[str, float | int | str | None]

OBSERVATIONS = ("projections", "norm", "distance", "maximum")
GAN, NORMAL, STUDENT = "GAN", "normal features", "Student t"
LAWS = {GAN: "#0072B2", NORMAL: "#E69F00", STUDENT: "#CC79A7"}
"""With Okabe and Ito's colours."""
LINES = {"norm": "-", "distance": "--", "maximum": ":"}
IN_WORDS = {"norm": "|x|", "distance": "|x - a|", "maximum": "max x"}

ANCHORS = 10
"""Points of each class that distances are taken to."""

TAIL = 0.25
"""Probability at which the upper tail begins."""

LEVELS = 20
"""Quantiles through which the line is laid."""


def observe(x: Tensor, directions: Tensor, anchors: Tensor) -> dict[str, Floats]:
    """The 1-Lipschitz observations of x [K, n, p]: of each kind its values, scaled in each class, [K, n, how many].

    `directions` [p, R] are unit vectors, `anchors` [K, A, p] other images' features.
    """
    found = {
        "projections": x @ directions,
        "norm": x.norm(dim=2, keepdim=True),
        "distance": torch.cdist(x, anchors),
        "maximum": x.amax(2, keepdim=True),
    }
    return {name: scaled(values.double().numpy()) for name, values in found.items()}


def scaled(f: Floats) -> Floats:
    """|f - median| / (1.4826 median|f - median|) of f [K, n, R] over n; NaN where half of the values coincide."""
    away = np.abs(f - np.median(f, axis=1, keepdims=True))
    scale = 1.4826 * np.median(away, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(scale > 0, away / scale, np.nan)
    return found


def exponent(s: Floats, images: int) -> float | None:
    """q of the upper tail of s [any number]: the slope of log(-log P(s >= t)) over log t, 5 / images <= P <= 1/4.

    None of fewer than 50 images, which have no tail to speak of, or without any values.
    """
    s = s[np.isfinite(s)]
    if images < 50 or not len(s):
        return None
    p = np.geomspace(TAIL, max(5 / images, 1e-3), LEVELS)
    t = np.quantile(s, 1 - p)
    if not t[0] > 0 or t[0] == t[-1]:
        return None
    return float(np.polyfit(np.log(t), np.log(-np.log(p)), 1)[0])


def student(x: Tensor, means: Tensor, nu: int, generator: Generator) -> Tensor:
    """Normal rows x [K, n, p] about means [K, 1, p] -> multivariate t of nu degrees of freedom and the same moments."""
    chi2 = torch.randn(*x.shape[:2], nu, generator=generator).square().sum(2, keepdim=True).to(x)
    drawn: Tensor = means + (x - means) * ((nu - 2) / chi2).sqrt()
    return drawn


@attrs.frozen(eq=False)
class Sample:
    """What is kept of a sample."""

    q: dict[str, float | None]
    """The exponent of each kind of observation."""
    norm_std: Floats
    """Standard deviation of |x| in every class, [K], in units of sqrt(tr C / p); 0 where there is one image."""

    @classmethod
    def of(cls, x: Tensor, values: Mapping[str, Floats], unit: Tensor) -> Sample:
        """Of x [K, n, p] and what is observed of it."""
        q = {name: exponent(s.ravel(), s.shape[0] * s.shape[1]) for name, s in values.items()}
        norm_std = x.norm(dim=2).std(1, correction=min(1, x.shape[1] - 1)) / unit
        return cls(q, norm_std.double().numpy())


def concentration(
    subject: Subject, options: Represented, *, projections: int, nu: int, reference: int, points: int, pairs: int
) -> Result:
    """Tables `tails`, `classes` and, where there is a bound, `layers`; figures `tails` and `lipschitz`.

    Scores: q of each observation, beside its mean and standard deviation over normal features, and the share of those
    whose tails are at least as heavy (q_..._p); the standard deviation of |x| in units of sqrt(tr C / p), and the share
    of normal features whose |x| vary at least as much; the Lipschitz constants.
    """
    representation, streams = Representation.of(subject, options), subject.streams
    classes, size = options.K, options.N
    features = representation.draw(size, streams)
    Mixture.of(features)  # says in words where a class does not vary
    means, unit = features.mean(1, keepdim=True), features.var(1, correction=0).mean(1).sqrt()
    directions = torch.randn(features.shape[2], projections, generator=streams["directions"]).to(features)
    directions /= directions.norm(dim=0)

    # The same work on the features as they are, and rotated as normal features might as well have been.
    samples: dict[str, list[Sample]] = {law: [] for law in LAWS}
    observed: dict[str, dict[str, Floats]] = {}
    for i in range(reference + 1):
        q = rotations(classes, size, streams["rotation"]) if i else torch.eye(size).expand(classes, -1, -1)
        anchors, x = (rows.to(features) @ features for rows in (q[:, : min(ANCHORS, options.m)], q[:, options.m :]))
        drawn = {NORMAL: x, STUDENT: student(x, means, nu, streams["chi2"])} if i else {GAN: x}
        for law, each in drawn.items():
            values = observe(each, directions, anchors)
            observed.setdefault(law, values)
            samples[law].append(Sample.of(each, values, unit))
        subject.progress("rotations", i, reference)
    lipschitz = measure(representation, points, pairs, options.batch_size, streams.fork("lipschitz"))

    tails = [_tail(name, law, observed[law][name], samples) for name in OBSERVATIONS for law in LAWS]
    scores = _tail_scores(tails, samples) | _lipschitz_scores(lipschitz)

    manifest = representation.manifest(
        projections=projections,
        reference=reference,
        nu=nu,
        lipschitz_of=lipschitz.words,
        points=points,
        pairs=pairs,
    )
    tables = {"tails": tails, "classes": _classes(options.labels, features[:, options.m :], unit, samples)}
    if lipschitz.bound.layers:
        tables["layers"] = [
            {"operation": name, "stretches_by": factor, "bound_so_far": value}
            for name, factor, value in lipschitz.bound.layers
        ]
    images = classes * options.n
    title = f"step {subject.step}, {representation.encoder.name}, p = {features.shape[2]}, K n = {images} images"
    return Result(
        scores=scores,
        tables=tables,
        figures={
            "tails": _tails_figure(observed, tails, images, nu, title),
            "lipschitz": _strip(lipschitz, subject),
        },
        manifest=manifest,
    )


def _tail(name: str, law: str, values: Floats, samples: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """What is known of one observation under one law: q over all samples, and the share beyond 3 in the first."""
    found, normal = ([q for s in samples[each] if (q := s.q[name]) is not None] for each in (law, NORMAL))
    finite = values[np.isfinite(values)]
    return {
        "observation": name,
        "law": law,
        "q": float(np.mean(found)) if found else None,
        "q_std": float(np.std(found)) if len(found) > 1 else None,
        "p": share_above(-found[0], [-q for q in normal]) if law == GAN and found and normal else None,
        "beyond_3": float((finite >= 3).mean()) if len(finite) else None,
        "beyond_3_normal": 2 * float(stats.norm.sf(3)),
    }


def _tail_scores(tails: Sequence[Mapping[str, Any]], samples: Mapping[str, Sequence[Sample]]) -> Scores:
    scores: Scores = {}
    by_key = {(row["observation"], row["law"]): row for row in tails}
    for name in OBSERVATIONS:
        own, normal, heavy = (by_key[name, law] for law in LAWS)
        scores |= {
            f"q_{name}": own["q"],
            f"q_{name}_normal": normal["q"],
            f"q_{name}_normal_std": normal["q_std"],
            f"q_{name}_student": heavy["q"],
            f"q_{name}_p": own["p"],
        }
    spread = {law: [float(np.sqrt((s.norm_std**2).mean())) for s in found] for law, found in samples.items()}
    if spread[GAN][0] > 0:
        scores |= {
            "norm_std": spread[GAN][0],
            "norm_std_normal": float(np.mean(spread[NORMAL])),
            "norm_std_student": float(np.mean(spread[STUDENT])),
            "norm_std_p": share_above(spread[GAN][0], spread[NORMAL]),
        }
    return scores


def _lipschitz_scores(found: Lipschitz) -> Scores:
    local, value = found.local, found.bound.value
    top = float(local.max()) if len(local) else None
    reasons = [f"no bound: {found.bound.why}"] if found.bound.why else []
    return {
        "lipschitz_empirical": float(found.empirical.mean()) if len(found.empirical) else None,
        "lipschitz_empirical_max": float(found.empirical.max()) if len(found.empirical) else None,
        "lipschitz_local": float(local.mean()) if len(local) else None,
        "lipschitz_local_max": top,
        "lipschitz_bound": value,
        "lipschitz_bound_over_local": value / top if value is not None and top else None,
        "lipschitz_note": "; ".join([found.words, *reasons, *([found.note] if found.note else [])]),
    }


def _classes(
    labels: tuple[int, ...], x: Tensor, unit: Tensor, samples: Mapping[str, Sequence[Sample]]
) -> list[dict[str, Any]]:
    """The norm of x [K, n, p] in every class; of normal and Student's features, the mean over samples."""
    mean = x.norm(dim=2).mean(1)
    std = {law: np.mean([sample.norm_std for sample in found], 0) for law, found in samples.items()}
    return [
        {
            "class": label,
            "norm_mean": float(mean[a]),
            "feature_std": float(unit[a]),
            "norm_std": std[GAN][a],
            "norm_std_normal": std[NORMAL][a],
            "norm_std_student": std[STUDENT][a],
        }
        for a, label in enumerate(labels)
    ]


# ------------------------------------------------------------------ pictures


def _survival(axes: Axes, s: Floats, **style: Any) -> None:
    """P(s >= t) over t, thinned to 400 points evenly spaced in t."""
    s = np.sort(s[np.isfinite(s)])
    if len(s):
        t = np.linspace(0, s[-1], 400)
        p = 1 - np.searchsorted(s, t, side="left") / len(s)
        axes.plot(t, np.where(p > 0, p, np.nan), **style)


def _tails_figure(
    observed: Mapping[str, Mapping[str, Floats]], tails: list[dict[str, Any]], images: int, nu: int, title: str
) -> Figure:
    """Projections left, norms right: one line a law, and for projections a faint one for each class."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    t = np.linspace(0, 8, 300)
    q = {(row["observation"], row["law"]): row for row in tails}

    def words(name: str, law: str) -> str:
        row = q[name, law]
        value = "" if row["q"] is None else f", q = {row['q']:.2f}"
        value += "" if row["q_std"] is None else f" \u00b1 {row['q_std']:.2f}"
        value += "" if row["p"] is None else f" (p = {row['p']:.2g})"
        return (f"{law} ({nu})" if law == STUDENT else law) + value

    for own in observed[GAN]["projections"]:
        _survival(left, own, color=LAWS[GAN], lw=0.6, alpha=0.4)
    for law, found in observed.items():
        _survival(left, found["projections"], color=LAWS[law], lw=1.8, label=words("projections", law))
        for name, line in LINES.items():
            _survival(right, found[name], color=LAWS[law], ls=line, lw=1.4)
    for axes in (left, right):
        axes.plot(t, 2 * stats.norm.sf(t), color="black", lw=1, ls=(0, (1, 1)), label="N(0, 1)")
        axes.set(yscale="log", xlim=(0, 8), ylim=(0.3 / max(images, 10), 1.2))
        axes.set_xlabel("t = |f - median| in robust standard deviations")
        axes.grid(color="0.92")
    left.set_ylabel("P(|f - median| \u2265 t)")
    left.set_title("projections u'x (faint: GAN, each class)", fontsize=10)
    right.set_title("norm, distances to other images, largest feature", fontsize=10)
    left.legend(fontsize=8, loc="upper right")
    marks = [Line2D([], [], color=color, lw=2, label=law) for law, color in LAWS.items()]
    marks += [Line2D([], [], color="0.3", ls=line, label=IN_WORDS[name]) for name, line in LINES.items()]
    marks.append(Line2D([], [], color="black", lw=1, ls=(0, (1, 1)), label="N(0, 1)"))
    right.legend(handles=marks, fontsize=8, loc="upper right", ncols=2)
    figure.suptitle(title, fontsize=10)
    return figure


def _strip(found: Lipschitz, subject: Subject) -> Figure:
    """The three numbers on one logarithmic axis, each below the next."""
    figure = Figure(figsize=(7.5, 2.9), layout="constrained")
    axes = figure.add_subplot()
    height = np.random.default_rng(0).uniform(-0.22, 0.22, max(len(found.empirical), len(found.local)))
    for y, values, color in ((2, found.empirical, "#0072B2"), (1, found.local, "#009E73")):
        axes.scatter(values.numpy(), y + height[: len(values)], s=10, color=color, alpha=0.6, linewidths=0)
        if len(values):
            axes.plot([float(values.max())] * 2, [y - 0.35, y + 0.35], color=color, lw=1.6)
            axes.annotate(f" max {float(values.max()):.3g}", (float(values.max()), y + 0.3), fontsize=8, color=color)
    if found.bound.value:
        axes.plot([found.bound.value], [0], "D", color="#D55E00", ms=8)
        axes.annotate(
            f"{found.bound.value:.3g}    ", (found.bound.value, 0), fontsize=8, ha="right", va="center", color="#D55E00"
        )
    else:
        words = f"no bound: {found.bound.why}" if found.bound.why else "0: constant"
        axes.text(0.5, 0.12, words, transform=axes.transAxes, ha="center", fontsize=8, color="#D55E00")
    if found.note:
        axes.text(0.5, 0.45, found.note, transform=axes.transAxes, ha="center", fontsize=8)
    if any(bool((v > 0).any()) for v in (found.empirical, found.local)) or found.bound.value:
        axes.set_xscale("log")
    axes.set_yticks([2, 1, 0], ["pairs |\u0394f| / |\u0394z|", "Jacobian at points", "bound: product"])
    axes.set(ylim=(-0.5, 2.7), xlabel="Lipschitz constant")
    axes.set_title(f"step {subject.step}, {found.words}", fontsize=9)
    axes.grid(axis="x", color="0.92")
    axes.margins(x=0.12)
    return figure
