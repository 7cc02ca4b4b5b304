"""Spectra of Gram matrices G = X X' / p (eq. 125), and distances between spectra.

Three ways to a spectrum, all in float64: `gram_eigenvalues` of rows in memory, from the smaller side of X;
`spectrum_of` rows that come in pieces and never stand in memory together, in O(p^2); `lanczos_density` where neither n
nor p is small enough for a dense eigendecomposition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs
import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from scipy.linalg.blas import dsyrk
from torch import Generator, Tensor

__all__ = [
    "Distance",
    "GramStream",
    "Quadrature",
    "distance",
    "gram",
    "gram_density",
    "gram_eigenvalues",
    "lanczos_density",
    "share_above",
    "spectrum_of",
]

Floats = npt.NDArray[np.float64]

_PIECE = 4096
"""Rows converted to float64 at once."""

_NOISE = 1e-12
"""Share of the largest eigenvalue below which others are 0: more than n eps of n rows in float64 (eps 2e-16), and than
eps^2 of rows rounded to float32 (eps 6e-8). Zeros are ties; by noise, two spectra of low rank would differ."""


# ------------------------------------------------------------------ dense


def gram(x: Tensor) -> Tensor:
    """G = X X' / p of the rows of x [..., p] (classes stacked): [n, n], float64 on the CPU.

    Products are of float64 numbers: float32 products would move the smallest eigenvalues of uncentred features by some
    1e-5 of themselves, for two thirds of the time. By torch: numpy's threads would get in the way of torch's.
    """
    rows = x.detach().cpu().flatten(0, -2).double()
    return rows @ rows.mT / rows.shape[1]


def gram_eigenvalues(x: Tensor) -> Floats:
    """The n eigenvalues of G = X X' / p of all rows of x [..., p], largest first, from the smaller side of X.

    They are right to some n eps of the largest (eps 2e-16), and exactly 0 beyond the rank of X.
    """
    rows = x.flatten(0, -2)
    if len(rows) > rows.shape[1]:
        return spectrum_of(rows.split(_PIECE))
    return _descending(gram(rows).numpy())


def _double(x: Tensor) -> Floats:
    return x.detach().cpu().numpy().astype(np.float64)


def _descending(symmetric: Floats) -> Floats:
    """The eigenvalues of a matrix without negative ones, largest first; those that are rounding errors are 0."""
    values = torch.linalg.eigvalsh(torch.from_numpy(symmetric)).flip(0)
    found: Floats = values.masked_fill(values <= _NOISE * values[0], 0).numpy()
    return found


# ------------------------------------------------------------------ rows in pieces


@attrs.define(eq=False)
class GramStream:
    """X'X of rows that come in pieces: one pass, O(p^2) memory whatever the number of rows."""

    products: Floats
    """X'X [p, p], float64."""
    n: int = 0
    """Rows so far."""

    @classmethod
    def of(cls, p: int) -> GramStream:
        """Before the first row of p features."""
        return cls(np.zeros((p, p), order="F"))

    @classmethod
    def over(cls, pieces: Iterable[Tensor]) -> GramStream:
        """After all the pieces [..., p], of which there is one at least."""
        stream: GramStream | None = None
        for piece in pieces:
            stream = stream or cls.of(piece.shape[-1])
            stream.add(piece)
        assert stream is not None, "no rows"
        return stream

    def add(self, x: Tensor) -> None:
        """More rows [..., p]."""
        for piece in x.flatten(0, -2).split(_PIECE):
            rows = _double(piece)
            # BLAS's symmetric update of the lower triangle, in place: half the work, and no second p x p array.
            self.products = dsyrk(1.0, rows.T, beta=1.0, c=self.products, lower=1, overwrite_c=1)
            self.n += len(rows)

    def eigenvalues(self) -> Floats:
        """The n eigenvalues of G = X X' / p, largest first: those of X'X / p and n - p zeros, or its first n."""
        p = len(self.products)
        values = _descending(self.products / p)[: self.n]
        return np.concatenate([values, np.zeros(self.n - len(values))])


def spectrum_of(pieces: Iterable[Tensor]) -> Floats:
    """The n eigenvalues of G = X X' / p, largest first, of the rows of all pieces [..., p], seen once, one by one.

    In O(p^2) memory beside the pieces; for n > p (for fewer rows `gram_eigenvalues` is quicker).
    """
    return GramStream.over(pieces).eigenvalues()


# ------------------------------------------------------------------ neither side small


