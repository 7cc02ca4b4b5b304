"""Gram spectra under every law of z times every law of t (`rmt.noise_laws`).

The paper's sections 6.3 and 6.4: is the spectrum of a GAN's features invariant to the law of z, and that of the mixture
to the law of t? All laws of t, standardised, give mixtures of the same means and the same covariances (the paper has
them differ for t = +-1; what differs is the law).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import attrs
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gflow_core import Latent, Result, Streams, Subject, grid_figure, image_grid
from gflow_rmt.options import Represented
from gflow_rmt.representation import Representation, law_name
from gflow_rmt.rotation import Rows, from_centre, resolved
from gflow_rmt.spectra import Floats, distance, gram_eigenvalues, share_above
from gflow_rmt.spectrum import READING, log_bins, overlay, remark, scored

__all__ = ["apart", "noise_laws"]

LISTED = 6
"""Eigenvalues in the table."""
COLUMNS = 10
"""Images in a row of the grid_figure."""


@attrs.frozen(eq=False)
class Found:
    """Spectra under one law of z: of the features (first), and of rotations of them (others)."""

    samples: list[Floats]
    mixtures: list[list[Floats]]
    """By law of t: the mixture fitted to the same features, and to the same rotations."""
    floor: list[Floats]
    """Further draws from the first of these mixtures, under the first law of t."""
    variance: float
    """Of a feature within its class, the mean over features."""
    effective_rank: float | None
    """Of the covariance within a class, (tr C)^2 / tr C^2, the mean over classes; at most N - 1. None where it is 0."""


def noise_laws(
    subject: Subject,
    options: Represented,
    *,
    laws_z: Sequence[Latent],
    laws_t: Sequence[Latent],
    reference: int,
    repeats: int,
) -> Result:
    """Distances of GAN and mixture for every pair of laws; of every law from the first; pictures of all."""
    representation, streams = Representation.of(subject, options), subject.streams
    z_names, t_names = ([law_name(law) for law in laws] for laws in (laws_z, laws_t))
    # The place of a law names its streams: a law that is added at the end changes no number of those before it.
    found, note = [], ""
    for i, law in enumerate(laws_z):
        own = streams.fork(f"z{i}")
        what = f"law {i + 1} of {len(laws_z)} of z, "
        features = representation.draw(options.N, own.fork("features"), z=law, what=f"{what}features")
        found.append(_spectra(representation, features, own, what, laws_t, reference, repeats))
        note = remark(options, features)
    again = []
    for i in range(repeats):
        x = representation.draw(options.n, streams.fork(f"repeat{i}"), z=laws_z[0], what=None)
        again.append(resolved(gram_eigenvalues(x)))
        subject.progress("samples under the first law of z", i + 1, repeats)

    laws, normal, pairs, leading, by_z, by_t = [], [], [], [], [], []
    for z, law, one in zip(z_names, laws_z, found, strict=True):
        sample = one.samples[0]
        laws.append({"z": z, **_moments(law), "feature_variance": one.variance, "effective_rank": one.effective_rank})
        normal.append({"z": z, **scored("", from_centre(one.samples), two_sided=False)})
        leading.append({"z": z, "of": "GAN", **_leading(sample)})
        by_z.append({"z": z, **apart(again, sample)})
        for t, mixtures in zip(t_names, one.mixtures, strict=True):
            distances = [distance(a, b) for a, b in zip(one.samples, mixtures, strict=True)]
            pairs.append({"z": z, "t": t, **scored("", distances)})
            leading.append({"z": z, "of": f"mixture, t {t}", **_leading(mixtures[0])})
            by_t.append({"z": z, "t": t, **apart(one.floor, mixtures[0])})

    figures = {
        "spectra": _grid(options, found, t_names, pairs, subject.step),
        "invariance": _invariance(z_names, t_names, found, again),
    }
    if representation.shape.kind == "image":
        figures["samples"] = _picture(representation, laws_z, z_names)
    return Result(
        scores=_summary(pairs, by_z, by_t),
        tables={
            "laws_z": laws,
            "normal_features": normal,
            "pairs": pairs,
            "eigenvalues": leading,
            "invariance_z": by_z,
            "invariance_t": by_t,
        },
        figures=figures,
        manifest=representation.manifest(
            z=z_names,
            t=t_names,
            reference=f"rotation test, {reference} rotations",
            repeats=repeats,
            remark=f"{note}; the first law of z is what others are compared with, and a generator knows only the law "
            "it was trained on; t is standardised, so every law of t has the same covariance",
        ),
    )


def _spectra(
    representation: Representation,
    features: Tensor,
    streams: Streams,
    what: str,
    laws_t: Sequence[Latent],
    reference: int,
    repeats: int,
) -> Found:
    """Everything that one law of z's features [K, N, p] give."""
    n = representation.options.n
    rows = Rows.of(features)
    noises = [rows.noise(n, law, streams[f"t{j}"]) for j, law in enumerate(laws_t)]
    samples: list[Floats] = []
    mixtures: list[list[Floats]] = [[] for _ in laws_t]
    for i, q in enumerate(rows.rotated(reference, streams["rotation"])):
        moments, sample = representation.split(q)
        samples.append(rows.eigenvalues(sample))
        for spectra, noise in zip(mixtures, noises, strict=True):
            spectra.append(rows.eigenvalues(rows.mixture(moments, noise)))
        representation.subject.progress(f"{what}rotations", i, reference)
    moments, _ = representation.split(rows.identity())
    floor = []
    for _ in range(repeats):
        noise = rows.noise(n, laws_t[0], streams["floor"])
        floor.append(rows.eigenvalues(rows.mixture(moments, noise)))
    centred = (features - features.mean(1, keepdim=True)).double()
    inner = centred @ centred.mT
    trace, squares = inner.diagonal(dim1=1, dim2=2).sum(1), inner.square().sum((1, 2))
    rank = float((trace.square() / squares).mean()) if bool(squares.all()) else None
    return Found(samples, mixtures, floor, float(centred.square().mean()), rank)


