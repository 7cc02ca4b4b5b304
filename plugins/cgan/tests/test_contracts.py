"""Every part keeps the promises of its kind; tests/parts/test_contracts.py looks that none is left out."""

from __future__ import annotations

import pytest

from gflow_cgan import parts
from gflow_core import TINY, TinySampler, check_analyzer, check_discriminator, check_sampler
from gflow_core.data.parts import Mnist5k
from gflow_core.encoders.parts import MnistCnn

ACCURACY = parts.LabelAccuracy(encoder=MnistCnn(weights="random"), samples_per_class=4)
BLOCKS = {"norm_init": "normal", "spectral_norm": 1, "attention": (8,)}
DIGITS = {"dataset": Mnist5k(limit=40, split="train"), "sampler": TinySampler(conditional=True)}

PARTS = [
    (check_sampler, parts.MlpSampler(z_width=8, label_width=8, width=8), {}),
    (check_discriminator, parts.MlpDiscriminator(x_width=8, label_width=8, width=8), {}),
    (check_sampler, parts.ConvSampler(width=4), {}),
    (check_discriminator, parts.ConvDiscriminator(width=4), {}),
    (check_sampler, parts.ConvSampler(width=4, join="norm", **BLOCKS), {}),
    (check_discriminator, parts.ConvDiscriminator(width=4, join="projection", **BLOCKS), {}),
    (check_analyzer, parts.Parzen(samples=40, grid=3), {}),
    (check_analyzer, parts.IntraFrechet(samples_per_class=8), {"dataset": TINY["vector-classes"]}),
    (check_analyzer, ACCURACY, DIGITS),
]
"""Check, part, and what the check is given besides."""


@pytest.mark.parametrize(("check", "part", "given"), PARTS, ids=[type(part).__name__ for _, part, _ in PARTS])
def test_it_keeps_the_promises_of_its_kind(check, part, given):
    check(part, **given)
