"""The flow along time, by its exact ratio: how the divergence falls, and where particles arrive."""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs
import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Generator, Tensor

from gflow_vgrow.divergences import Divergence
from gflow_vgrow.theory.checks import OfDivergence, check
from gflow_vgrow.theory.laws import Gaussian, Pair

__all__ = ["Decay", "at", "decay", "flow_in_time", "particles"]


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


def flow_in_time(pair: Pair, name: str, path: Decay) -> Iterator[OfDivergence]:
    """Lemma 1.2 along the way, and arrival: the flow with the exact ratio takes q to p."""
    shown = path.divergence[2:-2] > 1e-4 * path.divergence[0]
    slope, speed = path.slope[shown], -path.speed[2:-2][shown]
    worst = int(((slope - speed) / speed).abs().nan_to_num(math.inf).argmax()) if len(slope) else None
    ends = (math.nan, math.nan) if worst is None else (float(speed[worst]), float(slope[worst]))
    yield check("Flow", name, 1, "dF/dt = -E||v||^2 along the way (worst)", *ends, tolerance=1e-3)
    spent = torch.trapezoid(path.speed, path.t)
    spent = spent - (path.t[1] - path.t[0]) ** 2 / 12 * _end_slopes(path)
    first, last = path.divergence[0], path.divergence[-1]
    yield check("Flow", name, 1, "F(0) - F(T) = int E||v||^2 dt", spent, first - last, tolerance=1e-4)
    left = float(path.distance[-1] / path.distance[0])
    # Near p the distance shrinks like exp(-f''(1) t / sigma_p^2), the slowest like exp(-t/2); half that rate is asked.
    arrival = check("Arrival", name, 1, "W2(q_T, p) / W2(q_0, p)", 0.0, left, math.exp(-float(path.t[-1]) / 4))
    yield attrs.evolve(arrival, error=left)
    if name == "kl":
        exact = torch.stack([at(pair.p, pair.q, float(t)).kl(pair.p) for t in path.t[::20]])
        yield check("Flow", name, 1, "KL(q_t || p) in closed form", exact, path.divergence[::20], tolerance=1e-5)


def _end_slopes(path: Decay) -> Tensor:
    """Difference of the integrand's slopes at the two ends (Euler-Maclaurin's correction of the trapezoid rule)."""
    y, h = path.speed, path.t[1] - path.t[0]
    last, first = 3 * y[-1] - 4 * y[-2] + y[-3], -3 * y[0] + 4 * y[1] - y[2]
    return (last - first) / (2 * h)


def at(p: Gaussian, q: Gaussian, t: float) -> Gaussian:
    """The law at time t of the KL flow from q to p: that of the Ornstein-Uhlenbeck process with rest p; Gaussian."""
    shrink = torch.linalg.matrix_exp(-t * p.precision)
    return Gaussian(p.mean + shrink @ (q.mean - p.mean), p.cov + shrink @ (q.cov - p.cov) @ shrink.T)


def particles(
    pair: Pair, name: str, divergence: Divergence, samples: int, flow_steps: int, generator: Generator
) -> Iterator[OfDivergence]:
    """The KL flow of particles in Euler steps to time 1, the ratio that of the Gaussian with their moments.

    A Gaussian stays one, so the particles' moments have a closed form; Euler's error shrinks with the step.
    """
    x = pair.q.draw(samples, generator)
    exact = _moments(at(pair.p, _fitted(x), 1.0))
    errors = []
    for steps in (flow_steps, 2 * flow_steps):
        y = x
        for _ in range(steps):
            y = y + Pair(pair.p, _fitted(y)).v(divergence, y) / steps
        found = _moments(_fitted(y))
        errors.append(float((found - exact).norm()))
        if steps == flow_steps:
            quantity = f"moments of {samples} particles, {steps} Euler steps"
            yield check("Flow", name, pair.dim, quantity, exact, found, 4 / steps)
    order = math.log2(errors[0] / errors[1])
    yield check("Flow", name, pair.dim, "order of Euler's error", 1.0, order, tolerance=0.1)


def _fitted(x: Tensor) -> Gaussian:
    """The Gaussian with the moments of x [n, D]."""
    return Gaussian(x.mean(0), torch.cov(x.T, correction=0).view(x.shape[1], x.shape[1]))


def _moments(law: Gaussian) -> Tensor:
    """Mean and covariance in one vector."""
    return torch.cat([law.mean, law.cov.flatten()])
