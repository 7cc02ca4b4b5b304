"""Leading eigenvectors of the Gram matrices, by class, with what theory predicts of them (`rmt.eigenvectors`).

Images of one class lie together in the plane of two leading eigenvectors of G = X X'/p, and the Gaussian mixture's do
as well, at the same places (Seddik et al. 2020, arXiv 2001.08370, their scatter plots). Where those places are follows
from the second moments alone. Let Gamma = E x x', over all classes, have eigenvalues l_1 > l_2 > ... and eigenvectors
v_i. Of n rows the i-th eigenvalue of X X'/n is near (Bai and Yao 2012; the sum is over the other eigenvalues)

    psi(l_i) = l_i (1 + 1/n sum_j l_j / (l_i - l_j)),      psi'(l_i) = 1 - 1/n sum_j l_j^2 / (l_i - l_j)^2,

and the i-th eigenvector of G has the squared overlap psi'(l_i) with the true scores s_i = x'v_i / sqrt(l_i); the rest
of it is a random mixture of the other s_j, with the squared weights W_ij = l_j^2 / (n (l_i - l_j)^2). Where psi' <= 0
the eigenvector is lost in the bulk, or among its neighbours.

These are sums over the chance products 1/n sum_rows s_i s_j, of variance 1/n where rows are drawn without regard to
class. Here every class has exactly n of the rows, so that what the class means add to a product does not vary: each
term of the sums, and W_ij, has the factor

    V_ij = 1 - b_ii b_jj - b_ij^2,      b_ij = v_i'B v_j / sqrt(l_i l_j),      B = mean_a mu_a mu_a'

(of normal scores within a class). It is 1 towards the bulk, and near 0 between two spikes that are class means: those
hardly mix, however near they are.

In units in which an eigenvector's entries have mean square 1, class a is thus at

    sqrt(psi'(l_i)) mu_a'v_i / sqrt(l_i),

and the share of the eigenvector that is class structure is psi'(l_i) b_ii + sum_j W_ij b_jj. For a balanced mixture of
+-mu in unit noise that is the transition of Baik, Ben Arous and Peche: (1 - g/t^2) / (1 + 1/t), t = |mu|^2, g = p/n.
The formulae take one covariance for all classes; where those of the classes differ much, they are approximate.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from scipy import linalg
from torch import Tensor

from gflow_core import GflowError, Result, Subject
from gflow_rmt.options import Surrogate
from gflow_rmt.representation import Representation, law_name
from gflow_rmt.rotation import Rows, share_beyond
from gflow_rmt.spectra import Floats, gram
from gflow_rmt.surrogate import Mixture

__all__ = ["Leading", "Prediction", "eigenvectors", "means_distance", "nearest_mean", "products", "spike"]

COLOURS = ("#332288", "#DDAA33", "#117733", "#CC6677", "#88CCEE", "#882255", "#999933", "#AA4499", "#44AA99", "#777777")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
SHOWN = 200
"""Points of each class in a picture."""


@attrs.frozen(eq=False)
class Leading:
    """The leading eigenpairs of a Gram matrix of K classes of n rows each."""

    values: Floats
    """Eigenvalues [k] of G = X X'/p, largest first."""
    vectors: Floats
    """Eigenvectors [k, K, n], each with mean square 1: sqrt(K n) times the unit vector."""

    @classmethod
    def of(cls, matrix: Tensor, classes: int, k: int) -> Leading:
        """The k leading eigenpairs of G [K n, K n]; of each vector the class farthest from 0 is above it."""
        total = len(matrix)
        values, vectors = linalg.eigh(matrix.numpy(), subset_by_index=(total - k, total - 1))
        found = cls(values[::-1].clip(0), (vectors.T[::-1] * total**0.5).reshape(k, classes, -1))
        far = np.take_along_axis(found.means, np.abs(found.means).argmax(1, keepdims=True), 1)
        return found.signed(np.where(far < 0, -1.0, 1.0)[:, 0])

    @property
    def means(self) -> Floats:
        """Mean of every class [k, K]."""
        means: Floats = self.vectors.mean(2)
        return means

    @property
    def overlaps(self) -> Floats:
        """Squared overlap [k] of the unit eigenvectors with the span of the class indicators, in [0, 1]; of a random
        vector 1/n. (The constant vector is in that span, so the first eigenvector's is near 1 where mean features
        are large.)"""
        overlaps: Floats = (self.means**2).mean(1)
        return overlaps

    @property
    def eta_squared(self) -> Floats:
        """Share [k] of the variance over images that lies between classes, in [0, 1]; by chance (K - 1) / (K n - 1)."""
        share: Floats = self.means.var(1) / np.maximum(self.vectors.var((1, 2)), np.finfo(float).tiny)
        return share

    def signed(self, signs: Floats) -> Leading:
        """The same, every eigenvector times its sign of signs [k]."""
        return Leading(self.values, self.vectors * signs[:, None, None])

    def like(self, means: Floats) -> Leading:
        """The same with the signs that bring the class means nearest to means [k, K]."""
        return self.signed(_signs(self.means, means))


