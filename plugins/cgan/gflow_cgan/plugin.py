"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_cgan import parts
from gflow_core import hookimpl

Add = Callable[[str, type[Any]], None]


@hookimpl
def register_samplers(add: Add) -> None:
    add("cgan.mlp", parts.MlpSampler)
    add("cgan.conv", parts.ConvSampler)


@hookimpl
def register_discriminators(add: Add) -> None:
    add("cgan.mlp", parts.MlpDiscriminator)
    add("cgan.conv", parts.ConvDiscriminator)


@hookimpl
def register_analyzers(add: Add) -> None:
    add("cgan.intra_frechet", parts.IntraFrechet)
    add("cgan.label_accuracy", parts.LabelAccuracy)
    add("cgan.parzen", parts.Parzen)
