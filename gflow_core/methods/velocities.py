"""The objective `flow`, and velocities that need no network: of the pool and a batch of the data, or their density.

Particles x_1 .. x_n and data y_1 .. y_m are points in R^d, images pixel by pixel. Matrices are [n, n], [n, m] or
[m, m]; distances come from matrix products. Only tensor methods are used, so that recipes are checked without torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.methods.flow import ParticleFlow, VelocityPart
from gflow_core.methods.rules import FlowRules
from gflow_core.parts.contracts import Number, at
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from torch import Tensor

    from gflow_core.methods.coupled import Coupled
    from gflow_core.parts.spec import Spec
    from gflow_core.parts.training import Experiment

__all__ = ["BatchVelocity", "Drifting", "Flow", "Mmd", "Sinkhorn", "SlicedWasserstein", "Svgd"]


def squares(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances of the rows of x [n, d] and y [m, d]: [n, m]."""
    centre = y.mean(0)  # products round relative to the norms
    x, y = x - centre, y - centre
    found: Tensor = x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * x @ y.T
    return found.clamp_(min=0)


@attrs.frozen(kw_only=True)
class BatchVelocity:
    """A velocity that follows from the pool and a batch of the data alone. A part extends it by `of`."""

    players: ClassVar[tuple[str, ...]] = ()

    data_size: int | None = option(
        None, doc="Items of the data that each move compares the pool with; as many as the pool has by default.", ge=1
    )

    def check(self, spec: Spec) -> Iterable[str]:
        if spec.sampler is not None and spec.sampler.conditional:
            yield "velocity: it moves all particles towards all data, whatever their labels; take a sampler without"

    def items_a_move(self, batch_size: int, rules: FlowRules) -> int:
        return self.data_size or rules.pool_size

    def build(self, experiment: Experiment, rules: FlowRules) -> Coupled:
        from gflow_core.methods.coupled import Coupled

        return Coupled(experiment, self.of, data_size=self.data_size or rules.pool_size)

    def of(self, x: Tensor, y: Tensor, normal: Callable[[int, int], Tensor], done: int) -> Tensor:
        """The velocities [n, d] of particles x [n, d] with data y [m, d], in the step after `done` finished ones.

        `normal(n, d)` are fresh draws of N(0, 1), [n, d].
        """
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class Drifting(BatchVelocity):
    """Particles drift towards data and away from one another (Deng et al. 2026), by a kernel normalised twice.

    With k(x, t) = exp(-|x - t| / tau), the targets t all data and all other particles, and A_ij = k(x_i, t_j) /
    sqrt(sum_j k(x_i, t_j) sum_i k(x_i, t_j)): v(x_i) = N_i sum_data A_ij y_j - P_i sum_particles A_ij x_j, where P_i
    and N_i sum A_ij over data and over particles. The paper makes one move of 1 a step, and one pass over the pool.
    """

    cite: ClassVar[tuple[str, ...]] = ("deng2026drifting",)

    temperatures: tuple[float, ...] = option((0.02, 0.05, 0.2), doc="Every tau; their velocities are added.", gt=0)
    kernel: Literal["laplace", "gaussian"] = option(
        "laplace", doc="exp(-|x - t| / tau), or exp(-|x - t|^2 / (2 tau^2))."
    )
    scaled: bool = option(
        True,
        doc="Each tau is in units of the mean distance s over the batch, each velocity divided by its root mean "
        "square, and their sum in units of s / sqrt(d): the paper's rule for features. Without it all is in units of "
        "the data, as in the paper's plane.",
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if not self.temperatures:
            yield "velocity: temperatures is empty; it takes at least one"
        if getattr(spec.objective, "pool_size", 2) < 2:
            yield "velocity: a particle drifts away from others; pool_size must be 2 at least"

    def of(self, x: Tensor, y: Tensor, normal: Callable[[int, int], Tensor], done: int) -> Tensor:
        import torch

        n, d = x.shape
        targets = torch.cat([y, x])
        distances = squares(x, targets).sqrt()
        distances[:, len(y) :].fill_diagonal_(0.0)
        scale = distances.sum() / (n * (len(targets) - 1)) if self.scaled else 1.0
        found = torch.zeros_like(x)
        for tau in self.temperatures:
            ratio = distances / (scale * tau)
            log_k = -ratio if self.kernel == "laplace" else -ratio.square() / 2
            log_k[:, len(y) :].fill_diagonal_(-math.inf)
            a = ((log_k.log_softmax(1) + log_k.log_softmax(0)) / 2).exp()
            to_data, to_particles = a.split([len(y), n], 1)
            pull = to_particles.sum(1, keepdim=True) * (to_data @ y)
            v = pull - to_data.sum(1, keepdim=True) * (to_particles @ x)
            if self.scaled:
                v = v / v.abs().amax().clamp(min=torch.finfo(v.dtype).tiny)  # which square roots of squares may miss
                v = v * (scale / math.sqrt(d) / v.square().mean().sqrt().clamp(min=1e-9))
            found += v
        return found


@attrs.frozen(kw_only=True)
class Mmd(BatchVelocity):
    """Steepest descent of the squared maximum mean discrepancy (Arbel et al. 2019).

    v(x) = -grad f(x + noise u) with u ~ N(0, I) and the witness f = E_q k(x', .) - E_p k(y, .), where k(x, y) = s^2
    exp(-|x - y|^2 / (2 s^2)) for the bandwidth s. Over the batch that is the mean over data of (y_j - x_i) exp(-|x_i -
    y_j|^2 / (2 s^2)), less the same over the other particles: steps of up to 1 suit every bandwidth.
    """

    cite: ClassVar[tuple[str, ...]] = ("arbel2019maximum",)

    bandwidth: Number = option(1.0, doc="Width of the Gaussian kernel, in units of the data.", gt=0)
    noise: Number = option(
        0.0, doc="Standard deviation of what is added to particles where the gradient is taken.", ge=0
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if getattr(spec.objective, "pool_size", 2) < 2:
            yield "velocity: a particle is compared with others; pool_size must be 2 at least"

    def of(self, x: Tensor, y: Tensor, normal: Callable[[int, int], Tensor], done: int) -> Tensor:
        double, noise = 2 * at(self.bandwidth, done) ** 2, at(self.noise, done)
        seen = x + noise * normal(*x.shape) if noise else x
        to_data = (squares(seen, y) / -double).exp() / len(y)
        to_particles = (squares(seen, x) / -double).exp().fill_diagonal_(0.0) / (len(x) - 1)
        pull = to_data @ y - to_data.sum(1, keepdim=True) * seen
        push = to_particles @ x - to_particles.sum(1, keepdim=True) * seen
        return pull - push


@attrs.frozen(kw_only=True)
class SlicedWasserstein(BatchVelocity):
    """The mean of one-dimensional optimal maps over random directions (Liutkus et al. 2019, without noise).

    v(x) = mean over unit vectors u of u (T_u(u'x) - u'x), where T_u takes the particle of each rank along u to the
    data point of that rank. The mean shrinks a shift by 1/d: steps of up to d are meant.
    """

    cite: ClassVar[tuple[str, ...]] = ("liutkus2019sliced",)

    projections: int = option(100, doc="Random directions of each move.", ge=1)

    def of(self, x: Tensor, y: Tensor, normal: Callable[[int, int], Tensor], done: int) -> Tensor:
        import torch

        u = torch.nn.functional.normalize(normal(self.projections, x.shape[1]), dim=1)
        along, order = (u @ x.T).sort(1)
        # The data's quantile in the middle of each particle's share.
        middle = (2 * torch.arange(len(x), device=x.device) + 1) * len(y) // (2 * len(x))
        moved = (u @ y.T).sort(1).values[:, middle] - along
        return torch.zeros_like(moved).scatter_(1, order, moved).T @ u / self.projections


@attrs.frozen(kw_only=True)
class Sinkhorn(BatchVelocity):
    """Steepest descent of the Sinkhorn divergence (Feydy et al. 2019), of the cost |x - y|^2 / 2.

    v(x_i) = sum_data P_ij y_j - sum_particles Q_ij x_j, the rows of P and Q being where entropic transport takes x_i
    when the particles go to the data, and to themselves: P_ij ~ exp((g_j - |x_i - y_j|^2 / 2) / epsilon), with g from
    Sinkhorn's iterations in logarithms. A step of 1 takes all the way.
    """

    cite: ClassVar[tuple[str, ...]] = ("feydy2019interpolating",)

    epsilon: Number = option(
        0.1, doc="Strength of the entropy, in squared units of the data: the blur is its square root.", gt=0
    )
    iterations: int = option(50, doc="Sinkhorn iterations of each of the two transports.", ge=1)

    def of(self, x: Tensor, y: Tensor, normal: Callable[[int, int], Tensor], done: int) -> Tensor:
        epsilon = at(self.epsilon, done)
        ours, both = squares(x, x) / (-2 * epsilon), squares(x, y) / (-2 * epsilon)
        f, g = x.new_zeros(len(x)), y.new_zeros(len(y))  # potentials over epsilon
        own = x.new_zeros(len(x))
        for _ in range(self.iterations):
            f = math.log(len(y)) - (both + g).logsumexp(1)
            g = math.log(len(x)) - (both + f[:, None]).logsumexp(0)
            own = (own + math.log(len(x)) - (ours + own).logsumexp(1)) / 2  # symmetric: averaged, it converges fast
        found: Tensor = (both + g).softmax(1) @ y - (ours + own).softmax(1) @ x
        return found


@attrs.frozen(kw_only=True)
class Svgd:
    """Stein variational gradient descent (Liu & Wang 2016), where the data's density p is known.

    v(x_i) = mean over particles of k(x_j, x_i) grad log p(x_j) + grad_{x_j} k(x_j, x_i), with k(x, y) =
    exp(-|x - y|^2 / (2 s^2)) for the bandwidth s: of all directions in the kernel's space the one in which KL(q || p)
    falls fastest. It reads no data.
    """

    cite: ClassVar[tuple[str, ...]] = ("liu2016stein",)
    players: ClassVar[tuple[str, ...]] = ()

    bandwidth: Number | Literal["median"] = option(
        "median",
        doc="Width of the Gaussian kernel, in units of the data; median: s^2 = m^2 / (2 log(n + 1)), with m the median "
        "distance of n particles, of at most 256 of them to all.",
        gt=0,
    )

    def check(self, spec: Spec) -> Iterable[str]:
        if spec.dataset is not None and not getattr(spec.dataset, "has_density", False):
            yield (
                "velocity: svgd follows the gradient of log p, and the data set states no density (has_density); "
                "gaussian, mixture, ring, grid, circles and checkerboard do"
            )

    def items_a_move(self, batch_size: int, rules: FlowRules) -> int:
        return 0

    def build(self, experiment: Experiment, rules: FlowRules) -> Coupled:
        from gflow_core.methods.coupled import Coupled

        assert experiment.data is not None
        score = experiment.data.score
        return Coupled(experiment, lambda x, y, normal, done: self.of(x, score(x), done), data_size=0)

    def of(self, x: Tensor, score: Tensor, done: int) -> Tensor:
        """The velocities [n, d] of particles x [n, d] where grad log p is `score` [n, d]."""
        n = len(x)
        x = x - x.mean(0)
        distances = squares(x, x)
        if self.bandwidth == "median":
            rows = distances[:: -(-n // 256)]
            variance = (rows.median() / (2 * math.log(n + 1))).clamp(min=1e-30)
        else:
            variance = x.new_tensor(at(self.bandwidth, done) ** 2)
        k = (distances / (-2 * variance)).exp()
        found: Tensor = (k @ score + (k.sum(1, keepdim=True) * x - k @ x) / variance) / n
        return found


@attrs.frozen(kw_only=True)
class Flow(ParticleFlow):
    """A particle flow along any velocity: one step is one outer loop.

    1. A pool of z is drawn and pushed through the sampler: the particles.
    2. `inner_loops` times every particle moves, x <- clamp(x + step_size v(x)).
    3. The sampler is fitted to the pairs (z, moved x) by mean squared error, in batches of `train.batch_size`.

    With `sampler = "none"` the particles are those of the sampler `cloud`, and 2. is all.
    """

    velocity: VelocityPart = option(factory=Drifting, doc="What moves the particles.")
    projection_passes: int = option(1, doc="Passes over the pool when the sampler is fitted, if it is.", ge=1)

    def passes(self, step: int) -> int:
        return self.projection_passes
