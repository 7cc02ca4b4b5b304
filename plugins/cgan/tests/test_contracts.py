"""Every part keeps the promises of its kind."""

from __future__ import annotations

from gflow_cgan import parts
from gflow_core.testing import TINY, check_analyzer, check_discriminator, check_sampler


def test_perceptrons():
    check_sampler(parts.MlpSampler(z_width=8, label_width=8, width=8))
    check_discriminator(parts.MlpDiscriminator(x_width=8, label_width=8, width=8))


def test_convolutional_networks():
    check_sampler(parts.ConvSampler(width=4))
    check_discriminator(parts.ConvDiscriminator(width=4))


def test_analyzers():
    check_analyzer(parts.Parzen(samples=40, grid=3))
    check_analyzer(parts.IntraFrechet(samples_per_class=8), dataset=TINY["vector-classes"])
