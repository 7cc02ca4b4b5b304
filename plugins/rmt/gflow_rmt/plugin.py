"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_core import hookimpl
from gflow_rmt import parts

Add = Callable[[str, type[Any]], None]


@hookimpl
def register_samplers(add: Add) -> None:
    add("rmt.biggan_deep", parts.BigGanDeep)
    add("rmt.mlp_gan", parts.MlpSampler)


@hookimpl
def register_discriminators(add: Add) -> None:
    add("rmt.mlp_gan", parts.MlpDiscriminator)


@hookimpl
def register_analyzers(add: Add) -> None:
    add("rmt.concentration", parts.Concentration)
    add("rmt.eigenvectors", parts.Eigenvectors)
    add("rmt.noise_laws", parts.NoiseLaws)
    add("rmt.real_versus", parts.RealVersus)
    add("rmt.resample_weights", parts.ResampleWeights)
    add("rmt.simulations", parts.Simulations)
    add("rmt.spectrum", parts.Spectrum)
    add("rmt.theory", parts.Theory)
