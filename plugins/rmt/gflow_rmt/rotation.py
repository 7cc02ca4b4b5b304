"""The rotation test: what analyses of Gram spectra find where each class's features are exactly normal (Langsrud 2005).

N rows X that are independent N(mu, C) have the same joint law as Q X, for every orthogonal Q [N, N] that leaves the
vector of ones in place; and Q X has the mean and the covariance of X. So, if each class's features are normal, with
whatever means and covariances, X and rotations Q X by random Q of this group are exchangeable, and so is whatever is
computed of each in one way, be it with a common t. The share of rotations that find as much as the features themselves
is then an exact p-value, for any N, m and p, and whether or not images for the moments are in the sample too.

(A bootstrap that takes the fitted mixture for the truth is far from that where m < p: its covariance has rank m - 1.
Exactly normal features are then rejected nearly always.)

Rows of rotated features, and of the mixture fitted to them, are combinations c [n, N] of the rows X, so that their
Gram matrices follow from that of X; rotating costs no work in p dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import torch
from scipy.linalg import helmert
from torch import Generator, Tensor

from gflow_core import Latent, Streams
from gflow_rmt.representation import Representation
from gflow_rmt.spectra import Distance, Floats, distance, gram, share_above
from gflow_rmt.surrogate import standardised

__all__ = ["Pair", "Rows", "compare", "from_centre", "resolved", "rotated_pairs", "rotations", "share_beyond"]


def rotations(classes: int, size: int, generator: Generator) -> Tensor:
    """Independent Q [classes, size, size], float64, uniform among the orthogonal matrices with Q 1 = 1."""
    z = torch.randn(classes, size, size - 1, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(z - z.mean(1, keepdim=True))  # a basis of what is orthogonal to 1
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]  # without the signs it would not be uniform
    found: Tensor = q @ torch.from_numpy(helmert(size)) + 1 / size
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

    def rotated(self, count: int, generator: Generator) -> Iterator[Tensor]:
        """The combinations [K, N, N] that are the rows themselves, then those of `count` rotations."""
        classes, size, _ = self.features.shape
        yield self.identity()
        for _ in range(count):
            yield rotations(classes, size, generator)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """(a X)(b X)' / p of combinations a [K, n, N] and b [K, n', N], all classes stacked: [K n, K n']."""
        left = torch.einsum("kia,kalb->kilb", a, self.gram)
        return torch.einsum("kilb,ljb->kilj", left, b).flatten(2, 3).flatten(0, 1)

    def eigenvalues(self, c: Tensor) -> Floats:
        """Those of the Gram matrix of the rows c X of all classes, [K n], largest first."""
        found: Floats = torch.linalg.eigvalsh(self.product(c, c)).flip(0).numpy()
        return resolved(found)

    def noise(self, n: int, law: Latent, generator: Generator) -> Tensor:
        """t X' of n draws t [n, p] of the law, standardised, for each class: [K, n, N], all that `mixture` reads of t.

        It may serve the rows and all rotations of them: the p-value is then exact given t, and no draw of p dimensions
        is made twice.
        """
        p = self.features.shape[2]
        return torch.stack([standardised(law, n, p, generator).double() @ x.double().mT for x in self.features])

    def mixture(self, moments: Tensor, noise: Tensor) -> Tensor:
        """Draws mean + t C^(1/2) from the mixture fitted to the rows `moments` [K, m, N], as combinations [K, n, N].

        With `noise` t X' as above, t C^(1/2) = t Xc' (Xc Xc')^(-1/2) Xc / sqrt(m) for the centred rows Xc.
        """
        mean = moments.mean(1, keepdim=True)
        centred = moments - mean
        p, m = self.features.shape[2], moments.shape[1]
        within = torch.stack([self.gram[k, :, k] for k in range(len(moments))])
        values, vectors = torch.linalg.eigh(p * centred @ within @ centred.mT)
        scale = torch.where(values > 1e-12 * values[:, -1:], values, torch.inf).rsqrt()
        found: Tensor = mean + (noise @ centred.mT @ vectors * scale[:, None]) @ vectors.mT @ centred / m**0.5
        return found


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


def compare(rows: Rows, moments: Tensor, sample: Tensor, noise: Tensor, top: int) -> Pair:
    """The sample [K, n, N] and draws [K, n, N] from the mixture fitted to `moments` [K, m, N]; `top` directions align.

    Right singular vectors are v = X' u / (p lambda)^(1/2) for the eigenpairs (lambda, u) of G = X X' / p. (The u of two
    samples have no rows in common, so their angles would mean nothing; the v are directions among the p features.)
    Where lambda is 0 there is none, and it counts as orthogonal to all.
    """
    mixture = rows.mixture(moments, noise)
    if not top:
        return Pair(rows.eigenvalues(sample), rows.eigenvalues(mixture), np.empty(0))
    spectra, scaled = [], []
    for c in (sample, mixture):
        values, vectors = torch.linalg.eigh(rows.product(c, c))
        spectra.append(resolved(values.flip(0).numpy()))
        leading = torch.from_numpy(spectra[-1][:top])
        scaled.append(vectors.flip(1)[:, :top] * torch.where(leading > 0, leading, torch.inf).rsqrt())
    overlap = (scaled[0].mT @ rows.product(sample, mixture) @ scaled[1]).square()
    shared = overlap.cumsum(0).cumsum(1).diagonal() / torch.arange(1, len(overlap) + 1)
    return Pair(spectra[0], spectra[1], shared.numpy())


def rotated_pairs(
    representation: Representation, features: Tensor, t: Latent, count: int, streams: Streams, what: str, top: int = 0
) -> list[Pair]:
    """What `compare` finds of features [K, N, p], and then, done in the same way, of `count` rotations of them."""
    rows, found = Rows.of(features), []
    noise = rows.noise(representation.options.n, t, streams["surrogate"])
    for i, q in enumerate(rows.rotated(count, streams["rotation"])):
        found.append(compare(rows, *representation.split(q), noise, top))
        representation.subject.progress(what, i, count)
    return found


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


def share_beyond(observed: float, chance: Sequence[float]) -> float:
    """The two-sided p-value of a Monte Carlo test: small where `observed` is among the largest or the smallest."""
    low = share_above(-observed, [-value for value in chance])
    return min(1.0, 2 * min(low, share_above(observed, chance)))
