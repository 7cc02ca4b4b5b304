"""A linear classifier on the discriminator's convolutional layers (`dcgan.svm_features`), and on other features."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core import Diverged, GflowError, Progress, Result, Runtime, Source, Subject, derive, real_index
from gflow_dcgan.options import SvmOptions
from gflow_dcgan.splits import not_trained_on
from gflow_dcgan.untrained import calibrate_on_data, untrained

__all__ = [
    "Draw",
    "KMeansFeatures",
    "Svm",
    "balanced",
    "conv_features",
    "draws",
    "extract",
    "extractor",
    "finite",
    "lbfgs",
    "liblinear",
    "pooled",
    "standardize",
    "svm_features",
]

PATCHES = 1 << 22
"""Numbers of patches and of their activations that k-means features hold at once, a few times over."""

COLUMNS = 512
"""Features that are standardized at once: their float64 copies must stay small beside all of them."""

logger = logging.getLogger("gflow")

Array = np.ndarray[Any, np.dtype[Any]]
Extractor = Callable[[Tensor], Tensor]
"""Images [B, C, H, W] in [-1, 1] on the device -> features [B, d]."""


@attrs.frozen(eq=False)
class Draw:
    """Which training items one classifier learns from, and which ones choose its C; places in the data set."""

    learn: Array
    validate: Array


@attrs.frozen(eq=False)
class Fit:
    """A classifier and its accuracies (shares of 1)."""

    C: float
    train: float
    validation: float
    test: float
    converged: bool
    predicted: Array
    """Classes of the test items [m]."""
    tried: list[dict[str, Any]]
    """One row a C."""


def svm_features(subject: Subject, options: SvmOptions) -> Result:
    """Accuracies on the other split, of the discriminator's features and of the baselines'."""
    data, spec = subject.data, subject.spec
    assert data is not None
    assert data.y is not None
    test_part = not_trained_on(spec.dataset)
    test = test_part.load(subject.progress)
    classes = data.shape.classes
    assert classes is not None

    pool = real_index(data, options.train_samples or len(data)).numpy()
    chosen = list(draws(options, data.y.numpy(), pool, classes, subject.streams["draw"]))
    # Only what some draw uses is extracted.
    used = np.unique(np.concatenate([np.concatenate([draw.learn, draw.validate]) for draw in chosen]))
    tested = real_index(test, options.test_samples or len(test)).sort().values.numpy()
    y, y_test = data.y.numpy(), test.y.numpy()[tested]
    shuffled = torch.from_numpy(used)[torch.randperm(len(used), generator=subject.streams["calibrate"])]

    rows: list[dict[str, Any]] = []
    tried: list[dict[str, Any]] = []
    scores: dict[str, float | int | str | None] = {}
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for kind in ("discriminator", *options.baselines):
        read = extractor(kind, options, subject, data, shuffled)
        say = _named(subject.progress, kind)
        x = extract(read, data, used, options.batch_size, subject.runtime, say)
        x_test = extract(read, test, tested, options.batch_size, subject.runtime, say)
        del read
        if not (finite(x) and finite(x_test)):
            raise Diverged(
                f"step {subject.step}: {kind} features are NaN or infinite; the discriminator has diverged: train with "
                "a lower rate, or analyze an earlier checkpoint"
            )
        if options.standardize:
            standardize(x, x_test)
        fits = []
        for i, draw in enumerate(chosen):
            place = attrs.evolve(
                draw, learn=np.searchsorted(used, draw.learn), validate=np.searchsorted(used, draw.validate)
            )
            fits.append(_fit(options, x, y[used], place, x_test, y_test, derive(subject.streams.seed, f"svm.{i}")))
            subject.progress(f"{kind}: classifiers", i + 1, len(chosen))
        rows.append(_row(kind, x.shape[1], fits))
        tried += [{"features": kind, "draw": i, **row} for i, fit in enumerate(fits) for row in fit.tried]
        accuracy = rows[-1]["test_accuracy"]
        scores |= {f"accuracy_{kind}": accuracy, f"error_{kind}": 1 - accuracy}
        if len(fits) > 1:
            scores[f"accuracy_{kind}_std"] = rows[-1]["test_std"]
        if kind == "discriminator":
            for fit in fits:
                np.add.at(confusion, (y_test, fit.predicted), 1)
        if not rows[-1]["converged"]:
            logger.warning(
                "dcgan.svm_features: a classifier on %s features stopped at max_iter = %d iterations, before it "
                "converged; raise max_iter or tolerance, or lower C",
                kind,
                options.max_iter,
            )
    return Result(
        scores=scores,
        tables={"accuracy": rows, "choice_of_C": tried, "confusion": _confusion_rows(confusion)},
        figures={"accuracy": _bars(rows, classes, subject.step), "confusion": _confusion(confusion, subject.step)},
        manifest={
            **subject.protocol(),
            # of the discriminator's and the random features alike
            "batch_norm": "statistics of training images",
            "layers": "activations (conv_features)"
            if hasattr(subject.discriminator, "conv_features")
            else "outputs of convolutions (hooks)",
            "test_split": test_part.split,
            "test_data": test.fingerprint,
            "n_learned": len(chosen[0].learn) + (len(chosen[0].validate) if options.labels is None else 0),
            "n_validation": len(chosen[0].validate),
            "n_test": len(tested),
            "labels": options.labels,
            "repeats": options.repeats,
            "grid": options.grid,
            "standardize": options.standardize,
            "C": list(options.C),
            "solver": options.solver,
            "tolerance": options.tolerance,
            "max_iter": options.max_iter,
            "kmeans": [options.kmeans_centroids, options.kmeans_patches, options.kmeans_size]
            if "kmeans" in options.baselines
            else None,
        },
    )


# ------------------------------------------------------------------ which items


def draws(options: SvmOptions, y: Array, pool: Array, classes: int, generator: torch.Generator) -> Iterator[Draw]:
    """The items of each classifier, from the places `pool` of a data set with labels y.

    Raises GflowError where they do not suffice.
    """
    count = options.validation or max(1, len(pool) // 10)
    missing = np.setdiff1d(np.arange(classes), y[pool])
    if len(missing):
        raise GflowError(
            f"dcgan.svm_features: none of the {len(pool):,} training items is of class {missing[0]}; raise "
            "train_samples or dataset.limit"
        )
    for _ in range(options.repeats):
        order = pool[torch.randperm(len(pool), generator=generator).numpy()]
        if options.labels is None:
            learn, rest = order[count:], order[:count]
        else:
            learn = balanced(order, y, options.labels // classes, classes)
            rest = order[~np.isin(order, learn)][:count]
        if len(rest) < count or not len(learn):
            raise GflowError(
                f"dcgan.svm_features: {len(pool):,} training items are too few for validation = {count:,} beside "
                f"those learned from; lower validation{'' if options.labels is None else ' or labels'}"
            )
        if len(missing := np.setdiff1d(np.arange(classes), y[learn])):
            raise GflowError(
                f"dcgan.svm_features: no item of class {missing[0]} is left to learn from; lower validation or raise "
                "train_samples"
            )
        yield Draw(learn, rest)


def balanced(order: Array, y: Array, each: int, classes: int) -> Array:
    """The first `each` items of every class, of places `order` in a data set with labels y, in that order."""
    kept = np.zeros(len(order), dtype=bool)
    for label in range(classes):
        places = np.flatnonzero(y[order] == label)
        if len(places) < each:
            raise GflowError(
                f"dcgan.svm_features: labels asks for {each:,} items of every class, and class {label} has "
                f"{len(places):,}; lower labels to {len(places) * classes:,} or less"
            )
        kept[places[:each]] = True
    return order[kept]


# ------------------------------------------------------------------ features


def extract(
    extractor: Extractor, data: Source, index: Array, batch_size: int, runtime: Runtime, progress: Progress
) -> Array:
    """Features of the items at `index`, [n, d] float32, written where they stay."""
    out: Tensor | None = None
    places, done = torch.from_numpy(index), 0
    for piece in places.split(batch_size):
        with torch.inference_mode(), runtime.autocast():
            found = extractor(data.batch(piece, runtime.device).x)
        if out is None:
            out = torch.empty(len(index), found.shape[1])
        out[done : done + len(piece)] = found.cpu()  # widened here: bf16 is half the bytes to bring over
        done += len(piece)
        progress("features", done, len(index))
    assert out is not None
    return out.numpy()


def conv_features(module: nn.Module, x: Tensor, grid: int) -> Tensor:
    """All convolutional layers' maps of x, pooled, flattened and concatenated in the order of execution: [B, d].

    They are `conv_features` of networks that have it, else the output of each nn.Conv2d. Raises GflowError where
    there are none.
    """
    own: Any = getattr(module, "conv_features", None)
    if own is not None:
        return torch.cat([pooled(h, grid) for h in own(x)], 1)
    found: list[Tensor] = []
    with ExitStack() as stack:
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                # Pooled at once: what follows may work in place, as ReLU does.
                handle = layer.register_forward_hook(lambda _layer, _given, out: found.append(pooled(out, grid)))
                stack.callback(handle.remove)
        module(x)
    if not found:
        raise GflowError(
            f"dcgan.svm_features: the discriminator {type(module).__name__} has no convolutional layer (nn.Conv2d, or "
            "a method conv_features); use one that has, such as dcgan.six_conv"
        )
    return torch.cat(found, 1)


def pooled(h: Tensor, grid: int) -> Tensor:
    """Maps [B, C, H, W] max-pooled to grid x grid (smaller ones stay) and flattened: [B, C grid grid]."""
    height, width = (min(side, grid) for side in h.shape[2:])
    if h.shape[2] % height == 0 and h.shape[3] % width == 0:  # the same, faster
        return F.max_pool2d(h, (h.shape[2] // height, h.shape[3] // width)).flatten(1)
    return F.adaptive_max_pool2d(h, (height, width)).flatten(1)


def extractor(kind: str, options: SvmOptions, subject: Subject, data: Source, shuffled: Tensor) -> Extractor:
    """The features by name; what they have to know of training images they take from those at `shuffled`.

    Running batch-norm statistics of training are of real and generated items; `discriminator` and `random` have both
    theirs from the same images instead, and differ by weights alone.
    """
    if kind == "raw":
        return lambda x: x.flatten(1)
    if kind == "kmeans":
        return KMeansFeatures.fit(options, subject, data, shuffled)
    if kind == "random":
        module = untrained(subject, shuffled, options.batch_size)
    else:
        assert subject.discriminator is not None
        module = copy.deepcopy(subject.discriminator)  # training goes on with the run's own
        calibrate_on_data(module, subject, shuffled, options.batch_size)
    return lambda x: conv_features(module, x, options.grid)


@attrs.frozen(eq=False)
class KMeansFeatures:
    """One layer of k-means on whitened patches (Coates and Ng 2011): images [B, C, H, W] -> [B, 4 K].

    Each patch loses its mean and is divided by its standard deviation, and is ZCA-whitened. Its activations are max(0,
    mean distance - distance) to each of the K centroids, and each quadrant of the image sums those of its patches.
    """

    size: int
    mean: Tensor
    """Of the patches [d]."""
    whiten: Tensor
    """[d, d]."""
    centroids: Tensor
    """[K, d]."""

    @classmethod
    def fit(cls, options: SvmOptions, subject: Subject, data: Source, images: Tensor) -> KMeansFeatures:
        from sklearn.cluster import MiniBatchKMeans

        generator, size, n = subject.streams["kmeans"], options.kmeans_size, options.kmeans_patches
        which = images[torch.randint(len(images), (n,), generator=generator)]
        height, width = data.shape.shape[1:]
        rows = torch.randint(height - size + 1, (n,), generator=generator)
        columns = torch.randint(width - size + 1, (n,), generator=generator)
        side = torch.arange(size)
        at = (rows[:, None, None] + side[:, None], columns[:, None, None] + side)
        # [n, size, size, C] of uint8, never all the images of the patches
        patches = data.x.permute(0, 2, 3, 1)[which[:, None, None], at[0], at[1]]
        x = cls.normalised(patches.permute(0, 3, 1, 2).flatten(1).float() / 127.5 - 1)
        mean = x.mean(0)
        values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        whiten = vectors / (values.clamp(min=0) + 0.1).sqrt() @ vectors.T  # 0.1 keeps what is only noise small
        means = MiniBatchKMeans(
            options.kmeans_centroids,
            batch_size=4096,
            n_init=1,
            random_state=derive(subject.streams.seed, "kmeans") % 2**32,
        ).fit(((x - mean) @ whiten).numpy())
        subject.progress("kmeans: centroids", options.kmeans_centroids, options.kmeans_centroids)
        centroids = torch.from_numpy(means.cluster_centers_).to(x)
        device = subject.runtime.device
        return cls(size, mean.to(device), whiten.to(device), centroids.to(device))

    @staticmethod
    def normalised(patches: Tensor) -> Tensor:
        """Patches [n, d] in [-1, 1], each less its mean and over its standard deviation.

        The variance is raised by 10 squared 8-bit levels, so that flat patches stay flat.
        """
        patches = patches - patches.mean(1, keepdim=True)
        return patches / (patches.var(1, keepdim=True) + 10 / 127.5**2).sqrt()

    def __call__(self, x: Tensor) -> Tensor:
        side = (x.shape[2] - self.size + 1, x.shape[3] - self.size + 1)
        few = max(1, PATCHES // (side[0] * side[1] * max(len(self.centroids), len(self.mean))))
        with torch.autocast(x.device.type, enabled=False):
            return torch.cat([self._images(piece.contiguous(), side) for piece in x.split(few)])

    def _images(self, x: Tensor, side: tuple[int, int]) -> Tensor:
        patches = F.unfold(x, self.size).transpose(1, 2).flatten(0, 1)
        patches = (self.normalised(patches) - self.mean) @ self.whiten
        distance = torch.cdist(patches, self.centroids)
        active = F.relu(distance.mean(1, keepdim=True) - distance).view(len(x), *side, -1)
        halves = [half for rows in active.tensor_split(2, 1) for half in rows.tensor_split(2, 2)]
        return torch.cat([half.sum((1, 2)) for half in halves], 1)


def finite(x: Array) -> bool:
    """Whether no number of x is NaN or infinite, without a mask of its size."""
    return bool(np.isfinite([x.min(), x.max()]).all())


def standardize(x: Array, x_test: Array) -> None:
    """Mean 0 and variance 1 / d of each feature of x [n, d], in place, and x_test by the same numbers."""
    from sklearn.preprocessing import StandardScaler

    for start in range(0, x.shape[1], COLUMNS):
        columns = slice(start, start + COLUMNS)
        scaler = StandardScaler().fit(x[:, columns])
        for array in (x, x_test):
            array[:, columns] = scaler.transform(array[:, columns]) / np.sqrt(x.shape[1])


def _named(progress: Progress, kind: str) -> Progress:
    return lambda what, done, total: progress(f"{kind}: {what}", done, total)


# ------------------------------------------------------------------ classifiers


@attrs.frozen(eq=False)
class Svm:
    """An L2-SVM, one class against the rest: the class of x is that of the largest x w + b."""

    weight: Array
    """[d, classes], float32."""
    bias: Array
    """[classes]."""
    iterations: int
    converged: bool

    def predict(self, x: Array) -> Array:
        """Classes of x [n, d], [n]."""
        predicted: Array = (x @ self.weight + self.bias).argmax(1)
        return predicted

    def accuracy(self, x: Array, y: Array) -> float:
        return float((self.predict(x) == y).mean())


def liblinear(x: Array, y: Array, *, C: float, tolerance: float, max_iter: int, seed: int = 0) -> Svm:  # noqa: N803
    """min over w, b of |w|^2 / 2 + b^2 / 2 + C sum max(0, 1 - t (x w + b))^2, t = 1 on one class and -1 on the rest.

    x [n, d] float32; y [n] holds every class 0, 1, ... By scikit-learn's LinearSVC: a class after the other, the dual
    where there are more features than items, else the primal.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    svm = LinearSVC(C=C, dual="auto", tol=tolerance, max_iter=max_iter, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said by `converged`
        svm.fit(x, y)
    weight, bias = svm.coef_.T.astype(np.float32), svm.intercept_.astype(np.float32)
    if len(bias) == 1:  # of two classes it fits the second
        weight, bias = np.concatenate([-weight, weight], 1), np.concatenate([-bias, bias])
    iterations = int(np.max(svm.n_iter_))
    return Svm(weight, bias, iterations, iterations < max_iter)


def lbfgs(x: Array, y: Array, *, C: float, tolerance: float, max_iter: int, seed: int = 0) -> Svm:  # noqa: N803
    """The same minimum by scipy's L-BFGS, all classes at once: two products with x an iteration, in float32.

    It ends where the largest gradient is `tolerance` times that at 0. (`seed` is for the other solver.)
    """
    from scipy.optimize import minimize

    classes = int(y.max()) + 1
    target = np.where(y[:, None] == np.arange(classes), np.float32(1), np.float32(-1))

    def objective(flat: Array) -> tuple[float, Array]:
        w = flat.reshape(-1, classes).astype(np.float32)
        gap = np.maximum(1 - target * (x @ w[:-1] + w[-1]), 0)
        slope = -2 * C * target * gap
        gradient = np.concatenate([x.T @ slope, slope.sum(0, keepdims=True)]).ravel()
        return float(flat @ flat) / 2 + C * float(np.square(gap).sum(dtype=np.float64)), flat + gradient

    start = np.zeros((x.shape[1] + 1) * classes)
    _, gradient = objective(start)
    options = {"maxiter": max_iter, "maxfun": 2 * max_iter, "gtol": tolerance * np.abs(gradient).max(), "ftol": 0}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    w = found.x.reshape(-1, classes).astype(np.float32)
    return Svm(w[:-1], w[-1], int(found.nit), bool(found.success))


SOLVERS = {"liblinear": liblinear, "lbfgs": lbfgs}


def _fit(options: SvmOptions, x: Array, y: Array, draw: Draw, x_test: Array, y_test: Array, seed: int) -> Fit:
    """The classifier of the C that does best on the validation items; of equals the smallest C."""

    def learn(x: Array, y: Array, C: float) -> Svm:  # noqa: N803
        solve = SOLVERS[options.solver]
        return solve(x, y, C=C, tolerance=options.tolerance, max_iter=options.max_iter, seed=seed % 2**31)

    given, labels = x[draw.learn], y[draw.learn]
    chosen, validation, tried = None, -1.0, []
    for C in sorted(options.C):  # noqa: N806
        svm = learn(given, labels, C)
        accuracy = svm.accuracy(x[draw.validate], y[draw.validate])
        tried.append(
            {"C": C, "validation_accuracy": accuracy, "iterations": svm.iterations, "converged": svm.converged}
        )
        if accuracy > validation:
            chosen, validation, best = svm, accuracy, C
    assert chosen is not None
    if options.labels is None:
        given, labels = x, y  # all of them
        chosen = learn(given, labels, best)
    predicted = chosen.predict(x_test)
    return Fit(
        C=best,
        train=chosen.accuracy(given, labels),
        validation=validation,
        test=float((predicted == y_test).mean()),
        converged=chosen.converged,
        predicted=predicted,
        tried=tried,
    )


def _row(kind: str, features: int, fits: list[Fit]) -> dict[str, Any]:
    """Means over the draws; the standard deviation is of the accuracies of single draws."""
    tests = np.array([fit.test for fit in fits])
    ends = {fits[0].tried[0]["C"], fits[0].tried[-1]["C"]}
    return {
        "features": kind,
        "n_features": features,
        "train_accuracy": float(np.mean([fit.train for fit in fits])),
        "validation_accuracy": float(np.mean([fit.validation for fit in fits])),
        "test_accuracy": float(tests.mean()),
        "test_std": float(tests.std(ddof=1)) if len(tests) > 1 else None,
        "C": " ".join(f"{C:g}" for C in sorted({fit.C for fit in fits})),
        "C_at_end": len(ends) > 1 and any(fit.C in ends for fit in fits),
        "converged": all(fit.converged for fit in fits),
    }


# ------------------------------------------------------------------ pictures


def _confusion_rows(confusion: Array) -> list[dict[str, Any]]:
    return [
        {"class": label, **{f"predicted_{k}": int(count) for k, count in enumerate(row)}}
        for label, row in enumerate(confusion)
    ]


def _confusion(confusion: Array, step: int) -> Figure:
    """Shares of each class's test items by predicted class."""
    classes = len(confusion)
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(6.2, 5.4), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if classes <= 20:
        axes.set(xticks=range(classes), yticks=range(classes))
        for (row, column), value in np.ndenumerate(share):
            colour = "white" if value > 0.5 else "0.2"
            size = 9 if classes <= 10 else 5
            axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=size)
    axes.set(xlabel="predicted class", ylabel="class")
    figure.colorbar(image, ax=axes, label="share of the class's test items (numbers: %)")
    axes.set_title(f"L2-SVM on the discriminator's features, step {step:,}", fontsize=10, loc="left")
    return figure


