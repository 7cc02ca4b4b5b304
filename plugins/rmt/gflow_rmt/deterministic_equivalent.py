"""What theory says of the Gram matrix of a Gaussian mixture: the deterministic equivalent of its resolvent.

With X = [x_1 .. x_n] (p x n, n_l columns of class l) and G = X'X/p, the resolvent R(z) = (G + z I_n)^-1 of a mixture of
N(mu_l, Sigma_l) comes close to a matrix that is not random (Louart & Couillet 2018; Seddik et al. 2020, theorem 3.2,
whose printed form disagrees with simulation; this one agrees):

    Q(z) = (sum_l (n_l/p) C_l / (1 + delta_l) + z I_p)^-1,  delta_l = tr(C_l Q)/p,  C_l = Sigma_l + mu_l mu_l'
    R ~ (1/z) diag_i(1/(1 + delta_l(i))) - (1/(p z)) J D M'QM D J',   D = diag(1/(1 + delta_l))

M = [mu_1 .. mu_k], J the n x k indicators. C_l is not centred: with Sigma_l in its place the result is wrong by far.
Hence the mean of log(g + z) over the eigenvalues g of G, whose derivative is tr R / n:

    Phi(z) = log z + (1/n) log det(I + sum_l (n_l/p) C_l/(1+delta_l) / z)
                   + (1/n) sum_l n_l (log(1+delta_l) - delta_l/(1+delta_l))

and the distribution function of the eigenvalues, F(t) = Im Phi(-t + i0) / pi: at any t by itself, with no integration.

C_l = A_l'A_l is known by its rows A_l, m_l centred features over sqrt(m_l) and the mean. Nothing p x p is formed where
r = sum_l (m_l + 1) is less than p, or not much more: with B = A A' [r, r], w_l = (n_l/p)/(1 + delta_l) and
D = diag(z/w_l), A Q A' = w^-1 - z w^-1 (B + D)^-1 w^-1, so that a step is one inverse of r rows, and Newton's
derivative comes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.interpolate import CubicHermiteSpline

from gflow_core import GflowError, Progress, no_progress
from gflow_rmt.surrogate import Mixture

__all__ = ["Equivalent", "SpectralLaw", "class_blocks", "spectral_density", "spectral_law"]

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]
"""Real for real z, complex for complex z."""

ANGLE = 0.03
"""The spectrum is looked at from z = t e^(i (pi - ANGLE)); the first order of the angle is taken out again."""
NODES_PER_DECADE = 16
DECADES = 8
"""Below the largest eigenvalue; what is smaller counts as 0 (float32 features carry no more)."""
FEW = 0.05
"""Expected number of positive eigenvalues that may lie below the smallest node."""
GAP = 1.15
TOLERANCE = 3e-2
"""Of a node's last Newton step: what is left is its square, and Phi feels that squared again."""
LIMIT = 400
SMALL = 200
"""Features up to which exact derivatives cost little."""
SIGNS = 32
"""Random vectors of signs g for tr M = E g'M g."""


def spectral_density(
    mixture: Mixture, n: int | Sequence[int], *, points: int = 400, progress: Progress | None = None
) -> tuple[Floats, Floats, float]:
    """Density of the eigenvalues of G = X X'/p, X [K n, p] with n rows of each class of the mixture.

    Returns (grid [points], increasing and evenly spaced in log; density [points] by eigenvalue (not by its log); atom,
    the share of eigenvalues that are 0). Density and atom integrate to 1; outlying eigenvalues are narrow bumps of mass
    1/(K n). `progress` is called with a percentage.
    """
    law = spectral_law(mixture, n, progress=progress)
    grid = np.geomspace(law.nodes[0], law.nodes[-1], points)
    return grid, law.density(grid), law.atom


def spectral_law(mixture: Mixture, n: int | Sequence[int], *, progress: Progress | None = None) -> SpectralLaw:
    """The law of G's eigenvalues, n rows of each class, or n[l] of class l. GflowError if the fixed point is missed."""
    return Equivalent.of(mixture, n).law(progress or no_progress)


def class_blocks(mixture: Mixture, n: int | Sequence[int], z: float) -> Floats:
    """What J_a' R(z) J_b / sqrt(n_a n_b) comes close to, z > 0: [K, K], (1/z) D - sqrt(n_a n_b)/(p z) D M'QM D."""
    return Equivalent.of(mixture, n).class_blocks(z)


