"""Every part keeps the promises of its kind; tests/parts/test_contracts.py looks that none is left out."""

from __future__ import annotations

import pytest

from gflow_core import TinyData, check_analyzer, check_discriminator, check_sampler
from gflow_dcgan.options import Rule
from gflow_dcgan.parts import arithmetic, judgement, latents, maps, networks

BLOCKS = {"norm_init": "normal", "spectral_norm": 1, "attention": (8,)}
DATA = {"dataset": TinyData(labels="classes", n=30)}

PARTS = [
    (check_sampler, networks.ConvSampler(width=4), {}),
    (check_sampler, networks.ConvSampler(width=4, conditional=True), {}),
    (check_discriminator, networks.ConvDiscriminator(width=4), {}),
    (check_discriminator, networks.ConvDiscriminator(width=4, conditional=True), {}),
    (check_sampler, networks.ConvSampler(width=4, conditional=True, join="norm", **BLOCKS), {}),
    (check_discriminator, networks.ConvDiscriminator(width=4, conditional=True, join="projection", **BLOCKS), {}),
    (check_sampler, networks.ConvSampler(width=4, upsample="nearest", norm_ends=True), {}),
    (check_discriminator, networks.ConvDiscriminator(width=4, downsample="max", norm_ends=True), {}),
    (check_discriminator, networks.SixConvDiscriminator(width=4), {}),
    (check_analyzer, judgement.ValueFunction(samples=40, real_samples=40, density_samples=40, resolution=10), DATA),
    (check_analyzer, judgement.SamplerGradient(samples=10, batch_size=4), DATA),
    (check_analyzer, judgement.SvmFeatures(grid=1, C=(0.1,), tolerance=0.1), DATA),
    (check_analyzer, maps.GuidedBackprop(real_samples=20, images=2, features=2), DATA),
    (check_analyzer, maps.DropFeature(samples=30, images=4, rule=Rule(region=(0.0, 0.0, 1.0, 1.0))), DATA),
    (check_analyzer, latents.LatentWalk(rows=1, steps=2, fine=3), DATA),
    (check_analyzer, latents.VectorArithmetic(grid=1), DATA),
    (check_analyzer, arithmetic.TransposedConv(input_size=2), {}),
]
"""Check, part, and what the check is given besides."""


@pytest.mark.parametrize(("check", "part", "given"), PARTS, ids=[type(part).__name__ for _, part, _ in PARTS])
def test_it_keeps_the_promises_of_its_kind(check, part, given):
    check(part, **given)
