"""The particle flow, built: the outer loop that plugins give a velocity to.

Particles x_i = G(z_i) follow dx/dt = v(x); the sampler G is then fitted to where they went (Gao et al. 2019, Section
4). What moves them, and what that learns between moves, is a plugin's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, Literal, TypeVar

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F

from gflow_core.errors import GflowError
from gflow_core.machine.streams import Streams
from gflow_core.methods.pieces import Pieces, in_batches
from gflow_core.methods.rules import FlowRules
from gflow_core.nn.sampling import draw_labels, label_pool
from gflow_core.optim.player import evaluating
from gflow_core.parts.contracts import at
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.training import Experiment, Metrics, Phase

__all__ = ["FlowState", "ParticleFlowObjective", "clamp_bounds"]

T = TypeVar("T")


@attrs.define(eq=False)
class FlowState:
    """An outer loop in progress; all empty between two of them. N is the pool's size."""

    z: Tensor | None = None
    """Latents of the particles [N, latent]."""
    y: Tensor | None = None
    """Their labels [N] or [N, k]; None where no network reads labels."""
    start: Tensor | None = None
    """Where the particles left the sampler [N, *shape]."""
    x: Tensor | None = None
    """Where they are now [N, *shape]."""
    choices: Tensor | None = None
    """Indices of particles, a row for each update that `learn` still makes; None where it chooses none, or not yet."""
    moves: int = 0
    passes: int = 0
    sums: Tensor | None = None
    """What was observed so far: what `learn` observes, then velocity norms and projection errors [. + 2]."""


def clamp_bounds(
    clamp: Literal["data", "none"] | tuple[float, float], data: DataShape
) -> tuple[float | None, float | None]:
    """Where particles are kept: (low, high), None where there is no bound."""
    if clamp == "none":
        return None, None
    return (data.low, data.high) if clamp == "data" else clamp


def _chunk(pool: int, device: torch.device) -> int:
    """Particles moved at once where the device says it: on CUDA the launches of their operations count."""
    return pool if device.type == "cuda" else 64