# ------------------------------------------------------------------ the fixed point


@attrs.frozen(eq=False)
class Solution:
    """The fixed point at one z."""

    z: complex
    delta: Numbers
    """delta_l [K]."""
    phi: complex
    """Phi(z), the mean of log(g + z) over the eigenvalues g."""
    means: Numbers
    """M'QM [K, K]."""
    evaluations: int
    """Inverses it took."""


@attrs.frozen(eq=False)
class _Terms:
    """What Q is needed for, at given weights w and z: each is a trace of K x K blocks."""

    traces: Numbers
    """tr(C_l Q) [K]."""
    products: Numbers
    """tr(C_l Q C_k Q) [K, K]."""
    means: Numbers
    """mu_l'Q mu_k [K, K]."""
    logdet: complex
    """log det(I + sum_l w_l C_l / z)."""


@attrs.define(eq=False)
class Equivalent:
    """The deterministic equivalent of G's resolvent for one mixture and numbers of rows."""

    rows: tuple[Floats, ...]
    """A_l [r_l, p] of each class, with C_l = A_l'A_l."""
    means: Floats
    """[K, p]."""
    counts: Floats
    """n_l [K]."""

    @classmethod
    def of(cls, mixture: Mixture, n: int | Sequence[int]) -> Equivalent:
        """Of the mixture, for G with n rows of each class, or n[l] of class l."""
        rows, means = [], []
        for component in mixture.components:
            mean, centred = component.mean.double().cpu().numpy(), component.centred.double().cpu().numpy()
            a = np.vstack([centred / component.m**0.5, mean])
            rows.append(a if len(a) <= a.shape[1] else scipy.linalg.qr(a, mode="r")[0][: a.shape[1]])
            means.append(mean)
        return cls(tuple(rows), np.stack(means), np.broadcast_to(np.asarray(n, float), len(rows)).copy())

    @property
    def p(self) -> int:
        """Features."""
        return int(self.means.shape[1])

    @cached_property
    def _form(self) -> _Dual | _Primal:
        """The cheaper of r x r and p x p."""
        total = sum(map(len, self.rows))
        return _Dual(self.rows, self.means) if total <= 1.3 * self.p else _Primal(self.rows, self.means)

    def solve(self, z: complex, start: Numbers | None = None, tolerance: float = 1e-10) -> Solution:
        """The fixed point at z > 0, or Im z > 0, by Newton's method until its step is less than tolerance (1 + delta).

        Where a step leaves the set in which the solution is unique (delta > 0; or Im delta <= 0 <= Im z delta), or
        makes the residual larger, some half steps of the plain iteration are taken instead, which always contracts
        there. Raises GflowError if that does not come to rest.
        """
        traces = np.array([np.einsum("ij,ij->", a, a) for a in self.rows])
        delta: Numbers = traces / (self.p * z) if start is None else start
        rounding = 10 * np.finfo(float).eps * float(self.counts @ traces) / (self.p * abs(z))
        before: tuple[Numbers, float] | None = None  # the last Newton step: where half a plain step led, the residual
        plain, pause, exact = 0, 1, self.p <= SMALL
        for evaluation in range(1, LIMIT + 1):
            weights = self.counts / self.p / (1 + delta)
            terms = self._form.terms(weights, z, exact)
            gap = terms.traces / self.p - delta
            jacobian = np.eye(len(delta)) - terms.products * (weights / (1 + delta)) / self.p
            step = np.linalg.solve(jacobian, gap)
            residual = float(np.abs(gap / (1 + delta)).max())
            if before and residual > before[1]:
                (delta, _), before = before, None
                plain, pause, exact = pause, 2 * pause, True
            elif plain or not _admissible(delta + step, z):
                delta, before, plain = delta + gap / 2, None, max(0, plain - 1)
            elif float(np.abs(step / (1 + delta + step)).max()) < max(tolerance, rounding):
                return Solution(z, delta + step, self._phi(delta, z, terms.logdet), terms.means, evaluation)
            else:
                delta, before = delta + step, (delta + gap / 2, residual)
        raise GflowError(
            f"theory: the fixed point of the deterministic equivalent at z = {z:.3g} is not reached in {LIMIT} steps "
            f"(residual {residual:.1e}); the features may be of scales too far apart"
        )

    def _phi(self, delta: Numbers, z: complex, logdet: complex) -> complex:
        """Phi(z). It is stationary in delta, so that an error there enters squared."""
        own = self.counts @ (np.log(1 + delta) - delta / (1 + delta))
        return complex((logdet + own) / self.counts.sum() + np.log(z))

    # -------------------------------------------------------------- results

    def class_blocks(self, z: float) -> Floats:
        """What J_a' R(z) J_b / sqrt(n_a n_b) comes close to at z > 0: [K, K]."""
        found = self.solve(z)
        d, root = 1 / (1 + found.delta), np.sqrt(self.counts)
        blocks: Floats = np.diag(d) / z - np.outer(root * d, root * d) * found.means / (self.p * z)
        return blocks

    def law(self, progress: Progress = no_progress) -> SpectralLaw:
        """The law of G's eigenvalues, from the largest down: each node starts from an extrapolation of those before."""
        total = self.counts.sum()
        population = np.linalg.eigvalsh(self._form.mean_covariance(self.counts / self.p))
        spread = max(np.einsum("ij,ij->", a, a) for a in self.rows) / self.p
        top = (
            1.2 * (population[-1] ** 0.5 + spread**0.5) ** 2
        )  # of |X|^2/p for any Gaussian matrix with rows like these
        rank = int((population > 1e-12 * population[-1]).sum())
        zero = max(0.0, 1 - rank / total)

        nodes = top * 10 ** (-np.arange(DECADES * NODES_PER_DECADE + 1) / NODES_PER_DECADE)
        direction = np.exp(1j * (np.pi - ANGLE))
        found: list[Solution] = []
        values: list[float] = []
        slopes: list[complex] = []
        for node in nodes:
            solution = self.solve(node * direction, _extrapolated(found), tolerance=TOLERANCE)
            found.append(solution)
            # To first order in the angle: Phi at the negative axis itself.
            slopes.append(complex(self.counts @ (1 / (1 + solution.delta))) / total)  # dPhi / dlog z
            values.append((solution.phi.imag + ANGLE * slopes[-1].real) / np.pi)
            progress("deterministic equivalent", round(100 * min(1.0, (1 - values[-1]) / (1 - zero))), 100)
            if values[-1] - zero < max(FEW / total, 1e-5):
                values[-1] = zero
                break
        # Rounding, and the second order of the angle, may break the order by some 1e-4.
        cdf = np.maximum.accumulate(np.clip(values, zero, 1)[::-1])
        cdf[-1] = 1.0
        nodes, slope = nodes[: len(cdf)][::-1], np.array(slopes[::-1])
        density = (slope.imag + ANGLE * np.gradient(slope.real, np.log(nodes))) / np.pi
        return SpectralLaw(nodes, cdf, density, int(total), sum(s.evaluations for s in found))


