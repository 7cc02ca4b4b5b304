"""far.equilibrium holds for the mathematics as it stands, and fails for wrong mathematics."""

import math

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from gflow_core import Result, Runtime, Spec, Streams, Subject
from gflow_far import equilibrium as eq
from gflow_far.equilibrium import ARROWS, Point, Separator, Setting
from gflow_far.parts import Equilibrium

SMALL = Equilibrium(grid=4, counts=(8, 64), maximised=4)


def analyze(part: Equilibrium = SMALL, seed: int = 0) -> Result:
    assert list(part.check(Spec())) == []
    return part.build()(Subject(spec=Spec(), runtime=Runtime(torch.device("cpu")), streams=Streams(seed)))


@pytest.fixture(scope="module")
def result() -> Result:
    return analyze()


def failed(result: Result) -> set[str]:
    return {row["statement"] for row in result.tables["checks"] if not row["ok"]}


# ------------------------------------------------------------------ the optimum


@pytest.mark.parametrize(
    ("k0", "p0", "xi0", "xi", "delta", "gradient"),
    [
        (0.01, 0.0, -0.950727, -1.514212, 0.563485, 0.461880),
        (0.10, 0.0, -1.336979, -1.398853, 0.061874, 0.049623),
        (0.01, 0.5, 0.039620, -0.343267, 0.382888, 0.223983),
    ],
)
def test_known_optima(k0, p0, xi0, xi, delta, gradient):
    point = eq.solve(Setting(k0=k0, m0=4, p0=p0, n=64, m=64))
    assert (point.xi0, point.xi, point.delta, point.gradient) == pytest.approx((xi0, xi, delta, gradient), abs=1e-6)


@settings(max_examples=200, deadline=None)
@given(
    xi0=st.floats(-6, 6),
    delta=st.floats(1e-3, 8),
    m0=st.integers(1, 16),
    n=st.integers(16, 1000),
    m=st.integers(16, 1000),
)
def test_the_inverse_has_a_closed_form(xi0, delta, m0, n, m):
    """k0 and p0 of a wanted (xi0, xi) follow from the two equations; solving them leads back."""
    a, near = expit(-xi0), expit(xi0 - delta)
    k0, p0 = a / (2 * n * delta), (n / m * near - a / m0) / (1 - near)
    if p0 < 0:  # no probability makes this the optimum
        return
    point = eq.solve(Setting(k0=k0, m0=m0, p0=p0, n=n, m=m))
    assert point.xi0 == pytest.approx(xi0, abs=1e-9)
    assert point.xi == pytest.approx(xi0 - delta, abs=1e-9)


@pytest.mark.parametrize("k0", [1e-12, 1e-4, 1.0, 1e12])
@pytest.mark.parametrize(("n", "m"), [(1, 1000), (16, 64), (64, 16), (1000, 1)])
@pytest.mark.parametrize("p0", [0.0, 1e-3, 1.0])
def test_extreme_settings(k0, n, m, p0):
    """n m0/m below, at and above 1."""
    for m0 in (1, 4):
        setting = Setting(k0=k0, m0=m0, p0=p0, n=n, m=m)
        point = eq.solve(setting)
        assert 0 < point.delta < 1 / (2 * n * k0)
        # Both sides of h's derivative in xi_i: they cancel as far as rounding lets them.
        fake = n / m * expit(point.xi)
        assert max(map(abs, eq.slopes(setting, point))) < 1e-12 * max(1, fake)


def test_derivatives_of_h():
    rng = np.random.default_rng(0)
    setting = Setting(k0=0.02, m0=3, p0=0.3, n=16, m=64)
    xi, step = rng.standard_normal(4), 1e-5
    for i, e in enumerate(np.eye(4) * step):
        slope = (eq.h(setting, xi + e) - eq.h(setting, xi - e)) / (2 * step)
        assert eq.h_gradient(setting, xi)[i] == pytest.approx(slope, abs=1e-8)
        curve = (eq.h_gradient(setting, xi + e) - eq.h_gradient(setting, xi - e)) / (2 * step)
        np.testing.assert_allclose(eq.h_hessian(setting, xi)[i], curve, atol=1e-8)


