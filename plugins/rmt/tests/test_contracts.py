"""Every part keeps the promises of its kind; tests/parts/test_contracts.py looks that none is left out."""

from __future__ import annotations

import pytest

from gflow_core import TINY, Normal, check_analyzer, check_discriminator, check_sampler
from gflow_rmt.parts import comparisons, networks, theory

SMALL = {"K": 1, "N": 18, "m": 10}
DATA = {"dataset": TINY["vector"]}
LAWS = (Normal(dim=1),)

PARTS = [
    (check_sampler, networks.BigGanDeep(image_size=128, channels=8, weights="random"), {}),
    (check_sampler, networks.MlpSampler(widths=(8,)), {}),
    (check_sampler, networks.MlpSampler(widths=(8,), conditional=True), {}),
    (check_discriminator, networks.MlpDiscriminator(widths=(8,)), {}),
    (check_discriminator, networks.MlpDiscriminator(widths=(8,), conditional=True), {}),
    (check_analyzer, comparisons.Spectrum(**SMALL, reference=2, theory=False), DATA),
    (check_analyzer, comparisons.NoiseLaws(**SMALL, reference=2, repeats=2, laws_z=LAWS, laws_t=LAWS), DATA),
    (check_analyzer, comparisons.Simulations(**SMALL, S=8, eigenvalues=(1, 2)), DATA),
    (check_analyzer, theory.Eigenvectors(**SMALL, reference=2, vectors=2), DATA),
    (check_analyzer, theory.Theory(**SMALL, reference=2), DATA),
    (check_analyzer, theory.Concentration(**SMALL, reference=2, projections=5, points=2, pairs=10), DATA),
    (check_analyzer, comparisons.RealVersus(**SMALL, reference=2), DATA),
    (check_analyzer, comparisons.ResampleWeights(**SMALL, reference=2, repeats=2), DATA),
]
"""Check, part, and what the check is given besides."""


@pytest.mark.parametrize(("check", "part", "given"), PARTS, ids=[type(part).__name__ for _, part, _ in PARTS])
def test_it_keeps_the_promises_of_its_kind(check, part, given):
    check(part, **given)
