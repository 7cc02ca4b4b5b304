"""The core's own parts keep the promises of their kinds."""

from __future__ import annotations

import pytest

from gflow_core.builtin.adversarial import Adversarial, Penalty
from gflow_core.builtin.analyzers import feature_scores as scores
from gflow_core.builtin.analyzers.interpolation import Interpolation
from gflow_core.builtin.analyzers.losses import Losses
from gflow_core.builtin.analyzers.mode_coverage import ModeCoverage
from gflow_core.builtin.analyzers.sample_grid import SampleGrid
from gflow_core.builtin.analyzers.two_sample import TwoSample
from gflow_core.builtin.datasets import parts as datasets
from gflow_core.builtin.encoders.parts import ResNet50
from gflow_core.plugins import plugins
from gflow_core.testing import TINY, check_analyzer, check_dataset, check_encoder, check_latent, check_objective

LAWS = plugins().registries["latent"]


@pytest.mark.parametrize("name", LAWS)
def test_laws_of_z(name):
    check_latent(LAWS.get(name)(dim=3))


@pytest.mark.parametrize("name", ["gaussian", "ring", "grid", "swissroll", "circles"])
def test_planar_data(name):
    check_dataset(plugins().get("dataset", name)(n=50))


def test_digits():
    check_dataset(datasets.Mnist5k(limit=20))


@pytest.mark.parametrize("kind", ["none", "wgan_gp"])
def test_the_adversarial_game(kind):
    check_objective(Adversarial(penalty=Penalty(kind=kind)))


ANALYZERS = {
    "mode_coverage": ModeCoverage(samples=40),
    "frechet": scores.Frechet(samples=40, real_samples=40),
    "kernel": scores.Kernel(samples=40, subset_size=10, subsets=2),
    "prdc": scores.Prdc(samples=40, k=2),
    "memorization": scores.Memorization(samples=20),
    "two_sample": TwoSample(samples=40, projections=10),
    "sample_grid": SampleGrid(),
    "interpolation": Interpolation(rows=1, steps=2, frames=2),
    "losses": Losses(),
}


@pytest.mark.parametrize("name", ANALYZERS)
def test_analyzers(name):
    check_analyzer(ANALYZERS[name])


def test_an_encoder():
    check_encoder(ResNet50(weights="random"), TINY["rgb"].data_shape())
