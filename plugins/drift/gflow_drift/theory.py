"""The drifting field's theory, checked numerically: what `limit.py` derives, against `field` on many points.

On the line points stand at quantiles, and come to the limit as 1/n; elsewhere they are drawn, and pools averaged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from gflow_core import Check, Result, Subject, by_statement
from gflow_drift.checks import compare_functions, compare_numbers
from gflow_drift.field import Kernel, field
from gflow_drift.limit import Gaussian, Law, Limit, decay_rate
from gflow_drift.rates_figure import rates_figure

__all__ = ["STATEMENTS", "theory"]

KERNELS: tuple[Kernel, ...] = ("laplace", "gaussian")

STATEMENTS = {
    "Limit": "of many points V is scale (mean_pw - mean_qw)",
    "Scores": "under a Gaussian kernel V is scale tau^2 (grad log k pw - grad log k qw)",
    "Equilibrium": "V averages to 0 where p = q",
    "Floor": "there n E|V|^2 is that of finite batches",
    "Stop-gradient": "with its target held the loss falls along V; the gradient of |V|^2 is another",
    "Frequency": "a cosine on constant density decays at the rate -(w/2) k^'(w) / k^(0)",
    "Annealing": "a width that falls as exp(-rt) takes (exp(-u_T) - exp(-u_0)) / 2r off its logarithm",
    "Circulation": "V turns, the difference of scores does not",
}
"""What is checked, in the table's order."""


def _v(x: Tensor, y: Tensor, tau: float, kernel: Kernel) -> Tensor:
    return field(x, y, (tau,), kernel=kernel, scaled=False)


# ------------------------------------------------------------------ laws


def _gaussian(mean: list[float], cov: list[list[float]]) -> Gaussian:
    return Gaussian(torch.tensor(mean, dtype=torch.float64), torch.tensor(cov, dtype=torch.float64))


TAU = 0.6
P, Q = _gaussian([0.0], [[1.0]]), _gaussian([0.7], [[2.25]])
P2, Q2 = _gaussian([0.0, 0.0], [[1.0, 0.6], [0.6, 1.0]]), _gaussian([0.5, -0.5], [[1.5, -0.4], [-0.4, 0.8]])


def _mixed(x: Tensor) -> Tensor:
    """The density of an even mixture of N(-1.5, .5^2) and N(1.5, .5^2)."""
    return (_gaussian([-1.5], [[0.25]])(x) + _gaussian([1.5], [[0.25]])(x)) / 2


def _line() -> tuple[Tensor, float]:
    """Grid points [g, 1], and their distance."""
    return torch.linspace(-10, 10, 1601, dtype=torch.float64)[:, None], 20 / 1600


def _plane() -> tuple[Tensor, float]:
    axis = torch.linspace(-6, 6, 61, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), 0.2**2


def _quantiles(law: Law, n: int) -> Tensor:
    """n points [n, 1] that stand for a law on the line."""
    fine = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
    mass = law(fine[:, None]).cumsum(0)
    at = (torch.arange(n, dtype=torch.float64) + 0.5) / n * mass[-1]
    high = torch.searchsorted(mass, at)
    share = (at - mass[high - 1]) / (mass[high] - mass[high - 1])
    return (fine[high - 1] + share * (fine[high] - fine[high - 1]) + (fine[1] - fine[0]) / 2)[:, None]


# ------------------------------------------------------------------ statements


def _limit(points: int) -> Iterator[Check]:
    t, cell = _line()
    laws: list[tuple[str, Law, Law]] = [("Gaussians", P, Q), ("mixture", _mixed, Q)]
    for name, p, q in laws:
        for kernel in KERNELS:
            for ratio in (1.0, 0.5):
                x, y = _quantiles(q, points), _quantiles(p, int(points * ratio))
                limit = Limit(p, q, t, cell, tau=TAU, kernel=kernel, ratio=ratio)
                setting = f"{kernel}, {name}, m = {'n' if ratio == 1 else 'n / 2'}"
                yield compare_functions("Limit", setting, "V", limit(x), _v(x, y, TAU, kernel), 20 / points)


