"""The statements of VGrow's paper, checked numerically on Gaussians (seed: Gao et al. 2019, supplement, Section 1).

p is the data law, q the model law, r = q/p, d = log p/q the optimal logit, D_f(q || p) = E_p f(r) and
v = -f''(r) grad r = s(d) grad d. Every divergence in PUBLISHED is checked with its own f, f1, f2 and scale, so
that a wrong formula fails here. Integrals are sums over a uniform grid (the trapezoid rule converges faster than
any power of the spacing for these integrands), derivatives in a step s are five-point central differences.

Where the supplement's print slips, what is checked is the corrected statement: Lemma 1.3 has r = exp(-d), so
exp(+d) = p/q in its display; the determinant in Theorem 1.2 is 1 - s div v + o(s).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import attrs
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.integrate import solve_ivp
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from gflow_core import Check, Result, Subject, by_statement
from gflow_vgrow.divergences import PUBLISHED, Divergence
from gflow_vgrow.flow import velocity

__all__ = ["Decay", "Gaussian", "OfDivergence", "Pair", "decay", "pairs", "theory"]

_STEP = 1e-3
_EXACT = 1e-8
"""Tolerance of quadrature against quadrature, and of five-point differences at _STEP (both reach about 1e-11)."""


@attrs.frozen(kw_only=True)
class OfDivergence(Check):
    """A check of one divergence. `error` is relative, in the L2 norm where the quantity is a function."""

    divergence: str
    dim: int


# ------------------------------------------------------------------ Gaussians and quadrature


@attrs.frozen(eq=False)
class Gaussian:
    """N(mean [D], cov [D, D]), in float64."""

    mean: Tensor
    cov: Tensor

    @cached_property
    def precision(self) -> Tensor:
        found: Tensor = torch.linalg.inv(self.cov)
        return found

    @cached_property
    def _log_volume(self) -> Tensor:
        return 0.5 * torch.logdet(2 * math.pi * self.cov)

    def log(self, x: Tensor) -> Tensor:
        """Log density at x [n, D]: [n]."""
        y = x - self.mean
        return -0.5 * ((y @ self.precision) * y).sum(1) - self._log_volume

    def score(self, x: Tensor) -> Tensor:
        """Gradient of the log density at x [n, D]: [n, D]."""
        return (self.mean - x) @ self.precision

    def draw(self, n: int, generator: Generator) -> Tensor:
        """n draws, [n, D]."""
        z = torch.randn(n, len(self.mean), generator=generator, dtype=torch.float64)
        found: Tensor = self.mean + z @ torch.linalg.cholesky(self.cov).T
        return found

    def kl(self, other: Gaussian) -> Tensor:
        """KL(self || other) in closed form."""
        y = self.mean - other.mean
        ratio = other.precision @ self.cov
        return 0.5 * (ratio.trace() - len(y) - torch.logdet(ratio) + y @ other.precision @ y)


@attrs.frozen(eq=False)
class Pair:
    """Data law p, model law q, and the grid that integrates over both."""

    p: Gaussian
    q: Gaussian

    @cached_property
    def axes(self) -> list[Tensor]:
        """Grid points along each axis, nine standard deviations to each side."""
        deviation = torch.maximum(self.p.cov.diagonal(), self.q.cov.diagonal()).sqrt()
        low = torch.minimum(self.p.mean, self.q.mean) - 9 * deviation
        high = torch.maximum(self.p.mean, self.q.mean) + 9 * deviation
        points = 2001 if self.dim == 1 else 241
        return [torch.linspace(a, b, points, dtype=torch.float64) for a, b in zip(low, high, strict=True)]

    @cached_property
    def x(self) -> Tensor:
        """Grid points [n, D]."""
        return torch.stack(torch.meshgrid(*self.axes, indexing="ij"), dim=-1).reshape(-1, self.dim)

    @cached_property
    def cell(self) -> float:
        """Volume of one grid cell."""
        return math.prod(float(axis[1] - axis[0]) for axis in self.axes)

    @property
    def dim(self) -> int:
        return len(self.p.mean)

    @property
    def r(self) -> Tensor:
        """q/p on the grid [n]."""
        return (-self.d(self.x)).exp()

    def d(self, x: Tensor) -> Tensor:
        """The optimal logit log p/q at x [n, D]: [n]."""
        return self.p.log(x) - self.q.log(x)

    def grad_d(self, x: Tensor) -> Tensor:
        """Its gradient [n, D]."""
        return self.p.score(x) - self.q.score(x)

    def grad_r(self) -> Tensor:
        """Gradient of q/p on the grid [n, D]."""
        return -self.r[:, None] * self.grad_d(self.x)

    def v(self, divergence: Divergence, x: Tensor) -> Tensor:
        """The velocity s(d) grad d at x [n, D]: [n, D]."""
        return divergence.scale(self.d(x))[:, None] * self.grad_d(x)

    def jacobian_v(self, divergence: Divergence, x: Tensor) -> Tensor:
        """Jacobian of the velocity at x [n, D]: [n, D, D]; s'(d) grad d grad d^T + s(d) Hess d."""
        d, g = self.d(x), self.grad_d(x)
        hessian = self.q.precision - self.p.precision
        outer = g[:, :, None] * g[:, None, :]
        return _derivative(divergence.scale, d)[:, None, None] * outer + divergence.scale(d)[:, None, None] * hessian

    def integral(self, values: Tensor) -> Tensor:
        """Integral of values on the grid [n, ...] over x."""
        return values.sum(0) * self.cell

    def mean_p(self, values: Tensor) -> Tensor:
        """E_p of values on the grid [n]."""
        return self.integral(values * self.p.log(self.x).exp())

    def mean_q(self, values: Tensor) -> Tensor:
        """E_q of values on the grid [n]."""
        return self.integral(values * self.q.log(self.x).exp())

    def pushed(self, divergence: Divergence, s: float, g: Tensor, jacobian: Tensor) -> Tensor:
        """D_f(T# q || p) for T(x) = x + s g(x), g [n, D] and its Jacobian [n, D, D] given on the grid.

        The pushforward's exact density at T(x) is q(x) / det DT(x); the integral is taken over x.
        """
        volume = torch.linalg.det(torch.eye(self.dim, dtype=torch.float64) + s * jacobian)
        log_p = self.p.log(self.x + s * g)
        ratio = (self.q.log(self.x) - volume.log() - log_p).exp()
        return self.integral(log_p.exp() * divergence.f(ratio) * volume)


