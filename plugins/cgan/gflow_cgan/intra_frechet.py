"""The Frechet distance of each class by itself (`cgan.intra_frechet`; Miyato & Koyama 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import attrs
import numpy as np
from matplotlib.figure import Figure

from gflow_cgan.label_accuracy import of_class
from gflow_core import EncoderPart, FeatureMoments, Features, Result, Subject, frechet_distance, score_name

__all__ = ["intra_frechet"]

LABELLED = 30
"""Classes up to which each has its name on the axis."""


def intra_frechet(
    subject: Subject,
    *,
    encoder: EncoderPart | None,
    samples_per_class: int,
    real_samples_per_class: int | None,
    batch_size: int,
) -> Result:
    """The mean over classes, the worst, both beside two halves of the real items; table and figure by class."""
    data, n_fake = subject.data, samples_per_class
    assert data is not None
    assert data.shape.classes is not None
    features = Features.of(subject, encoder, batch_size)
    rows: list[dict[str, Any]] = []
    for label in range(data.shape.classes):
        only = of_class(subject, label, "cgan.intra_frechet", least=4)  # two halves of two
        own = attrs.evolve(features, subject=only)
        n_real = own.count(real_samples_per_class)
        half, other = map(FeatureMoments.of, own.real(n_real).tensor_split(2))
        fake = FeatureMoments.stream(own.encoded(n_fake, f"class {label}"))
        rows.append(
            {
                "class": label,
                "n_real": n_real,
                "distance": frechet_distance(half + other, fake),
                "distance_real_halves": frechet_distance(half, other),
                "rank_deficient": int(min(n_real, n_fake) <= features.encoder.dim),
            }
        )
    name = score_name("intra FID", "intra FD", features.encoder)
    worst = max(rows, key=lambda row: row["distance"])
    return Result(
        scores={
            name: fmean(row["distance"] for row in rows),
            f"{name}_real_halves": fmean(row["distance_real_halves"] for row in rows),
            f"{name}_worst": worst["distance"],
            "worst_class": str(worst["class"]),
            "rank_deficient": max(row["rank_deficient"] for row in rows),
        },
        tables={"classes": rows},
        figures={"classes": _figure(rows, f"step {subject.step}, {name}")},
        manifest=features.manifest(
            n_real=sum(row["n_real"] for row in rows),
            n_fake=n_fake * len(rows),
            n_real_per_class=[row["n_real"] for row in rows],
            n_fake_per_class=n_fake,
        ),
    )


def _figure(rows: Sequence[dict[str, Any]], title: str) -> Figure:
    """A pair of bars a class."""
    places = np.arange(len(rows))
    few = len(rows) <= LABELLED
    figure = Figure(figsize=(max(6.2, min(14.0, 0.45 * len(rows) + 1.5)), 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(places - 0.2, [row["distance"] for row in rows], 0.4, color="tab:blue", label="samples")
    axes.bar(
        places + 0.2,
        [row["distance_real_halves"] for row in rows],
        0.4,
        color="0.75",
        label="two halves of the real items",
    )
    mean = fmean(row["distance"] for row in rows)
    axes.axhline(mean, color="tab:blue", linewidth=1, linestyle="--", label=f"mean over classes, {mean:.4g}")
    if few:
        axes.set_xticks(places, [str(row["class"]) for row in rows])
    axes.margins(x=0.02)
    axes.set(xlabel="class", ylabel="Frechet distance")
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    return figure
