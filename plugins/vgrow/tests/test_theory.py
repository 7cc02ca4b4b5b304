"""vgrow.theory holds for the mathematics as it stands, and fails for wrong mathematics."""

import math

import pytest
import torch
from torch import Tensor

from gflow_core import Result, Runtime, Spec, Streams, Subject
from gflow_vgrow.divergences import JS, KL, PUBLISHED, Divergence, Jeffreys, LogD
from gflow_vgrow.parts import Theory
from gflow_vgrow.theory import STATEMENTS, in_time, laws, statements

COLUMNS = ["statement", "setting", "quantity", "predicted", "measured", "error", "tolerance", "ok"]
LINE, PLANE = laws.pairs()


def subject() -> Subject:
    return Subject(spec=Spec(), runtime=Runtime(torch.device("cpu")), streams=Streams(0))


@pytest.fixture(scope="module")
def result() -> Result:
    return Theory(samples=4000, flow_steps=50).build()(subject())


def test_everything_holds(result: Result):
    wrong = [row for row in result.tables["theory"] if not row["ok"]]
    assert not wrong
    assert result.scores["all_ok"] is True


def test_each_statement_is_there_for_each_divergence(result: Result):
    rows = result.tables["theory"]
    assert all(list(row) == COLUMNS for row in rows)
    assert {row["statement"] for row in rows} == set(STATEMENTS)
    for statement in ("Lemma 1.1", "Lemma 1.2", "Theorem 1.1", "Theorem 1.2"):
        settings = {row["setting"] for row in rows if row["statement"] == statement}
        assert settings == {f"{name}, {dim}-D" for name in PUBLISHED for dim in (1, 2)}
    for statement in ("Flow", "Arrival"):
        settings = {row["setting"] for row in rows if row["statement"] == statement}
        assert settings >= {f"{name}, 1-D" for name in PUBLISHED}


def test_the_summary_counts_every_check(result: Result):
    summary = result.tables["statements"]
    assert [row["statement"] for row in summary] == list(STATEMENTS)
    assert sum(row["checks"] for row in summary) == len(result.tables["theory"]) == result.scores["checks"]
    assert all(row["ok"] for row in summary)


def test_exact_statements_hold_to_many_digits(result: Result):
    for statement in ("definition", "lemma_1_1", "lemma_1_2", "theorem_1_1", "theorem_1_2", "theorem_1_3"):
        assert result.scores[statement] < 1e-8


def test_figures_are_drawn(result: Result, tmp_path):
    assert set(result.figures) == {"decay", "errors"}
    for name, figure in result.figures.items():
        figure.savefig(tmp_path / name, format="png", dpi=50)
        assert (tmp_path / name).stat().st_size > 5000
    (axes,) = result.figures["errors"].axes
    assert [text.get_text() for text in axes.texts] == list(STATEMENTS)  # each once, from top to bottom
    assert [text.get_position()[1] for text in axes.texts] == sorted(text.get_position()[1] for text in axes.texts)


def test_the_logd_divergence_is_twice_the_kl_to_the_mixture():
    """Theorem 1.3, here against integrals by scipy."""
    from scipy.integrate import quad
    from scipy.stats import norm

    p, q = norm(0, 1), norm(1, 1.2)

    def integrand(x: float) -> float:
        middle = (p.pdf(x) + q.pdf(x)) / 2
        return 2 * middle * math.log(middle / p.pdf(x))

    found = LINE.mean_p(PUBLISHED["logd"].f(LINE.r))
    assert float(found) == pytest.approx(quad(integrand, -12, 12, epsabs=1e-12)[0], abs=1e-10)


def failed(name: str, divergence: Divergence) -> set[str]:
    """Statements that fail for this divergence, in one dimension and at one moment."""
    every = (
        statements.first_variation,
        statements.dissipation,
        statements.functional_gradient,
        statements.continuity,
    )
    checks = [check for statement in every for check in statement(LINE, name, divergence)]
    return {check.statement for check in checks if not check.ok}


class _WrongScale(JS):
    def scale(self, d: Tensor) -> Tensor:
        return (-d).sigmoid()  # logD's


class _WrongF2(Jeffreys):
    def f2(self, u: Tensor) -> Tensor:
        return (u + 1) / u


