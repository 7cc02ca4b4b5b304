"""The rotation test: what analyses of Gram spectra find where each class's features are exactly normal (Langsrud 2005).

N rows X that are independent N(mu, C) keep their joint law, given their own mean and covariance, under X -> Q X for
every orthogonal Q [N, N] that leaves the vector of ones in place: those two are sufficient statistics. So, if features
are normal with whatever means and covariances, an analysis of the features and the same analysis of rotated ones are
exchangeable, and the share of rotations that find as much is an exact p-value, for any N, m and p.

(A bootstrap that takes the fitted mixture for the truth is far from that where m < p: its covariance has rank m - 1.
Exactly normal features are then rejected nearly always.)

Rows of rotated features, and of the mixture fitted to them, are combinations c [n, N] of the rows X, so that their
Gram matrices follow from that of X; rotating costs no work in p dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch
from torch import Generator, Tensor

from gflow_core.builtin.latents import Normal
from gflow_core.contracts import Latent
from gflow_rmt.spectra import Distance, Floats, distance, gram
from gflow_rmt.surrogate import standardised

__all__ = ["Pair", "Rows", "compare", "from_centre", "resolved", "rotations"]


def rotations(classes: int, size: int, generator: Generator) -> Tensor:
    """Independent Q [classes, size, size], float64, uniform among the orthogonal matrices with Q 1 = 1."""
    bases = []
    for _ in range(2):
        z = torch.randn(classes, size, size - 1, generator=generator, dtype=torch.float64)
        q, r = torch.linalg.qr(z - z.mean(1, keepdim=True))
        bases.append(q * r.diagonal(dim1=1, dim2=2).sign()[:, None])  # without the signs it would not be uniform
    found: Tensor = bases[0] @ bases[1].mT + 1 / size
    return found


@attrs.frozen(eq=False)
class Rows:
    """Features [K, N, p] as rows to be combined, class by class: c [K, n, N] stands for the n rows c X of each."""

    features: Tensor
    gram: Tensor
    """X X' / p, [K, N, K, N], float64: combinations that take means away lose digits."""

    @classmethod
    def of(cls, features: Tensor) -> Rows:
        """All pairs of rows multiplied, once."""
        classes, size, _ = features.shape
        return cls(features, gram(features).view(classes, size, classes, size))

    def identity(self) -> Tensor:
        """The combinations [K, N, N] that are the rows themselves."""
        classes, size, _ = self.features.shape
        return torch.eye(size, dtype=torch.float64).expand(classes, size, size)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """(a X)(b X)' / p of combinations a [K, n, N] and b [K, n', N], all classes stacked: [K n, K n']."""
        left = torch.einsum("kia,kalb->kilb", a, self.gram)
        return torch.einsum("kilb,ljb->kilj", left, b).flatten(2, 3).flatten(0, 1)

    def eigenvalues(self, c: Tensor) -> Floats:
        """Those of the Gram matrix of the rows c X of all classes, [K n], largest first."""
        found: Floats = torch.linalg.eigvalsh(self.product(c, c)).flip(0).numpy()
        return resolved(found)

    def mixture(self, moments: Tensor, n: int, law: Latent, generator: Generator) -> Tensor:
        """n draws of each class from the mixture fitted to the rows `moments` [K, m, N], as combinations [K, n, N].

        surrogate.Component.draw with C^(1/2) = Xc' (Xc Xc')^(-1/2) Xc / sqrt(m).
        """
        drawn = []
        for k, (rows, x) in enumerate(zip(moments, self.features, strict=True)):
            m, p = len(rows), x.shape[1]
            mean = rows.mean(0)
            centred = rows - mean
            if isinstance(law, Normal):
                t = torch.randn(n, m, generator=generator).double()
            else:
                along = (standardised(law, n, p, generator).to(x) @ x.mT).double() @ centred.mT  # t Xc', [n, m]
                values, vectors = torch.linalg.eigh(p * (centred @ self.gram[k, :, k] @ centred.mT))
                scale = torch.where(values > 1e-12 * values[-1], values, torch.inf).rsqrt()
                t = (along @ vectors * scale) @ vectors.mT
            drawn.append(mean + t @ centred / m**0.5)
        return torch.stack(drawn)


@attrs.frozen(eq=False)
class Pair:
    """Spectra of a sample and of a draw from the mixture fitted to the moments, and how their features align."""

    sample: Floats
    mixture: Floats
    alignment: Floats
    """The i-th: mean squared cosine between the spans of the first i right singular vectors of both, in [0, 1]."""

    @property
    def distance(self) -> Distance:
        """Between the two spectra."""
        return distance(self.sample, self.mixture)


def compare(rows: Rows, moments: Tensor, sample: Tensor, law: Latent, generator: Generator, top: int) -> Pair:
    """The sample [K, n, N] and as many draws from the mixture fitted to `moments` [K, m, N].

    Right singular vectors are v = X' u / (p lambda)^(1/2) for the eigenpairs (lambda, u) of G = X X' / p. (The u of two
    samples have no rows in common, so their angles would mean nothing; the v are directions among the p features.)
    """
    mixture = rows.mixture(moments, sample.shape[1], law, generator)
    spectra, scaled = [], []
    for c in (sample, mixture):
        values, vectors = torch.linalg.eigh(rows.product(c, c))
        spectra.append(resolved(values.flip(0).numpy()))
        scaled.append(vectors.flip(1)[:, :top] * torch.from_numpy(spectra[-1][:top]).rsqrt())
    overlap = (scaled[0].mT @ rows.product(sample, mixture) @ scaled[1]).square()
    shared = overlap.cumsum(0).cumsum(1).diagonal() / torch.arange(1, len(overlap) + 1)
    return Pair(spectra[0], spectra[1], shared.numpy())


def resolved(values: Floats) -> Floats:
    """Eigenvalues, largest first; those that are rounding errors (of float32 features) become 0, so they are ties."""
    return np.where(values > 1e-10 * values[0], values, 0.0)


def from_centre(spectra: Sequence[Floats]) -> list[Distance]:
    """How far each of some spectra of one length is from the mean of all, eigenvalue by eigenvalue.

    The mean is their Wasserstein barycentre. All count in it alike, so that exchangeable spectra have exchangeable
    distances.
    """
    centre: Floats = np.mean(spectra, 0)
    return [distance(values, centre) for values in spectra]
