"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_core.hookspecs import hookimpl
from gflow_far.figure_parts import Evolution, GradientExplosion
from gflow_far.network_parts import MlpDiscriminator, MlpSampler, ResnetDiscriminator, ResnetSampler
from gflow_far.parts import FakeAsReal
from gflow_far.theory_parts import Equilibrium

Add = Callable[[str, type[Any]], None]


@hookimpl
def register_samplers(add: Add) -> None:
    add("far.mlp", MlpSampler)
    add("far.resnet", ResnetSampler)


@hookimpl
def register_discriminators(add: Add) -> None:
    add("far.mlp", MlpDiscriminator)
    add("far.resnet", ResnetDiscriminator)


@hookimpl
def register_objectives(add: Add) -> None:
    add("far.fake_as_real", FakeAsReal)


@hookimpl
def register_analyzers(add: Add) -> None:
    add("far.equilibrium", Equilibrium)
    add("far.evolution", Evolution)
    add("far.gradient_explosion", GradientExplosion)