class _WrongF1(KL):
    def f1(self, u: Tensor) -> Tensor:
        return -u.log()


class _WrongSign(KL):
    def scale(self, d: Tensor) -> Tensor:
        return -d.new_ones(d.shape)


class _SlightlyWrong(LogD):
    def f2(self, u: Tensor) -> Tensor:
        return 1 / (u + 1 + 1e-5)


@pytest.mark.parametrize(
    ("wrong", "caught"),
    [
        (_WrongScale(), {"Lemma 1.2", "Theorem 1.1"}),
        (_WrongF2(), {"Theorem 1.1"}),
        (_WrongF1(), {"Lemma 1.1", "Lemma 1.2"}),
        (_WrongSign(), {"Lemma 1.2", "Theorem 1.1"}),
        (_SlightlyWrong(), {"Theorem 1.1"}),
    ],
)
def test_wrong_mathematics_is_caught(wrong: Divergence, caught: set[str]):
    assert failed("wrong", wrong) == caught


def test_right_mathematics_is_not_caught():
    for name, divergence in PUBLISHED.items():
        assert failed(name, divergence) == set()


def test_a_wrong_velocity_does_not_decay_as_predicted(monkeypatch):
    monkeypatch.setattr(LogD, "scale", lambda self, d: 1 + 0 * d)  # KL's velocity under logD's F
    path = in_time.decay(LINE, PUBLISHED["logd"], 2.0)
    failures = {check.quantity for check in in_time.flow_in_time(LINE, "logd", path) if not check.ok}
    assert "dF/dt = -E||v||^2 along the way (worst)" in failures
    assert "F(0) - F(T) = int E||v||^2 dt" in failures


def test_a_wrong_theorem_1_3_and_definitions_are_caught(monkeypatch):
    monkeypatch.setattr(LogD, "f", lambda self, u: (u + 1) * (u + 1).log() - math.log(2))
    monkeypatch.setattr(JS, "f", lambda self, u: (u * u.log() - (u + 1) * ((u + 1) / 2).log()) / 2)
    assert not any(check.ok for check in statements.logd(LINE, "logd", PUBLISHED["logd"]))
    assert [check.divergence for check in statements.closed_forms(LINE) if not check.ok] == ["js"]


def test_the_wrong_sign_of_the_logit_is_caught(monkeypatch):
    """Lemma 1.3's display has exp(-d) = p/q; the regression finds exp(d) = p/q."""
    monkeypatch.setattr(laws.Pair, "d", lambda self, x: self.q.log(x) - self.p.log(x))
    checks = list(statements.logistic(LINE, 4000, torch.Generator().manual_seed(0)))
    assert not any(check.ok for check in checks)


def test_an_exploding_flow_ends_in_a_failed_check(monkeypatch):
    monkeypatch.setattr(KL, "scale", lambda self, d: -1 + 0 * d)
    path = in_time.decay(LINE, PUBLISHED["kl"], 1.0)
    checks = list(in_time.flow_in_time(LINE, "kl", path))
    assert any(not check.ok for check in checks)


def test_a_divergence_of_two_methods_is_checked_too(monkeypatch):
    class ReverseKl(Divergence):
        def f(self, u: Tensor) -> Tensor:
            return -u.log()

        def f2(self, u: Tensor) -> Tensor:
            return u**-2

    assert failed("reverse_kl", ReverseKl()) == set()


def test_moments_of_the_kl_flow_satisfy_their_equation():
    """dm/dt = P (m_p - m), dS/dt = 2 I - P S - S P with P = S_p^-1: what the continuity equation gives."""
    h, t = 1e-4, 0.6
    p, q = PLANE.p, PLANE.q
    before, now, after = (in_time.at(p, q, s) for s in (t - h, t, t + h))
    torch.testing.assert_close((after.mean - before.mean) / (2 * h), p.precision @ (p.mean - now.mean))
    rate = 2 * torch.eye(2, dtype=torch.float64) - p.precision @ now.cov - now.cov @ p.precision
    torch.testing.assert_close((after.cov - before.cov) / (2 * h), rate)


def test_the_same_seed_gives_the_same_samples():
    first, second = (
        [check.measured for check in statements.logistic(LINE, 2000, Streams(3)["theory.logistic"])] for _ in range(2)
    )
    assert first == second
