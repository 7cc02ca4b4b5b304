"""Gaussians in one and two dimensions, densities by quadrature: the laws that statements are checked on."""

from __future__ import annotations

import math
from functools import cached_property

import attrs
import torch
from torch import Generator, Tensor

from gflow_vgrow.divergences import Divergence
from gflow_vgrow.theory.calculus import derivative

__all__ = ["Gaussian", "Pair", "pairs"]


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
        return derivative(divergence.scale, d)[:, None, None] * outer + divergence.scale(d)[:, None, None] * hessian

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