def test_h_is_equation_10():
    """Term by term, from the sigmoid."""
    xi0, xi = 0.4, [-0.3, 0.8]
    setting = Setting(k0=0.05, m0=2, p0=0.25, n=8, m=4)

    def s(x):
        return 1 / (1 + math.exp(-x))

    wanted = math.log(s(xi0)) + 0.25 * sum(math.log(s(x)) for x in xi)
    wanted += 8 / 4 * sum(math.log(1 - s(x)) for x in xi) - 8 * 0.05 / 2 * sum((xi0 - x) ** 2 for x in xi)
    assert eq.h(setting, np.array([xi0, *xi])) == pytest.approx(wanted, abs=1e-12)


def test_nothing_beats_the_optimum():
    rng = np.random.default_rng(1)
    setting = Setting(k0=0.02, m0=4, p0=0.25, n=64, m=64)
    point = eq.solve(setting)
    best = np.array([point.xi0] + 4 * [point.xi])
    for scale in (1e-3, 0.1, 3.0):
        for _ in range(50):
            assert eq.h(setting, best + scale * rng.standard_normal(5)) < eq.h(setting, best)
    np.testing.assert_allclose(eq.maximise(setting, rng.standard_normal(5)), best, atol=1e-6)


# ------------------------------------------------------------------ Proposition 1


def test_the_separator_is_the_formula():
    x0, y0 = np.array([1.0, 0.0, 0.0]), np.array([0.6, 0.8, 0.0])
    network = Separator.between(x0, y0, margin=0.4, epsilon=0.3, sharpness=3.0)
    assert network.parameters == 2 * 3 + 8
    rng = np.random.default_rng(0)
    v = eq.sphere(rng, 5, 3)
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1)
    for point, found in zip(v, network(v), strict=True):
        beta = [1 / (1 + math.exp(-15 * (point @ w - 0.8))) for w in (x0, y0)]
        first = 1 / (1 + math.exp(-3 * (beta[0] - beta[1])))
        assert found == pytest.approx(0.65 * first + 0.35 * (1 - first), abs=1e-12)


def test_the_margin_is_that_of_the_nearest_other_point():
    real = np.array([[1.0, 0.0], [0.0, 1.0]])
    fake = np.array([[-1.0, 0.0], [math.cos(0.3), math.sin(0.3)]])
    assert eq.margin_of(real, fake) == pytest.approx(1 - math.cos(0.3))


def test_separation_needs_sharpness_and_pays():
    rng = np.random.default_rng(0)
    real, fake = eq.sphere(rng, 16, 8), eq.sphere(rng, 16, 8)
    half = eq.likelihood(lambda v: np.full(len(v), 0.5), real, fake)
    assert half == pytest.approx(2 * math.log(0.5))
    gains = []
    for sharpness in (0.5, 2.0, 8.0, 40.0):
        network = Separator.between(real[0], fake[0], margin=eq.margin_of(real, fake), epsilon=0.5, sharpness=sharpness)
        gains.append(eq.likelihood(network, real, fake) - half)
    assert 0 < gains[0] < gains[1] < gains[2]
    assert gains[-1] == pytest.approx(2 / 16 * math.log(1.5), abs=1e-12)


# ------------------------------------------------------------------ the analyzer


def test_everything_holds(result: Result):
    assert failed(result) == set()
    assert result.scores["failures"] == result.scores["violations"] == 0
    assert result.scores["checks"] == len(result.tables["checks"])
    assert {row["statement"] for row in result.tables["checks"]} == {
        "Worked example",
        "Proposition 1",
        "Proposition 2",
        "Proposition 3",
        "Stationarity",
        "Concavity",
        "Strong penalty",
        "Appendix C",
    }


