"""frechet: the Frechet distance between Gaussians fitted to features (Heusel et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import add

import attrs
import torch
from torch import Tensor

from gflow_core.errors import GflowError
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.scores.distances import double
from gflow_core.scores.features import Features, real_index, score_name

__all__ = ["FeatureMoments", "frechet", "frechet_distance"]


@attrs.frozen(eq=False)
class FeatureMoments:
    """Count, mean and scatter sum (x - mean)(x - mean)' of points, float64. Adding two joins their points.

    The scatter is kept as a factor F with F'F = scatter: as many rows as points while they are few, so that covariances
    of less than full rank cost what their points do, and at most twice the features otherwise.
    """

    n: int
    mean: Tensor
    """[d]."""
    factor: Tensor
    """[rows, d]."""

    @classmethod
    def of(cls, x: Tensor) -> FeatureMoments:
        """Of points x [n, d]."""
        x = double(x)
        mean = x.mean(0)
        return cls(len(x), mean, x - mean)

    @classmethod
    def stream(cls, pieces: Iterable[Tensor]) -> FeatureMoments:
        """Of points in pieces [B, d], at least one; holds about twice as many points as there are features."""
        total = reduce(add, map(cls.of, _blocks(pieces)))
        return cls(total.n, total.mean.cpu(), total.factor.cpu())

    def __add__(self, other: FeatureMoments) -> FeatureMoments:
        # Centred on each side, so nothing large cancels (Chan, Golub and LeVeque 1979).
        n = self.n + other.n
        gap = other.mean - self.mean
        step = gap * (self.n * other.n / n) ** 0.5
        factor = torch.cat([self.factor, other.factor, step[None]])
        if len(factor) > 2 * len(gap):
            factor = _triangle(factor)
        return FeatureMoments(n, self.mean + gap * (other.n / n), factor)

    @property
    def covariance(self) -> Tensor:
        """scatter / (n - 1), [d, d]."""
        return self.factor.T @ self.factor / (self.n - 1)


def _blocks(pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """The pieces [B, d] joined to blocks of at least d rows: one step of linear algebra for many small ones."""
    block: list[Tensor] = []
    for piece in pieces:
        block.append(piece)
        if sum(map(len, block)) >= max(piece.shape[1], 1024):
            yield torch.cat(block)
            block = []
    if block:
        yield torch.cat(block)


def _triangle(factor: Tensor) -> Tensor:
    """R [d, d] with R'R = F'F, of F [rows, d]."""
    triangle: Tensor = torch.linalg.qr(factor, mode="r").R
    return triangle


def frechet_distance(a: FeatureMoments, b: FeatureMoments) -> float:
    """|m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1^(1/2) C2 C1^(1/2))^(1/2).

    With C = R'R the eigenvalues under the last root are the squares of the singular values of R1 R2'. So nothing is
    complex, no eigenvalue is rounded below 0, and no rounding error passes through a root.
    """
    first, second = a.factor, b.factor
    if min(len(first), len(second)) > len(a.mean):
        first, second = _triangle(first), _triangle(second)
    first, second = first / (a.n - 1) ** 0.5, second / (b.n - 1) ** 0.5
    traces = first.square().sum() + second.square().sum()
    distance = (a.mean - b.mean).square().sum() + traces - 2 * torch.linalg.svdvals(first @ second.T).sum()
    return float(distance.clamp_min(0))  # NaN stays NaN


def frechet(
    subject: Subject,
    *,
    encoder: EncoderPart | None,
    samples: int,
    real_samples: int | None,
    batch_size: int,
    against: str | None = None,
) -> Result:
    """The distance of samples from the data, and of two halves of the data from each other.

    Without an encoder vectors are compared as they are; `real_samples` None: all data items; `against` names the split
    of the data set that they are, its own without it. GflowError: too few.
    """
    features = Features.of(subject, encoder, batch_size, against)
    n_real = features.count(real_samples)
    if n_real < 4:
        raise GflowError(f"frechet: two halves of the data need two items each, the data set has {n_real}")
    half, other = _real_halves(features, n_real)
    real, fake = half + other, FeatureMoments.stream(features.encoded(samples))
    name = score_name("FID", "FD", features.encoder)
    return Result(
        scores={
            name: frechet_distance(real, fake),
            f"{name}_real_halves": frechet_distance(half, other),
            "rank_deficient": int(min(n_real, samples) <= features.encoder.dim),
            "rank_deficient_halves": int(min(half.n, other.n) <= features.encoder.dim),
        },
        manifest=features.manifest(n_real=n_real, n_fake=samples, n_halves=[half.n, other.n]),
    )


def _real_halves(features: Features, n: int) -> tuple[FeatureMoments, FeatureMoments]:
    """Moments of the first and the second half of the n data items, cached."""
    data = features.data

    def make() -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for i, index in enumerate(real_index(data, n).tensor_split(2)):
            moments = FeatureMoments.stream(features.over(data, index))
            found |= {f"mean.{i}": moments.mean, f"factor.{i}": moments.factor}
        return found

    found = features.cached("moments", data, n, make)
    first, second = (
        FeatureMoments(size, found[f"mean.{i}"], found[f"factor.{i}"]) for i, size in enumerate((n - n // 2, n // 2))
    )
    return first, second
