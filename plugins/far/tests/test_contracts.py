"""Every part keeps the promises of its kind."""

from __future__ import annotations

from gflow_core.testing import check_analyzer, check_discriminator, check_objective, check_sampler
from gflow_far import parts


def test_residual_networks():
    check_sampler(parts.ResnetSampler(channels=4))
    check_discriminator(parts.ResnetDiscriminator(channels=4))


def test_perceptrons():
    check_sampler(parts.MlpSampler(width=8))
    check_discriminator(parts.MlpDiscriminator(width=8))


def test_fake_as_real():
    check_objective(parts.FakeAsReal(fake_as_real=4, candidates=32))


def test_analyzers():
    check_analyzer(parts.GradientExplosion(samples=20, resolution=10))
    check_analyzer(parts.Evolution(samples=20))
    check_analyzer(parts.Equilibrium(), run=False)  # slow at any options; its recipe runs in tests/test_promises.py
