"""Spectra with a generator's weights resampled (`rmt.resample_weights`).

The paper's section 8 samples a layer's weights "from a distribution and keeping the relative magnitude of the weights,
but not the exact value", and claims "that the eigenvalue structure is invariant to the specific weights" (its figure 8:
eigenvalues 2 to 6 of the Gram matrix with trained weights and with one layer's weights resampled).

Two claims are kept apart here: that the spectrum is the same (against spectra of the trained weights with other z), and
that features still have the spectrum of a Gaussian mixture, of moments of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.spatial.distance import cdist
from torch import Generator, Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from gflow_core import GflowError, Latent, Result, Streams, Subject, image_grid, seeded
from gflow_rmt.options import Represented, Surrogate
from gflow_rmt.representation import Representation, law_name
from gflow_rmt.rotation import Pair, resolved, rotated_pairs
from gflow_rmt.spectra import Floats, distance, gram_eigenvalues, share_above
from gflow_rmt.spectrum import log_bins, overlay, remark, scored
from gflow_rmt.surrogate import Mixture

if TYPE_CHECKING:
    from gflow_core import Spec

__all__ = ["analyze", "check_layers", "contrast", "effective_weight", "layers_of", "resampled"]

LAST = 6
"""Eigenvalues 2 to this one are looked at one by one, as in the paper's figure 8."""

PERMUTATIONS = 999
"""Of the labels of the spectra, for the p-value of their difference."""

COLOURS = {"trained": "black", "resampled": "#CC79A7"}
MANY = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
"""Okabe and Ito's, for eigenvalues 2 to 6."""

COLUMNS = 8
"""Images of each class in the picture."""


# ------------------------------------------------------------------ weights


def layers_of(module: nn.Module) -> dict[str, nn.Module]:
    """The linear, convolution and transposed-convolution layers, by name."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear | _ConvNd)}


def effective_weight(layer: nn.Module) -> Tensor:
    """The weight that the layer multiplies by in eval mode, normalised where the layer normalises it; a copy."""
    with torch.no_grad():
        if hasattr(layer, "weight_u"):  # torch.nn.utils.spectral_norm, whose `weight` is of its last forward
            weight, u, v = _spectral(layer)
            return weight / u.dot(_matrix(weight, layer) @ v)
        found = layer.weight
        assert isinstance(found, Tensor)
        return found.clone()


def _spectral(layer: nn.Module) -> list[Tensor]:
    """What torch.nn.utils.spectral_norm, and whoever follows its names, normalises a weight by: W, u and v."""
    return [tensor for name in ("orig", "u", "v") if isinstance(tensor := getattr(layer, f"weight_{name}"), Tensor)]


def chosen(module: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """The layers whose names fit one of the patterns. GflowError where a pattern fits none."""
    layers = layers_of(module)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in layers):
            names = ", ".join(layers) or "none"
            raise GflowError(
                f"rmt.resample_weights: no layer of the sampler is called {pattern!r}; set layers to some of: {names}"
            )
    return {name: layer for name, layer in layers.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}


def check_layers(spec: Spec, patterns: Sequence[str]) -> None:
    """GflowError where a pattern fits no layer of the recipe's sampler."""
    with seeded(0):
        chosen(spec.sampler.build(spec.data_shape()), patterns)


@torch.no_grad()
def resampled(sampler: nn.Module, layers: Sequence[str], law: str, generator: Generator) -> nn.Module:
    """A copy of the sampler, in eval mode, with other values in the effective weights of the named layers.

    `layers` are names as `layers_of` has them, with * and ?. Values come, layer by layer, from the CPU generator: of a
    normal law with the mean and variance of the layer's, then brought to exactly its Frobenius norm (law "normal"), or
    a permutation of its own ("permutation"). Biases, batch norm and its running statistics stay. What a spectral norm
    makes of a weight is resampled, and not normalised again. GflowError where a name fits no layer, or a layer's weight
    cannot be set.
    """
    # A weight that a hook has computed with a graph cannot be copied as it is.
    memo = {
        id(value): value.clone()
        for module in sampler.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    copy = deepcopy(sampler, memo).eval()
    for name, layer in chosen(copy, layers).items():
        weight = effective_weight(layer)
        values = weight.flatten().cpu().double()
        if law == "permutation":
            values = values[torch.randperm(len(values), generator=generator)]
        else:
            g = torch.randn(len(values), generator=generator, dtype=torch.float64)
            drawn = values.mean() + values.std(correction=0) * g
            values = drawn * (values.norm() / drawn.norm().clamp(min=torch.finfo(torch.float64).tiny))
        new = values.view(weight.shape).to(weight)
        _set_weight(layer, new)
        if not torch.allclose(effective_weight(layer), new, rtol=1e-3, atol=1e-5 * float(new.abs().max())):
            raise GflowError(
                f"rmt.resample_weights: layer {name} ({type(layer).__name__}) computes its weight in a way that is not "
                f"known here, so it cannot be set; leave it out of `layers`"
            )
    return copy


def _set_weight(layer: nn.Module, weight: Tensor) -> None:
    """Make `weight` the layer's effective one, if the layer is of a kind that is known."""
    if parametrize.is_parametrized(layer, "weight"):
        # One more, after the others: to remove them would take them from what the layer was copied from, too.
        parametrize.register_parametrization(layer, "weight", _Fixed(weight), unsafe=True)
    elif hasattr(layer, "weight_u"):
        original, u, v = _spectral(layer)
        onto = _matrix(weight, layer) @ v
        original.copy_(weight)
        u.copy_(onto / onto.dot(onto))  # in eval mode the layer divides by u'Wv, which this makes 1
    elif (parameter := layer._parameters.get("weight")) is not None:
        parameter.copy_(weight)


class _Fixed(nn.Module):
    """A parametrization that makes any weight this one."""

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, _: Tensor) -> Tensor:
        return self.weight


