"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_core import hookimpl
from gflow_rmt.parts import comparisons, networks, theory

Add = Callable[[str, type[Any]], None]


@hookimpl
def register_samplers(add: Add) -> None:
    add("rmt.biggan_deep", networks.BigGanDeep)
    add("rmt.mlp_gan", networks.MlpSampler)


@hookimpl
def register_discriminators(add: Add) -> None:
    add("rmt.mlp_gan", networks.MlpDiscriminator)


@hookimpl
def register_analyzers(add: Add) -> None:
    add("rmt.concentration", theory.Concentration)
    add("rmt.eigenvectors", theory.Eigenvectors)
    add("rmt.noise_laws", comparisons.NoiseLaws)
    add("rmt.real_versus", comparisons.RealVersus)
    add("rmt.resample_weights", comparisons.ResampleWeights)
    add("rmt.simulations", comparisons.Simulations)
    add("rmt.spectrum", comparisons.Spectrum)
    add("rmt.theory", theory.Theory)