def _signs(means: Floats, others: Floats) -> Floats:
    return np.where((means * others).sum(1) < 0, -1.0, 1.0)


# ------------------------------------------------------------------ theory


def spike(values: Floats, n: int, variance: Floats | None = None) -> tuple[Floats, Floats]:
    """psi [k] at the first k eigenvalues of values [r], of the second-moment matrix, for n rows; and weights W [k, r].

    psi' = 1 - W.sum(1) where that is above 0; where it is not, psi means nothing. Weights of equal eigenvalues are inf.
    variance [k, r] is V above; by default 1, of all r.
    Source: Bai and Yao, "On sample eigenvalues in a generalized spiked population model", 2012.
    """
    if variance is None:
        variance = np.ones((len(values), len(values)))
    leading = values[: len(variance), None]
    gap = leading - values
    np.fill_diagonal(gap, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((values == 0) | (variance == 0), 0.0, values / gap)
    return leading[:, 0] * (1 + (variance * ratio).sum(1) / n), variance * ratio**2 / n


def products(means: Floats, k: int) -> Floats:
    """V [k, r], between k leading scores and all, by the class means [r, K] of these."""
    between = means[:k] @ means.T / means.shape[1]
    own = (means**2).mean(1)
    found: Floats = (1 - own[:k, None] * own - between**2).clip(0)
    return found


@attrs.frozen(eq=False)
class Prediction:
    """Where the classes are in the leading eigenvectors, by the second moments alone."""

    values: Floats
    """Eigenvalues [k] of G."""
    overlap: Floats
    """Squared overlap [k] of each eigenvector with the true scores, in [0, 1]; 0 where it is lost."""
    means: Floats
    """Mean of every class [k, K], in units in which an eigenvector has mean square 1; of random shifts by neighbouring
    eigenvectors, which the overlap counts, the mean is 0."""
    covariances: Floats
    """Covariance within every class [K, k, k], in the same units."""
    overlaps: Floats
    """Squared overlap [k] of each eigenvector with the span of the class indicators, in [0, 1]."""

    @classmethod
    def of(cls, moments: Tensor, n: int, k: int) -> Prediction:
        """Of k eigenvectors of n rows of each class, by the classes' second moments: those of moments [K, m, p].

        With C = Xc'Xc / m their mean over classes is X'X / (K m), whose eigenvectors' scores on the rows of X are the
        left singular vectors of X: so no p x p matrix is formed.
        """
        classes, m, p = moments.shape
        values, vectors = linalg.eigh(gram(moments).numpy() * (p / (classes * m)))
        values = values[::-1].clip(0)
        scores = vectors.T[::-1].reshape(-1, classes, m) * (classes * m) ** 0.5
        psi, weights = spike(values, classes * n, products(scores.mean(2), k))
        overlap = (1 - weights.sum(1)).clip(0)
        weights = np.nan_to_num(weights, posinf=1 / np.finfo(float).eps)
        weights /= np.maximum(weights.sum(1, keepdims=True), 1)  # with `overlap` they make 1

        noise = weights @ scores.var(2)  # of each class by its own size; neighbours' means move the class as a whole
        own = scores[:k] * np.sqrt(overlap)[:, None, None]
        covariances = [np.cov(own[:, a], bias=True) + np.diag(noise[:, a]) for a in range(classes)]
        share = (scores.mean(2) ** 2).mean(1)
        return cls(
            values=psi * (classes * n / p),
            overlap=overlap,
            means=own.mean(2),
            covariances=np.stack(covariances),
            overlaps=overlap * share[:k] + weights @ share,
        )

    def like(self, means: Floats) -> Prediction:
        """The same with the signs that bring the class means nearest to means [k, K]."""
        signs = _signs(self.means, means)
        covariances = self.covariances * np.outer(signs, signs)
        return attrs.evolve(self, means=self.means * signs[:, None], covariances=covariances)


# ------------------------------------------------------------------ comparison


def means_distance(a: Floats, b: Floats) -> tuple[float, float]:
    """Relative distance |a - b| / |b| of class means a and b [k, K]: after sign matching, and after the best rotation.

    The rotation (orthogonal Procrustes, within the space of the k eigenvectors) forgives eigenvectors of near
    eigenvalues that changed places or mixed; where only the first distance is large, that is what happened.
    """
    signed = a * _signs(a, b)[:, None]
    turned = linalg.orthogonal_procrustes(a.T, b.T)[0].T @ a
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(signed - b)) / size, float(np.linalg.norm(turned - b)) / size


