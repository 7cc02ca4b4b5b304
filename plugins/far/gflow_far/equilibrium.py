"""The optimal discriminator of FAR's theory: Propositions 1, 2 and 3, solved and checked (Appendices A, B and C).

One real point x0 of n, and m0 of m fakes close to it; xi0 and xi_i are the optimal logits there. k0 weighs a penalty
on their differences, and each of these fakes counts as real with probability p0 (eq. 10):

    h = log s(xi0) + p0 sum_i log s(xi_i) + n/m sum_i log(1 - s(xi_i)) - n k0/m0 sum_i (xi0 - xi_i)^2,  s the sigmoid

For k0 > 0 h is strictly concave and coercive, so its one maximiser has all xi_i = xi. With a = s(-xi0), R = n m0/m
and Delta = xi0 - xi its derivatives vanish where

    a = 2 n k0 Delta,    s(xi) = (a + p0 m0) / (R + p0 m0)        (Proposition 2 is p0 = 0)

The appendix prints three of its equations otherwise: eq. 34 has p0 (1 - s(xi0)) for p0 (1 - s(xi)), eq. 35 lacks m0
beside p0, eq. 36 has 2 n k0 as an exponent where 1 belongs (and lacks m0). `slips` puts numbers into both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import brentq, minimize
from scipy.special import expit, log_expit

from gflow_core import Check, Result, Subject

__all__ = ["ARROWS", "Point", "Separator", "Setting", "equilibrium", "maximise", "solve"]

Array = np.ndarray[Any, np.dtype[np.float64]]

ARROWS = {
    "k0": {"xi0": -1, "xi": 1, "delta": -1, "gradient": -1},
    "m0": {"xi0": -1, "xi": -1, "delta": 1, "gradient": 1},
    "p0": {"xi0": 1, "xi": 1, "delta": -1, "gradient": -1},
}
"""Table 2: which way each optimal value goes as each variable grows."""


# ------------------------------------------------------------------ Propositions 2 and 3


@attrs.frozen(kw_only=True)
class Setting:
    """What an optimum depends on."""

    k0: float
    """Weight of the penalty, > 0."""
    m0: int
    """Fakes close to the real point, 1 .. m."""
    p0: float
    """Probability that such a fake counts as real, 0 .. 1."""
    n: int
    """Real points."""
    m: int
    """Fakes."""

    @property
    def ratio(self) -> float:
        """R = n m0/m."""
        return self.n * self.m0 / self.m

    @property
    def stiffness(self) -> float:
        """2 n k0."""
        return 2 * self.n * self.k0

    def __str__(self) -> str:
        return ", ".join(f"{name}={value:.4g}" for name, value in attrs.asdict(self).items())


@attrs.frozen
class Point:
    """An optimum."""

    xi0: float
    """Logit at the real point."""
    delta: float
    """xi0 - xi > 0."""

    @property
    def xi(self) -> float:
        """Logit at the fakes."""
        return self.xi0 - self.delta

    @property
    def gradient(self) -> float:
        """V = Delta / (1 + exp(xi)): the gradient at a fake, times its distance to the real point (eq. 6)."""
        return float(self.delta * expit(-self.xi))


def solve(setting: Setting) -> Point:
    """The maximiser of h.

    Eliminating xi leaves one equation in a = s(-xi0), whose left side falls from +inf to -inf on (0, min(1, R)):

        log((1 - a)/a) - a/(2 n k0) - log(a + p0 m0) + log(R - a) = 0
    """
    c, r, extra = setting.stiffness, setting.ratio, setting.p0 * setting.m0

    def excess(a: float) -> float:
        return math.log1p(-a) - math.log(a) - a / c - math.log(a + extra) + math.log(r - a)

    a = brentq(excess, 1e-300, min(1.0, r) * (1 - 2**-53), xtol=1e-300, rtol=4 * np.finfo(float).eps)
    return Point(math.log1p(-a) - math.log(a), a / c)


def slopes(setting: Setting, point: Point) -> tuple[float, float]:
    """Derivatives of h in xi0 and in each xi_i where all these are equal (eq. 33, and eq. 34 as it should read)."""
    pull = setting.stiffness * point.delta  # of the exact difference: xi0 - xi loses digits where Delta is small
    near = setting.p0 * expit(-point.xi) - setting.n / setting.m * expit(point.xi) + pull / setting.m0
    return float(expit(-point.xi0) - pull), float(near)


def h(setting: Setting, xi: Array) -> float:
    """Eq. 10 at xi = (xi0, xi_1, ..., xi_m0)."""
    near = setting.p0 * log_expit(xi[1:]) + setting.n / setting.m * log_expit(-xi[1:])
    penalty = setting.stiffness / 2 / setting.m0 * np.square(xi[0] - xi[1:]).sum()
    return float(log_expit(xi[0]) + near.sum() - penalty)


def h_gradient(setting: Setting, xi: Array) -> Array:
    """Gradient of h, [m0 + 1]: eqs. 33 and 34 before all xi_i are taken equal."""
    pull = setting.stiffness / setting.m0 * (xi[0] - xi[1:])
    near = setting.p0 * expit(-xi[1:]) - setting.n / setting.m * expit(xi[1:]) + pull
    return np.concatenate([[expit(-xi[0]) - pull.sum()], near])


def h_hessian(setting: Setting, xi: Array) -> Array:
    """Hessian of h, [m0 + 1, m0 + 1]."""
    weight = setting.stiffness / setting.m0
    slope = expit(xi) * expit(-xi)
    diagonal = [slope[0] + setting.stiffness, *(slope[1:] * (setting.p0 + setting.n / setting.m) + weight)]
    matrix = -np.diag(diagonal)
    matrix[0, 1:] = matrix[1:, 0] = weight
    return matrix


def maximise(setting: Setting, start: Array) -> Array:
    """The maximiser of h over all m0 + 1 logits, by Newton steps in a trust region: knows nothing of `solve`."""
    found = minimize(
        lambda xi: -h(setting, xi),
        start,
        jac=lambda xi: -h_gradient(setting, xi),
        hess=lambda xi: -h_hessian(setting, xi),
        method="trust-exact",
        options={"gtol": 1e-9},
    )
    xi: Array = found.x
    return xi


# ------------------------------------------------------------------ Proposition 1


@attrs.frozen(eq=False)
class Separator:
    """Appendix A's network D(v) = W3' s(k2 W2 s(k1 (W1 v - b))), on unit vectors v.

    D is 1/2 + eps/2 at x0, 1/2 - eps/2 at y0, and 1/2 at every v with v'x0 and v'y0 below 1 - margin, as k1 margin
    and k2 grow. Only W1 is larger than 2 x 2.
    """

    w1: Array
    """[2, d]: x0 and y0."""
    b: Array
    """[2]: half a margin below 1."""
    w2: Array
    """[2, 2]."""
    w3: Array
    """[2]."""
    k1: float
    k2: float

    @classmethod
    def between(cls, x0: Array, y0: Array, *, margin: float, epsilon: float, sharpness: float) -> Separator:
        """For unit vectors x0 and y0 [d]; D nears its limit as exp(-sharpness), sharpness = k1 margin/2 = k2."""
        return cls(
            w1=np.stack([x0, y0]),
            b=np.full(2, 1 - margin / 2),
            w2=np.array([[1.0, -1.0], [-1.0, 1.0]]),
            w3=np.array([1 + epsilon, 1 - epsilon]) / 2,
            k1=2 * sharpness / margin,
            k2=sharpness,
        )

    @property
    def parameters(self) -> int:
        """Weights and offsets: 2 d + 8."""
        return sum(w.size for w in (self.w1, self.b, self.w2, self.w3))

    def __call__(self, v: Array) -> Array:
        """v [N, d] -> D(v) [N]."""
        beta = expit(self.k1 * (v @ self.w1.T - self.b))
        found: Array = expit(self.k2 * (beta @ self.w2.T)) @ self.w3
        return found


def sphere(rng: np.random.Generator, count: int, dim: int) -> Array:
    """Uniform points on the unit sphere [count, dim] (eq. 15)."""
    v = rng.standard_normal((count, dim))
    found: Array = v / np.linalg.norm(v, axis=1, keepdims=True)
    return found


def margin_of(real: Array, fake: Array) -> float:
    """1 minus the largest cosine of real[0] or fake[0] with any other point."""
    others = np.concatenate([real, fake]) @ np.stack([real[0], fake[0]]).T
    others[0, 0] = others[len(real), 1] = -1
    return float(1 - others.max())


def likelihood(network: Callable[[Array], Array], real: Array, fake: Array) -> float:
    """The discriminator's objective (eq. 13): mean log D over real [n, d], plus mean log(1 - D) over fake [m, d]."""
    return float(np.log(network(real)).mean() + np.log1p(-network(fake)).mean())