def apart(equals: list[Floats], other: Floats) -> dict[str, float | None]:
    """How far a spectrum is from several of one law, over how far those are from each other, and a p-value.

    If it is of their law too, all are exchangeable, and the share of them whose mean distance from the rest is as large
    is an exact p-value.
    """
    pool = [*equals, other]
    distances = [[distance(a, b) for b in pool] for a in pool]
    found: dict[str, float | None] = {}
    for name in ("ks", "wasserstein"):
        d = np.array([[getattr(one, name) for one in row] for row in distances])
        n = len(equals)
        floor = float(d[:n, :n].sum() / (n * (n - 1)))
        far = (d.sum(1) / n).tolist()
        found |= {
            name: far[n],
            f"{name}_floor": floor,
            f"{name}_ratio": far[n] / floor if floor else None,
            f"{name}_p": share_above(far[n], far[:n]),
        }
    return found


def _leading(values: Floats) -> dict[str, float]:
    """The largest eigenvalues, a column each."""
    return {f"lambda_{i}": value for i, value in enumerate(values[:LISTED].tolist(), 1)}


def _moments(law: Latent) -> dict[str, float | None]:
    """Of z, where the law states them."""
    moments = law.moments() if hasattr(law, "moments") else None
    return {f"z_{name}": getattr(moments, name, None) for name in ("mean", "variance", "covariance")}


def _summary(
    pairs: list[dict[str, Any]], by_z: list[dict[str, Any]], by_t: list[dict[str, Any]]
) -> dict[str, float | int | str | None]:
    """The worst of each table, and how many it is the worst of: the smallest of many p-values is small by chance."""
    least = min(pairs, key=lambda row: row["ks_p"])
    found: dict[str, float | int | str | None] = {
        "mixture_ks_p_least": least["ks_p"],
        "mixture_ks_p_least_at": f"z {least['z']}, t {least['t']}",
        "pairs": len(pairs),
    }
    for name, rows in (("z", by_z[1:]), ("t", [row for row in by_t if row["t"] != by_t[0]["t"]])):
        if rows:
            worst = max(rows, key=lambda row: row["ks_ratio"] or 0.0)
            found |= {f"{name}_ks_ratio_most": worst["ks_ratio"], f"{name}_ks_ratio_most_at": worst[name]}
    return found | {"note": READING}