def _matrix(weight: Tensor, layer: nn.Module) -> Tensor:
    """The weight as a matrix [outputs, the rest]."""
    return weight.movedim(int(isinstance(layer, _ConvTransposeNd)), 0).flatten(1)


def _layer_rows(before: nn.Module, after: nn.Module, patterns: Sequence[str]) -> list[dict[str, Any]]:
    """What resampling has kept of each layer and what not; the spectral norm is that of the matrix [outputs, rest]."""
    rows = []
    new = layers_of(after)
    for name, layer in chosen(before, patterns).items():
        row: dict[str, Any] = {"layer": name, "shape": ""}
        for suffix, module in (("", layer), ("_after", new[name])):
            weight = effective_weight(module).double()
            row["shape"] = "x".join(map(str, weight.shape))
            row |= {
                f"mean{suffix}": float(weight.mean()),
                f"std{suffix}": float(weight.std(correction=0)),
                f"frobenius_norm{suffix}": float(weight.norm()),
                f"spectral_norm{suffix}": float(torch.linalg.matrix_norm(_matrix(weight, module), 2)),
            }
        rows.append(row)
    return rows


# ------------------------------------------------------------------ the analysis


def analyze(
    subject: Subject,
    options: Surrogate,
    *,
    layers: Sequence[str],
    law: Literal["normal", "permutation"],
    repeats: int,
    redraw: bool,
    reference: int,
) -> Result:
    """Spectra of features with trained and with resampled weights, over repeats and beside their own mixtures.

    The p-values of the difference are of the one draw of weights, unless `redraw` has each repeat draw its own.
    """
    sampler, streams = subject.sampler, subject.streams
    assert sampler is not None
    representation = Representation.of(subject, options)
    other = resampled(sampler, layers, law, streams["weights"])
    networks = {"trained": sampler, "resampled": other}

    features = {
        name: representation.draw(options.N, streams.fork(name), sampler=network, what=f"features, {name}")
        for name, network in networks.items()
    }
    pairs = {
        name: _against_mixture(representation, options.t, reference, name, found) for name, found in features.items()
    }

    spectra: dict[str, list[Floats]] = {name: [] for name in networks}
    for i in range(repeats):
        if redraw:
            networks["resampled"] = resampled(sampler, layers, law, streams["weights"])
        for name, network in networks.items():
            own = streams.fork(f"{name}.{i}")
            sample = representation.draw(options.n, own, sampler=network, what=None)
            spectra[name].append(resolved(gram_eigenvalues(sample)))
        subject.progress("repeats", i + 1, repeats)
    trained, drawn = (np.array(spectra[name]) for name in COLOURS)

    scores: dict[str, float | int | str | None] = {}
    shape = [values / values.mean(1, keepdims=True) for values in (trained, drawn)]
    for prefix, (a, b) in (("", (trained, drawn)), ("shape_", shape)):
        found = contrast(a, b, streams["permutation"])
        scores |= {f"{prefix}{name}": value for name, value in found.items()}
    scores["scale_ratio"] = float(drawn.mean() / trained.mean())
    for name, found_pairs in pairs.items():
        scores |= scored(f"mixture_{name}_", [pair.distance for pair in found_pairs])

    rows = _eigenvalue_rows(trained, drawn, representation.encoder.dim)
    scores["eigenvalue_ratio_furthest"] = max((row["ratio"] for row in rows), key=lambda r: abs(np.log(r)))
    changed = _layer_rows(sampler, other, layers)
    words = f"{', '.join(layers)} ({len(changed)} of {len(layers_of(sampler))} layers, {law})"
    return Result(
        scores=scores,
        tables={"layers": changed, "eigenvalues": rows},
        figures={
            "eigenvalues": _eigenvalues(trained, drawn, rows, words),
            "spectra": _spectra(options, pairs, {"trained": trained, "resampled": drawn}, scores, words),
            "samples": _samples(representation, {"trained": sampler, "resampled": other}, streams, words),
        },
        manifest=representation.manifest(
            t=law_name(options.t),
            layers=[row["layer"] for row in changed],
            law=law,
            repeats=repeats,
            redraw=redraw,
            reference=f"rotation test, {reference} rotations; {PERMUTATIONS} permutations of the repeats",
            remark="biases and batch-norm statistics are those of the trained weights; "
            + remark(options, features["trained"]),
        ),
    )