def _admissible(delta: Numbers, z: complex) -> bool:
    """Whether delta is where the solution is unique: the values of Stieltjes transforms of laws on [0, inf)."""
    if np.isrealobj(delta) and np.isreal(z):
        return bool((delta > 0).all())
    return bool((delta.imag <= 0).all() and ((z * delta).imag >= 0).all())


def _extrapolated(found: Sequence[Solution]) -> Numbers | None:
    """delta at the next node: its log is a parabola through the last three."""
    if len(found) < 3:
        return found[-1].delta if found else None
    a, b, c = (solution.delta for solution in found[-3:])
    guess = c**3 / b**3 * a
    z = found[-1].z
    return guess if _admissible(guess, z) else c


class _Dual:
    """All rows A [r, p] of all classes by their products B = A A' [r, r]."""

    def __init__(self, rows: Sequence[Floats], means: Floats) -> None:
        stacked = np.vstack([*rows, means])  # the means once more: they are rows only where no QR was taken
        products = stacked @ stacked.T
        r = len(stacked) - len(means)
        self.b, self.cross, self.between = products[:r, :r], products[:r, r:], products[r:, r:]
        self.sizes = np.array([len(a) for a in rows])
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    def mean_covariance(self, weights: Floats) -> Floats:
        """r x r, with the eigenvalues of sum_l w_l C_l."""
        root = np.sqrt(np.repeat(weights, self.sizes))
        scaled: Floats = root[:, None] * self.b * root
        return scaled

    def terms(self, weights: Numbers, z: complex, exact: bool = True) -> _Terms:
        scale = z / weights
        diagonal = np.repeat(scale, self.sizes)
        matrix = self.b.astype(diagonal.dtype)
        matrix[np.diag_indices_from(matrix)] += diagonal
        inverse, logdet = inverse_logdet(matrix)

        def summed(values: Numbers, axis: int) -> Numbers:
            return np.add.reduceat(values, self.starts, axis=axis)

        # A Q A' = w^-1 - z w^-1 M w^-1, block by block; then the sums of squares of its blocks.
        own = summed(inverse.diagonal(), 0)
        traces = (self.sizes - scale * own) / weights
        squares = summed(summed(inverse**2, 0), 1) * np.outer(scale / weights, scale / weights)
        same = (self.sizes - 2 * scale * own) / weights**2
        products = squares + np.diag(same)
        # z Q = I - A' M A
        means = (self.between - self.cross.T @ inverse @ self.cross) / z
        return _Terms(traces, products, means, complex(logdet - np.log(diagonal).sum()))


