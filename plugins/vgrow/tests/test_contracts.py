"""Every part keeps the promises of its kind; tests/parts/test_contracts.py looks that none is left out."""

from __future__ import annotations

from functools import partial

import pytest

from gflow_core import (
    check_analyzer,
    check_discriminator,
    check_objective,
    check_part,
    check_sampler,
    check_velocity,
)
from gflow_vgrow import parts, velocities
from gflow_vgrow.divergences import PUBLISHED

VELOCITIES = velocities.Ratio(), velocities.MonoflowVelocity(), velocities.Ept(), velocities.Ept(ratio="p/q")
FLOW = parts.Flow(pool_size=32, inner_loops=2, projection_passes=1)

PARTS = [
    (check_sampler, parts.ResnetSampler(channels=4, variant="seed"), {}),
    (check_sampler, parts.ResnetSampler(channels=4, variant="authors"), {}),
    (check_discriminator, parts.ResnetDiscriminator(channels=4, variant="seed"), {}),
    (check_discriminator, parts.ResnetDiscriminator(channels=4, variant="authors"), {}),
    (check_sampler, parts.MlpSampler(width=8), {}),
    (check_sampler, parts.AffineSampler(), {}),
    (check_discriminator, parts.MlpDiscriminator(width=8), {}),
    (check_objective, FLOW, {}),
    *((partial(check_part, "vgrow.divergence"), divergence, {}) for divergence in PUBLISHED.values()),
    (partial(check_part, "flow.velocity"), VELOCITIES[0], {}),  # which FLOW moves along
    *((check_velocity, velocity, {}) for velocity in VELOCITIES[1:]),
    (check_analyzer, parts.Theory(), {"run": False}),  # 8 s at its smallest; tests/test_promises.py runs its recipe
]
"""Check, part, and what the check is given besides."""


@pytest.mark.parametrize(("check", "part", "given"), PARTS, ids=[type(part).__name__ for _, part, _ in PARTS])
def test_it_keeps_the_promises_of_its_kind(check, part, given):
    check(part, **given)