def _bars(rows: list[dict[str, Any]], classes: int, step: int) -> Figure:
    """Accuracy of each kind of features on test and on training items."""
    figure = Figure(figsize=(6.4, 1.4 + 0.75 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    test = [row["test_accuracy"] for row in rows]
    axes.barh(places - 0.19, [row["train_accuracy"] for row in rows], 0.36, color="0.75", label="items learned from")
    axes.barh(
        places + 0.19,
        test,
        0.36,
        color="#2166AC",
        xerr=[row["test_std"] or 0 for row in rows] if any(row["test_std"] for row in rows) else None,
        label="test items",
    )
    for place, row in zip(places, rows, strict=True):
        spread = "" if row["test_std"] is None else f" \u00b1 {100 * row['test_std']:.1f}"
        text = f"{100 * row['test_accuracy']:.1f}{spread} %"
        axes.text(1.015, place + 0.19, text, va="center", color="#2166AC", fontsize=8)
    axes.axvline(1 / classes, color="black", linewidth=1, linestyle="--", label="chance")
    axes.set_yticks(places, [f"{row['features']}\n{row['n_features']:,} features" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="accuracy", xlim=(0, 1))
    axes.set_title(f"L2-SVM on features, step {step:,}", fontsize=10, loc="left")
    figure.legend(loc="outside lower center", ncols=3, fontsize="small", frameon=False)
    return figure
