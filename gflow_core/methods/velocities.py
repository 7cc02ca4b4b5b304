"""The objective `flow`, and velocities that need no network: of the pool and a batch of the data, or their density.

Particles x_1 .. x_n and data y_1 .. y_m are points in R^d, images pixel by pixel. Matrices are [n, n], [n, m] or
[m, m]; distances come from matrix products. Only tensor methods are used, so that recipes are checked without torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from gflow_core.methods.flow import ParticleFlow, VelocityPart
from gflow_core.methods.kernels import pulled, squares
from gflow_core.methods.rules import FlowRules
from gflow_core.parts.contracts import EncoderPart, Number, at
from gflow_core.parts.options import option
from gflow_core.parts.plugins import name_of

if TYPE_CHECKING:
    from torch import Tensor

    from gflow_core.methods.coupled import Coupled
    from gflow_core.parts.spec import Spec
    from gflow_core.parts.training import Experiment

__all__ = ["BatchVelocity", "Flow", "Mmd", "Sinkhorn", "SlicedWasserstein", "Svgd"]


@attrs.frozen(kw_only=True)
class BatchVelocity:
    """A velocity that follows from the pool and a batch of the data alone. A part extends it by `of`.

    One that says `contrasts` is given `others` besides, where pools have several classes: the data of all of them.

    One that goes down a function may have `potential(x, y, done)`, which gives f, a function of points [k, d]:
    [k], with v = -grad f; it is drawn by that between particles, too. Any other that is known there may have
    `between(x, y, done)`, which gives the velocities of points [k, d] that move none of the particles: [k, d].
    """

    players: ClassVar[tuple[str, ...]] = ()
    compares: ClassVar[bool] = False
    """Whether a particle is compared with others of its class, so that there must be one."""

    data_size: int | None = option(
        None, doc="Items of the data that each move compares the pool with; as many as the pool has by default.", ge=1
    )

    encoder: EncoderPart | None = option(
        None,
        doc="Network whose feature maps are compared, in place of the items: each map's means, and the map itself. "
        "The velocity is pulled back through it.",
    )
    grid: int = option(7, doc="Positions along a side to which finer maps are averaged.", ge=1)

    @property
    def replicable(self) -> bool:
        """Whether it moves pools of several replicas; features are of one."""
        return self.encoder is None

    @property
    def contrasts(self) -> bool:
        """Whether data of other classes than the particles' matter."""
        return False

    def check(self, spec: Spec) -> Iterable[str]:
        rules, data = spec.objective, spec.data_shape()
        classes = getattr(rules, "classes", None)
        if spec.sampler is not None and spec.sampler.conditional and classes is None:
            yield (
                "velocity: it moves the particles of a class towards its data, and so many classes at a time as "
                "objective.classes says; set it, or take a sampler that reads no labels"
            )
        if classes and self.data_size and self.data_size % classes:
            yield f"velocity: data_size = {self.data_size} does not divide into classes = {classes}"
        if self.compares and getattr(rules, "pool_size", 2) // (classes or 1) < 2:
            of_each = f", for each of classes = {classes}" if classes else ""
            yield f"velocity: a particle is compared with others; pool_size must be 2 at least{of_each}"
        if self.encoder is not None:
            if not getattr(self.encoder, "smooth", False):
                yield f"velocity: the encoder {name_of('encoder', self.encoder)} has no gradient (smooth)"
            yield from (f"velocity: the encoder {fault}" for fault in self.encoder.check(data))

    def items_a_move(self, batch_size: int, rules: FlowRules) -> int:
        return self.data_size or rules.pool_size

    def build(self, experiment: Experiment, rules: FlowRules) -> Coupled:
        from gflow_core.methods.coupled import Coupled
        from gflow_core.methods.featured import Features

        maps = self.maps(experiment)
        features = None if maps is None else Features(experiment, maps, grid=self.grid)
        size = self.data_size or rules.pool_size
        return Coupled(
            experiment,
            self,
            self.of,
            data_size=size,
            classes=rules.classes,
            contrasts=self.contrasts,
            features=features,
            potential=getattr(self, "potential", None),
            between=getattr(self, "between", None),
        )

    def maps(self, experiment: Experiment) -> Callable[[Tensor], list[Tensor]] | None:
        """Items [n, *shape] -> the feature maps to compare, each [n, C, h, w]; None where items themselves are."""
        if self.encoder is None:
            return None
        assert experiment.data is not None
        encoder: Any = self.encoder.build(experiment.data.shape, experiment.runtime.device)
        experiment.encoders["objective.velocity"] = encoder
        return encoder.maps  # type: ignore[no-any-return]

    def of(self, x: Tensor, y: Tensor, normal: Callable[[int, int], Tensor], done: int) -> Tensor:
        """The velocities [n, d] of particles x [n, d] with data y [m, d], in the step after `done` finished ones.

        `normal(n, d)` are fresh draws of N(0, 1), [n, d].
        """
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class Mmd(BatchVelocity):
    """Steepest descent of the squared maximum mean discrepancy (Arbel et al. 2019).

    v(x) = -grad f(x + noise u) with u ~ N(0, I) and the witness f = E_q k(x', .) - E_p k(y, .), where k(x, y) = s^2
    exp(-|x - y|^2 / (2 s^2)) for the bandwidth s. Over the batch that is the mean over data of (y_j - x_i) exp(-|x_i -
    y_j|^2 / (2 s^2)), less the same over the other particles: steps of up to 1 suit every bandwidth.
    """

    cite: ClassVar[tuple[str, ...]] = ("arbel2019maximum",)
    compares: ClassVar[bool] = True

    bandwidth: Number = option(1.0, doc="Width of the Gaussian kernel, in units of the data.", gt=0)
    noise: Number = option(
        0.0, doc="Standard deviation of what is added to particles where the gradient is taken.", ge=0
    )

    def of(self, x: Tensor, y: Tensor, normal: Callable[[int, int], Tensor], done: int) -> Tensor:
        double, noise = 2 * at(self.bandwidth, done) ** 2, at(self.noise, done)
        seen = x + noise * normal(*x.shape) if noise else x
        return pulled(seen, y, double) / len(y) - pulled(seen, x, double, own=True) / (len(x) - 1)

    def potential(self, x: Tensor, y: Tensor, done: int) -> Callable[[Tensor], Tensor]:
        """The witness f, without noise; a particle counts itself."""
        double = 2 * at(self.bandwidth, done) ** 2

        def mean_kernel(points: Tensor, others: Tensor) -> Tensor:
            k = (squares(points, others) / -double).exp().mean(1)
            return double / 2 * k

        return lambda points: mean_kernel(points, x) - mean_kernel(points, y)


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
        ours, both, g, own = self._transports(x, y, done)
        found: Tensor = (both + g).softmax(1) @ y - (ours + own).softmax(1) @ x
        return found

    def potential(self, x: Tensor, y: Tensor, done: int) -> Callable[[Tensor], Tensor]:
        """The potential of the particles in the transport to the data, less that to themselves."""
        epsilon = at(self.epsilon, done)
        _, _, g, own = self._transports(x, y, done)

        def soft_cost(points: Tensor, others: Tensor, dual: Tensor) -> Tensor:
            reach = (squares(points, others) / (-2 * epsilon) + dual).logsumexp(1)
            return epsilon * (math.log(len(others)) - reach)

        return lambda points: soft_cost(points, y, g) - soft_cost(points, x, own)

    def _transports(self, x: Tensor, y: Tensor, done: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-|x - x|^2 / 2 epsilon [n, n], the same to data [n, m]; the potentials of y [m] and x [n], over epsilon."""
        epsilon = at(self.epsilon, done)
        ours, both = squares(x, x) / (-2 * epsilon), squares(x, y) / (-2 * epsilon)
        f, g = x.new_zeros(len(x)), y.new_zeros(len(y))  # potentials over epsilon
        own = x.new_zeros(len(x))
        for _ in range(self.iterations):
            f = math.log(len(y)) - (both + g).logsumexp(1)
            g = math.log(len(x)) - (both + f[:, None]).logsumexp(0)
            own = (own + math.log(len(x)) - (ours + own).logsumexp(1)) / 2  # symmetric: averaged, it converges fast
        return ours, both, g, own


@attrs.frozen(kw_only=True)
class Svgd:
    """Stein variational gradient descent (Liu & Wang 2016), where the data's density p is known.

    v(x_i) = mean over particles of k(x_j, x_i) grad log p(x_j) + grad_{x_j} k(x_j, x_i), with k(x, y) =
    exp(-|x - y|^2 / (2 s^2)) for the bandwidth s: of all directions in the kernel's space the one in which KL(q || p)
    falls fastest. It reads no data.
    """

    cite: ClassVar[tuple[str, ...]] = ("liu2016stein",)
    players: ClassVar[tuple[str, ...]] = ()
    replicable: ClassVar[bool] = True

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
        return Coupled(
            experiment,
            self,
            lambda x, y, normal, done: self.of(x, score(x), done),
            data_size=0,
            between=lambda x, y, done: partial(self.of, x, score(x), done),
        )

    def of(self, x: Tensor, score: Tensor, done: int, points: Tensor | None = None) -> Tensor:
        """The velocities [n, d] of particles x [n, d] where grad log p is `score` [n, d]; or of points [k, d]."""
        n, centre = len(x), x.mean(0)
        x = x - centre
        distances = squares(x, x)
        if self.bandwidth == "median":
            rows = distances[:: -(-n // 256)]
            variance = (rows.median() / (2 * math.log(n + 1))).clamp(min=1e-30)
        else:
            variance = x.new_tensor(at(self.bandwidth, done) ** 2)
        if points is not None:
            distances = squares(points - centre, x)
        k = (distances / (-2 * variance)).exp()
        here = x if points is None else points - centre
        found: Tensor = (k @ score + (k.sum(1, keepdim=True) * here - k @ x) / variance) / n
        return found


@attrs.frozen(kw_only=True)
class Flow(ParticleFlow):
    """A particle flow along any velocity: one step is one outer loop.

    1. A pool of z is drawn and pushed through the sampler: the particles.
    2. `inner_loops` times every particle moves, x <- clamp(x + step_size v(x)).
    3. The sampler is fitted to the pairs (z, moved x) by mean squared error, in batches of `train.batch_size`.

    With `sampler = "none"` the particles are those of the sampler `cloud`, and 2. is all.
    """

    velocity: VelocityPart = option(factory=SlicedWasserstein, doc="What moves the particles.")
    projection_passes: int = option(1, doc="Passes over the pool when the sampler is fitted, if it is.", ge=1)

    def passes(self, step: int) -> int:
        return self.projection_passes