# ------------------------------------------------------------------ pictures


def _grid(
    options: Represented, found: list[Found], t_names: list[str], pairs: list[dict[str, Any]], step: int
) -> Figure:
    """A row a law of z, a column a law of t: the two histograms of each pair, over one axis."""
    rows, columns = len(found), len(t_names)
    figure = Figure(figsize=(1.2 + 3.6 * columns, 0.9 + 1.75 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    edges = log_bins([*(one.samples[0] for one in found), *(m[0] for one in found for m in one.mixtures)], 40)
    for axes, (i, j), row in zip(panels.flat, product(range(rows), range(columns)), pairs, strict=True):
        sample, mixture = found[i].samples[0], found[i].mixtures[j][0]
        overlay(axes, sample, mixture, edges)
        title = f"KS {row['ks']:.3f} (normal features {row['ks_chance']:.3f}, p = {row['ks_p']:.2g})"
        axes.set_title(f"t {row['t']}\n{title}" if i == 0 else title, fontsize=8)
        zeros = [float((values == 0).mean()) for values in (sample, mixture)]
        if any(zeros):
            axes.text(
                0.98,
                0.94,
                f"at 0\nGAN {zeros[0]:.0%}\nmixture {zeros[1]:.0%}",
                transform=axes.transAxes,
                ha="right",
                va="top",
                fontsize=7,
            )
        axes.tick_params(labelsize=7)
    for axes, row in zip(panels[:, 0], pairs[::columns], strict=True):
        axes.set_ylabel(f"z {row['z']}".replace("(", "\n("), fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel(r"eigenvalue $\lambda$ of $XX^\top/p$", fontsize=8)
    figure.suptitle(
        f"Share of the eigenvalues per decade, step {step:,}\n{options.K} x {options.n} images, mixture from "
        f"{options.K} x {options.m} ({options.moments})",
        fontsize=9,
    )
    handles = panels[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    return figure


PALETTE = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")
STYLES = ("-", "--", ":", "-.")


def _invariance(z_names: list[str], t_names: list[str], found: list[Found], again: list[Floats]) -> Figure:
    """Distribution functions: of the features under every law of z, and of one mixture under every law of t."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    _functions(left, z_names, [one.samples[0] for one in found], again)
    _functions(right, t_names, [m[0] for m in found[0].mixtures], found[0].floor)
    left.set_title("GAN, by law of z; grey: repeats under the first", fontsize=9, loc="left")
    right.set_title(f"mixture, by law of t (z {z_names[0]}); grey: repeats under the first", fontsize=9, loc="left")
    left.set(ylabel="share of the eigenvalues below")
    for axes in (left, right):
        axes.set_xlabel(r"$\lambda$")
        axes.legend(fontsize=8, loc="upper left")
    return figure


def _functions(axes: Axes, names: list[str], spectra: list[Floats], equals: list[Floats]) -> None:
    for values in equals:
        axes.step(values[::-1], np.arange(1, len(values) + 1) / len(values), where="post", color="0.8", lw=3)
    for i, (name, values) in enumerate(zip(names, spectra, strict=True)):
        style = STYLES[(i + i // len(PALETTE)) % len(STYLES)]
        shares = np.arange(1, len(values) + 1) / len(values)
        axes.step(values[::-1], shares, where="post", color=PALETTE[i % len(PALETTE)], ls=style, lw=1.4, label=name)
    axes.set_xscale("log")


def _picture(representation: Representation, laws: Sequence[Latent], names: list[str]) -> Figure:
    """Samples under each law of z, a row a law, some of each class."""
    classes = representation.options.K
    each = -(-COLUMNS // classes)
    rows = []
    for i, law in enumerate(laws):
        streams = representation.subject.streams.fork(f"picture{i}")
        images = torch.cat([x.cpu() for x in representation.images(each, streams, z=law)])
        rows.append(images.unflatten(0, (classes, each)).transpose(0, 1).flatten(0, 1)[:COLUMNS])
    return grid_figure(image_grid(torch.cat(rows), representation.shape, len(rows[0])), names)
