"""How hard either loss of the game pulls the sampler (`dcgan.sampler_gradient`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import functional_call

from gflow_core import (
    GflowError,
    Minimax,
    Nonsaturating,
    Result,
    Subject,
    batch_statistics,
    frozen,
)
from gflow_dcgan.value_function import finite, latents

__all__ = ["LOSSES", "sampler_gradient"]

LOSSES = {"minimax": Minimax(), "nonsaturating": Nonsaturating()}
"""Of the sampler: E log(1 - D(G(z))), which it descends (seed eq. 11), and -E log D(G(z)) (eq. 12)."""
COLOURS = {"minimax": "#D6392B", "nonsaturating": "#2166AC"}
SYMBOLS = {"minimax": "$\\log(1 - D)$", "nonsaturating": "$\\log D$"}

Gradient = dict[str, Tensor]
"""Name of a parameter -> the gradient in it, float64 on the CPU."""


class _Pulled(NamedTuple):
    logits: Tensor
    """Of the samples [n], float64 on the CPU."""
    gradients: Mapping[str, Gradient]


def sampler_gradient(subject: Subject, *, samples: int, batch_size: int) -> Result:
    """Norms of both losses' gradients in the sampler's parameters, of all and by layer; both networks as in training.

    Raises GflowError for a sampler without parameters, and Diverged where the logits are not finite.
    """
    found = _pulled(subject, samples, batch_size)
    whole = {name: _norm(gradient.values()) for name, gradient in found.gradients.items()}
    layers = _by_layer(found.gradients)
    minimax, other = whole["minimax"], whole["nonsaturating"]
    d = found.logits.sigmoid()
    return Result(
        scores={
            **{f"gradient_{name}": norm for name, norm in whole.items()},
            "ratio": minimax / other if other else None,
            "probability": float(d.mean()),
        },
        tables={"layers": layers},
        figures={"gradients": _draw(layers, whole, d, subject.step)},
        manifest={**subject.protocol(), "batch_norm": "batch", "n_fake": samples, "batch_size": batch_size},
    )


def _pulled(subject: Subject, samples: int, batch_size: int) -> _Pulled:
    """The logits of samples, and the gradient of each loss, a mean over them."""
    sampler, discriminator, runtime = subject.sampler, subject.discriminator, subject.runtime
    assert sampler is not None
    assert discriminator is not None
    weights = {name: weight.detach().requires_grad_() for name, weight in sampler.named_parameters()}
    if not weights:
        raise GflowError("dcgan.sampler_gradient: the sampler has no parameters; choose one that is a network")
    sums = {name: [torch.zeros_like(weight) for weight in weights.values()] for name in LOSSES}
    logits = []
    with batch_statistics(sampler), batch_statistics(discriminator), frozen(discriminator):
        for z, y in _batches(subject, samples, batch_size):
            with torch.enable_grad():
                with runtime.autocast():
                    given = (z,) if y is None else (z, y)
                    x = functional_call(sampler, weights, given).to(z.dtype)
                    judged = (x, y) if subject.spec.discriminator.conditional else (x,)
                    logit = discriminator(*judged)
                logit = finite(logit.float(), subject.step)
                for name, loss in LOSSES.items():
                    share = loss.sampler(logit) * (len(z) / samples)
                    parameters = list(weights.values())
                    here = torch.autograd.grad(share, parameters, retain_graph=True, materialize_grads=True)
                    for total, gradient in zip(sums[name], here, strict=True):
                        total += gradient
            logits.append(logit.detach().cpu().double())
            subject.progress("samples", sum(map(len, logits)), samples)
    gradients = {
        name: dict(zip(weights, (g.cpu().double() for g in found), strict=True)) for name, found in sums.items()
    }
    return _Pulled(torch.cat(logits), gradients)


def _batches(subject: Subject, samples: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """z and labels that follow the data's on the device, in batches of about a size: none is left with one item."""
    z, y = latents(subject, samples)
    for here in torch.arange(samples).tensor_split(max(1, samples // batch_size)):
        yield subject.runtime.to_device(z[here]), None if y is None else subject.runtime.to_device(y[here])


def _norm(gradients: Iterable[Tensor]) -> float:
    return math.hypot(*(float(gradient.norm()) for gradient in gradients))


def _by_layer(gradients: Mapping[str, Gradient]) -> list[dict[str, Any]]:
    """A row a module that has parameters of its own, from z on."""
    first = next(iter(gradients.values()))
    layers = dict.fromkeys(name.rpartition(".")[0] for name in first)
    return [
        {
            "layer": layer,
            **{
                f"gradient_{name}": _norm(g for at, g in found.items() if at.rpartition(".")[0] == layer)
                for name, found in gradients.items()
            },
        }
        for layer in layers
    ]


def _draw(layers: list[dict[str, Any]], whole: Mapping[str, float], d: Tensor, step: int) -> Figure:
    """Both gradients by layer; what D says of samples, over how each loss weighs it."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = range(len(layers))
    for name, norm in whole.items():
        values = [row[f"gradient_{name}"] for row in layers]
        left.plot(values, at, "o-", color=COLOURS[name], label=f"{SYMBOLS[name]}, of all {norm:.2g}")
    if any(whole.values()):
        left.set_xscale("log")
    left.set(yticks=at, yticklabels=[row["layer"] for row in layers], ylim=(len(layers) - 0.5, -0.5))
    left.set(xlabel="norm of the gradient in a layer's weights", ylabel="from z to the sample")
    line = np.linspace(0, 1, 101)
    right.hist(d.numpy(), bins=np.linspace(0, 1, 51).tolist(), weights=np.full(len(d), 1 / len(d)), color="0.8")
    right.set(xlabel="D(G(z))", ylabel="share of the samples", xlim=(0, 1))
    weight = right.twinx()
    weight.plot(line, line, color=COLOURS["minimax"])
    weight.plot(line, 1 - line, color=COLOURS["nonsaturating"])
    weight.set(ylabel="|dL/d logit|", ylim=(0, 1.05))
    figure.suptitle(f"step {step:,}: how hard each loss pulls the sampler; mean D(G(z)) = {float(d.mean()):.3g}")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
