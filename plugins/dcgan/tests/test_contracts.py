"""Every part keeps the promises of its kind."""

from __future__ import annotations

import pytest

from gflow_core.testing import TinyData, check_analyzer, check_discriminator, check_sampler
from gflow_dcgan import parts


@pytest.mark.parametrize("conditional", [False, True])
def test_networks(conditional):
    check_sampler(parts.ConvSampler(width=4, conditional=conditional))
    check_discriminator(parts.ConvDiscriminator(width=4, conditional=conditional))


def test_the_six_convolutions():
    check_discriminator(parts.SixConvDiscriminator(width=4))


ANALYZERS = {
    "value_function": parts.ValueFunction(samples=40, real_samples=40, density_samples=40, resolution=10),
    "svm_features": parts.SvmFeatures(grid=1, C=(0.1,), tolerance=0.1),
    "guided_backprop": parts.GuidedBackprop(real_samples=20, images=2, features=2),
    "drop_feature": parts.DropFeature(samples=30, images=4, rule=parts.Rule(region=(0.0, 0.0, 1.0, 1.0))),
    "latent_walk": parts.LatentWalk(rows=1, steps=2, fine=3),
    "vector_arithmetic": parts.VectorArithmetic(grid=1),
    "transposed_conv": parts.TransposedConv(input_size=2),
}


@pytest.mark.parametrize("name", ANALYZERS)
def test_analyzers(name):
    check_analyzer(ANALYZERS[name], dataset=TinyData(labels="classes", n=30))