# ------------------------------------------------------------------ checks


def _check(
    statement: str, setting: object, quantity: str, predicted: float, measured: float, tolerance: float
) -> Check:
    """`error` is absolute; a bound's is how far it is missed."""
    return Check(
        statement=statement,
        setting=str(setting),
        quantity=quantity,
        predicted=float(predicted),
        measured=float(measured),
        error=abs(float(measured) - float(predicted)),
        tolerance=tolerance,
    )


EXAMPLES: Sequence[tuple[Setting, tuple[float, float, float, float]]] = (
    (Setting(k0=0.01, m0=4, p0=0.0, n=64, m=64), (-0.950727, -1.514212, 0.563485, 0.461880)),
    (Setting(k0=0.10, m0=4, p0=0.0, n=64, m=64), (-1.336979, -1.398853, 0.061874, 0.049623)),
    (Setting(k0=0.01, m0=4, p0=0.5, n=64, m=64), (0.039620, -0.343267, 0.382888, 0.223983)),
)
"""Settings with their (xi0, xi, Delta, V), computed independently to six decimals."""


def _examples() -> Iterator[Check]:
    for setting, known in EXAMPLES:
        point = solve(setting)
        for name, value in zip(ARROWS["k0"], known, strict=True):
            yield _check("Worked example", setting, name, value, getattr(point, name), 1e-6)


