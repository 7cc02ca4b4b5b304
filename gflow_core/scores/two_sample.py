"""two_sample: distances between samples and held-out data, each beside the same distance between real halves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.errors import DataError
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.nouns import Progress
from gflow_core.parts.options import option
from gflow_core.scores.held_out import against_faults, compared_items, compared_with

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gflow_core.parts.spec import Spec

__all__ = ["TwoSample", "median_distance", "mmd2", "two_sample"]

CHUNK = 10_000
"""Samples drawn at once."""

MEDIAN = 5000
"""Points whose distances the median is taken of, at most: 12 million pairs."""

ROWS = 512
"""Rows of the kernel matrix formed at once."""


@attrs.frozen(kw_only=True)
class TwoSample:
    """Sliced Wasserstein-2 distance and squared MMD between samples and held-out vectors.

    Both have a floor that depends on the number of items: the distance between two disjoint sets of real items of
    the same size stands beside each (`sliced_w2_real`, `mmd2_real`). Directions and the choice of real items
    follow from `seed` alone, not from the run's, so that runs compare.
    """

    of_samples: ClassVar[bool] = True
    cite: ClassVar[tuple[str, ...]] = ("bonneel2015sliced", "gretton2012kernel")
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})
    better: ClassVar[Mapping[str, str]] = {"sliced_w2": "min", "mmd2": "min"}

    samples: int = option(10_000, doc="Samples, and real items in each set; at most half of the real items.", ge=2)
    projections: int = option(500, doc="Directions on the unit sphere that the sliced distance averages over.", ge=1)
    mmd_samples: int = option(2_000, doc="Items of each set that the MMD reads; its work grows with the square.", ge=2)
    bandwidths: tuple[float, ...] = option(
        (0.25, 0.5, 1.0, 2.0, 4.0),
        doc="Bandwidths of the Gaussian kernels, which are averaged, in median distances between real items.",
        gt=0,
        check=lambda values: None if values else "name at least one bandwidth",
    )
    moments: bool = option(
        False, doc="Mean and covariance of the samples as scores, too (mean_1, cov_12, ...); up to 9 dimensions."
    )
    seed: int = option(0, doc="Seed of the directions and of the choice of real items.", ge=0)
    against: Literal["train", "test"] | None = option(
        None, doc="Split of the data set that samples are compared with; the one not trained on by default."
    )

    def check(self, spec: Spec) -> Iterable[str]:
        if spec.dataset is not None:
            yield from against_faults(spec.dataset, self.against)
        if spec.dataset is not None and spec.dataset.data_shape().kind != "vector":
            yield f"compares vectors, the data is {spec.dataset.data_shape()}"
        elif spec.dataset is not None and self.moments and spec.dataset.data_shape().shape[0] > 9:
            yield f"moments: names every number, up to 9 dimensions; the data is {spec.dataset.data_shape()}"

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """Held-out data that is missing is missed before training."""
        other = compared_with(spec.dataset, self.against)
        if other is not None:
            other.load(progress)

    def build(self) -> Callable[[Subject], Result]:
        return lambda subject: two_sample(
            subject,
            samples=self.samples,
            projections=self.projections,
            mmd_samples=self.mmd_samples,
            bandwidths=self.bandwidths,
            moments=self.moments,
            seed=self.seed,
            against=self.against,
        )


def two_sample(
    subject: Subject,
    *,
    samples: int,
    projections: int,
    mmd_samples: int,
    bandwidths: Sequence[float],
    seed: int,
    moments: bool = False,
    against: str | None = None,
) -> Result:
    """Both distances, samples against real items, and other real items against the same ones.

    `bandwidths` count in median distances between real items; `against` names the split of the data set that these are
    of, the one that the run did not train on without it. DataError: too few real items, or equal ones.
    """
    import torch

    from gflow_core.machine.streams import Streams
    from gflow_core.parts.source import fingerprint
    from gflow_core.scores.sliced import directions_on_sphere, sliced_wasserstein

    real, split = compared_items(subject, against)
    n = min(samples, len(real) // 2)
    if n < 2:
        raise DataError(f"two_sample: the {split} has {len(real)} items; two sets of two are needed at least")
    streams = Streams(seed).fork("two_sample")
    choice = torch.randperm(len(real), generator=streams["real"])[: 2 * n]
    chosen = real.x[choice]
    reference, other = chosen.double().split(n)
    sets = {"": _draw(n, subject), "_real": other}

    directions = directions_on_sphere(projections, real.x.shape[1], streams["directions"])
    few = min(mmd_samples, n)
    median = median_distance(reference[:few])
    if median == 0:
        raise DataError("two_sample: most real items are equal: their median distance, the kernel's unit, is 0")
    widths = [factor * median for factor in bandwidths]
    scores: dict[str, float | int | str | None] = {}
    for suffix, x in sets.items():
        scores[f"sliced_w2{suffix}"] = sliced_wasserstein(x, reference, directions, 2, subject.progress)
    for suffix, x in sets.items():
        scores[f"mmd2{suffix}"] = mmd2(x[:few], reference[:few], widths)
    if moments:
        found = {suffix: _moments(x) for suffix, x in sets.items()}
        scores |= {f"{name}{suffix}": found[suffix][name] for name in found[""] for suffix in sets}
    return Result(
        scores=scores,
        manifest={
            **subject.protocol(),
            "n_fake": n,
            "n_real": n,
            "n_mmd": few,
            "split": split,
            "data": fingerprint(chosen),
            "projections": projections,
            "bandwidths": list(bandwidths),
            "median_distance": median,
            "seed": seed,
        },
    )


def _draw(n: int, subject: Subject) -> Tensor:
    """n samples [n, d], on the CPU in double precision."""
    import torch

    from gflow_core.nn.sampling import draw_from

    return torch.cat([x.cpu().double() for x in draw_from(subject, n, CHUNK)])


def _moments(x: Tensor) -> dict[str, float]:
    """The mean and the upper half of the covariance of x [n, d], n >= 2, by name."""
    found = {f"mean_{i}": float(value) for i, value in enumerate(x.mean(0), 1)}
    covariance = x.T.cov()
    for i in range(x.shape[1]):
        found |= {f"cov_{i + 1}{j + 1}": float(covariance[i, j]) for j in range(i, x.shape[1])}
    return found


def median_distance(x: Tensor) -> float:
    """The median of |x_i - x_j| over pairs of the first MEDIAN of x [n, d], n >= 2 (Gretton et al. 2012)."""
    import torch

    return float(torch.pdist(x[:MEDIAN]).median())


def mmd2(x: Tensor, y: Tensor, widths: Iterable[float]) -> float:
    """Unbiased squared maximum mean discrepancy of x [n, d] and y [m, d]: Gretton et al. 2012, eq. 3.

    The kernel is the mean of exp(-|a - b|^2 / (2 w^2)) over the widths w, so values lie below 2; zero in
    expectation where both laws agree, and therefore often below zero there.
    """
    widths = list(widths)
    n, m = len(x), len(y)
    # k(a, a) = 1: the diagonal's share of the sums is n and m.
    within = (_kernel_sum(x, x, widths) - n) / (n * (n - 1)) + (_kernel_sum(y, y, widths) - m) / (m * (m - 1))
    return within - 2 * _kernel_sum(x, y, widths) / (n * m)


def _kernel_sum(x: Tensor, y: Tensor, widths: list[float]) -> float:
    """The sum of the averaged kernel over all pairs, some rows at a time."""
    import torch

    total = 0.0
    for rows in x.split(ROWS):
        # The faster way by products loses the small distances that narrow kernels live on.
        squares = torch.cdist(rows, y, compute_mode="donot_use_mm_for_euclid_dist").square()
        total += sum(float((squares / (-2 * width**2)).exp().sum()) for width in widths)
    return total / len(widths)