def _times(c: Floats, other: Numbers) -> Numbers:
    """c [K, p, p] times other [p, q], whose parts numpy would else multiply with a complex copy of c."""
    if np.isrealobj(other):
        return c @ other
    return np.asarray(c @ other.real + 1j * (c @ other.imag))


class _Primal:
    """The covariances C_l [K, p, p] themselves, where p is the smaller size.

    tr(C_l Q C_k Q) takes K products of matrices, or an estimate by random signs: it is Newton's derivative, no result.
    """

    def __init__(self, rows: Sequence[Floats], means: Floats) -> None:
        self.c = np.stack([a.T @ a for a in rows])
        self.means = means
        self.signs = np.random.default_rng(0).choice([-1.0, 1.0], (means.shape[1], SIGNS))
        self.signed = self.c @ self.signs

    def mean_covariance(self, weights: Floats) -> Floats:
        """p x p: sum_l w_l C_l."""
        total: Floats = np.tensordot(weights, self.c, 1)
        return total

    def terms(self, weights: Numbers, z: complex, exact: bool = True) -> _Terms:
        matrix = np.tensordot(weights, self.c, 1)
        matrix[np.diag_indices_from(matrix)] += z
        inverse, logdet = inverse_logdet(matrix)
        p, k = len(matrix), len(weights)
        flat = self.c.reshape(k, -1)
        traces = flat @ inverse.real.ravel() + (0 if np.isrealobj(inverse) else 1j * (flat @ inverse.imag.ravel()))
        if exact:
            cq = _times(self.c, inverse)
            products = cq.reshape(k, -1) @ cq.transpose(0, 2, 1).reshape(k, -1).T
        else:
            products = np.einsum("lpg,kpg->lk", self.signed, inverse @ _times(self.c, inverse @ self.signs)) / SIGNS
        return _Terms(traces, products, self.means @ inverse @ self.means.T, complex(logdet - p * np.log(z)))


def inverse_logdet(matrix: Numbers) -> tuple[Numbers, complex]:
    """Inverse and log det of a symmetric matrix [r, r] that is positive definite, or whose imaginary part is so.

    Then all eigenvalues lie in the upper half plane, and log det is on its continuous branch, 0 <= Im < pi r.
    """
    if np.isrealobj(matrix):
        return np.linalg.inv(matrix), complex(np.linalg.slogdet(matrix)[1])
    inverse, logdet = by_halves(matrix)
    ones = np.ones(len(matrix))
    if np.abs(matrix @ (inverse @ ones) - ones).max() < 1e-5:
        return inverse, logdet
    # Halves have lost their digits, as they do where many rows depend on each other. With X v = theta Y v, V'Y V = I of
    # the parts, (X + iY)^-1 = V (theta + i)^-1 V': stable, in two to three times the time.
    theta, v = scipy.linalg.eigh(matrix.real, matrix.imag, check_finite=False)
    logdet = complex(np.log(theta + 1j).sum() + np.linalg.slogdet(matrix.imag)[1])
    scale = 1 / (theta + 1j)
    return (v * scale.real) @ v.T + 1j * ((v * scale.imag) @ v.T), logdet


