from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gflow_core.errors import GflowError
from gflow_core.scores import distances, prdc
from gflow_core.scores.distances import settled
from gflow_core.scores.feature_scores import Prdc
from gflow_core.scores.prdc import prdc_scores


def brute(real, fake, k):
    """The four definitions, item by item."""

    def reach(x, i):
        return sorted(math.dist(x[i], x[j]) for j in range(len(x)) if j != i)[k - 1]

    def holds(x, i, point):
        return math.dist(x[i], point) <= reach(x, i)

    n, m = range(len(real)), range(len(fake))
    return {
        "precision": np.mean([any(holds(real, i, fake[j]) for i in n) for j in m]),
        "recall": np.mean([any(holds(fake, j, real[i]) for j in m) for i in n]),
        "density": np.mean([sum(holds(real, i, fake[j]) for i in n) for j in m]) / k,
        "coverage": np.mean([any(holds(real, i, fake[j]) for j in m) for i in n]),
    }


@st.composite
def cases(draw):
    """Integer points, so that distances are exact and ties are ties."""
    k, d = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    cloud = [
        draw(arrays.arrays(np.int64, (draw(st.integers(k + 1, 9)), d), elements=st.integers(-4, 4))) for _ in range(2)
    ]
    return (*cloud, k)


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(1, 40))
def test_scores_are_those_of_the_definitions_whatever_the_pieces(case, entries):
    real, fake, k = case
    with pytest.MonkeyPatch.context() as patch:
        for module in (prdc, distances):
            patch.setattr(module, "settled", lambda x, y, limits: settled(x, y, limits, entries))
        found = prdc_scores(torch.tensor(real).float(), torch.tensor(fake).float(), k)
    assert found == pytest.approx(brute(real.tolist(), fake.tolist(), k), abs=1e-12)


def test_a_set_against_itself_and_against_one_far_away():
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    assert prdc_scores(x, x + 1e3, 5) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    # Each closed ball holds its centre and k neighbours, the farthest one on its rim.
    assert prdc_scores(x, x.clone(), 5) == {"precision": 1, "recall": 1, "density": 6 / 5, "coverage": 1}


def test_a_mode_that_is_missed_costs_recall_and_coverage_but_not_precision():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(400, 2, generator=generator) for _ in range(2))
    x[200:] += 50
    found = prdc_scores(x, y, 5)
    assert found["precision"] > 0.95
    assert found["recall"] == pytest.approx(0.5, abs=0.03)
    assert found["coverage"] == pytest.approx(0.5, abs=0.03)


def test_identical_laws_score_the_expected_density_and_coverage():
    """Density 1; coverage 1 - (m'th of ways that the k nearest of n - 1 + m are all real), for any density."""
    n, m, k, runs = 120, 80, 3, 40
    generator = torch.Generator().manual_seed(0)
    found = [
        prdc_scores(torch.randn(n, 2, generator=generator), torch.randn(m, 2, generator=generator), k)
        for _ in range(runs)
    ]
    wanted = 1 - math.prod((n - i) / (n + m - i) for i in range(1, k + 1))
    for name, value in (("density", 1), ("coverage", wanted)):
        scores = np.array([scores[name] for scores in found])
        assert abs(scores.mean() - value) < 4 * scores.std() / math.sqrt(runs), name


def test_scores_figure_and_manifest(scene, tmp_path):
    part = Prdc(encoder=scene.Encoding(), samples=300, k=4)
    result = scene.score(part, scene.Pictures(), scene.Uniform())
    names = ["precision", "recall", "density", "coverage"]
    assert list(result.scores) == names + [f"{name}_real_halves" for name in names]
    assert all(0.5 < result.scores[name] <= 1.3 for name in names)
    assert result.manifest.items() >= {"n_real": 600, "n_fake": 300, "n_halves": [300, 300], "k": 4}.items()
    result.figures["prdc"].savefig(tmp_path / "prdc.png")
    heights = [bar.get_height() for bar in result.figures["prdc"].axes[0].patches]
    assert heights == pytest.approx(list(result.scores.values()))


def test_too_few_items_for_neighbours_are_refused(scene):
    data = scene.spec(scene.Points())
    assert "samples must be more than k" in " ".join(Prdc(samples=5).check(data))
    assert "in half of them" in " ".join(Prdc(real_samples=11).check(data))
    with pytest.raises(GflowError, match=r"has 11 items.*lower k"):
        scene.score(Prdc(samples=50), scene.Points(n=11), scene.Affine())
