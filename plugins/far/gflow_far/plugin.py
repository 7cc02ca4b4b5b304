"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_core import hookimpl
from gflow_far import parts

Add = Callable[[str, type[Any]], None]


@hookimpl
def register_samplers(add: Add) -> None:
    add("far.mlp", parts.MlpSampler)
    add("far.resnet", parts.ResnetSampler)


@hookimpl
def register_discriminators(add: Add) -> None:
    add("far.mlp", parts.MlpDiscriminator)
    add("far.resnet", parts.ResnetDiscriminator)


@hookimpl
def register_objectives(add: Add) -> None:
    add("far.fake_as_real", parts.FakeAsReal)


@hookimpl
def register_analyzers(add: Add) -> None:
    add("far.equilibrium", parts.Equilibrium)
    add("far.evolution", parts.Evolution)
    add("far.gradient_explosion", parts.GradientExplosion)