def _maximised(count: int, rng: np.random.Generator) -> Iterator[Check]:
    """The solution of the equations is where h is largest, over all its m0 + 1 variables."""
    for _ in range(count):
        setting = _random_setting(rng)
        statement = "Proposition 3" if setting.p0 else "Proposition 2"
        point, found = solve(setting), maximise(setting, rng.standard_normal(setting.m0 + 1))
        far = found[1:][np.abs(found[1:] - point.xi).argmax()]
        yield _check(statement, setting, "xi0 where h is largest", point.xi0, found[0], 1e-6)
        yield _check(statement, setting, "xi_i where h is largest (farthest i)", point.xi, far, 1e-6)


def _concave(count: int, rng: np.random.Generator) -> Check:
    """h's Hessian is negative definite, at random logits of random settings."""
    largest = -math.inf
    for _ in range(count):
        setting = _random_setting(rng)
        xi = rng.uniform(-6, 6, setting.m0 + 1)
        largest = max(largest, float(np.linalg.eigvalsh(h_hessian(setting, xi))[-1]))
    check = _check("Concavity", f"{count} random points", "largest eigenvalue of h's Hessian < 0", 0.0, largest, 0.0)
    return attrs.evolve(check, error=0.0 if largest < 0 else math.inf)


def _random_setting(rng: np.random.Generator) -> Setting:
    """p0 = 0, Proposition 2, every other time."""
    n, m = (int(count) for count in rng.choice([16, 64, 256], 2))
    return Setting(
        k0=float(10 ** rng.uniform(-3, 0)),
        m0=int(rng.integers(1, 9)),
        p0=float(rng.uniform(0.05, 1) * rng.integers(0, 2)),
        n=n,
        m=m,
    )


def _limit() -> Iterator[Check]:
    """A penalty without bound leaves one logit for all: s(xi) = (1 + p0 m0) / (1 + R + p0 m0)."""
    for p0 in (0.0, 0.5):
        setting = Setting(k0=1e9, m0=4, p0=p0, n=64, m=16)
        share = (1 + p0 * setting.m0) / (1 + setting.ratio + p0 * setting.m0)
        point = solve(setting)
        for name in ("xi0", "xi"):
            quantity = f"{name} = log((1 + p0 m0) / R)"
            yield _check("Strong penalty", setting, quantity, math.log(share / (1 - share)), getattr(point, name), 1e-9)


