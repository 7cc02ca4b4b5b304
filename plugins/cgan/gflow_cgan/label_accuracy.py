"""Whether a classifier sees in a sample the class that it was asked for (`cgan.label_accuracy`)."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gflow_core import (
    DataError,
    DataShape,
    Encoder,
    EncoderPart,
    Features,
    GflowError,
    Result,
    Source,
    Subject,
    held_out,
    real_index,
)

__all__ = ["confusion", "label_accuracy", "of_class"]

NUMBERED = 20
"""Classes up to which the numbers stand in the cells of the picture."""


def of_class(subject: Subject, label: int, analyzer: str, least: int = 1) -> Subject:
    """The subject with the items of one class for its data, so that its samples are asked for that class too.

    Raises DataError where the data has fewer than `least` of them.
    """
    data = subject.data
    assert data is not None
    assert data.y is not None
    index = (data.y == label).nonzero()[:, 0]
    if len(index) < least:
        raise DataError(
            f"{analyzer}: class {label} has {len(index)} items in the data, and {least} are needed; take more data "
            "(dataset.limit), or a data set with items of every class (dataset.classes)"
        )
    own = f"{data.fingerprint}, class {label}"
    return attrs.evolve(subject, data=attrs.evolve(data, x=data.x[index], y=data.y[index], fingerprint=own, joints=()))


def check_classes(encoder: Encoder, data: DataShape, device: torch.device) -> None:
    """Raise GflowError where the classifier knows another number of classes than the data has."""
    known = encoder.classify(torch.zeros(1, *data.shape, device=device)).shape[1]
    if known != data.classes:
        raise GflowError(
            f"cgan.label_accuracy: {encoder.name} knows {known} classes and the data has {data.classes}; choose an "
            "encoder that was trained on the classes of the data"
        )


def label_accuracy(
    subject: Subject, *, encoder: EncoderPart, samples_per_class: int, real_samples: int, batch_size: int
) -> Result:
    """Accuracy of samples and of real items, tables `classes` and `confusion`, figure `confusion`."""
    data, n = subject.data, samples_per_class
    assert data is not None
    assert data.shape.classes is not None
    classes = data.shape.classes
    features = Features.of(subject, encoder, batch_size)
    classifier = features.encoder

    real_data, words = _real(subject)
    n_real = min(real_samples, len(real_data))
    check_classes(classifier, data.shape, subject.runtime.device)
    logits = features.real(n_real, real_data, classifier.classify)
    assert real_data.y is not None
    real = confusion(real_data.y[real_index(real_data, n_real)], logits.argmax(1), classes)

    seen = []
    for label in range(classes):
        own = attrs.evolve(features, subject=of_class(subject, label, "cgan.label_accuracy"))
        seen.append(own.fake(n, f"class {label}", classifier.classify).argmax(1))
    counts = confusion(torch.arange(classes).repeat_interleave(n), torch.cat(seen), classes)

    by_class = counts.diagonal().double() / n
    name = f"label_accuracy({classifier.name})"
    scores: dict[str, float | int | str | None] = {}
    for suffix, found in (("", counts), ("_real", real)):
        accuracy, total = int(found.diagonal().sum()) / int(found.sum()), int(found.sum())
        scores |= {f"{name}{suffix}": accuracy, f"{name}{suffix}_se": (accuracy * (1 - accuracy) / total) ** 0.5}
    scores |= {f"{name}_worst": float(by_class.min()), "worst_class": str(int(by_class.argmin()))}
    title = (
        f"step {subject.step}, {classifier.name}\n"
        f"seen as asked: {scores[name]:.1%}; of real items right: {scores[f'{name}_real']:.1%}"
    )
    return Result(
        scores=scores,
        tables={
            "classes": [_row(label, counts, real) for label in range(classes)],
            "confusion": [
                {"asked": label, **{f"seen {other}": int(c) for other, c in enumerate(row)}}
                for label, row in enumerate(counts)
            ],
        },
        figures={"confusion": _figure(counts, title)},
        manifest=features.manifest(
            n_real=n_real, n_fake=classes * n, real_split=words, real_data=real_data.fingerprint
        ),
    )


def _real(subject: Subject) -> tuple[Source, str]:
    """Real items to classify, and which they are in words: those not trained on, where the data set has such."""
    assert subject.data is not None
    part = subject.spec.dataset
    other = held_out(part)
    if other is None:
        return subject.data, "training data (the data set has no other split)"
    words = f"{other.split} split" + (", part of the training data" if part.split == "all" else "")
    return other.load(subject.progress), words


def confusion(asked: Tensor, seen: Tensor, classes: int) -> Tensor:
    """How often each class asked for (row) is seen as each (column), [classes, classes]; asked and seen are [n]."""
    return torch.bincount(asked * classes + seen, minlength=classes**2).view(classes, classes)


def _row(label: int, counts: Tensor, real: Tensor) -> dict[str, Any]:
    """What became of one class; empty what there is none of."""
    right, total = int(counts[label, label]), int(counts[label].sum())
    others = counts[label].clone()
    others[label] = 0
    wrong, n_real = int(others.argmax()), int(real[label].sum())
    return {
        "asked": label,
        "count": total,
        "seen_right": right,
        "accuracy": right / total,
        "accuracy_real": int(real[label, label]) / n_real if n_real else None,
        "most_frequent_wrong": wrong if others[wrong] else None,
        "wrong_count": int(others[wrong]),
    }


def _figure(counts: Tensor, title: str) -> Figure:
    """The shares of each row, as numbers where there is room for them."""
    classes = len(counts)
    shares = counts / counts.sum(1, keepdim=True)
    numbered = classes <= NUMBERED
    size = max(4.0, 0.45 * classes) if numbered else 7.0
    figure = Figure(figsize=(size + 1.2, size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the class asked for", shrink=0.85)
    if numbered:
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
        for row in range(classes):
            for column in range(classes):
                if counts[row, column]:
                    colour = "white" if shares[row, column] > 0.55 else "black"
                    text = str(int(counts[row, column]))
                    axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set(xlabel="class seen", ylabel="class asked for")
    axes.set_title(title, fontsize=10)
    return figure