def test_every_arrow_is_compared_everywhere(result: Result):
    """4 x 4 x 4 values of k0, m0 and p0 by 2 x 2 of n and m: 3 neighbours along each of the three axes."""
    rows = result.tables["table2"]
    assert [(row["as it grows"], row["quantity"]) for row in rows] == [(a, b) for a in ARROWS for b in ARROWS[a]]
    assert {row["comparisons"] for row in rows} == {3 * 4 * 4 * 2 * 2}
    assert result.scores["comparisons"] == 12 * 192
    assert result.manifest["grid"]["m0"] == [1, 2, 4, 8]


def test_printed_equations_miss_the_optimum(result: Result):
    rows = result.tables["slips"]
    assert {row["equation"] for row in rows} == {"eq. 34", "eq. 35", "eq. 36"}
    assert all(abs(row["printed"]) > 0.01 for row in rows)
    assert all(abs(row["corrected"]) < 1e-12 for row in rows)


def test_figures_are_drawn(result: Result, tmp_path):
    assert set(result.figures) == {"table2", "separation"}
    for name, figure in result.figures.items():
        figure.savefig(tmp_path / name, format="png", dpi=40)
        assert (tmp_path / name).stat().st_size > 5000
    curves = result.figures["table2"].axes
    assert len(curves) == 12
    for axes, sign in zip(curves, (s for q in ARROWS["k0"] for s in (ARROWS[v][q] for v in ARROWS)), strict=True):
        for line in axes.lines:
            assert (np.diff(line.get_ydata()) * sign > 0).all()


def test_the_seed_decides():
    part = attrs.evolve(SMALL, grid=2)
    first, again, other = analyze(part), analyze(part), analyze(part, seed=1)
    assert first.tables == again.tables
    assert first.tables["checks"] != other.tables["checks"]
    assert failed(other) == set()


def test_a_wrong_arrow_is_counted(monkeypatch):
    monkeypatch.setitem(ARROWS, "m0", {**ARROWS["m0"], "delta": -1})
    scores = analyze(attrs.evolve(SMALL, grid=3)).scores
    assert scores["violations"] == 2 * 3 * 3 * 2 * 2
    assert scores["failures"] == 0


def _wrong_extra(setting: Setting) -> Point:
    """Equation 35 as printed: m0 is missing beside p0."""
    return solve(attrs.evolve(setting, p0=setting.p0 / setting.m0))


def _wrong_penalty(setting: Setting) -> Point:
    """The penalty's 2 forgotten."""
    return solve(attrs.evolve(setting, k0=setting.k0 / 2))


def _slightly_wrong(setting: Setting) -> Point:
    point = solve(setting)
    return Point(point.xi0 + 1e-5, point.delta)


solve = eq.solve


@pytest.mark.parametrize(
    ("wrong", "caught"),
    [
        (_wrong_extra, {"Worked example", "Proposition 3", "Stationarity", "Strong penalty", "Appendix C"}),
        (_wrong_penalty, {"Worked example", "Proposition 2", "Proposition 3", "Stationarity", "Appendix C"}),
        (
            _slightly_wrong,
            {"Worked example", "Proposition 2", "Proposition 3", "Stationarity", "Strong penalty", "Appendix C"},
        ),
    ],
)
def test_wrong_mathematics_is_caught(monkeypatch, wrong, caught):
    monkeypatch.setattr(eq, "solve", wrong)
    assert failed(analyze(attrs.evolve(SMALL, grid=3))) == caught


def test_a_wrong_network_and_a_convex_objective_are_caught(monkeypatch):
    between, hessian = Separator.between, eq.h_hessian
    monkeypatch.setattr(
        Separator, "between", lambda *a, **k: attrs.evolve(between(*a, **k), w2=np.array([[1.0, -1.0], [1.0, -1.0]]))
    )
    monkeypatch.setattr(eq, "h_hessian", lambda setting, xi: -hessian(setting, xi))
    assert failed(analyze(attrs.evolve(SMALL, grid=2))) >= {"Proposition 1", "Concavity"}


def test_options_are_checked():
    for bad in ({"grid": 1}, {"counts": ()}, {"counts": (0,)}, {"maximised": 0}):
        with pytest.raises(ValueError, match=r"must be|needs"):
            Equilibrium(**bad)