class ParticleFlowObjective:
    """A particle flow. Every process holds the whole pool and moves its slice of it.

    A plugin gives it a `velocity`, and where that is learnt, `learn`; `vgrow.flow` is the example to copy.
    """

    stream: ClassVar[str] = "flow"
    """What the names of its random streams begin with: the plugin's."""
    learnt: ClassVar[tuple[str, ...]] = ()
    """Metrics that `learn` observes: their sums over an outer loop lead `state.sums`."""

    def __init__(self, experiment: Experiment, rules: FlowRules) -> None:
        spec, train = experiment.spec, experiment.spec.train
        assert train is not None
        assert experiment.data is not None
        assert experiment.feed is not None
        self.experiment = experiment
        self.rules = rules
        self.feed = experiment.feed
        self.runtime = experiment.runtime
        self.streams = experiment.streams
        self.sampler = experiment.players["sampler"]
        self.latent = spec.sampler.latent
        self.batch_size = train.batch_size
        self.pieces = Pieces(train.accumulate)
        self.bounds = clamp_bounds(rules.clamp, experiment.data.shape)
        self.state = FlowState()
        self._auto = rules.chunk_size == "auto"
        self._chunk = rules.chunk_size if rules.chunk_size != "auto" else _chunk(rules.pool_size, self.runtime.device)
        networks = {name: getattr(spec, name) for name in ("sampler", "discriminator")}
        self._reads_labels = {name: bool(p is not None and p.conditional) for name, p in networks.items()}
        conditional = any(self._reads_labels.values())
        self._labels = label_pool(experiment.data, None).to(self.runtime.draws_on) if conditional else None
        pool = rules.pool_size
        for name, size in (("pool_size", pool), ("the pool's last batch", pool % self.batch_size)):
            if size % self.runtime.world:
                raise GflowError(
                    f"objective.pool_size = {pool}: {name} ({size}) does not divide among "
                    f"{self.runtime.world} processes"
                )

    # ------------------------------------------------------------------ what a plugin gives

    def velocity(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Where particles x [B, *shape], of the labels y, go: [B, *shape], each item's its own."""
        raise NotImplementedError

    def learn(self) -> None:
        """What the velocity learns before each move; nothing by default. Adds what it observes to `state.sums`."""

    def observations(self) -> int:
        """How often `learn` adds to the sums of `learnt` in an outer loop."""
        return self.rules.inner_loops

    def moving(self) -> AbstractContextManager[object]:
        """Entered while all particles move once."""
        return nullcontext()

    def passes(self, step: int) -> int:
        """Passes over the pool when the sampler is fitted in outer loop `step` (from 1); one by default."""
        return 1

    # ------------------------------------------------------------------ the outer loop

    def step(self, step: int) -> Iterator[Phase | Metrics]:
        """One outer loop."""
        state, rules = self.state, self.rules
        if state.z is None:
            self._draw_pool()
        while state.moves < rules.inner_loops:
            self.learn()
            self._move(at(rules.step_size, step - 1))
            state.moves += 1
            yield Phase("inner loop", state.moves, rules.inner_loops)
        passes = self.passes(step)
        while state.passes < passes:
            self._project(last=state.passes == passes - 1)
            state.passes += 1
            yield Phase("projection pass", state.passes, passes)
        metrics = self._metrics()
        self.state = FlowState()
        yield metrics

    def _draw_pool(self) -> None:
        """Fresh latents, and the particles G(z) in eval mode."""
        state = self.state
        size, pool = self.rules.pool_size, self._labels
        state.z = self.drawn(lambda streams: self.latent.draw(size, streams[f"{self.stream}.latent"]))
        if pool is not None:
            state.y = self.drawn(lambda streams: draw_labels(pool, size, streams[f"{self.stream}.label"]))
        with torch.no_grad(), evaluating(self.sampler.module), self.runtime.autocast(), self.sampler.cast():
            items = self._by_chunks(lambda z, y: self.run("sampler", z, y), state.z, state.y)
        state.start = self._whole(torch.cat(items))
        state.x = state.start.clone()
        state.sums = state.z.new_zeros(len(self.learnt) + 2)

    def _move(self, step_size: float) -> None:
        """Every particle moves along its velocity."""
        state = self.state
        assert state.x is not None
        assert state.sums is not None
        mine = len(state.x) / self.runtime.world

        def moved(x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
            with self.runtime.autocast():
                v = self.velocity(x, y)
            speed = v.flatten(1).norm(dim=1).sum() / mine
            x = x + step_size * v
            return x if self.bounds == (None, None) else x.clamp(*self.bounds), speed

        with self.moving():
            found = self._by_chunks(moved, state.x, state.y)
        for _, speed in found:
            state.sums[-2].add_(speed)
        state.x = self._whole(torch.cat([x for x, _ in found]))

    def _project(self, *, last: bool) -> None:
        """One pass of fitting the sampler to the pairs (z, x) by mean squared error."""
        state = self.state
        assert state.z is not None
        assert state.sums is not None
        size = len(state.z)
        order = self.drawn(lambda streams: torch.randperm(size, generator=streams[f"{self.stream}.projection"]))
        for batch in in_batches(order, self.batch_size, self.runtime.world):
            seen: list[Tensor] = []
            self.sampler.minimize(self._distances(self.runtime.shard(batch), seen))
            if last:
                loss = seen[0] if len(seen) == 1 else torch.stack(seen).sum()
                state.sums[-1].add_(loss * (len(batch) / len(order)))

    def _distances(self, index: Tensor, seen: list[Tensor]) -> Iterator[Tensor]:
        """Mean squared errors of the sampler on the pairs at `index`, by pieces that add up to one mean."""
        state = self.state
        assert state.z is not None
        assert state.x is not None
        for piece in in_batches(index, -(-len(index) // self.pieces.number)):  # the last batch may not divide
            with self.runtime.autocast():
                x = self.run("sampler", state.z[piece], self.labels_at(piece))
            loss = F.mse_loss(x, state.x[piece])
            if len(piece) < len(index):
                loss = loss * (len(piece) / len(index))
            seen.append(loss.detach())
            yield loss

    def _metrics(self) -> Metrics:
        state, rules = self.state, self.rules
        assert state.x is not None
        assert state.start is not None
        assert state.sums is not None
        *learnt, speed, projection = self.runtime.mean(state.sums)
        return {
            **{name: total / self.observations() for name, total in zip(self.learnt, learnt, strict=True)},
            "velocity": speed / rules.inner_loops,
            "displacement": (state.x - state.start).flatten(1).norm(dim=1).mean(),
            "projection_loss": projection,
        }

    # ------------------------------------------------------------------ for plugins

    def drawn(self, function: Callable[[Streams], Tensor]) -> Tensor:
        """What `function` draws from the run's streams, all of it, on the device."""
        return self.runtime.to_device(self.experiment.draw(function))

    def run(self, name: str, x: Tensor, y: Tensor | None) -> Tensor:
        """The output of the network `name` in the type of x, with the labels where it reads them."""
        player = self.experiment.players[name]
        with player.cast():
            out: Tensor = player.module(x, y) if self._reads_labels[name] else player.module(x)
        return out.to(x.dtype)

    def labels_at(self, index: Tensor) -> Tensor | None:
        """Labels of the particles at `index`; None where there are none."""
        return None if self.state.y is None else self.state.y[index]

    def _by_chunks(self, work: Callable[[Tensor, Tensor | None], T], x: Tensor, y: Tensor | None) -> list[T]:
        """What comes of this process's slice of the pool, a chunk at a time, each with its labels.

        Chunks that follow the memory are half as large from where it does not suffice.
        """
        while True:
            here = self.runtime.shard(x).split(self._chunk)
            labels = [None] * len(here) if y is None else self.runtime.shard(y).split(self._chunk)
            try:
                return [work(*chunk) for chunk in zip(here, labels, strict=True)]
            except torch.OutOfMemoryError:
                if not self._auto or self._chunk == 1:
                    raise
            self._chunk = -(-self._chunk // 2)
            torch.cuda.empty_cache()  # its pieces are too small for one another's tensors

    def _whole(self, x: Tensor) -> Tensor:
        """The whole pool from every process's slice, in the layout that convolutions like."""
        x = self.runtime.gather(x)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