def nearest_mean(vectors: Floats) -> float:
    """Share of images whose own class has the nearest mean in the leading eigenvectors [k, K, n], leaving each out of
    its own class's mean; n >= 2."""
    _, classes, n = vectors.shape
    means = vectors.mean(2)
    right = 0
    for label in range(classes):
        x = vectors[:, label]
        squares = ((x[:, None] - means[:, :, None]) ** 2).sum(0)
        squares[label] *= (n / (n - 1)) ** 2  # the distance to the mean of the others is n / (n - 1) times as long
        right += int((squares.argmin(0) == label).sum())
    return float(right / (classes * n))


def eigenvectors(subject: Subject, options: Surrogate, *, vectors: int, reference: int) -> Result:
    """Table `eigenvectors`, a row each; table `classes`, the class means; figure `eigenvectors`.

    Scores: the accuracy of the nearest class mean on the leading eigenvectors, and the distance of the class means from
    the mixture's, beside what it is where features are normal, with the p-value (`rotation`, two-sided); the share of
    each eigenvector's variance that lies between classes. Raises GflowError where features are single numbers.
    """
    representation, streams = Representation.of(subject, options), subject.streams
    features = representation.draw(options.N, streams)
    k = min(vectors, features.shape[2])
    if k < 2:
        raise GflowError("rmt.eigenvectors: features are single numbers (p = 1), of which there is one eigenvector")
    moments, _ = representation.split(features)
    Mixture.of(moments)  # says in words where a class does not vary

    # The same work on the features as they are, and rotated as normal features might as well have been.
    rows, pairs = Rows.of(features), []
    noise = rows.noise(options.n, options.t, streams["surrogate"])
    for i, q in enumerate(rows.rotated(reference, streams["rotation"])):
        fitted_to, sample = representation.split(q)
        drawn = rows.mixture(fitted_to, noise)
        pairs.append([Leading.of(rows.product(c, c), options.K, k) for c in (sample, drawn)])
        subject.progress("rotations", i, reference)
    gan, gmm = pairs[0][0], pairs[0][1].like(pairs[0][0].means)
    predicted = Prediction.of(moments, options.n, k).like(gan.means)

    scores: dict[str, float | int | str | None] = {}
    distances = np.array([means_distance(two.means, one.means) for one, two in pairs])
    for name, (value, *chance) in zip(("distance", "distance_procrustes"), distances.T.tolist(), strict=True):
        scores |= {name: value, f"{name}_chance": float(np.mean(chance)), f"{name}_p": share_beyond(value, chance)}
    scores["distance_predicted"] = means_distance(predicted.means, gan.means)[0]
    scores["distance_predicted_mixture"] = means_distance(predicted.means, gmm.means)[0]
    if options.K > 1 and options.n > 1:
        for name, found in (("accuracy", gan), ("accuracy_mixture", gmm)):
            accuracy = nearest_mean(found.vectors)
            scores |= {name: accuracy, f"{name}_se": (accuracy * (1 - accuracy) / (options.K * options.n)) ** 0.5}
        scores["accuracy_chance"] = 1 / options.K
    for i in range(k):
        scores |= {f"eta2_{i + 1}": float(gan.eta_squared[i]), f"eta2_{i + 1}_mixture": float(gmm.eta_squared[i])}
    scores["eta2_chance"] = (options.K - 1) / (options.K * options.n - 1) if options.K * options.n > 1 else None

    normal = np.quantile([one.overlaps for one, _ in pairs[1:]], (0.025, 0.975), axis=0)
    classes = [
        {
            "eigenvector": i + 1,
            "class": label,
            "mean": float(gan.means[i, a]),
            "mean_mixture": float(gmm.means[i, a]),
            "mean_predicted": float(predicted.means[i, a]),
            "se": float(gan.vectors[i, a].std() / options.n**0.5),
        }
        for i in range(k)
        for a, label in enumerate(options.labels)
    ]
    manifest = representation.manifest(
        t=law_name(options.t), vectors=k, reference=f"rotation test, {reference} rotations"
    )
    names = tuple(map(str, options.labels)) if manifest["classes"] else ("",)
    title = (
        f"step {subject.step}, {representation.encoder.name}, p = {features.shape[2]}, {options.n} of each class\n"
        f"class means: distance from the mixture's {scores['distance']:.2f}, were features normal "
        f"{scores['distance_chance']:.2f} (p = {scores['distance_p']:.2g})"
    )
    if "accuracy" in scores:
        accuracies = f"{scores['accuracy']:.1%} of the GAN, {scores['accuracy_mixture']:.1%} of the mixture"
        title += f"\nnearest class mean right: {accuracies}; by chance {scores['accuracy_chance']:.1%}"
    return Result(
        scores=scores,
        tables={
            "eigenvectors": [_row(i, gan, gmm, predicted, normal[:, i], options.n) for i in range(k)],
            "classes": classes,
        },
        figures={"eigenvectors": _figure(gan, gmm, predicted, names, title)},
        manifest=manifest,
    )


