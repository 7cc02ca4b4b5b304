"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_core import hookimpl
from gflow_drift import parts

Add = Callable[[str, type[Any]], None]


@hookimpl
def register_samplers(add: Add) -> None:
    add("drift.mlp", parts.MlpSampler)
    add("drift.conv", parts.ConvSampler)


@hookimpl
def register_analyzers(add: Add) -> None:
    add("drift.theory", parts.Theory)


@hookimpl
def register_parts(add: Callable[[str, str, type[Any]], None]) -> None:
    add("flow.velocity", "drift.field", parts.Field)
