"""The drifting field (Deng et al. 2026): data pull, particles push.

With A_ij = k_ij / sqrt(R_i C_j), where R_i and C_j are the kernel's sums over the row of particle i and the column of
target j, v_i = N_i sum_data A_ij y_j - P_i sum_particles A_ij x_j, P_i and N_i being sums of A_ij over data and over
particles. R_i is a factor of all that belongs to particle i, so that targets are gone through in blocks whose columns
are whole: the work is that of n (n + m) kernels, the memory that of one block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Kernel", "between", "field"]

Kernel = Literal["laplace", "gaussian"]


def field(
    x: Tensor,
    y: Tensor,
    temperatures: Sequence[float],
    *,
    kernel: Kernel,
    scaled: bool,
    others: Tensor | None = None,
    guidance: float = 1.0,
) -> Tensor:
    """The velocities [n, d] of particles x [n, d], n >= 2, with data y [m, d]: those of all temperatures, added.

    `scaled` measures as `drift.field` says; all distances are then kept, [n + m, n]. Guidance beyond 1 has data of any
    class, `others` [k, d], push as particles do, with guidance - 1 times the weight of all of these.
    """
    n, d = x.shape
    centre = y.mean(0)  # products round relative to the norms, and the field is the same round any centre
    x, y = x - centre, y - centre
    blocks: Iterable[_Block] = _blocks(x, y)
    if others is not None and guidance > 1:
        blocks = chain(
            blocks, _blocks_of(x, others - centre, pushes=True, weight=(guidance - 1) * (n - 1) / len(others))
        )
    unit = x.new_ones(())
    if scaled:
        blocks = list(blocks)
        rows = sum(len(block.targets) for block in blocks) - 1
        unit = torch.stack([block.distances.sum() for block in blocks]).sum() / (n * rows)
    fields = [_Field(x, -1 / tau if kernel == "laplace" else -1 / (2 * tau**2)) for tau in temperatures]
    for block in blocks:
        block.prepare(unit if scaled else None, kernel)
        for part in fields:
            part.add(block)
    found = torch.zeros_like(x)
    for part in fields:
        v = part.velocity()
        if scaled:
            v = v / v.abs().amax().clamp(min=torch.finfo(v.dtype).tiny)  # which square roots of squares may miss
            v = v * (unit / math.sqrt(d) / v.square().mean().sqrt().clamp(min=1e-9))
        found += v
    return found


def between(
    x: Tensor, y: Tensor, temperatures: Sequence[float], *, kernel: Kernel, scaled: bool
) -> Callable[[Tensor], Tensor]:
    """The velocities [k, d] of points [k, d] among particles x [n, d] and data y [m, d], a function of the points.

    A point is pulled and pushed by all and counts in no column, so that the columns are those of the particles alone.
    Whole matrices, in logarithms.
    """
    targets, m = torch.cat([y, x]), len(y)
    apart = _apart(x, targets)
    apart[:, m:].fill_diagonal_(math.inf)
    unit = apart[apart.isfinite()].mean() if scaled else apart.new_ones(())

    def logarithms(distances: Tensor, tau: float) -> Tensor:
        r = distances / (tau * unit)
        return -r if kernel == "laplace" else -r.square() / 2

    def factor(tau: float) -> Tensor:
        if not scaled:
            return unit
        own = field(x / unit, y / unit, (tau,), kernel=kernel, scaled=False)
        return 1 / (math.sqrt(x.shape[1]) * own.square().mean().sqrt().clamp(min=1e-9))

    columns = [(tau, logarithms(apart, tau).logsumexp(0) / 2, factor(tau)) for tau in temperatures]

    def velocity(points: Tensor) -> Tensor:
        distances, found = _apart(points, targets), torch.zeros_like(points)
        for tau, column, times in columns:
            k = logarithms(distances, tau)
            pull, push = (k - column).split([m, len(x)], 1)
            size = (pull.logsumexp(1) + push.logsumexp(1) - k.logsumexp(1)).exp()
            found += times * size[:, None] * (pull.softmax(1) @ y - push.softmax(1) @ x)
        return found

    return velocity


def _apart(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


class _Block:
    """Targets [b, d] and their distances to all particles [b, n]; `own` is the particle that the first is, if any.

    They pull, or push; each counts as `weight` of them.
    """

    def __init__(self, targets: Tensor, right: Tensor, *, own: int | None, pushes: bool, weight: float) -> None:
        self.targets, self.own, self.pushes, self.weight = targets, own, pushes, weight
        left = torch.cat([-2 * targets, targets.square().sum(1, keepdim=True), targets.new_ones(len(targets), 1)], 1)
        self.distances = (left @ right).clamp_(min=0).sqrt_()
        self._set_own(0.0)

    def prepare(self, unit: Tensor | None, kernel: Kernel) -> None:
        """Distances in units of `unit`, squared for the Gaussian kernel; no particle is a target of its own."""
        if unit is not None:
            self.distances.div_(unit)
        if kernel == "gaussian":
            self.distances.square_()
        self._set_own(math.inf)
        self.nearest = self.distances.amin(1, keepdim=True)

    def _set_own(self, value: float) -> None:
        if self.own is not None:
            self.distances[:, self.own : self.own + len(self.targets)].fill_diagonal_(value)


def _blocks(x: Tensor, y: Tensor) -> Iterator[_Block]:
    """All data, then all particles."""
    yield from _blocks_of(x, y, pushes=False)
    yield from _blocks_of(x, x, pushes=True, own=True)


def _blocks_of(x: Tensor, targets: Tensor, *, pushes: bool, own: bool = False, weight: float = 1.0) -> Iterator[_Block]:
    """Targets in blocks that stay in a processor's cache; on CUDA the launches count."""
    size = len(targets) if x.device.type == "cuda" else max(1, 2**18 // len(x))
    right = torch.cat([x.T, x.new_ones(1, len(x)), x.square().sum(1)[None]])  # |t|^2 - 2 t'x + |x|^2 is one product
    for start in range(0, len(targets), size):
        some = targets[start : start + size]
        yield _Block(some, right, own=start if own else None, pushes=pushes, weight=weight)


class _Field:
    """The field of the kernel exp(rate * distance), summed over blocks of targets.

    So that narrow kernels do not vanish, each column is measured by its largest kernel exp(top_j), and those by the
    largest so far, exp(peak): `sums` are those of A_ij (t_j, 1) sqrt(R_i) / exp(peak / 2) over data and over particles
    [2, d + 1, n], `rows` are R_i / exp(peak) [n].
    """

    def __init__(self, x: Tensor, rate: float) -> None:
        n, d = x.shape
        self.rate = rate
        self.peak = x.new_full((), -math.inf)
        self.sums = x.new_zeros(2, d + 1, n)
        self.rows = x.new_zeros(n)

    def add(self, block: _Block) -> None:
        top = self.rate * block.nearest
        k = torch.add(-top, block.distances, alpha=self.rate).exp_()
        peak = torch.maximum(self.peak, top.max())
        risen = ((self.peak - peak) / 2).exp()
        root = ((top - peak) / 2).exp()
        weight = root / k.sum(1, keepdim=True).sqrt()
        found = torch.cat([weight * block.targets, weight, root.square()], 1).T @ k
        if block.weight != 1:
            found *= block.weight
        self.sums.mul_(risen)[1 if block.pushes else 0].add_(found[:-1])
        self.rows.mul_(risen.square()).add_(found[-1])
        self.peak = peak

    def velocity(self) -> Tensor:
        data, particles = self.sums
        pull, push = data[:-1] * particles[-1], particles[:-1] * data[-1]
        v: Tensor = (pull - push) / self.rows.clamp(min=torch.finfo(self.rows.dtype).tiny)
        return v.T
