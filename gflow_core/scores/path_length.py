"""ppl: how fast features change along paths between latents (Karras et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from gflow_core.encoders.network import float32_only
from gflow_core.machine.runtime import Runtime
from gflow_core.nn.latents import Normal
from gflow_core.nn.sampling import draw_labels, label_pool, sample
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.scores.features import Features
from gflow_core.scores.interpolation import lerp, slerp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["path_length"]

TRIMMED = 0.01
"""Share that the authors' code leaves out at either end."""


def path_length(
    subject: Subject,
    *,
    encoder: EncoderPart | None,
    samples: int,
    epsilon: float,
    path: Literal["auto", "linear", "spherical"],
    batch_size: int,
) -> Result:
    """The mean over pairs of samples, `epsilon` apart on their path, of the features' squared distance over epsilon^2.

    Without an encoder vectors are compared as they are. It is computed in float32, whatever the run's precision, of
    images that are not rounded: on trained samplers of digits that is float64's mean to 1 in 10,000 at epsilon = 1e-4.
    """
    features = Features.of(subject, encoder, batch_size)
    part, sampler = subject.spec.sampler, subject.sampler
    assert sampler is not None
    latent, generator = part.latent, subject.streams["latent"]
    if path == "auto":
        path = "spherical" if isinstance(latent, Normal) else "linear"
    pool = label_pool(subject.data, subject.spec.data_shape()) if part.conditional else None
    runtime = Runtime(subject.runtime.device)  # no autocast: bf16 has not the digits

    found: list[Tensor] = []
    done = 0
    while done < samples:
        n = min(max(1, batch_size // 2), samples - done)
        z0, z1 = (latent.draw(n, generator).double() for _ in range(2))
        t = torch.rand(n, 1, generator=subject.streams["time"], dtype=torch.float64)
        z = (slerp if path == "spherical" else lerp)(z0, z1, torch.cat([t, t + epsilon], 1)).flatten(0, 1)
        y = None if pool is None else draw_labels(pool, n, subject.streams["label"]).repeat_interleave(2, 0)
        with float32_only(runtime.device):
            f = features.encode(sample(sampler, runtime, (z.float(), y))).double()
        found.append((f[::2] - f[1::2]).square().sum(1).cpu() / epsilon**2)
        done += n
        subject.progress("path length", done, samples)
    lengths = torch.cat(found)
    low, high = (lengths.quantile(q) for q in (TRIMMED, 1 - TRIMMED))
    name = f"PPL({features.encoder.name})"
    return Result(
        scores={
            name: float(lengths.mean()),
            f"{name}_se": float(lengths.std() / len(lengths) ** 0.5),
            f"{name}_trimmed": float(lengths[(lengths >= low) & (lengths <= high)].mean()),
        },
        figures={"lengths": _figure(lengths, f"step {subject.step}: {name}, {path} paths")},
        manifest={
            **features.manifest(n_real=0, n_fake=2 * samples, epsilon=epsilon, path=path),
            "conversion": "none",
        },
    )


def _figure(lengths: Tensor, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    positive = lengths[lengths > 0]
    logs = positive.log10() if len(positive) else torch.zeros(1)
    bins = torch.logspace(float(logs.min()) - 0.05, float(logs.max()) + 0.05, 51).tolist()
    axes.hist(positive, bins=bins, weights=torch.full_like(positive, 1 / len(lengths)), color="tab:blue", alpha=0.6)
    axes.axvline(float(lengths.mean()), color="black", linewidth=1, linestyle="--", label=f"mean {lengths.mean():.4g}")
    axes.set_xscale("log")
    axes.set(xlabel="squared speed of the features on a path", ylabel="share of the pairs")
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside lower center", fontsize="small")
    return figure