def _scores(points: int) -> Iterator[Check]:
    t, cell = _line()
    x, y = _quantiles(Q, points), _quantiles(P, points)
    scale = Limit(P, Q, t, cell, tau=TAU, kernel="gaussian").scale(x)
    measured = _v(x, y, TAU, "gaussian")
    predicted = scale * TAU**2 * _score_gap(P, Q, x)
    yield compare_functions("Scores", "gaussian, Gaussians on the line", "V", predicted, measured, 20 / points)


def _score_gap(p: Gaussian, q: Gaussian, x: Tensor) -> Tensor:
    """grad log (k pw) - grad log (k qw) in closed form, of the Gaussian kernel of width TAU."""
    pw, qw = (law.over_root(q.smoothed(TAU)).smoothed(TAU) for law in (p, q))
    return pw.score(x) - qw.score(x)


def _equilibrium(pools: int, generator: Generator) -> Iterator[Check]:
    t, cell = _plane()
    for kernel in KERNELS:
        n = 200
        outward, squares = [], []
        for _ in range(pools):
            x, y = P2.draw(n, generator), P2.draw(n, generator)
            v = _v(x, y, TAU, kernel)
            outward.append((x * v).sum(1).mean())
            squares.append(n * v.square().sum(1).mean())
        mean, deviation = _mean(outward)
        yield Check(
            statement="Equilibrium",
            setting=f"{kernel}, n = m = {n} in the plane",
            quantity="E x'V (error in standard errors)",
            predicted=0.0,
            measured=mean,
            error=abs(mean) / deviation,
            tolerance=4.0,
        )
        mean, deviation = _mean(squares)
        floor = Limit(P2, P2, t, cell, tau=TAU, kernel=kernel).floor()
        tolerance = 4 * deviation / floor + 0.02  # which finite n leaves
        yield compare_numbers("Floor", f"{kernel}, n = m = {n} in the plane", "n E|V|^2", floor, mean, tolerance)


def _mean(found: list[Tensor]) -> tuple[float, float]:
    """Mean and its standard error."""
    values = torch.stack(found)
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def _stop_gradient(points: int) -> Iterator[Check]:
    """x = z + shift: the derivative of each loss by the shift."""
    t, cell = _line()
    z, y, h = _quantiles(P, points), _quantiles(P, points), 1e-3

    def limit(shift: float) -> Tensor:
        q = _gaussian([shift], [[1.0]])
        return Limit(P, q, t, cell, tau=TAU, kernel="laplace")(z + shift)

    def measured(shift: float) -> Tensor:
        return _v(z + shift, y, TAU, "laplace")

    shift = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    x = z + shift
    F.mse_loss(x, (x + _v(x.detach(), y, TAU, "laplace")).detach()).backward()
    assert shift.grad is not None
    held = float(-2 * limit(0.5).mean())
    yield compare_numbers(
        "Stop-gradient", "laplace, a shift of .5", "d loss, target held = -2 E V", held, float(shift.grad), 20 / points
    )
    moving, found = (
        float((v(0.5 + h).square().mean() - v(0.5 - h).square().mean()) / (2 * h)) for v in (limit, measured)
    )
    yield compare_numbers(
        "Stop-gradient", "laplace, a shift of .5", "d E|V|^2, target moving", moving, found, 20 / points
    )


def _wave(frequency: float, n: int, half: float, height: float) -> tuple[Tensor, Tensor]:
    """Particles of density 1 + height cos(frequency x), and data of density 1, on (-half, half)."""
    step = 2 * half / n
    y = (-half + step * torch.arange(n, dtype=torch.float64))[:, None]
    even = y + step / 2
    return even - height / frequency * (frequency * even).sin(), y


def _height(x: Tensor, frequency: float, displacement: Tensor) -> float:
    """The cosine that a displacement -height / frequency sin(frequency x) adds to the density, amid the interval."""
    middle = x.abs() < x.abs().amax() / 3
    sine = (frequency * x[middle]).sin()
    return float(-frequency * (sine @ displacement[middle]) / (sine @ sine))