def _against_mixture(
    representation: Representation, t: Latent, reference: int, name: str, features: Tensor
) -> list[Pair]:
    """The sample beside draws from its own mixture, and after it the same of rotated features, as in rmt.spectrum."""
    streams = representation.subject.streams.fork(f"mixture.{name}")
    try:
        Mixture.of(representation.split(features)[0])
    except GflowError as error:
        raise GflowError(f"{name} weights: {error}") from None
    return rotated_pairs(representation, features, t, reference, streams, f"rotations, {name}")


def contrast(trained: Floats, drawn: Floats, generator: Generator) -> dict[str, float]:
    """How far two sets of independent spectra [R, n] are apart, R >= 2 each.

    `ks` and `wasserstein` are means over all pairs of one of each set, the latter over the mean eigenvalue of the
    trained; `_trained` and `_resampled` are the means over pairs within a set: what other z alone make. `_p` is the
    p-value of a permutation test with the energy statistic 2 E d(a, b) - E d(a, a') - E d(b, b'), which is exact under
    the hypothesis that both sets have one law.
    """
    both = np.concatenate([trained, drawn])
    repeats = len(trained)
    ks = np.array([[distance(a, b).ks if i < j else 0.0 for j, b in enumerate(both)] for i, a in enumerate(both)])
    # Spectra are sorted and of one length, so this is the distance of their quantiles.
    wasserstein = cdist(both, both, "cityblock") / both.shape[1] / trained.mean()
    pairs = repeats * (repeats - 1)
    own = np.repeat([1.0, -1.0], repeats)  # which set a spectrum is of
    shuffled = np.array([own[torch.randperm(2 * repeats, generator=generator).numpy()] for _ in range(PERMUTATIONS)])
    found: dict[str, float] = {}
    for name, d in (("ks", ks + ks.T), ("wasserstein", wasserstein)):
        # All distances have one sum: the statistic is the larger, the less of it is within the sets.
        observed, others = (np.einsum("...i,ij,...j->...", signs, d, signs) for signs in (own, shuffled))
        found |= {
            name: float(d[:repeats, repeats:].mean()),
            f"{name}_trained": float(d[:repeats, :repeats].sum() / pairs),
            f"{name}_resampled": float(d[repeats:, repeats:].sum() / pairs),
            f"{name}_p": share_above(-observed, (-others + 1e-9 * d.sum()).tolist()),
        }
    return found


