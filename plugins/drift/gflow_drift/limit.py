"""The drifting field of infinitely many particles and data, by quadrature and in closed form.

Let n particles follow q and m = ratio * n data follow p; k is the kernel, (k f)(x) = int k(x, t) f(t) dt. The sums over
the row of a particle at x and over the column of a target at t become R(x) = n (ratio k p + k q)(x) and C(t) = n (k
q)(t): only particles have rows. With w = (k q)^(-1/2), A(x, t) = k(x, t) w(t) / sqrt(n R(x)), and N_i sum A y - P_i sum
A x becomes

    V = scale (mean_pw - mean_qw),   scale = ratio (k pw) (k qw) / (ratio k p + k q),

where mean_f(x) = int k(x, t) t f(t) dt / (k f)(x) is where mean shift by f leads from x. Hence V = 0 where p = q.

Scores. For k(x, t) = exp(-|x - t|^2 / 2 tau^2), grad (k f) = (mean_f - x) k f / tau^2, so that V = scale tau^2 grad log
(k pw / k qw): a difference of scores of smoothed laws, of pw and qw rather than p and q. The factor is no constant, so
that V is no gradient, though the difference is.

Frequencies. At q = p (1 + e cos wx), p constant and n = m, both terms have the same w to first order in e, scale = 1/2,
and mean_f(x) - x = e sin(wx) k^'(w) / k^(0) for f = 1 + e cos wx, with the kernel's Fourier transform k^(w) = int k(0,
s) cos(ws) ds. So V = -(e / 2) sin(wx) k^'(w) / k^(0), and de/dt = -rate e with

    rate(w) = -(w / 2) k^'(w) / k^(0):   u exp(-u) with u = (w tau)^2 / 2 for the Gaussian kernel,
                                         (w tau)^2 / (1 + (w tau)^2)^2 for Laplace's on the line.

Under a Gaussian kernel whose width falls as tau_0 exp(-rt), du/dt = -2 r u: in all, log e falls by (exp(-u_T) -
exp(-u_0)) / 2r, which is 1 / 2r for every frequency that the width sweeps over.

Floor. At p = q, n = m, mean_pw and mean_qw differ by the chance of finite batches alone, each with the variance (1/n)
int k^2 |t - mean|^2 w^2 p / (k pw)^2, so that n E|V|^2 -> 2 int p scale^2 int k^2 |t - mean|^2 w^2 p / (k pw)^2: the
loss does not go to 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import torch
from torch import Tensor

from gflow_drift.field import Kernel

__all__ = ["Gaussian", "Limit", "decay_rate"]

Law = Callable[[Tensor], Tensor]


@attrs.frozen(eq=False)
class Gaussian:
    """N(mean [d], cov [d, d])."""

    mean: Tensor
    cov: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Its density at x [n, d]: [n]."""
        y = x - self.mean
        square = ((y @ torch.linalg.inv(self.cov)) * y).sum(1)
        density: Tensor = (-square / 2).exp() / torch.linalg.det(2 * math.pi * self.cov).sqrt()
        return density

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        z = torch.randn(n, len(self.mean), generator=generator, dtype=self.mean.dtype)
        found: Tensor = self.mean + z @ torch.linalg.cholesky(self.cov).T
        return found

    def smoothed(self, tau: float) -> Gaussian:
        return Gaussian(self.mean, self.cov + tau**2 * torch.eye(len(self.mean), dtype=self.cov.dtype))

    def over_root(self, other: Gaussian) -> Gaussian:
        """The law whose density is as self / sqrt(other)."""
        precision, theirs = torch.linalg.inv(self.cov), torch.linalg.inv(other.cov) / 2
        cov = torch.linalg.inv(precision - theirs)
        return Gaussian(cov @ (precision @ self.mean - theirs @ other.mean), cov)

    def score(self, x: Tensor) -> Tensor:
        """Gradient of its log density at x [n, d]: [n, d]."""
        found: Tensor = (self.mean - x) @ torch.linalg.inv(self.cov)
        return found


def kernel_of(x: Tensor, t: Tensor, tau: float, kernel: Kernel) -> Tensor:
    """k(x, t) of x [n, d] and t [g, d]: [n, g]."""
    r = torch.cdist(x, t, compute_mode="donot_use_mm_for_euclid_dist") / tau
    return (-r if kernel == "laplace" else -r.square() / 2).exp()


class Limit:
    """V of data law p and particle law q, densities that are summed over grid points t [g, d] of volume `cell`."""

    def __init__(
        self, p: Law, q: Law, t: Tensor, cell: float, *, tau: float, kernel: Kernel, ratio: float = 1.0
    ) -> None:
        self.t, self.tau, self.kernel, self.ratio = t, tau, kernel, ratio
        self.p, self.q = p(t) * cell, q(t) * cell
        self.w = (kernel_of(t, t, tau, kernel) @ self.q).rsqrt()

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """At x [n, d]: the kernel [n, g], the factor `scale` [n, 1], mean_pw and mean_qw [n, d]."""
        k = kernel_of(x, self.t, self.tau, self.kernel)
        pw, qw = self.p * self.w, self.q * self.w
        of_p, of_q = (k @ pw)[:, None], (k @ qw)[:, None]
        rows = (self.ratio * (k @ self.p) + k @ self.q)[:, None]
        scale = self.ratio * of_p * of_q / rows
        return k, scale, k @ (pw[:, None] * self.t) / of_p, k @ (qw[:, None] * self.t) / of_q

    def scale(self, x: Tensor) -> Tensor:
        """The factor at x [n, d]: [n, 1]."""
        return self._parts(x)[1]

    def __call__(self, x: Tensor) -> Tensor:
        """V at x [n, d]: [n, d]."""
        _, scale, to_data, to_particles = self._parts(x)
        return scale * (to_data - to_particles)

    def floor(self) -> float:
        """n E|V|^2 where p = q and n = m."""
        k, scale, mean, _ = self._parts(self.t)
        pw = self.p * self.w
        squares = torch.cdist(mean, self.t).square()
        spread = (k.square() * squares) @ (self.p * self.w.square()) / (k @ pw).square()
        return float(2 * (self.p * scale[:, 0].square() * spread).sum())


def decay_rate(frequency: float, tau: float, kernel: Kernel) -> float:
    """Of a small cosine on constant density, per move of 1."""
    square = (frequency * tau) ** 2
    return square / 2 * math.exp(-square / 2) if kernel == "gaussian" else square / (1 + square) ** 2
