"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_core import hookimpl
from gflow_dcgan.parts import arithmetic, judgement, latents, maps, networks

Add = Callable[[str, type[Any]], None]


@hookimpl
def register_samplers(add: Add) -> None:
    add("dcgan.conv", networks.ConvSampler)


@hookimpl
def register_discriminators(add: Add) -> None:
    add("dcgan.conv", networks.ConvDiscriminator)
    add("dcgan.six_conv", networks.SixConvDiscriminator)


@hookimpl
def register_analyzers(add: Add) -> None:
    add("dcgan.value_function", judgement.ValueFunction)
    add("dcgan.svm_features", judgement.SvmFeatures)
    add("dcgan.sampler_gradient", judgement.SamplerGradient)
    add("dcgan.guided_backprop", maps.GuidedBackprop)
    add("dcgan.drop_feature", maps.DropFeature)
    add("dcgan.latent_walk", latents.LatentWalk)
    add("dcgan.vector_arithmetic", latents.VectorArithmetic)
    add("dcgan.transposed_conv", arithmetic.TransposedConv)
