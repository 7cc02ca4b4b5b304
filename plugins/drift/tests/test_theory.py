"""drift.theory holds for the mathematics as it stands, and fails for wrong mathematics."""

from __future__ import annotations

import pytest
import torch

from gflow_core import Runtime, Spec, Streams, Subject
from gflow_drift import theory
from gflow_drift.field import between
from gflow_drift.limit import Gaussian, Limit
from gflow_drift.parts import Theory

POINTS = 500
LINE = {
    "Limit": theory._limit,
    "Scores": theory._scores,
    "Stop-gradient": theory._stop_gradient,
    "Frequency": theory._frequency,
}


def failed() -> set[str]:
    """Statements on the line of which a check fails."""
    return {check.statement for statement in LINE.values() for check in statement(POINTS) if not check.ok}


def test_everything_holds(tmp_path):
    subject = Subject(spec=Spec(), runtime=Runtime(torch.device("cpu")), streams=Streams(0))
    result = Theory(points=POINTS, pools=40).build()(subject)
    assert not [row for row in result.tables["theory"] if not row["ok"]]
    assert result.scores["all_ok"] is True
    assert {row["statement"] for row in result.tables["theory"]} == set(theory.STATEMENTS)
    result.figures["rates"].savefig(tmp_path / "rates", format="png", dpi=50)


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        (lambda v: 1.05 * v, {"Limit", "Scores", "Stop-gradient"}),
        (lambda v: v + 0.01, {"Limit", "Scores", "Stop-gradient"}),
        (lambda v: 1.2 * v, set(LINE)),
    ],
)
def test_a_wrong_field_is_caught(monkeypatch, change, caught):
    right = theory.field
    monkeypatch.setattr(theory, "field", lambda *args, **options: change(right(*args, **options)))
    assert failed() == caught


def test_columns_that_are_not_normalised_are_caught(monkeypatch):
    """Scores of p and q themselves, and a mean shift by them, are another field."""
    monkeypatch.setattr(Gaussian, "over_root", lambda self, other: self)
    assert failed() == {"Scores"}
    init = Limit.__init__

    def plain(self, *args, **options):
        init(self, *args, **options)
        self.w = torch.ones_like(self.w)

    monkeypatch.setattr(Limit, "__init__", plain)
    assert "Limit" in failed()


def test_a_push_that_is_no_pull_leaves_no_equilibrium(monkeypatch):
    right = theory.field

    def lopsided(x, y, *args, **options):
        return right(x, 0.9 * y, *args, **options)

    monkeypatch.setattr(theory, "field", lopsided)
    generator = torch.Generator().manual_seed(0)
    checks = list(theory._equilibrium(60, generator))
    assert {check.statement for check in checks if not check.ok} >= {"Equilibrium"}


def test_the_limits_scale_times_scores_is_the_limit():
    """Closed form against quadrature."""
    t, cell = theory._line()
    x = torch.linspace(-3, 4, 50, dtype=torch.float64)[:, None]
    limit = Limit(theory.P, theory.Q, t, cell, tau=theory.TAU, kernel="gaussian")
    closed = limit.scale(x) * theory.TAU**2 * theory._score_gap(theory.P, theory.Q, x)
    torch.testing.assert_close(limit(x), closed, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kernel", theory.KERNELS)
def test_between_many_particles_the_field_is_the_limit(kernel):
    t, cell = theory._line()
    x, y = theory._quantiles(theory.Q, 1500), theory._quantiles(theory.P, 1500)
    points = torch.linspace(-3, 4, 50, dtype=torch.float64)[:, None]
    found = between(x, y, (theory.TAU,), kernel=kernel, scaled=False)(points)
    wanted = Limit(theory.P, theory.Q, t, cell, tau=theory.TAU, kernel=kernel)(points)
    assert float((found - wanted).norm() / wanted.norm()) < 20 / 1500
