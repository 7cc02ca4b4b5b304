"""Every part keeps the promises of its kind; tests/parts/test_contracts.py looks that none is left out."""

from __future__ import annotations

import pytest

from gflow_core import TINY, check_analyzer, check_sampler, check_velocity
from gflow_drift import parts

PARTS = [
    (check_sampler, parts.MlpSampler(width=8), {}),
    (check_sampler, parts.ConvSampler(channels=8), {}),
    (check_sampler, parts.ConvSampler(channels=8, conditional=True), {"data": TINY["rgb-conditions"].data_shape()}),
    (check_velocity, parts.Field(), {}),
    (check_analyzer, parts.Theory(points=500, pools=20), {"run": False}),  # tests/test_promises.py runs its recipe
]
"""Check, part, and what the check is given besides."""


@pytest.mark.parametrize(("check", "part", "given"), PARTS, ids=[type(part).__name__ for _, part, _ in PARTS])
def test_it_keeps_the_promises_of_its_kind(check, part, given):
    check(part, **given)