def pairs() -> tuple[Pair, Pair]:
    """The settings in one and two dimensions.

    q is wider than p in every direction: where r -> 0 in a tail, E||v||^2 of Jeffreys can be infinite (in 1-D it
    is if sigma_q^2 <= sigma_p^2 / 2). It is less than sqrt(2) times as wide, so that chi-squared is finite too.
    """

    def gaussian(mean: list[float], cov: list[list[float]]) -> Gaussian:
        return Gaussian(torch.tensor(mean, dtype=torch.float64), torch.tensor(cov, dtype=torch.float64))

    line = Pair(gaussian([0.0], [[1.0]]), gaussian([1.0], [[1.44]]))
    plane = Pair(
        gaussian([0.0, 0.0], [[1.0, 0.3], [0.3, 0.8]]),
        gaussian([1.0, -0.5], [[1.4, 0.2], [0.2, 1.2]]),
    )
    return line, plane


def _derivative(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Derivative of an elementwise function, by automatic differentiation."""
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        values = function(at)
        return torch.autograd.grad(values.sum(), at)[0] if values.requires_grad else torch.zeros_like(at)


def _f1(divergence: Divergence, u: Tensor) -> Tensor:
    """f'(u); a divergence that does not give it has f differentiated."""
    try:
        return divergence.f1(u)
    except NotImplementedError:
        return _derivative(divergence.f, u)


def _slope(function: Callable[[float], Tensor], h: float = _STEP) -> Tensor:
    """Derivative at 0 by five-point central differences, to order h^4."""
    return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)


def _check(
    statement: str,
    divergence: str,
    dim: int,
    quantity: str,
    predicted: Tensor | float,
    measured: Tensor | float,
    tolerance: float = _EXACT,
) -> OfDivergence:
    """Compare numbers, or functions on the grid in the L2 norm."""
    a = torch.as_tensor(predicted, dtype=torch.float64)
    b = torch.as_tensor(measured, dtype=torch.float64)
    scale = max(float(a.norm()), 1e-300)
    return OfDivergence(
        statement=statement,
        setting=f"{divergence}, {dim}-D",
        divergence=divergence,
        dim=dim,
        quantity=quantity,
        predicted=float(a if a.dim() == 0 else a.norm() / math.sqrt(a.numel())),
        measured=float(b if b.dim() == 0 else b.norm() / math.sqrt(b.numel())),
        error=float((b - a).norm()) / scale,
        tolerance=tolerance,
    )


# ------------------------------------------------------------------ the statements, one function each


