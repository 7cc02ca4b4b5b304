"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_core import hookimpl
from gflow_vgrow import divergences, parts, velocities

Add = Callable[[str, type[Any]], None]


@hookimpl
def register_samplers(add: Add) -> None:
    add("vgrow.resnet", parts.ResnetSampler)
    add("vgrow.mlp", parts.MlpSampler)
    add("vgrow.affine", parts.AffineSampler)


@hookimpl
def register_discriminators(add: Add) -> None:
    add("vgrow.resnet", parts.ResnetDiscriminator)
    add("vgrow.mlp", parts.MlpDiscriminator)


@hookimpl
def register_objectives(add: Add) -> None:
    add("vgrow.flow", parts.Flow)


@hookimpl
def register_analyzers(add: Add) -> None:
    add("vgrow.theory", parts.Theory)


@hookimpl
def register_kinds(add: Callable[[type[Any]], None]) -> None:
    add(divergences.Divergence)


@hookimpl
def register_parts(add: Callable[[str, str, type[Any]], None]) -> None:
    for name, divergence in divergences.PUBLISHED.items():
        add("vgrow.divergence", name, type(divergence))
    add("flow.velocity", "vgrow.ratio", velocities.Ratio)
    add("flow.velocity", "vgrow.monoflow", velocities.MonoflowVelocity)
    add("flow.velocity", "vgrow.ept", velocities.Ept)
