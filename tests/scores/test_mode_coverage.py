from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import nn

from gflow_core.data.parts import Circles, Grid, Mnist5k, Ring, Swissroll
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.nn.latents import Normal
from gflow_core.parts.analysis import Subject
from gflow_core.parts.spec import Spec
from gflow_core.scores.mode_coverage import ModeCoverage, _chance, kl_between


class Part:
    """A sampler part of which the analyzer reads the latent."""

    conditional = False
    latent = Normal(dim=2)


class Perfect(nn.Module):
    """Draws from the data set's own law, by its centres; `only` keeps the first few modes."""

    def __init__(self, modes, only=None):
        super().__init__()
        self.centres, self.std = modes.centres.float()[:only], modes.std

    def forward(self, z, y=None):
        return self.centres[torch.arange(len(z)) % len(self.centres)] + self.std * z


def measure(dataset, sampler, **options):
    part = ModeCoverage(**options)
    spec = Spec(dataset=dataset, sampler=Part())
    assert list(part.check(spec)) == []
    data = dataset.load()
    subject = Subject(spec, Runtime(torch.device("cpu")), Streams(1), step=7, data=data, sampler=sampler(data.modes))
    return part.build()(subject)


@pytest.mark.parametrize("dataset", [Grid(), Ring(), Ring(convention="vgrow", radius=100.0)])
def test_perfect_samples_score_what_theory_says(dataset):
    result = measure(dataset, Perfect)
    scores, wanted = result.scores, 1 - math.exp(-4.5)
    assert scores["modes_covered"] == scores["modes_total"] == dataset.load().modes.count
    assert abs(scores["high_quality_share"] - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 2500)
    assert abs(scores["high_quality_share_real"] - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 50_000)
    assert scores["kl_data"] < 3 * scores["kl_data_chance"]
    assert result.manifest["n_fake"] == 2500


@pytest.mark.parametrize("points", [500, 50_000])
def test_chance_is_the_mean_of_perfect_samples_and_of_few_points(points):
    generator, even = np.random.default_rng(0), np.full(25, 1 / 25)
    draws = [[torch.from_numpy(generator.multinomial(n, even)) for n in (2500, points)] for _ in range(400)]
    found = [kl_between(*pair) for pair in draws]
    assert np.mean(found) == pytest.approx(_chance(*draws[0]), rel=0.1)


def test_missing_modes_are_counted():
    result = measure(Grid(), lambda modes: Perfect(modes, only=7), samples=20_500, threshold=4.0)
    assert result.scores["modes_covered"] == 7
    assert result.scores["high_quality_share"] > 0.999
    assert result.scores["kl_data"] == pytest.approx(math.log(25 / 7), abs=0.02)
    counts = [row["high_quality"] for row in result.tables["modes"]]
    assert len(counts) == 25
    assert sum(count > 0 for count in counts) == 7
    assert sum(counts) == round(20_500 * result.scores["high_quality_share"])


class Nowhere(nn.Module):
    def __init__(self, modes):
        super().__init__()

    def forward(self, z, y=None):
        z[::2] = math.nan
        return z + 1000


def test_samples_off_the_data_or_not_a_number_cover_nothing(tmp_path):
    result = measure(Circles(n=2000), Nowhere, samples=100)
    assert result.scores["modes_covered"] == 0
    assert result.scores["high_quality_share"] == 0
    assert result.scores["high_quality_share_real"] > 0.99
    assert result.scores["kl_data"] is result.scores["kl_data_chance"] is None
    result.figures["samples"].savefig(tmp_path / "samples.png")
    assert (tmp_path / "samples.png").stat().st_size > 5000


def test_divergence_between_modes():
    """Against scipy's; none where the other law has no such mode."""
    counts, others = torch.tensor([3, 0, 7, 1]), torch.tensor([5, 2, 1, 9])
    assert kl_between(counts, others) == pytest.approx(entropy(counts.numpy(), others.numpy()))
    assert kl_between(others, others) == 0
    assert kl_between(others, counts) is None


def test_the_same_seed_draws_the_same_samples():
    assert measure(Grid(), Perfect).scores == measure(Grid(), Perfect).scores


def test_data_without_modes_is_refused():
    for dataset in (Swissroll(), Mnist5k()):
        assert "states none (has_modes)" in " ".join(ModeCoverage().check(Spec(dataset=dataset, sampler=Part())))