def _first_variation(pair: Pair, name: str, divergence: Divergence) -> Iterator[OfDivergence]:
    """Lemma 1.1: d/ds D_f(q + s w || p) at 0 = integral f'(r) w, for w of zero mass."""
    wave = (pair.x.sum(1) + 0.5).sin()
    wave = wave - pair.mean_q(wave)  # w = q wave
    r = pair.r
    measured = _slope(lambda s: pair.mean_p(divergence.f(r * (1 + s * wave))))
    predicted = pair.mean_q(_f1(divergence, r) * wave)
    yield _check("Lemma 1.1", name, pair.dim, "dD_f(q + s w)/ds = int f'(r) w", predicted, measured)


def _dissipation(pair: Pair, name: str, divergence: Divergence) -> Iterator[OfDivergence]:
    """Lemma 1.2: dF/dt = -E_q ||v||^2, from dF/dt = int f'(r) dq/dt, and from the density moved along v."""
    x, r = pair.x, pair.r
    v, jacobian = pair.v(divergence, x), pair.jacobian_v(divergence, x)
    predicted = -pair.mean_q(v.square().sum(1))
    growth = -(jacobian.diagonal(dim1=1, dim2=2).sum(1) + (v * pair.q.score(x)).sum(1))  # dq/dt = q growth
    measured = pair.mean_q(_f1(divergence, r) * growth)
    yield _check("Lemma 1.2", name, pair.dim, "int f'(r) dq/dt = -E||v||^2", predicted, measured)
    moved = _slope(lambda s: pair.pushed(divergence, s, v, jacobian))
    yield _check("Lemma 1.2", name, pair.dim, "dF/dt of moved density = -E||v||^2", predicted, moved)


def _functional_gradient(pair: Pair, name: str, divergence: Divergence) -> Iterator[OfDivergence]:
    """Theorem 1.1: d/ds D_f(T# q || p) at 0 = <f''(r) grad r, g>_{L2(q)} for T(x) = x + s g(x); the flow's own v."""
    rows = torch.arange(1.0, pair.dim**2 + 1, dtype=torch.float64).view(pair.dim, pair.dim) / pair.dim
    phase = pair.x @ rows.T + 0.3
    g, jacobian = phase.sin(), phase.cos()[:, :, None] * rows
    gradient = divergence.f2(pair.r)[:, None] * pair.grad_r()
    predicted = pair.mean_q((gradient * g).sum(1))
    measured = _slope(lambda s: pair.pushed(divergence, s, g, jacobian))
    yield _check("Theorem 1.1", name, pair.dim, "dD_f(pushforward)/ds = <f''(r) grad r, g>", predicted, measured)
    weight = (pair.q.log(pair.x) / 2).exp()[:, None]
    code = velocity(_Logit(pair), pair.x, divergence.scale)
    yield _check("Theorem 1.1", name, pair.dim, "gflow's velocity = -f''(r) grad r", -gradient * weight, code * weight)