FREQUENCIES = (0.5, 1.0, 2.0, 4.0)


def _frequency(points: int) -> Iterator[Check]:
    for kernel in KERNELS:
        for w in FREQUENCIES:
            x, y = _wave(w, points, 15.0, 0.02)
            found = -_height(x, w, _v(x, y, 1.0, kernel)) / 0.02
            rate = decay_rate(w, 1.0, kernel)
            yield compare_numbers("Frequency", f"{kernel}, w tau = {w:g}", "decay rate", rate, found, 40 / points)


def _annealing(moves: int) -> Iterator[Check]:
    """Particles follow the field while its width falls from 3 / w to .6 / w: w = 1."""
    r, height = 0.3, 0.02
    horizon = math.log(5) / r
    x, y = _wave(1.0, 1000, 24.0, height)
    even = x + height * x.sin()  # to first order in height
    step = horizon / moves
    for i in range(moves):
        x = x + step * _v(x, y, 3 * math.exp(-r * (i + 0.5) * step), "gaussian")
    u, u_end = 4.5, 4.5 / 25
    predicted = (math.exp(-u_end) - math.exp(-u)) / (2 * r)
    found = -math.log(_height(even, 1.0, x - even) / height)
    yield compare_numbers(
        "Annealing", f"gaussian, w tau from 3 to .6, r = {r:g}", "log of what is left", predicted, found, 0.05
    )


def _circulation(pools: int, generator: Generator) -> Iterator[Check]:
    """Round a circle of radius 1 about (1, 0): probes among the particles, too few to change the field."""
    t, cell = _plane()
    angle = torch.arange(40, dtype=torch.float64) * (2 * math.pi / 40)
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    along = torch.stack([-angle.sin(), angle.cos()], 1) * (2 * math.pi / 40)
    probes = ring + torch.tensor([1.0, 0.0], dtype=torch.float64)
    limit = Limit(P2, Q2, t, cell, tau=TAU, kernel="gaussian")
    predicted = float((limit(probes) * along).sum())
    found = []
    for _ in range(pools):
        x = torch.cat([probes, Q2.draw(2000, generator)])
        found.append((_v(x, P2.draw(2000, generator), TAU, "gaussian")[:40] * along).sum())
    mean, deviation = _mean(found)
    setting = "gaussian, Gaussians in the plane"
    yield compare_numbers("Circulation", setting, "of V", predicted, mean, 4 * deviation / abs(predicted) + 0.05)
    gap = (limit(probes) / limit.scale(probes) * along).sum()
    yield Check(
        statement="Circulation",
        setting=setting,
        quantity="of V / scale (error beside that of V)",
        predicted=0.0,
        measured=float(gap),
        error=abs(float(gap) / predicted),
        tolerance=1e-6,
    )


# ------------------------------------------------------------------ all of them


def theory(subject: Subject, *, points: int, pools: int) -> Result:
    """Check every statement: `points` stand for a law on the line, means are over `pools` independent pools.

    `scores` and `tables["statements"]` hold the worst error of each statement, `tables["theory"]` each check, `figures`
    the decay rates by frequency.
    """
    streams = subject.streams
    parts = (
        _limit(points),
        _scores(points),
        _equilibrium(pools, streams["theory.equilibrium"]),
        _stop_gradient(points),
        _frequency(points),
        _annealing(60),
        _circulation(max(10, pools // 10), streams["theory.circulation"]),
    )
    checks: list[Check] = []
    for done, part in enumerate(parts):
        subject.progress("checking statements", done, len(parts))
        checks += part
    rates = {check.setting: check.measured for check in checks if check.statement == "Frequency"}
    measured = {kernel: [rates[f"{kernel}, w tau = {w:g}"] for w in FREQUENCIES] for kernel in KERNELS}
    scores, tables = by_statement(STATEMENTS, checks)
    return Result(
        scores=scores,
        tables=tables,
        figures={"rates": rates_figure(FREQUENCIES, measured)},
        manifest={"points": points, "pools": pools, "tau": TAU},
    )