def slips(settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """The three equations that the appendix prints otherwise: what each leaves over at the optimum, of 0."""
    rows = []
    for setting in settings:
        point = solve(setting)
        _, m0, p0, n, m = attrs.astuple(setting)
        xi0, xi, c, odds = point.xi0, point.xi, setting.stiffness, setting.ratio * (1 + math.exp(point.xi0)) - 1
        rest = -n / m * expit(xi) + c / m0 * point.delta
        a = expit(-xi0)
        left = {
            "eq. 34": (p0 * expit(-xi0) + rest, p0 * expit(-xi) + rest),
            "eq. 35": tuple(-math.log(odds / (1 + p0 * count * (1 + math.exp(xi0)))) - xi for count in (1, m0)),
            "eq. 36": (
                a * (math.exp(c * xi0 - a) * odds**c - 1) - p0,
                a / m0 * (math.exp(xi0 - a / c) * odds - 1) - p0,
            ),
        }
        for equation, (printed, corrected) in left.items():
            row = {"equation": equation, "setting": str(setting)}
            rows.append({**row, "printed": float(printed), "corrected": float(corrected)})
    return rows


def _corrected(rows: list[dict[str, Any]]) -> Iterator[Check]:
    for row in rows:
        quantity = f"{row['equation']} as corrected, at the optimum"
        yield _check("Appendix C", row["setting"], quantity, 0.0, row["corrected"], 1e-12)


def _separation(dim: int, n: int, m: int, epsilon: float, rng: np.random.Generator) -> Iterator[Check]:
    """Proposition 1: D's three values, its objective (eq. 22) and its size."""
    real, fake = sphere(rng, n, dim), sphere(rng, m, dim)
    network = Separator.between(real[0], fake[0], margin=margin_of(real, fake), epsilon=epsilon, sharpness=50.0)
    out_real, out_fake = network(real), network(fake)
    rest = np.concatenate([out_real[1:], out_fake[1:]])
    setting = f"d={dim}, n={n}, m={m}, epsilon={epsilon:g}"
    gain = (1 / n + 1 / m) * math.log1p(epsilon)
    found = likelihood(network, real, fake)
    for quantity, predicted, measured in (
        ("D(x0) = 1/2 + epsilon/2", (1 + epsilon) / 2, out_real[0]),
        ("D(y0) = 1/2 - epsilon/2", (1 - epsilon) / 2, out_fake[0]),
        ("D elsewhere = 1/2 (farthest)", 0.5, rest[np.abs(rest - 0.5).argmax()]),
        ("objective - 2 log 1/2 = (1/n + 1/m) log(1 + epsilon) > 0", gain, found + 2 * math.log(2)),
    ):
        yield _check("Proposition 1", setting, quantity, predicted, measured, 1e-12)
    yield _check("Proposition 1", setting, "parameters 2 d + 8", 2 * dim + 8, network.parameters, 0.0)


# ------------------------------------------------------------------ Table 2


@attrs.frozen(eq=False)
class Grid:
    """Optima over the product of values: arrays [k0, m0, p0, n, m]."""

    axes: dict[str, Sequence[float]]
    values: dict[str, Array]
    residual: float
    """The farthest that the stationarity equations are from holding."""
    outside: int
    """Optima without 0 < Delta < 1/(2 n k0)."""


def solve_grid(grid: int, counts: Sequence[int], progress: Callable[[int, int], None]) -> Grid:
    """Every optimum over `grid` values of each of k0, m0 and p0 (of m0 at most) and all `counts` of n and of m."""
    axes: dict[str, Sequence[float]] = {
        "k0": np.geomspace(1e-4, 10, grid).tolist(),
        "m0": sorted({round(m0) for m0 in np.geomspace(1, min(16, *counts), grid)}),
        "p0": np.linspace(0, 1, grid).tolist(),
        "n": counts,
        "m": counts,
    }
    shape = tuple(map(len, axes.values()))
    values = {name: np.empty(shape) for name in ARROWS["k0"]}
    residual, outside = 0.0, 0
    for index in np.ndindex(shape):
        if not any(index[1:]):
            progress(index[0], shape[0])
        setting = Setting(**{name: axis[i] for (name, axis), i in zip(axes.items(), index, strict=True)})
        point = solve(setting)
        for name, array in values.items():
            array[index] = getattr(point, name)
        residual = max(residual, *map(abs, slopes(setting, point)))
        outside += not 0 < point.delta < 1 / setting.stiffness
    return Grid(axes, values, residual, outside)


def compare(grid: Grid) -> list[dict[str, Any]]:
    """Table 2, counted: neighbours along each variable, and how many of them go the other way, or nowhere."""
    rows = []
    for axis, (variable, arrows) in enumerate(ARROWS.items()):
        for quantity, sign in arrows.items():
            steps = np.diff(grid.values[quantity], axis=axis) * sign
            predicted = "increases" if sign > 0 else "decreases"
            rows.append(
                {
                    "as it grows": variable,
                    "quantity": quantity,
                    "predicted": predicted,
                    "measured": predicted if (steps > 0).all() else "both",
                    "comparisons": int(steps.size),
                    "violations": int((steps <= 0).sum()),
                }
            )
    return rows


# ------------------------------------------------------------------ figures

BASE = Setting(k0=0.02, m0=4, p0=0.25, n=64, m=64)
"""What the curves keep fixed."""

SWEEPS: dict[str, tuple[Sequence[float], str, Sequence[float]]] = {
    "k0": (np.geomspace(1e-3, 1, 61).tolist(), "p0", (0.0, 0.25, 0.5, 1.0)),
    "m0": (range(1, 17), "p0", (0.0, 0.25, 0.5, 1.0)),
    "p0": (np.linspace(0, 1, 61).tolist(), "m0", (1, 4, 16)),
}
"""Variable -> its values, what tells the curves of a panel apart, and the values of that."""

LABELS = {
    "k0": "$k_0$",
    "m0": "$m_0$",
    "p0": "$p_0$",
    "xi0": r"$\xi_0$ (real)",
    "xi": r"$\xi$ (fake)",
    "delta": r"$\Delta = \xi_0 - \xi$",
    "gradient": r"$V = \Delta\,/\,(1 + e^{\xi})$",
}


def _curves_figure(table: list[dict[str, Any]]) -> Figure:
    """Quantities down, variables across; each panel bears Table 2's arrow, green where no comparison violates it."""
    figure = Figure(figsize=(10, 10.5), layout="constrained")
    panels = figure.subplots(len(ARROWS["k0"]), len(ARROWS), sharex="col")
    violations = {(row["as it grows"], row["quantity"]): row["violations"] for row in table}
    for (variable, arrows), column in zip(ARROWS.items(), panels.T, strict=True):
        values, other, others = SWEEPS[variable]
        colours = colormaps["viridis"](np.linspace(0.1, 0.85, len(others)))
        for fixed, colour in zip(others, colours, strict=True):
            changes: list[dict[str, Any]] = [{other: fixed, variable: value} for value in values]
            points = [solve(attrs.evolve(BASE, **change)) for change in changes]
            for axes, quantity in zip(column, arrows, strict=True):
                y = [getattr(point, quantity) for point in points]
                marker = "." if variable == "m0" else ""
                axes.plot(values, y, marker=marker, color=colour, label=f"{LABELS[other]} = {fixed:g}")
        for axes, (quantity, sign) in zip(column, arrows.items(), strict=True):
            low, high = axes.get_ylim()
            axes.set_ylim(low, high + 0.35 * (high - low))  # room for the arrow and the legend
            _arrow(axes, sign, violations[variable, quantity] == 0)
            _plain(axes)
        column[0].set_title(f"{LABELS[variable]} grows")
        column[0].legend(frameon=False, fontsize="small", loc="upper left", ncols=2, columnspacing=1)
        column[-1].set_xlabel(LABELS[variable])
    for axes, quantity in zip(panels[:, 0], ARROWS["k0"], strict=True):
        axes.set_xscale("log")
        axes.set_ylabel(LABELS[quantity])
    count, wrong = (sum(row[key] for row in table) for key in ("comparisons", "violations"))
    kept = ", ".join(f"{LABELS.get(k, f'${k}$')} = {v:g}" for k, v in attrs.asdict(BASE).items())
    figure.suptitle(f"The optimal discriminator near a real point, and Table 2's arrows: {wrong} of {count:,} violated")
    figure.supxlabel(f"where not varied: {kept}", fontsize="small", color="0.4")
    return figure


def _arrow(axes: Axes, sign: int, holds: bool) -> None:
    axes.annotate(
        "",
        xy=(0.97, 0.97 if sign > 0 else 0.8),
        xytext=(0.89, 0.8 if sign > 0 else 0.97),
        xycoords="axes fraction",
        arrowprops={"arrowstyle": "-|>", "lw": 2, "color": "tab:green" if holds else "tab:red"},
    )


def _separation_figure(rng: np.random.Generator) -> Figure:
    """D on the circle through 8 + 8 points of the plane, and how fast its objective reaches eq. 22's value."""
    n, epsilon, dim = 8, 0.5, 2
    real, fake = sphere(rng, n, dim), sphere(rng, n, dim)
    margin = margin_of(real, fake)
    angle = np.linspace(-math.pi, math.pi, 20_001)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    for sharpness, colour in ((1.0, "0.75"), (2.0, "0.5"), (50.0, "black")):
        network = Separator.between(real[0], fake[0], margin=margin, epsilon=epsilon, sharpness=sharpness)
        left.plot(angle, network(circle), color=colour, lw=1, label=f"$k_2 = {sharpness:g}$")
    for points, colour, label in ((real, "tab:blue", "real"), (fake, "tab:red", "fake")):
        left.scatter(np.arctan2(points[:, 1], points[:, 0]), network(points), s=28, color=colour, label=label, zorder=3)
    for point, name, offset in ((real[0], "$x_0$", 8), (fake[0], "$y_0$", -16)):
        at = (math.atan2(point[1], point[0]), float(network(point[None])[0]))
        left.annotate(name, at, xytext=(0, offset), textcoords="offset points", ha="center")
    left.set(xlabel="angle on the unit circle", ylabel="$D$", ylim=(0.1, 0.9), xlim=(-math.pi, math.pi))
    left.set_title(rf"Proposition 1's network, {network.parameters} numbers, $\epsilon$ = {epsilon:g}")
    left.legend(frameon=False, ncols=5, loc="lower center", fontsize="small", columnspacing=1, handletextpad=0.4)

    gain = 2 / n * math.log1p(epsilon)
    ramp = np.linspace(0.25, 12, 48)
    found = [
        likelihood(Separator.between(real[0], fake[0], margin=margin, epsilon=epsilon, sharpness=k), real, fake)
        for k in ramp
    ]
    right.axhline(gain, color="tab:green", lw=1, label=r"eq. 22: $(1/n + 1/m)\,\log(1 + \epsilon)$")
    right.axhline(0, color="0.6", lw=1, ls="--", label=r"constant $D = 1/2$")
    right.plot(ramp, np.array(found) + 2 * math.log(2), color="black", label="measured")
    right.set(xlabel=r"$k_2 = k_1\,(1 - l)\,/\,2$", ylabel=r"objective $-\ 2\log\frac{1}{2}$")
    right.set_title("Better than the theoretical equilibrium")
    right.legend(frameon=False, fontsize="small", loc="center right")
    for axes in (left, right):
        _plain(axes)
    return figure


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


# ------------------------------------------------------------------ the analyzer


def equilibrium(subject: Subject, *, grid: int, counts: Sequence[int], maximised: int) -> Result:
    """Solve over `grid` values and `counts` (`solve_grid`), compare, and check, at `maximised` settings by maximising.

    `tables["table2"]` counts comparisons and violations for each arrow, `tables["checks"]` has each check with what
    is predicted, measured and the absolute error, `tables["slips"]` what the printed equations leave over beside the
    corrected ones.
    """
    rng = np.random.default_rng(subject.streams["far.equilibrium"].initial_seed())
    solved = solve_grid(grid, counts, lambda done, total: subject.progress("solving for the optimum", done, total))
    table = compare(solved)
    count = f"{next(iter(solved.values.values())).size} optima"
    printed = slips([attrs.evolve(BASE, m0=m0, p0=p0) for m0, p0 in ((2, 0.5), (4, 0.25), (8, 1.0))])
    checks = [
        *_examples(),
        *_maximised(maximised, rng),
        _check("Stationarity", count, "largest derivative of h at the optimum", 0.0, solved.residual, 1e-12),
        _check("Stationarity", count, "optima without 0 < Delta < 1/(2 n k0)", 0, solved.outside, 0.0),
        _concave(200, rng),
        *_limit(),
        *_corrected(printed),
        *_separation(2, 8, 8, 0.5, rng),
        *_separation(64, 64, 64, 0.5, rng),
        *_separation(512, 256, 64, 0.05, rng),
        *_separation(3072, 64, 64, 0.95, rng),
    ]
    return Result(
        scores={
            "comparisons": sum(row["comparisons"] for row in table),
            "violations": sum(row["violations"] for row in table),
            "checks": len(checks),
            "failures": sum(not check.ok for check in checks),
        },
        tables={"table2": table, "checks": [check.row() for check in checks], "slips": printed},
        figures={"table2": _curves_figure(table), "separation": _separation_figure(rng)},
        manifest={"grid": {name: list(axis) for name, axis in solved.axes.items()}, "maximised": maximised},
    )