class _Logit(nn.Module):
    """The optimal discriminator of a pair."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, x: Tensor) -> Tensor:
        return self.pair.d(x)


def _continuity(pair: Pair, name: str, divergence: Divergence) -> Iterator[OfDivergence]:
    """Theorem 1.2: under T(x) = x + s v(x) the density changes at each point as -div(q v); det DT^-1 = 1 - s div v."""
    y = pair.x
    eye = torch.eye(pair.dim, dtype=torch.float64)

    def density(s: float) -> Tensor:
        x = y
        for _ in range(14):  # solves x + s v(x) = y; each turn gains a factor of about 1 / (s |Dv|) > 20
            x = y - s * pair.v(divergence, x)
        found: Tensor = pair.q.log(x).exp() / torch.linalg.det(eye + s * pair.jacobian_v(divergence, x))
        return found

    v = pair.v(divergence, y)
    div = pair.jacobian_v(divergence, y).diagonal(dim1=1, dim2=2).sum(1)
    q = pair.q.log(y).exp()
    predicted = -q * (div + (v * pair.q.score(y)).sum(1))
    yield _check("Theorem 1.2", name, pair.dim, "dq/dt = -div(q v)", predicted, _slope(density))

    def determinant(s: float) -> Tensor:
        found: Tensor = q / torch.linalg.det(eye + s * pair.jacobian_v(divergence, y))
        return found

    yield _check("Theorem 1.2", name, pair.dim, "d det(DT^-1)/ds = -div v", -q * div, _slope(determinant))


def _logistic(pair: Pair, samples: int, generator: Generator) -> Iterator[OfDivergence]:
    """Lemma 1.3: logistic regression of p (real) against q (generated) finds d = log p/q, that is r = exp(-d).

    log p/q of two Gaussians is a quadratic, so regression on quadratic features can be exact. The sample's
    tolerance is four times the root-mean-square error that maximum likelihood theory gives for its size.
    """
    features = _quadratic(pair.x)
    weight_p, weight_q = (law.log(pair.x).exp() * pair.cell for law in (pair.p, pair.q))
    both = (weight_p + weight_q) / 2
    exact = pair.d(pair.x)
    beta, _ = _newton(features, features, weight_p, weight_q)
    root = both.sqrt()
    quantity = "population minimiser d = -log r"
    yield _check("Lemma 1.3", "logistic", pair.dim, quantity, exact * root, features @ beta * root)

    real, fake = _quadratic(pair.p.draw(samples, generator)), _quadratic(pair.q.draw(samples, generator))
    ones = torch.ones(samples, dtype=torch.float64)
    beta, hessian = _newton(real, fake, ones, ones)
    d = features @ beta
    moment = features.T @ (features * both[:, None])
    size = float((both * exact**2).sum())
    tolerance = 4 * math.sqrt(float((torch.linalg.inv(hessian) @ moment).trace()) / size)
    quantity = f"d from {samples} + {samples} samples"
    yield _check("Lemma 1.3", "logistic", pair.dim, quantity, exact * root, d * root, tolerance)
    slope = float((both * d * exact).sum()) / size
    yield _check("Lemma 1.3", "logistic", pair.dim, "slope of d on -log r (sign)", 1.0, slope, tolerance)


def _quadratic(x: Tensor) -> Tensor:
    """1, x_i and x_i x_j (i <= j) of x [n, D]: [n, (D+1)(D+2)/2]."""
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    return torch.cat([torch.ones_like(x[:, :1]), x, x[:, i] * x[:, j]], dim=1)


def _newton(real: Tensor, fake: Tensor, weight_real: Tensor, weight_fake: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise sum w softplus(-d(real)) + sum w softplus(d(fake)), d = features @ beta; (beta [k], Hessian [k, k])."""
    beta = real.new_zeros(real.shape[1])
    hessian = beta
    for _ in range(25):
        up, down = torch.sigmoid(-(real @ beta)), torch.sigmoid(fake @ beta)
        gradient = fake.T @ (weight_fake * down) - real.T @ (weight_real * up)
        hessian = real.T @ (real * (weight_real * up * (1 - up))[:, None])
        hessian = hessian + fake.T @ (fake * (weight_fake * down * (1 - down))[:, None])
        beta = beta - torch.linalg.solve(hessian, gradient)
    return beta, hessian


def _logd(pair: Pair, name: str, divergence: Divergence) -> Iterator[OfDivergence]:
    """Theorem 1.3: D_logd = 2 KL((p+q)/2 || p), and the generator's criterion at D* is D_logd + 2 log 2."""
    r, d = pair.r, pair.d(pair.x)
    found = pair.mean_p(divergence.f(r))
    middle = (1 + r) / 2
    yield _check(
        "Theorem 1.3", name, pair.dim, "D_f = 2 KL((p+q)/2 || p)", 2 * pair.mean_p(middle * middle.log()), found
    )
    criterion = pair.mean_p(F.softplus(-d)) + pair.mean_q(F.softplus(-d))
    yield _check(
        "Theorem 1.3", name, pair.dim, "-E_p log D* - E_q log D* = D_f + 2 log 2", found + 2 * math.log(2), criterion
    )


def _closed_forms(pair: Pair) -> Iterator[OfDivergence]:
    """The divergences as they are known: KL and Jeffreys of Gaussians, JS by its two KL terms."""
    p, q, r = pair.p, pair.q, pair.r
    middle = 2 / (1 + r)  # p over (p+q)/2
    known = {
        "kl": ("KL(q || p)", q.kl(p)),
        "jeffreys": ("KL(q || p) + KL(p || q)", q.kl(p) + p.kl(q)),
        "js": ("KL(p || m) + KL(q || m)", pair.mean_p(middle.log()) + pair.mean_q((r * middle).log())),
    }
    for name, (quantity, predicted) in known.items():
        if name in PUBLISHED:
            yield _check("Definition", name, pair.dim, quantity, predicted, pair.mean_p(PUBLISHED[name].f(r)))