@attrs.frozen(eq=False)
class Quadrature:
    """A spectral law by a rule of quadrature from each probe: the mean over probes estimates it."""

    nodes: Floats
    """[probes, steps]: Ritz values, ascending."""
    weights: Floats
    """[probes, steps]: at least 0, summing to 1 for each probe."""
    zeros: float = 0.0
    """Share of the eigenvalues that are known to be 0 and not in the rule."""

    def moment(self, k: int) -> float:
        """Estimate of an eigenvalue's mean k-th power, k >= 1; from one probe v exactly v'A^k v / v'v, k < 2 steps."""
        return float((self.weights * self.nodes**k).sum(1).mean() * (1 - self.zeros))

    def distribution(self, at: Floats) -> Floats:
        """Estimate of the share of eigenvalues up to each of `at` [j], in [0, 1].

        Within a probe's rule the share at a node is that below it and half its own weight (Gauss quadrature bounds the
        share from below and above by leaving that weight out and counting it all), and linear between nodes.
        """
        found = np.zeros(len(at))
        for nodes, weights in zip(self.nodes, self.weights, strict=True):
            found += np.interp(at, nodes, weights.cumsum() - weights / 2, left=0.0, right=1.0)
        return self.zeros * (at >= 0) + (1 - self.zeros) * found / len(self.nodes)

    def density(self, at: Floats, width: float) -> Floats:
        """The law but for the known zeros, smoothed by a normal one of standard deviation `width`, at `at` [j]."""
        nodes, weights = self.nodes.ravel(), self.weights.ravel() / len(self.weights)
        return np.array([float(weights @ stats.norm.pdf(x, nodes, width)) for x in at])


def lanczos_density(
    matvec: Callable[[Tensor], Tensor], n: int, probes: int, steps: int, generator: Generator
) -> Quadrature:
    """Spectral law of a symmetric n x n matrix A by stochastic Lanczos quadrature, without the matrix.

    `matvec` maps V [n, probes] -> A V, float64. Each probe v, of independent signs +-1, starts a Lanczos recursion of
    `steps` steps, whose tridiagonal matrix has the nodes as eigenvalues and the squared first entries of its
    eigenvectors as weights (Golub & Meurant 2010; Ubaru, Chen & Saad 2017). The error falls as 1/sqrt(n probes) and
    1/steps. Every vector is made orthogonal to all before it, twice, so that no eigenvalue comes again: memory n probes
    steps numbers, time steps calls of `matvec` and 4 n probes steps^2 operations.
    """
    steps = min(steps, n)
    v = torch.randint(0, 2, (probes, n), generator=generator).double().mul_(2).sub_(1).div_(n**0.5)
    basis = torch.zeros(probes, steps, n, dtype=torch.float64)
    diagonal, beside = torch.zeros(2, probes, steps, dtype=torch.float64)
    for j in range(steps):
        basis[:, j] = v
        w = matvec(v.mT).mT.contiguous()
        diagonal[:, j] = (w * v).sum(1)
        for known, row in zip(basis[:, : j + 1], w, strict=True):
            for _ in range(2):
                row -= (known @ row) @ known
        norm = w.norm(dim=1)
        # Rounding is all that is left where a probe has seen the whole matrix: there its recursion ends, and zeros
        # follow, whose nodes have no weight.
        ended = norm <= 1e-10 * (diagonal.abs().amax(1) + beside.abs().amax(1))
        beside[:, j] = norm.masked_fill(ended, 0)
        v = (w / norm.clamp_min(torch.finfo(w.dtype).tiny)[:, None]).masked_fill(ended[:, None], 0)
    off = beside[:, : steps - 1]
    nodes, vectors = torch.linalg.eigh(
        torch.diag_embed(diagonal) + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    )
    return Quadrature(nodes.numpy(), vectors[:, 0].square().numpy())


def gram_density(x: Tensor, probes: int, steps: int, generator: Generator) -> Quadrature:
    """`lanczos_density` of G = X X' / p of the rows of x [..., p], on the smaller side of X.

    Products are in the precision of x and on its device. The rule tells eigenvalues apart that lie about 1/steps of the
    bulk's width from each other: it knows outliers one by one, but not the law of what crowds at 0.
    """
    rows = x.flatten(0, -2)
    n, p = rows.shape
    small, large = (rows, rows.mT) if n <= p else (rows.mT, rows)

    def matvec(v: Tensor) -> Tensor:
        return (small @ (large @ v.to(rows))).to(v) / p

    return attrs.evolve(lanczos_density(matvec, min(n, p), probes, steps, generator), zeros=max(0.0, 1 - p / n))


# ------------------------------------------------------------------ distances


@attrs.frozen
class Distance:
    """How far two spectra are apart."""

    ks: float
    """Kolmogorov-Smirnov: the largest difference of the two distribution functions, in [0, 1]."""
    wasserstein: float
    """1-Wasserstein distance over the mean eigenvalue of the second spectrum; in that unit it has no dimension."""


def distance(a: Floats, b: Floats) -> Distance:
    """Between spectra a [n] and b [n'], each as the law of an eigenvalue drawn from it at random."""
    return Distance(
        ks=float(stats.ks_2samp(a, b, method="asymp").statistic),
        wasserstein=float(stats.wasserstein_distance(a, b) / b.mean()),
    )


def share_above(observed: float, chance: Sequence[float]) -> float:
    """The p-value (1 + #{chance >= observed}) / (1 + #chance) of a Monte Carlo test."""
    return (1 + sum(value >= observed for value in chance)) / (1 + len(chance))
