"""Every part keeps the promises of its kind; tests/parts/test_contracts.py looks that none is left out."""

from __future__ import annotations

import pytest

from gflow_core import check_analyzer, check_discriminator, check_objective, check_sampler
from gflow_far import parts

BLOCKS = {"conditional": True, "spectral_norm": 1, "attention": (8,)}

PARTS = [
    (check_sampler, parts.ResnetSampler(channels=4), {}),
    (check_discriminator, parts.ResnetDiscriminator(channels=4), {}),
    (check_sampler, parts.ResnetSampler(channels=4, label_width=6, **BLOCKS), {}),
    (check_discriminator, parts.ResnetDiscriminator(channels=4, pool=3, **BLOCKS), {}),
    (check_sampler, parts.MlpSampler(width=8), {}),
    (check_discriminator, parts.MlpDiscriminator(width=8), {}),
    (check_objective, parts.FakeAsReal(fake_as_real=4, candidates=32), {}),
    (check_analyzer, parts.GradientExplosion(samples=20, resolution=10), {}),
    (check_analyzer, parts.Evolution(samples=20), {}),
    (check_analyzer, parts.Equilibrium(grid=2, counts=(4,), maximised=1), {}),
]
"""Check, part, and what the check is given besides."""


@pytest.mark.parametrize(("check", "part", "given"), PARTS, ids=[type(part).__name__ for _, part, _ in PARTS])
def test_it_keeps_the_promises_of_its_kind(check, part, given):
    check(part, **given)