def _svgd(pair: Pair, name: str, divergence: Divergence, samples: int, generator: Generator) -> Iterator[OfDivergence]:
    """SVGD is the KL flow seen through a kernel k (Gaussian, width 1).

    For g in its space: -<f''(r) grad r, g>_{L2(q)} = E_q[g . grad log p + div g]. SVGD's step,
    phi(y) = E_{x~q}[k(x, y) grad log p(x) + grad_x k(x, y)], is the integral of k(x, y) v(x) q(x).
    """
    centres = pair.q.mean + torch.linspace(-1.5, 1.5, 5, dtype=torch.float64)[:, None] * torch.ones(pair.dim)
    if pair.dim == 2:
        centres = torch.cat([centres, centres * torch.tensor([1.0, -1.0])])
    weights = torch.cos(torch.arange(float(centres.numel()), dtype=torch.float64)).view_as(centres)

    def stein(x: Tensor) -> Tensor:
        """k(x, y) grad log p(x) + grad_x k(x, y) for y = centres: [n, m, D]."""
        k = _kernel(x, centres)[:, :, None]
        return k * (pair.p.score(x)[:, None, :] - (x[:, None, :] - centres))

    q = pair.q.log(pair.x).exp()
    k = _kernel(pair.x, centres)
    step = torch.einsum("n,nmd->md", q, stein(pair.x)) * pair.cell
    projected = torch.einsum("n,nm,nd->md", q, k, pair.v(divergence, pair.x)) * pair.cell
    # g(x) = sum_m weights_m k(x, centre_m): the Stein operator of g is linear in stein(x).
    gradient = divergence.f2(pair.r)[:, None] * pair.grad_r()
    inner = -pair.mean_q((gradient * (k @ weights)).sum(1))
    yield _check("SVGD", name, pair.dim, "-<f''(r) grad r, g> = E_q[T_p g]", (weights * step).sum(), inner)
    yield _check("SVGD", name, pair.dim, "SVGD's step = kernel projection of v", projected, step)
    if pair.dim == 2:
        terms = stein(pair.q.draw(samples, generator))
        spread = terms.var(0).sum() / samples
        tolerance = 4 * float(spread.sqrt() / projected.norm())
        quantity = f"step of {samples} particles = projection of v"
        yield _check("SVGD", name, pair.dim, quantity, projected, terms.mean(0), tolerance)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """exp(-||x - y||^2 / 2) for x [n, D], y [m, D]: [n, m]."""
    return (-0.5 * (x[:, None, :] - y).square().sum(2)).exp()


# ------------------------------------------------------------------ the flow along time


@attrs.frozen(eq=False)
class Decay:
    """A flow in one dimension with its exact ratio, at times t [k]."""

    t: Tensor
    divergence: Tensor
    """F(t) = D_f(q_t || p) [k]."""
    speed: Tensor
    """E||v||^2 [k]."""
    distance: Tensor
    """Wasserstein-2 distance of q_t to p [k]."""

    @property
    def slope(self) -> Tensor:
        """dF/dt by five-point differences, at t[2:-2]."""
        f, h = self.divergence, self.t[1] - self.t[0]
        return (8 * (f[3:-1] - f[1:-3]) - (f[4:] - f[:-4])) / (12 * h)


def decay(pair: Pair, divergence: Divergence, horizon: float, times: int = 601, particles: int = 321) -> Decay:
    """Follow sorted particles x_t(z) along v with the exact ratio, from q to time `horizon`, in one dimension.

    Particle z of the standard normal's line starts at mean + sigma z and carries its share of mass, so
    q_t(x_t(z)) = phi(z) / (dx_t/dz): the density is as exact as the derivative in z (sixth-order differences).
    """
    z = torch.linspace(-6.5, 6.5, particles, dtype=torch.float64)
    h = float(z[1] - z[0])
    log_phi = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    mass = log_phi.exp() * h
    sigma_p, sigma_q = (float(law.cov.sqrt()) for law in (pair.p, pair.q))
    target = pair.p.mean + sigma_p * z

    def look(x: Tensor) -> tuple[Tensor, Tensor]:
        """d and v at the particles x [particles]."""
        stretch = _difference(x, h)
        d = pair.p.log(x[:, None]) - log_phi + stretch.log()
        return d, divergence.scale(d) * _difference(d, h) / stretch

    def rate(_t: float, x: np.ndarray) -> np.ndarray:
        return look(torch.from_numpy(x))[1].numpy()

    t = torch.linspace(0, horizon, times, dtype=torch.float64)
    start = (pair.q.mean + sigma_q * z).numpy()
    found = solve_ivp(
        rate, (0, horizon), start, method="LSODA", t_eval=t.numpy(), rtol=1e-9, atol=1e-9, lband=8, uband=8
    )
    rows = torch.full((3, times), math.nan, dtype=torch.float64)
    for i, x in enumerate(torch.from_numpy(found.y.T.copy())):
        d, v = look(x)
        rows[0, i] = (mass * divergence.f((-d).exp()) * d.exp()).sum()
        rows[1, i] = (mass * v.square()).sum()
        rows[2, i] = (mass * (x - target).square()).sum().sqrt()
    return Decay(t, *rows)