def by_halves(matrix: Numbers, leaf: int = 64) -> tuple[Numbers, complex]:
    """The same by halves and Schur complements, with half the work of a general inverse, and without pivoting.

    Complements inherit the positive imaginary part, so that all pivots lie in the upper half plane.
    """
    if len(matrix) <= leaf:
        return np.linalg.inv(matrix), complex(np.log(_pivots(matrix)).sum())
    h = len(matrix) // 2
    first, first_log = by_halves(matrix[:h, :h], leaf)
    across = first @ matrix[:h, h:]
    second, second_log = by_halves(matrix[h:, h:] - matrix[h:, :h] @ across, leaf)
    corner = across @ second
    inverse = np.empty_like(matrix)
    inverse[:h, :h] = first + corner @ across.T
    inverse[:h, h:] = -corner
    inverse[h:, :h] = -corner.T
    inverse[h:, h:] = second
    return inverse, first_log + second_log


def _pivots(matrix: Numbers) -> Numbers:
    """Pivots of Gaussian elimination without exchanges; each is a complement, so in the upper half plane too."""
    left = matrix.copy()
    for k in range(len(left) - 1):
        left[k + 1 :, k + 1 :] -= np.outer(left[k + 1 :, k], left[k, k + 1 :] / left[k, k])
    return left.diagonal()


# ------------------------------------------------------------------ the law


@attrs.frozen(eq=False)
class SpectralLaw:
    """The law of G's eigenvalues: an atom at 0 and a density, which the distribution function at nodes gives."""

    nodes: Floats
    """Increasing, evenly spaced in log."""
    cdf: Floats
    """Distribution function there; the first value is the atom."""
    slopes: Floats
    """Its derivative by the logarithm there."""
    total: int
    """Eigenvalues of G."""
    evaluations: int
    """Inverses all nodes took together."""

    @property
    def atom(self) -> float:
        """Share of eigenvalues that are 0."""
        return float(self.cdf[0])

    @cached_property
    def _spline(self) -> CubicHermiteSpline:
        log = np.log(self.nodes)
        secants = np.concatenate([[0.0], np.diff(self.cdf) / np.diff(log), [0.0]])
        steepest = 3 * np.minimum(secants[1:], secants[:-1])  # below, a cubic is monotone (Fritsch & Carlson 1980)
        return CubicHermiteSpline(log, self.cdf, np.clip(self.slopes, 0, steepest))

    def distribution(self, x: npt.ArrayLike) -> Floats:
        """F(x) of any x."""
        x = np.asarray(x, float)
        inside: Floats = self._spline(np.log(np.clip(x, self.nodes[0], self.nodes[-1])))
        return np.where(x < 0, 0.0, inside)

    def density(self, x: npt.ArrayLike) -> Floats:
        """dF/dx of x > 0, without the atom."""
        x = np.asarray(x, float)
        within = (x >= self.nodes[0]) & (x <= self.nodes[-1])
        slope = self._spline.derivative()(np.log(np.where(within, x, self.nodes[0]))) / x
        return np.where(within, slope, 0.0)

    def quantile(self, q: npt.ArrayLike) -> Floats:
        """The smallest x with F(x) >= q; 0 within the atom."""
        q = np.asarray(q, float)
        log = np.linspace(np.log(self.nodes[0]), np.log(self.nodes[-1]), 100 * len(self.nodes))
        values = self._spline(log)
        found = np.exp(log[np.searchsorted(values, q, side="left").clip(max=len(log) - 1)])
        return np.where(q <= self.atom, 0.0, found)

    def distance(self, values: Floats) -> float:
        """Kolmogorov-Smirnov: the largest difference between F and the distribution function of eigenvalues [n]."""
        values = np.sort(np.where(values < self.nodes[0], 0.0, values))
        where, first, count = np.unique(values, return_index=True, return_counts=True)
        right = self.distribution(where)
        left = np.where(where == 0, 0.0, right)  # F jumps at 0 alone
        gaps = (np.abs((first + count) / len(values) - right), np.abs(first / len(values) - left))
        return float(np.maximum(*gaps).max())

    @cached_property
    def edge(self) -> float:
        """Upper edge of the bulk: where, above the median of what is not 0, the first gap in the spectrum begins.

        A gap is a range from x to GAP x in which less than a tenth of one eigenvalue is expected.
        """
        x = np.geomspace(self.quantile((1 + self.atom) / 2), self.nodes[-1], 2000)
        empty = self.total * (self.distribution(GAP * x) - self.distribution(x)) < 0.1
        return float(x[empty.argmax()])  # above the last eigenvalue there is always one
