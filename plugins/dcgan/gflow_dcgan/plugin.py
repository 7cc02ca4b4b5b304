"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_core import hookimpl
from gflow_dcgan import parts

Add = Callable[[str, type[Any]], None]


@hookimpl
def register_samplers(add: Add) -> None:
    add("dcgan.conv", parts.ConvSampler)


@hookimpl
def register_discriminators(add: Add) -> None:
    add("dcgan.conv", parts.ConvDiscriminator)
    add("dcgan.six_conv", parts.SixConvDiscriminator)


@hookimpl
def register_analyzers(add: Add) -> None:
    add("dcgan.value_function", parts.ValueFunction)
    add("dcgan.svm_features", parts.SvmFeatures)
    add("dcgan.guided_backprop", parts.GuidedBackprop)
    add("dcgan.drop_feature", parts.DropFeature)
    add("dcgan.latent_walk", parts.LatentWalk)
    add("dcgan.vector_arithmetic", parts.VectorArithmetic)
    add("dcgan.transposed_conv", parts.TransposedConv)
