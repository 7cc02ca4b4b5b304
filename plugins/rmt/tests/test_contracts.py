"""Every part keeps the promises of its kind."""

from __future__ import annotations

import pytest

from gflow_core.builtin.latents import Normal
from gflow_core.testing import TINY, check_analyzer, check_discriminator, check_sampler
from gflow_rmt import parts

SMALL = {"K": 1, "N": 18, "m": 10}


def test_biggan_deep():
    check_sampler(parts.BigGanDeep(image_size=128, channels=8, weights="random"))


@pytest.mark.parametrize("conditional", [False, True])
def test_perceptrons(conditional):
    check_sampler(parts.MlpSampler(widths=(8,), conditional=conditional))
    check_discriminator(parts.MlpDiscriminator(widths=(8,), conditional=conditional))


ANALYZERS = {
    "spectrum": parts.Spectrum(**SMALL, reference=2, theory=False),
    "noise_laws": parts.NoiseLaws(**SMALL, reference=2, repeats=2, laws_z=(Normal(dim=1),), laws_t=(Normal(dim=1),)),
    "simulations": parts.Simulations(**SMALL, S=8, eigenvalues=(1, 2)),
    "eigenvectors": parts.Eigenvectors(**SMALL, reference=2, vectors=2),
    "theory": parts.Theory(**SMALL, reference=2),
    "concentration": parts.Concentration(**SMALL, reference=2, projections=5, points=2, pairs=10),
    "real_versus": parts.RealVersus(**SMALL, reference=2),
    "resample_weights": parts.ResampleWeights(**SMALL, reference=2, repeats=2),
}


@pytest.mark.parametrize("name", ANALYZERS)
def test_analyzers(name):
    check_analyzer(ANALYZERS[name], dataset=TINY["vector"])