_CENTRAL = (3 / 4, -3 / 20, 1 / 60)


def _difference(y: Tensor, h: float) -> Tensor:
    """Derivative of y [n] on a uniform grid by sixth-order differences; the ends are extrapolated by cubics."""
    k, n = len(_CENTRAL), len(y)
    left, right = y[:4].tolist(), y[-4:].flip(0).tolist()
    for end in (left, right):
        for _ in range(k):
            end.insert(0, 4 * end[0] - 6 * end[1] + 4 * end[2] - end[3])
    padded = torch.cat([y.new_tensor(left[:k]), y, y.new_tensor(right[:k][::-1])])
    pieces = (c * (padded[k + j : k + j + n] - padded[k - j : k - j + n]) for j, c in enumerate(_CENTRAL, 1))
    return torch.stack(list(pieces)).sum(0) / h


def _flow_in_time(pair: Pair, name: str, path: Decay) -> Iterator[OfDivergence]:
    """Lemma 1.2 along the way, and arrival: the flow with the exact ratio takes q to p."""
    shown = path.divergence[2:-2] > 1e-4 * path.divergence[0]
    slope, speed = path.slope[shown], -path.speed[2:-2][shown]
    worst = int(((slope - speed) / speed).abs().nan_to_num(math.inf).argmax()) if len(slope) else None
    ends = (math.nan, math.nan) if worst is None else (float(speed[worst]), float(slope[worst]))
    yield _check("Flow", name, 1, "dF/dt = -E||v||^2 along the way (worst)", *ends, tolerance=1e-3)
    spent = torch.trapezoid(path.speed, path.t)
    spent = spent - (path.t[1] - path.t[0]) ** 2 / 12 * _end_slopes(path)
    first, last = path.divergence[0], path.divergence[-1]
    yield _check("Flow", name, 1, "F(0) - F(T) = int E||v||^2 dt", spent, first - last, tolerance=1e-4)
    left = float(path.distance[-1] / path.distance[0])
    # Near p the distance shrinks like exp(-f''(1) t / sigma_p^2), the slowest like exp(-t/2); half that rate is asked.
    arrival = _check("Arrival", name, 1, "W2(q_T, p) / W2(q_0, p)", 0.0, left, math.exp(-float(path.t[-1]) / 4))
    yield attrs.evolve(arrival, error=left)
    if name == "kl":
        exact = torch.stack([_at(pair.p, pair.q, float(t)).kl(pair.p) for t in path.t[::20]])
        yield _check("Flow", name, 1, "KL(q_t || p) in closed form", exact, path.divergence[::20], tolerance=1e-5)


def _end_slopes(path: Decay) -> Tensor:
    """Difference of the integrand's slopes at the two ends (Euler-Maclaurin's correction of the trapezoid rule)."""
    y, h = path.speed, path.t[1] - path.t[0]
    last, first = 3 * y[-1] - 4 * y[-2] + y[-3], -3 * y[0] + 4 * y[1] - y[2]
    return (last - first) / (2 * h)


def _at(p: Gaussian, q: Gaussian, t: float) -> Gaussian:
    """The law at time t of the KL flow from q to p: that of the Ornstein-Uhlenbeck process with rest p; Gaussian."""
    shrink = torch.linalg.matrix_exp(-t * p.precision)
    return Gaussian(p.mean + shrink @ (q.mean - p.mean), p.cov + shrink @ (q.cov - p.cov) @ shrink.T)


def _particles(
    pair: Pair, name: str, divergence: Divergence, samples: int, flow_steps: int, generator: Generator
) -> Iterator[OfDivergence]:
    """The KL flow of particles in Euler steps to time 1, the ratio that of the Gaussian with their moments.

    A Gaussian stays one, so the particles' moments have a closed form; Euler's error shrinks with the step.
    """
    x = pair.q.draw(samples, generator)
    exact = _moments(_at(pair.p, _fitted(x), 1.0))
    errors = []
    for steps in (flow_steps, 2 * flow_steps):
        y = x
        for _ in range(steps):
            y = y + Pair(pair.p, _fitted(y)).v(divergence, y) / steps
        found = _moments(_fitted(y))
        errors.append(float((found - exact).norm()))
        if steps == flow_steps:
            quantity = f"moments of {samples} particles, {steps} Euler steps"
            yield _check("Flow", name, pair.dim, quantity, exact, found, 4 / steps)
    order = math.log2(errors[0] / errors[1])
    yield _check("Flow", name, pair.dim, "order of Euler's error", 1.0, order, tolerance=0.1)