def _eigenvalue_rows(trained: Floats, drawn: Floats, p: int) -> list[dict[str, Any]]:
    """Eigenvalues 2 to 6 over the repeats; `smd` is the difference of means over the root of the mean variance."""
    rows = []
    for i in range(2, min(LAST, trained.shape[1], p) + 1):
        a, b = trained[:, i - 1], drawn[:, i - 1]
        spread = float(np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
        if not (a.mean() > 0 and b.mean() > 0):
            break
        rows.append(
            {
                "eigenvalue": i,
                "trained": float(a.mean()),
                "trained_sd": float(a.std(ddof=1)),
                "resampled": float(b.mean()),
                "resampled_sd": float(b.std(ddof=1)),
                "ratio": float(b.mean() / a.mean()),
                "smd": float(b.mean() - a.mean()) / spread if spread else None,
            }
        )
    if not rows:
        raise GflowError(
            "rmt.resample_weights: features have one direction alone, so only the first eigenvalue is not 0; use "
            "another encoder, or resample fewer layers"
        )
    return rows


# ------------------------------------------------------------------ pictures


def _eigenvalues(trained: Floats, drawn: Floats, rows: Sequence[Mapping[str, Any]], words: str) -> Figure:
    """Eigenvalues 2 to 6 over the repeats, over one axis (the paper's figure 8)."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    which = [row["eigenvalue"] for row in rows]
    edges = log_bins([values[:, i - 1] for values in (trained, drawn) for i in which], 60)
    for axes, values, title in zip(
        panels, (trained, drawn), ("(a) trained weights", "(b) resampled weights"), strict=True
    ):
        for i, colour in zip(which, MANY, strict=False):
            axes.hist(values[:, i - 1], bins=edges.tolist(), color=colour, alpha=0.7, label=rf"$\lambda_{i}$")
        axes.set(xscale="log", xlabel=r"eigenvalue of $XX^\top/p$")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(f"{title}, {len(values)} repeats", fontsize=10, loc="left")
    panels[0].set_ylabel("repeats")
    figure.suptitle(f"Resampled: {words}", fontsize=10)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(which), frameon=False, fontsize=9
    )
    return figure


def _spectra(
    options: Represented,
    pairs: Mapping[str, Sequence[Pair]],
    repeats: Mapping[str, Floats],
    scores: Mapping[str, Any],
    words: str,
) -> Figure:
    """Each spectrum with that of its own mixture, and both by rank."""
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    middle.sharey(left)
    edges = log_bins([values for found in pairs.values() for values in (found[0].sample, found[0].mixture)], 50)
    for axes, (name, found) in zip((left, middle), pairs.items(), strict=True):
        overlay(axes, found[0].sample, found[0].mixture, edges)
        axes.set(xlabel=r"eigenvalue $\lambda$ of $XX^\top/p$", ylabel="share of the eigenvalues per decade")
        axes.set_title(
            f"{name} weights and their mixture: KS {scores[f'mixture_{name}_ks']:.3f}\n"
            f"(normal features {scores[f'mixture_{name}_ks_chance']:.3f}, p = {scores[f'mixture_{name}_ks_p']:.2g})",
            fontsize=9,
            loc="left",
        )
        axes.legend(frameon=False, fontsize=8)
    for name, values in repeats.items():
        rank = np.arange(1, values.shape[1] + 1)
        shown = np.where(values > 0, values, np.nan)
        right.fill_between(rank, shown.min(0), shown.max(0), color=COLOURS[name], alpha=0.3, linewidth=0)
        right.plot(rank, shown.mean(0), color=COLOURS[name], lw=1.2, label=f"{name}, mean and range of {len(values)}")
    right.set(xscale="log", yscale="log", xlabel="i", ylabel=r"$\lambda_i$")
    right.legend(frameon=False, fontsize=8)
    right.set_title(
        f"trained and resampled: KS {scores['ks']:.3f}, with other z alone {scores['ks_trained']:.3f}\n"
        f"each over its mean: {scores['shape_ks']:.3f} and {scores['shape_ks_trained']:.3f}",
        fontsize=9,
        loc="left",
    )
    figure.suptitle(f"Gram spectra, {options.K} x {options.n} images; resampled: {words}", fontsize=10)
    return figure


def _samples(representation: Representation, networks: Mapping[str, nn.Module], streams: Streams, words: str) -> Figure:
    """The same z and labels through both networks: images with a row a class, or points of the plane."""
    options, shape = representation.options, representation.shape
    labelled = bool(representation.subject.spec.sampler.conditional)
    images = shape.kind == "image"
    count = options.n if not images else COLUMNS if labelled else -(-(COLUMNS**2) // options.K)
    rows = -(-options.K * count // COLUMNS) if images else COLUMNS
    figure = Figure(figsize=(9, 4.3 * rows / COLUMNS + 0.8), layout="constrained")
    for axes, (name, network) in zip(figure.subplots(1, 2), networks.items(), strict=True):
        x = torch.cat(list(representation.images(count, streams.fork("picture"), sampler=network))).cpu()
        if images:
            axes.imshow(image_grid(x, shape, COLUMNS), interpolation="none")
            named = options.labels if labelled else ()
            height = shape.shape[1] + 2
            axes.set_yticks([(i + 0.5) * height for i in range(len(named))], list(map(str, named)))
            axes.set_xticks([])
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        else:
            _points(axes, x)
        axes.set_title(f"{name} weights", fontsize=10)
    figure.suptitle(f"The same latents; resampled: {words}", fontsize=10)
    return figure


def _points(axes: Axes, x: Tensor) -> None:
    """Vectors x [n, d] by their first two numbers, or a histogram of the only one."""
    if x.shape[1] == 1:
        axes.hist(x[:, 0].numpy(), bins=40, color="0.4")
        axes.set(xlabel="$x_1$", ylabel="samples")
    else:
        axes.scatter(x[:, 0], x[:, 1], s=5, color="0.2", linewidths=0)
        axes.set(xlabel="$x_1$", ylabel="$x_2$")
