"""Every part keeps the promises of its kind."""

from __future__ import annotations

import pytest

from gflow_core.testing import check_analyzer, check_discriminator, check_objective, check_sampler
from gflow_vgrow import parts

FLOW = parts.Flow(pool_size=32, inner_loops=2, projection_passes=1)


@pytest.mark.parametrize("variant", ["seed", "authors"])
def test_residual_networks(variant):
    check_sampler(parts.ResnetSampler(channels=4, variant=variant))
    check_discriminator(parts.ResnetDiscriminator(channels=4, variant=variant))


def test_perceptrons():
    check_sampler(parts.MlpSampler(width=8))
    check_discriminator(parts.MlpDiscriminator(width=8))


def test_the_flow():
    check_objective(FLOW)


def test_analyzers():
    check_analyzer(parts.FlowField(particles=8, arrows=3, resolution=10), objective=FLOW)
    check_analyzer(parts.Theory(), run=False)  # slow at any options; its recipe runs in tests/test_promises.py
