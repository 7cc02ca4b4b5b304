"""The particle flow, built: the outer loop that a velocity is given to.

Particles x_i = G(z_i) follow dx/dt = v(x); the sampler G is then fitted to where they went (Gao et al. 2019, Section
4), unless it is the particles themselves. What moves them, and what that learns between moves, is the velocity's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from gflow_core.errors import GflowError
from gflow_core.machine.streams import Streams
from gflow_core.methods.fields import FlowState, Rows, Velocity, built_velocity, clamp_bounds, entered, velocities
from gflow_core.methods.pieces import Pieces, in_batches
from gflow_core.methods.rules import FlowRules
from gflow_core.nn.picked import rows_at
from gflow_core.nn.sampling import draw_labels, label_pool
from gflow_core.optim.player import evaluating
from gflow_core.parts.contracts import at
from gflow_core.parts.training import Experiment, Metrics, Phase, Player

__all__ = ["ParticleFlowObjective"]

T = TypeVar("T")


def _chunk(pool: int, device: torch.device) -> int:
    """Particles moved at once where the device says it: on CUDA the launches of their operations count."""
    return pool if device.type == "cuda" else 64


class ParticleFlowObjective:
    """A particle flow. Every process holds the whole pool and moves its slice of it.

    In outer loop `step` (from 1) the sampler is fitted by `passes(step)` passes over the pool; with `rules.sampler =
    "none"` the pool is the sampler's `particles`, written back when the loop ends. Names of random streams begin with
    `stream`. With `train.replicas` all pools move at once, each in a field of its own.
    """

    def __init__(
        self,
        experiment: Experiment,
        rules: FlowRules,
        velocity: Velocity,
        *,
        passes: Callable[[int], int] = lambda step: 1,
        stream: str = "flow",
    ) -> None:
        spec, train = experiment.spec, experiment.spec.train
        assert train is not None
        assert experiment.data is not None
        self.experiment = experiment
        self.rules = rules
        self.part = rules.velocity
        self.velocity = built_velocity(self.part, velocity)
        self.passes = passes if rules.sampler == "fit" else lambda step: 0
        self.stream = stream
        self.runtime = experiment.runtime
        self.latent = spec.sampler.latent
        self.batch_size = train.batch_size
        self.lead = experiment.lead
        self.pieces = Pieces(train.accumulate, self.lead)
        self.bounds = clamp_bounds(rules.clamp, experiment.data.shape)
        self.state = FlowState()
        self._auto = rules.chunk_size == "auto"
        self._chunk = rules.chunk_size if rules.chunk_size != "auto" else _chunk(rules.pool_size, self.runtime.device)
        self._classes = experiment.data.shape.classes
        conditional = any(part is not None and part.conditional for part in (spec.sampler, spec.discriminator))
        self._labels = label_pool(experiment.data, None).to(self.runtime.draws_on) if conditional else None
        pool = rules.pool_size
        fitted = {"the pool's last batch": pool % self.batch_size} if rules.sampler == "fit" else {}
        for name, size in {"pool_size": pool, **fitted}.items():
            if size % self.runtime.world:
                raise GflowError(
                    f"objective.pool_size = {pool}: {name} ({size}) does not divide among "
                    f"{self.runtime.world} processes"
                )

    # ------------------------------------------------------------------ the outer loop

    def step(self, step: int) -> Iterator[Phase | Metrics]:
        """One outer loop."""
        state, rules = self.state, self.rules
        if state.x is None:
            self._begin()
        while state.moves < rules.inner_loops:
            self._move(step - 1)
            state.moves += 1
            yield Phase("inner loop", state.moves, rules.inner_loops)
        passes = self.passes(step)
        while state.passes < passes:
            self._project(last=state.passes == passes - 1)
            state.passes += 1
            yield Phase("projection pass", state.passes, passes)
        metrics = self._metrics()
        if rules.sampler == "none" and state.x is not None:
            self._particles.copy_(state.x)
        self.state = FlowState()
        yield metrics

    @property
    def sampler(self) -> Player:
        """What is fitted to the particles."""
        return self.experiment.players["sampler"]

    @property
    def _particles(self) -> Tensor:
        """The sampler itself, where it is not fitted: [N, *shape], without gradient."""
        assert self.experiment.sampler is not None
        particles = self.experiment.sampler.particles
        assert isinstance(particles, Tensor)
        return particles

    def _begin(self) -> None:
        """Where the particles are before they move."""
        state = self.state
        state.start = self._particles.clone() if self.rules.sampler == "none" else self._draw_pool()
        state.x = state.start.clone()
        state.sums = state.x.new_zeros(*state.x.shape[: self.lead], len(self.velocity.observes) + 2)

    def _draw_pool(self) -> Tensor:
        """Fresh latents, and the particles G(z) in eval mode."""
        state = self.state
        size, pool = self.rules.pool_size, self._labels
        state.z = self._drawn(lambda streams: self.latent.draw(size, streams[f"{self.stream}.latent"]))
        if pool is not None:
            state.y = self._drawn(lambda streams: self._draw_labels(pool, streams[f"{self.stream}.label"]))
        with torch.no_grad(), evaluating(self.sampler.module), self.runtime.autocast(), self.sampler.cast():
            items = self._by_chunks(self._sampled)
        return self._whole(torch.cat(items, self.lead))

    def _draw_labels(self, pool: Tensor, generator: Generator) -> Tensor:
        """As in the data, or those of a few classes, one class after the other."""
        size, classes = self.rules.pool_size, self.rules.classes
        if classes is None:
            return draw_labels(pool, size, generator)
        assert self._classes is not None
        chosen = torch.randperm(self._classes, generator=generator, device=generator.device)[:classes]
        return chosen.repeat_interleave(size // classes)

    def _move(self, done: int) -> None:
        """Every particle moves along its velocity."""
        state, step_size = self.state, at(self.rules.step_size, done)
        assert state.x is not None
        assert state.sums is not None
        mine = self.rules.pool_size / self.runtime.world

        def moved(rows: Rows) -> tuple[Tensor, Tensor]:
            assert state.x is not None
            v = velocities(self.part, field, state.x, rows)
            speed = self._lengths(v).sum(-1) / mine
            x = state.x[rows] + step_size * v
            return x if self.bounds == (None, None) else x.clamp(*self.bounds), speed

        with entered(self.part, self.velocity, state, done) as field:
            found = self._by_chunks(moved)
        for _, speed in found:
            state.sums[..., -2].add_(speed)
        state.x = self._whole(torch.cat([x for x, _ in found], self.lead))

    def _project(self, *, last: bool) -> None:
        """One pass of fitting the sampler to the pairs (z, x) by mean squared error."""
        state = self.state
        assert state.z is not None
        assert state.sums is not None
        size = self.rules.pool_size
        order = self._drawn(lambda streams: torch.randperm(size, generator=streams[f"{self.stream}.projection"]))
        for batch in in_batches(order, self.batch_size, self.runtime.world):
            seen: list[Tensor] = []
            self.sampler.minimize(self._distances(self.runtime.shard(batch), seen))
            if last:
                loss = seen[0] if len(seen) == 1 else torch.stack(seen).sum(0)
                state.sums[..., -1].add_(loss * (batch.shape[-1] / size))

    def _distances(self, index: Tensor, seen: list[Tensor]) -> Iterator[Tensor]:
        """Mean squared errors of the sampler on the pairs at `index`, by pieces that add up to one mean."""
        state, size = self.state, index.shape[-1]
        assert state.x is not None
        for piece in in_batches(index, -(-size // self.pieces.number)):  # the last batch may not divide
            rows = rows_at(piece)
            with self.runtime.autocast():
                x = self._sampled(rows)
            loss = self._mean_square(x, state.x[rows])
            if piece.shape[-1] < size:
                loss = loss * (piece.shape[-1] / size)
            seen.append(loss.detach())
            yield loss.sum() if self.lead else loss

    def _mean_square(self, x: Tensor, target: Tensor) -> Tensor:
        """The mean square of x - target, of each replica by itself."""
        if not self.lead:
            return F.mse_loss(x, target)
        return F.mse_loss(x, target, reduction="none").flatten(1).mean(1)

    def _lengths(self, x: Tensor) -> Tensor:
        """|x| of vectors or images [..., B, *shape]: [..., B]."""
        lengths: Tensor = x.flatten(self.lead + 1).norm(dim=-1)
        return lengths

    def _metrics(self) -> Metrics:
        state, rules = self.state, self.rules
        assert state.x is not None
        assert state.start is not None
        assert state.sums is not None
        *observed, speed, projection = self.runtime.mean(state.sums).unbind(-1)
        times = rules.inner_loops * self.velocity.updates
        fitted = {"projection_loss": projection} if rules.sampler == "fit" else {}
        return {
            **{name: total / times for name, total in zip(self.velocity.observes, observed, strict=True)},
            "velocity": speed / rules.inner_loops,
            "displacement": self._lengths(state.x - state.start).mean(-1),
            **fitted,
        }

    def _drawn(self, function: Callable[[Streams], Tensor]) -> Tensor:
        """What `function` draws from the run's streams, all of it, on the device."""
        return self.runtime.to_device(self.experiment.draw(function))

    def _sampled(self, rows: Rows | Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """What the sampler makes of the latents there, in their type, with the labels if it reads them."""
        z, y = self.state.z, self.state.y
        assert z is not None
        given = (z[rows],) if y is None or not self.experiment.spec.sampler.conditional else (z[rows], y[rows])
        with self.sampler.cast():
            out: Tensor = self.sampler.module(*given)
        return out.to(z.dtype)

    def _by_chunks(self, work: Callable[[Rows], T]) -> list[T]:
        """What comes of the rows of this process's slice of the pool, a chunk at a time.

        Chunks that follow the memory are half as large from where it does not suffice.
        """
        size, replicas = self.rules.pool_size // self.runtime.world, (slice(None),) * self.lead
        first, end = self.runtime.rank * size, (self.runtime.rank + 1) * size
        while True:
            starts = range(first, end, self._chunk)
            try:
                return [work((*replicas, slice(start, min(start + self._chunk, end)))) for start in starts]
            except torch.OutOfMemoryError:
                if not self._auto or self._chunk == 1:
                    raise
            self._chunk = -(-self._chunk // 2)
            torch.cuda.empty_cache()  # its pieces are too small for one another's tensors

    def _whole(self, x: Tensor) -> Tensor:
        """The whole pool from every process's slice, in the layout that convolutions like."""
        x = self.runtime.gather(x)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
