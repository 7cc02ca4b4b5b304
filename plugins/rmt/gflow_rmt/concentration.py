"""Are features concentrated vectors? Tails of Lipschitz observations, beside Gaussian ones (`rmt.concentration`).

A random vector x is (q-exponentially) concentrated if for every 1-Lipschitz f, with constants that do not grow with p,

    P(|f(x) - m_f| >= t) <= C exp(-(t / c)^q),      m_f a median of f(x)

(Ledoux 2001; Seddik et al. 2020, arXiv 2001.08370, Definition 1). Gaussian vectors are so with q = 2, and so is what
Lipschitz maps make of them; that GAN features behave as a Gaussian mixture rests on it. Of all 1-Lipschitz f these are
looked at: projections u'x on random unit vectors, the norm |x|, the distance |x - a| to other images' features, and the
largest feature. Class by class, f(x) less its median is divided by its scale 1.4826 median|f - m_f|, a robust standard
deviation. The exponent q is the slope of log(-log P) over log t in the upper tail; of a Gaussian it is not 2 there (the
estimate has no C, and t is finite), so the same estimate on Gaussian mixtures of the same size stands beside it. The
contrast is Student's multivariate t law of the same moments, x = mean + sqrt((nu - 2) / chi2_nu) g C^(1/2): one random
length for all features, so that it is not concentrated.

A few f can show that x is not concentrated; that it is they make plausible at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats
from torch import Generator, Tensor

from gflow_core.builtin.latents import Normal
from gflow_core.contracts import Result, Subject
from gflow_rmt.lipschitz import Lipschitz, measure
from gflow_rmt.representation import Representation
from gflow_rmt.spectra import share_above
from gflow_rmt.surrogate import Mixture

if TYPE_CHECKING:
    from gflow_rmt.parts import Concentration

__all__ = ["Observer", "concentration", "exponent", "scaled", "student"]

Floats = npt.NDArray[np.float64]
Scores = dict[str, float | int | str | None]

OBSERVATIONS = ("projections", "norm", "distance", "maximum")
LAWS = {"GAN": "#0072B2", "Gaussian mixture": "#E69F00", "Student t": "#CC79A7"}
LINES = {"norm": "-", "distance": "--", "maximum": ":"}
IN_WORDS = {"norm": "|x|", "distance": "|x - a|", "maximum": "max x"}

ANCHORS = 10
"""Points of each class that distances are taken to."""

BOOTSTRAP = 100
"""Resamples of the images."""

TAIL = 0.25
"""Probability at which the upper tail begins."""

LEVELS = 20
"""Quantiles through which the line is laid."""


@attrs.frozen(eq=False)
class Observer:
    """The 1-Lipschitz observations."""

    directions: Tensor
    """Unit vectors [p, R]."""
    anchors: Tensor
    """Points [K, A, p] from other images than those observed."""

    @classmethod
    def of(cls, moments: Tensor, projections: int, generator: Generator) -> Observer:
        """With random directions, and the first of the images in moments [K, m, p] for anchors."""
        u = torch.randn(moments.shape[2], projections, generator=generator).to(moments)
        return cls(u / u.norm(dim=0), moments[:, :ANCHORS])

    def __call__(self, x: Tensor) -> dict[str, Floats]:
        """Of x [K, n, p]: the values of each kind, scaled within classes, [K, n, as many as there are of the kind]."""
        found = {
            "projections": x @ self.directions,
            "norm": x.norm(dim=2, keepdim=True),
            "distance": torch.cdist(x, self.anchors),
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


def spread(s: Floats, generator: Generator) -> float | None:
    """Standard error of `exponent` of s [n, R], images resampled with all their observations."""
    found = []
    for _ in range(BOOTSTRAP):
        rows = torch.randint(len(s), (len(s),), generator=generator).numpy()
        q = exponent(s[rows].ravel(), len(s))
        if q is not None:
            found.append(q)
    return float(np.std(found)) if found else None


def student(x: Tensor, mixture: Mixture, nu: int, generator: Generator) -> Tensor:
    """Gaussian draws x [K, n, p] of the mixture -> multivariate t of nu degrees of freedom and the same moments."""
    means = torch.stack([component.mean for component in mixture.components])[:, None]
    chi2 = torch.randn(*x.shape[:2], nu, generator=generator).square().sum(2, keepdim=True).to(x)
    drawn: Tensor = means + (x - means) * ((nu - 2) / chi2).sqrt()
    return drawn


def concentration(part: Concentration, subject: Subject) -> Result:
    """Tables `tails`, `classes` and, where there is a bound, `layers`; figures `tails` and `lipschitz`.

    Scores: q of each observation with its bootstrap standard error, beside mean and standard deviation of q over
    Gaussian mixtures, and the share of those whose tails are at least as heavy (q_..._p); the standard deviation of |x|
    in units of sqrt(tr C / p); the Lipschitz constants.
    """
    representation = Representation.of(part, subject)
    streams = subject.streams
    moments, sample = representation.split(representation.draw(part.N, streams))
    mixture = Mixture.of(moments)
    observer = Observer.of(moments, part.projections, streams["directions"])

    observed = {"GAN": observer(sample)}
    norms: dict[str, list[Tensor]] = {"GAN": [_norm_std(sample)], "Gaussian mixture": [], "Student t": []}
    exponents: dict[str, list[dict[str, float | None]]] = {"Gaussian mixture": [], "Student t": []}
    images = part.K * part.n
    for i in range(part.reference):
        gaussian = mixture.draw(part.n, Normal(dim=1), streams["surrogate"])  # type: ignore[arg-type]
        drawn = {"Gaussian mixture": gaussian, "Student t": student(gaussian, mixture, part.nu, streams["chi2"])}
        for law, x in drawn.items():
            found = observer(x)
            observed.setdefault(law, found)
            norms[law].append(_norm_std(x))
            exponents[law].append({name: exponent(s.ravel(), images) for name, s in found.items()})
        subject.progress("reference", i + 1, part.reference)
    lipschitz = measure(representation, part.points, part.pairs, part.batch_size, streams.fork("lipschitz"))

    tails = [
        _tail(name, law, found[name], exponents.get(law), streams["bootstrap"])
        for name in OBSERVATIONS
        for law, found in observed.items()
    ]
    unit = torch.stack([c.centred.square().sum() / c.m / c.centred.shape[1] for c in mixture.components]).sqrt()
    scores = _tail_scores(tails, exponents["Gaussian mixture"])
    for suffix, law in (("", "GAN"), ("_gaussian", "Gaussian mixture"), ("_student", "Student t")):
        ratio = torch.stack(norms[law]) / unit
        scores[f"norm_std{suffix}"] = float(ratio.square().mean().sqrt()) if part.n > 1 else None
    scores |= _lipschitz_scores(lipschitz)

    manifest = representation.manifest(
        projections=part.projections,
        reference=part.reference,
        nu=part.nu,
        lipschitz_of=lipschitz.words,
        points=part.points,
        pairs=part.pairs,
    )
    tables = {"tails": tails, "classes": _classes(part.labels, sample, unit, norms)}
    if lipschitz.bound.layers:
        tables["layers"] = [
            {"operation": name, "stretches_by": factor, "bound_so_far": value}
            for name, factor, value in lipschitz.bound.layers
        ]
    title = f"step {subject.step}, {representation.encoder.name}, p = {sample.shape[2]}, K n = {images} images"
    return Result(
        scores=scores,
        tables=tables,
        figures={
            "tails": _tails_figure(observed, tails, images, part.nu, title),
            "lipschitz": _strip(lipschitz, subject),
        },
        manifest=manifest,
    )


def _norm_std(x: Tensor) -> Tensor:
    """Standard deviation of |x| in every class, [K]; 0 where there is one image."""
    found: Tensor = x.norm(dim=2).std(1, correction=min(1, x.shape[1] - 1))
    return found


def _tail(
    name: str, law: str, s: Floats, draws: list[dict[str, float | None]] | None, generator: Generator
) -> dict[str, Any]:
    """What is known of one observation under one law; of the surrogates, over their draws."""
    images = s.shape[0] * s.shape[1]
    if draws is None:
        q, error = exponent(s.ravel(), images), spread(s.reshape(images, -1), generator)
    else:
        values = [draw[name] for draw in draws]
        known = [v for v in values if v is not None]
        q, error = (float(np.mean(known)), float(np.std(known))) if known else (None, None)
    finite = s[np.isfinite(s)]
    return {
        "observation": name,
        "law": law,
        "q": q,
        "q_std": error,
        "beyond_3": float((finite >= 3).mean()) if len(finite) else None,
        "beyond_3_normal": 2 * float(stats.norm.sf(3)),
    }


def _tail_scores(tails: list[dict[str, Any]], gaussian: list[dict[str, float | None]]) -> Scores:
    scores: Scores = {}
    by_key = {(row["observation"], row["law"]): row for row in tails}
    for name in OBSERVATIONS:
        own, normal, heavy = (by_key[name, law] for law in LAWS)
        chance = [-q for draw in gaussian if (q := draw[name]) is not None]
        scores |= {
            f"q_{name}": own["q"],
            f"q_{name}_se": own["q_std"],
            f"q_{name}_gaussian": normal["q"],
            f"q_{name}_gaussian_std": normal["q_std"],
            f"q_{name}_student": heavy["q"],
            f"q_{name}_p": share_above(-own["q"], chance) if own["q"] is not None and chance else None,
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
        "lipschitz_iterations": found.iterations,
        "lipschitz_bound": value,
        "lipschitz_bound_over_local": value / top if value is not None and top else None,
        "lipschitz_note": "; ".join([found.words, *reasons, *([found.note] if found.note else [])]),
    }


def _classes(
    labels: tuple[int, ...], sample: Tensor, unit: Tensor, norms: dict[str, list[Tensor]]
) -> list[dict[str, Any]]:
    """The norm in every class; of the surrogates, the mean over draws."""
    mean = sample.norm(dim=2).mean(1)
    std = {law: torch.stack(values).mean(0) for law, values in norms.items()}
    return [
        {
            "class": label,
            "norm_mean": float(mean[a]),
            "norm_std": float(std["GAN"][a]),
            "norm_std_gaussian": float(std["Gaussian mixture"][a]),
            "norm_std_student": float(std["Student t"][a]),
            "feature_std": float(unit[a]),
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
    observed: dict[str, dict[str, Floats]], tails: list[dict[str, Any]], images: int, nu: int, title: str
) -> Figure:
    """Projections left, norms right: one line a law, and for projections a faint one for each class."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    t = np.linspace(0, 8, 300)
    q = {(row["observation"], row["law"]): row for row in tails}

    def words(name: str, law: str) -> str:
        row = q[name, law]
        value = "" if row["q"] is None else f", q = {row['q']:.2f} \u00b1 {row['q_std']:.2f}"
        return (f"{law} ({nu})" if law == "Student t" else law) + value

    for own in observed["GAN"]["projections"]:
        _survival(left, own, color=LAWS["GAN"], lw=0.6, alpha=0.4)
    for law, found in observed.items():
        _survival(left, found["projections"], color=LAWS[law], lw=1.8, label=words("projections", law))
        for name, line in LINES.items():
            _survival(right, found[name], color=LAWS[law], ls=line, lw=1.4)
    for axes in (left, right):
        axes.plot(t, 2 * stats.norm.sf(t), color="black", lw=1, ls=(0, (1, 1)), label="normal law")
        axes.set(yscale="log", xlim=(0, 8), ylim=(0.3 / max(images, 10), 1.2))
        axes.set_xlabel("t = |f - median| in robust standard deviations")
        axes.grid(color="0.92")
    left.set_ylabel("P(|f - median| \u2265 t)")
    left.set_title("projections u'x (faint: GAN, each class)", fontsize=10)
    right.set_title("norms", fontsize=10)
    left.legend(fontsize=8, loc="upper right")
    marks = [Line2D([], [], color=color, lw=2, label=law) for law, color in LAWS.items()]
    marks += [Line2D([], [], color="0.3", ls=line, label=IN_WORDS[name]) for name, line in LINES.items()]
    marks.append(Line2D([], [], color="black", lw=1, ls=(0, (1, 1)), label="normal law"))
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
