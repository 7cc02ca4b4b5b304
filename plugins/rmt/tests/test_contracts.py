"""Every part keeps the promises of its kind; tests/parts/test_contracts.py looks that none is left out."""

from __future__ import annotations

import pytest

from gflow_core import TINY, Normal, check_analyzer, check_discriminator, check_sampler
from gflow_rmt import parts

SMALL = {"K": 1, "N": 18, "m": 10}
DATA = {"dataset": TINY["vector"]}
LAWS = (Normal(dim=1),)

PARTS = [
    (check_sampler, parts.BigGanDeep(image_size=128, channels=8, weights="random"), {}),
    (check_sampler, parts.MlpSampler(widths=(8,)), {}),
    (check_sampler, parts.MlpSampler(widths=(8,), conditional=True), {}),
    (check_discriminator, parts.MlpDiscriminator(widths=(8,)), {}),
    (check_discriminator, parts.MlpDiscriminator(widths=(8,), conditional=True), {}),
    (check_analyzer, parts.Spectrum(**SMALL, reference=2, theory=False), DATA),
    (check_analyzer, parts.NoiseLaws(**SMALL, reference=2, repeats=2, laws_z=LAWS, laws_t=LAWS), DATA),
    (check_analyzer, parts.Simulations(**SMALL, S=8, eigenvalues=(1, 2)), DATA),
    (check_analyzer, parts.Eigenvectors(**SMALL, reference=2, vectors=2), DATA),
    (check_analyzer, parts.Theory(**SMALL, reference=2), DATA),
    (check_analyzer, parts.Concentration(**SMALL, reference=2, projections=5, points=2, pairs=10), DATA),
    (check_analyzer, parts.RealVersus(**SMALL, reference=2), DATA),
    (check_analyzer, parts.ResampleWeights(**SMALL, reference=2, repeats=2), DATA),
]
"""Check, part, and what the check is given besides."""


@pytest.mark.parametrize(("check", "part", "given"), PARTS, ids=[type(part).__name__ for _, part, _ in PARTS])
def test_it_keeps_the_promises_of_its_kind(check, part, given):
    check(part, **given)