def _fitted(x: Tensor) -> Gaussian:
    """The Gaussian with the moments of x [n, D]."""
    return Gaussian(x.mean(0), torch.cov(x.T, correction=0).view(x.shape[1], x.shape[1]))


def _moments(law: Gaussian) -> Tensor:
    """Mean and covariance in one vector."""
    return torch.cat([law.mean, law.cov.flatten()])


# ------------------------------------------------------------------ the analyzer


def theory(subject: Subject, *, samples: int, flow_steps: int, horizon: float) -> Result:
    """Check every statement for every divergence in one and two dimensions.

    Expectations without quadrature are means over `samples`, particles flow to time 1 in `flow_steps`, and decay is
    followed to time `horizon` (`decay`). `scores` and `tables["statements"]` hold the worst relative error of each
    statement, `tables["theory"]` each check, `figures` the decay of the divergences and all the errors.
    """
    line, plane = pairs()
    jobs = len(PUBLISHED) + 2
    paths = {}
    for done, (name, divergence) in enumerate(PUBLISHED.items()):
        subject.progress("following flows", done, jobs)
        paths[name] = decay(line, divergence, horizon)
    checks: list[OfDivergence] = []
    for done, pair in enumerate((line, plane), len(PUBLISHED)):
        subject.progress("checking statements", done, jobs)
        checks += _statements(pair, subject, samples, flow_steps)
    for name, path in paths.items():
        checks += _flow_in_time(line, name, path)
    subject.progress("checking statements", jobs, jobs)

    scores, tables = by_statement(STATEMENTS, checks)
    return Result(
        scores=scores,
        tables=tables,
        figures={"decay": _decay_figure(paths), "errors": _errors_figure(checks)},
        manifest={
            "divergences": list(PUBLISHED),
            "samples": samples,
            "flow_steps": flow_steps,
            "horizon": horizon,
            "laws": {
                f"{pair.dim}-D": {
                    name: {"mean": law.mean.tolist(), "cov": law.cov.tolist()}
                    for name, law in (("p", pair.p), ("q", pair.q))
                }
                for pair in (line, plane)
            },
        },
    )


STATEMENTS = {
    "Definition": "D_f by quadrature is the divergence it is known as",
    "Lemma 1.1": "the first variation of D_f at q is f'(r)",
    "Lemma 1.2": "dF/dt = -E||v||^2",
    "Lemma 1.3": "logistic regression finds d = -log r",
    "Theorem 1.1": "the functional gradient of D_f is f''(r) grad r",
    "Theorem 1.2": "the density follows dq/dt = -div(q v)",
    "Theorem 1.3": "the logD divergence is 2 KL((p+q)/2 || p)",
    "SVGD": "SVGD's step is the KL velocity projected by the kernel",
    "Flow": "with the exact ratio the divergence and the particles go as predicted",
    "Arrival": "the flow takes q to p",
}
"""What is checked, in the table's order."""


def _statements(pair: Pair, subject: Subject, samples: int, flow_steps: int) -> Iterable[OfDivergence]:
    """Everything that is checked at one moment of time, and the particles' flow."""
    streams = subject.streams
    yield from _closed_forms(pair)
    for name, divergence in PUBLISHED.items():
        for statement in (_first_variation, _dissipation, _functional_gradient, _continuity):
            yield from statement(pair, name, divergence)
    yield from _logistic(pair, samples, streams["theory.logistic"])
    yield from _logd(pair, "logd", PUBLISHED["logd"])
    yield from _svgd(pair, "kl", PUBLISHED["kl"], samples, streams["theory.svgd"])
    yield from _particles(pair, "kl", PUBLISHED["kl"], samples, flow_steps, streams["theory.particles"])


_COLOURS = {"kl": "#0072B2", "js": "#D55E00", "logd": "#009E73", "jeffreys": "#CC79A7", "logistic": "#555555"}
_LABELS = {"kl": "KL", "js": "JS", "logd": "logD", "jeffreys": "Jeffreys", "logistic": "logistic regression"}