def _row(i: int, gan: Leading, gmm: Leading, predicted: Prediction, normal: Floats, n: int) -> dict[str, Any]:
    """What is known of one eigenvector; an eigenvalue is predicted where its eigenvector can be told."""
    told = predicted.overlap[i] > 0
    return {
        "eigenvector": i + 1,
        "eigenvalue": float(gan.values[i]),
        "eigenvalue_mixture": float(gmm.values[i]),
        "eigenvalue_predicted": float(predicted.values[i]) if told else None,
        "overlap": float(gan.overlaps[i]),
        "overlap_mixture": float(gmm.overlaps[i]),
        "overlap_normal_low": normal[0],
        "overlap_normal_high": normal[1],
        "overlap_predicted": float(predicted.overlaps[i]),
        "overlap_chance": 1 / n,
        "kept_predicted": float(predicted.overlap[i]),
        "eta2": float(gan.eta_squared[i]),
        "eta2_mixture": float(gmm.eta_squared[i]),
    }


# ------------------------------------------------------------------ picture


def _figure(gan: Leading, gmm: Leading, predicted: Prediction, names: tuple[str, ...], title: str) -> Figure:
    """A row for each pair of neighbouring eigenvectors: the GAN's images left, the mixture's right."""
    pairs = list(pairwise(range(len(gan.values))))
    figure = Figure(figsize=(9, 0.9 + 3.3 * len(pairs)), layout="constrained")
    grid = figure.subplots(len(pairs), 2, sharex="row", sharey="row", squeeze=False)
    for (left, right), (i, j) in zip(grid, pairs, strict=True):
        for axes, found, what in ((left, gan, "GAN"), (right, gmm, "Gaussian mixture")):
            _scatter(axes, found, predicted, names, i, j)
            axes.set_title(f"{what}: eigenvectors {i + 1} and {j + 1}", fontsize=9)
            axes.set_xlabel(f"$\\sqrt{{Kn}}\\,u_{{{i + 1}}}$")
        left.set_ylabel(f"$\\sqrt{{Kn}}\\,u_{{{j + 1}}}$")
    marks = [
        Line2D([], [], ls="", marker=_marker(a), color=_colour(a), ms=6, label=f"class {name}" if name else "images")
        for a, name in enumerate(names)
    ]
    marks.append(Line2D([], [], ls="", marker="o", mfc="white", mec="black", ms=9, label="predicted mean"))
    marks.append(Line2D([], [], color="black", lw=1, label="predicted, 2 std"))
    figure.legend(handles=marks, loc="outside right upper", fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def _scatter(axes: Axes, found: Leading, predicted: Prediction, names: tuple[str, ...], i: int, j: int) -> None:
    for a in range(len(names)):
        x, y = found.vectors[i, a, :SHOWN], found.vectors[j, a, :SHOWN]
        axes.scatter(x, y, s=10, marker=_marker(a), color=_colour(a), alpha=0.55, linewidths=0, rasterized=True)
    for a, name in enumerate(names):
        centre = (predicted.means[i, a], predicted.means[j, a])
        spread, axis = np.linalg.eigh(predicted.covariances[a][np.ix_([i, j], [i, j])])
        angle = float(np.degrees(np.arctan2(axis[1, 1], axis[0, 1])))
        width, height = 4 * np.sqrt(spread[::-1].clip(0))  # the whole axes of 2 standard deviations
        axes.add_patch(Ellipse(centre, width, height, angle=angle, fill=False, ec="white", lw=2.2, alpha=0.8))
        axes.add_patch(Ellipse(centre, width, height, angle=angle, fill=False, ec=_colour(a), lw=1.1))
        box = {"boxstyle": "circle,pad=0.2", "fc": "white", "ec": _colour(a), "lw": 1.4, "alpha": 0.9}
        axes.annotate(name or "x", centre, ha="center", va="center", fontsize=7, bbox=box, zorder=5)
    axes.axhline(0, color="0.8", lw=0.6, zorder=0)
    axes.axvline(0, color="0.8", lw=0.6, zorder=0)


def _colour(a: int) -> str:
    return COLOURS[a % len(COLOURS)]


def _marker(a: int) -> str:
    """Of another period than the colours', so that no two of 70 classes look alike."""
    return MARKERS[a % len(MARKERS)]