def _decay_figure(paths: dict[str, Decay]) -> Figure:
    """F(t) with tangents of slope -E||v||^2, and -dF/dt measured against E||v||^2."""
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, path in paths.items():
        colour, label = _COLOURS[name], _LABELS[name]
        t, f = path.t.numpy(), path.divergence.numpy()
        left.plot(t, f, color=colour, lw=1.8, label=label)
        for when, half in ((0.0, 0.12), (0.25, 0.12), (1.0, 0.25), (2.2, 0.4)):
            at = int(np.searchsorted(t, min(when, t[-1])))
            span = np.array([max(-half, -t[at]), half])
            left.plot(t[at] + span, f[at] - float(path.speed[at]) * span, color="black", lw=1.0, zorder=3)
            left.plot(t[at], f[at], "o", color="black", ms=2.5, zorder=4)
        right.plot(t[2:-2], -path.slope.numpy(), color=colour, lw=1.8)
        right.plot(t[::25], path.speed[::25].numpy(), "o", ms=4, mfc="white", mec=colour, mew=1.2)
    left.set(xlabel="time t", ylabel=r"$F(t) = D_f(q_t\,\Vert\,p)$", xlim=(0, min(4.0, float(t[-1]))), ylim=(0, None))
    left.set_title("Decay of the divergence", loc="left", fontsize=10)
    handles, _ = left.get_legend_handles_labels()
    handles.append(
        Line2D([], [], color="black", lw=1.0, marker="o", ms=2.5, label=r"tangent of slope $-E\Vert v\Vert^2$")
    )
    left.legend(handles=handles, frameon=False, fontsize=9)
    right.set(xlabel="time t", ylabel="rate", yscale="log", xlim=(0, float(t[-1])), ylim=(1e-6, None))
    right.set_title(r"Lemma 1.2: $-dF/dt = E_{q_t}\Vert v_t\Vert^2$", loc="left", fontsize=10)
    line = Line2D([], [], color="grey", lw=1.8, label=r"$-dF/dt$ measured")
    dots = Line2D([], [], color="grey", lw=0, marker="o", ms=4, mfc="white", label=r"$E\Vert v\Vert^2$ predicted")
    right.legend(handles=[line, dots], frameon=False, fontsize=9)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92", lw=0.6)
        axes.set_axisbelow(True)
    return figure


def _pretty(quantity: str) -> str:
    """A quantity's name with the signs that a figure can have."""
    signs = {"||v||^2": "‖v‖²", "||": "‖", "grad": "∇", "div(": "∇·(", "div v": "∇·v", "int ": "∫ ", "<": "⟨", ">": "⟩"}
    for plain, sign in signs.items():
        quantity = quantity.replace(plain, sign)
    return quantity.replace("^-1", "⁻¹").replace("-", "\u2212").replace("∇ ", "∇")


def _errors_figure(checks: list[OfDivergence]) -> Figure:
    """Relative error of each check on a log axis, one line a quantity, with its tolerance."""
    lines = list(dict.fromkeys((check.statement, check.quantity) for check in checks))
    figure = Figure(figsize=(10.5, 0.31 * len(lines) + 1.5), layout="constrained")
    axes = figure.subplots()
    names = [*PUBLISHED, "logistic"]
    floor = 1e-17
    for y, key in enumerate(lines):
        here = [check for check in checks if (check.statement, check.quantity) == key]
        for i, check in enumerate(here):
            offset = (i - (len(here) - 1) / 2) * 0.085
            axes.plot(check.tolerance, y + offset, marker="|", color="0.45", ms=7, mew=1.3, zorder=2)
            axes.plot(
                max(check.error, floor),
                y + offset,
                marker="o" if check.dim == 1 else "s",
                ms=4.8,
                color=_COLOURS[check.divergence],
                mec="white" if check.ok else "red",
                mew=0.5 if check.ok else 1.6,
                zorder=3,
            )
        if y and lines[y - 1][0] != key[0]:
            axes.axhline(y - 0.5, color="0.8", lw=0.7, zorder=1)
    for statement in dict.fromkeys(key[0] for key in lines):
        places = [y for y, key in enumerate(lines) if key[0] == statement]
        middle = (places[0] + places[-1]) / 2
        axes.text(1.01, middle, statement, transform=axes.get_yaxis_transform(), va="center", fontsize=9, weight="bold")
    axes.set_yticks(range(len(lines)), [_pretty(quantity) for _, quantity in lines], fontsize=8)
    axes.set(
        xscale="log", xlabel="relative error (0 drawn as 1e-17)", ylim=(len(lines) - 0.4, -0.6), xlim=(floor / 2, 10)
    )
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.92", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    handles = [Line2D([], [], lw=0, marker="o", ms=5, color=_COLOURS[name], label=_LABELS[name]) for name in names]
    handles += [
        Line2D([], [], lw=0, marker="o", ms=5, color="0.6", label="1-D"),
        Line2D([], [], lw=0, marker="s", ms=5, color="0.6", label="2-D"),
        Line2D([], [], lw=0, marker="|", ms=8, mew=1.3, color="0.45", label="tolerance"),
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8, handletextpad=0.2
    )
    return figure
