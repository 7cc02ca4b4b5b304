"""VGrow's outer loop (Gao et al. 2019, Section 4 and Table 1; order of operations as in the authors' code).

Particles x_i = G(z_i) follow the gradient flow of D_f(q || p): with r = q/p learnt as exp(-d) by logistic
regression, dx/dt = -f''(r) grad r = s(x) grad d(x). The sampler G is then fitted to where they went.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gflow_core import (
    Batch,
    DataShape,
    Experiment,
    GflowError,
    Metrics,
    Phase,
    Pieces,
    at,
    draw_labels,
    evaluating,
    frozen,
    label_pool,
)
from gflow_vgrow.divergences import Divergence

if TYPE_CHECKING:
    from gflow_vgrow.parts import Flow

__all__ = ["FlowObjective", "State", "clamp_bounds", "discriminator_loss", "projection_passes", "velocity"]

# Passes over the pool when the sampler is fitted: (below this outer loop, passes), then 20.
_SCHEDULES = {
    "authors": ((200, 5), (1000, 10), (1500, 15)),
    "authors_cifar10": ((600, 5), (2000, 10), (3000, 15)),
}


@attrs.define(eq=False)
class State:
    """An outer loop in progress; all empty between two of them. N is the pool's size."""

    z: Tensor | None = None
    """Latents of the particles [N, latent]."""
    y: Tensor | None = None
    """Their labels [N] or [N, k]; None where no network reads labels."""
    start: Tensor | None = None
    """Where the particles left the sampler [N, *shape]."""
    x: Tensor | None = None
    """Where they are now [N, *shape]."""
    moves: int = 0
    passes: int = 0
    sums: Tensor | None = None
    """Discriminator losses, divergence estimates, velocity norms and projection errors so far [4]."""


def discriminator_loss(d_real: Tensor, d_fake: Tensor) -> Tensor:
    """Logistic regression of real (positive) against generated: E softplus(-d(real)) + E softplus(d(fake))."""
    return F.softplus(-d_real).mean() + F.softplus(d_fake).mean()


def velocity(
    discriminator: nn.Module,
    x: Tensor,
    divergence: Divergence,
    ratio_clip: tuple[float, float] | None = None,
    y: Tensor | None = None,
) -> Tensor:
    """v(x) = s(x) grad d(x) at x [B, *shape], s detached and clipped to `ratio_clip`. Same shape as x.

    A conditional discriminator judges x under the labels y [B] or [B, k]. Each item's velocity is its own only if the
    discriminator treats items separately: call it in eval mode.
    """
    x = x.detach().requires_grad_()
    d = discriminator(x) if y is None else discriminator(x, y)
    (gradient,) = torch.autograd.grad(d.sum(), x)
    s = divergence.scale(d.detach().to(x.dtype))
    if ratio_clip is not None:
        s = s.clamp(*ratio_clip)
    return gradient * s.view(-1, *[1] * (x.dim() - 1))


def clamp_bounds(part: Flow, data: DataShape) -> tuple[float | None, float | None]:
    """Where particles are kept: (low, high), None where there is no bound."""
    if part.clamp == "none":
        return None, None
    return (data.low, data.high) if part.clamp == "data" else part.clamp


def projection_passes(part: Flow, step: int) -> int:
    """Passes over the pool in outer loop `step` (from 1)."""
    if isinstance(part.projection_passes, int):
        return part.projection_passes
    for below, passes in _SCHEDULES[part.projection_passes]:
        if step - 1 < below:
            return passes
    return 20


class FlowObjective:
    """`vgrow.flow`, built. Every process holds the whole pool and moves its slice of it."""

    def __init__(self, part: Flow, experiment: Experiment) -> None:
        assert experiment.spec.train is not None
        assert experiment.data is not None
        assert experiment.feed is not None
        self.part = part
        self.feed = experiment.feed
        self.latent = experiment.spec.sampler.latent
        self._reads_labels = {
            "sampler": experiment.spec.sampler.conditional,
            "discriminator": experiment.spec.discriminator.conditional,
        }
        self._labels = label_pool(experiment.data, None) if any(self._reads_labels.values()) else None
        self.sampler = experiment.players["sampler"]
        self.discriminator = experiment.players["discriminator"]
        self.runtime = experiment.runtime
        self.streams = experiment.streams
        self.batch_size = experiment.spec.train.batch_size
        self.pieces = Pieces(experiment.spec.train.accumulate)
        self.bounds = clamp_bounds(part, experiment.data.shape)
        self.divergence = part.divergence
        self.state = State()
        for name, size in (("pool_size", part.pool_size), ("the pool's last batch", part.pool_size % self.batch_size)):
            if size % self.runtime.world:
                raise GflowError(
                    f"objective.pool_size = {part.pool_size}: {name} ({size}) does not divide among "
                    f"{self.runtime.world} processes"
                )

    def step(self, step: int) -> Iterator[Phase | Metrics]:
        """One outer loop."""
        state, part = self.state, self.part
        if state.z is None:
            self._draw_pool()
        while state.moves < part.inner_loops:
            for _ in range(part.discriminator_steps):
                self._teach()
            self._move(at(part.step_size, step - 1))
            state.moves += 1
            yield Phase("inner loop", state.moves, part.inner_loops)
        passes = projection_passes(part, step)
        while state.passes < passes:
            self._project(last=state.passes == passes - 1)
            state.passes += 1
            yield Phase("projection pass", state.passes, passes)
        metrics = self._metrics()
        self.state = State()
        yield metrics

    def _draw_pool(self) -> None:
        """Fresh latents, and the particles G(z) in eval mode."""
        state = self.state
        size, device = self.part.pool_size, self.runtime.device
        state.z = self.latent.draw(size, self.streams["vgrow.latent"]).to(device)
        if self._labels is not None:
            state.y = draw_labels(self._labels, size, self.streams["vgrow.label"]).to(device)
        with torch.no_grad(), evaluating(self.sampler.module), self.runtime.autocast():
            x = torch.cat([self._run("sampler", z, y) for z, y in self._pieces(state.z, state.y)])
        state.start = self._whole(x)
        state.x = state.start.clone()
        state.sums = state.z.new_zeros(4)

    def _teach(self) -> None:
        """One logistic-regression step: a batch of real data against a random batch of particles."""
        state = self.state
        assert state.x is not None
        assert state.sums is not None
        real = self.feed.next(self.batch_size)
        choice = torch.randperm(len(state.x), generator=self.streams["vgrow.particles"])[: self.batch_size]
        index = self.runtime.shard(choice).to(state.x.device)
        fake = Batch(state.x[index], self._labels_at(index))
        seen: list[tuple[Tensor, Tensor, Tensor]] = []

        def losses() -> Iterator[Tensor]:
            for ours, theirs in zip(self.pieces.of_batch(real), self.pieces.of_batch(fake), strict=True):
                # Two forwards, so that batch statistics of real and generated items do not mix.
                with self.runtime.autocast():
                    d_real = self._run("discriminator", ours.x, ours.y)
                    d_fake = self._run("discriminator", theirs.x, theirs.y)
                loss = discriminator_loss(d_real, d_fake)
                seen.append((loss.detach(), d_real.detach(), d_fake.detach()))
                yield loss / self.pieces.number

        self.discriminator.minimize(losses())
        loss, d_real, d_fake = seen[0]
        if len(seen) > 1:
            loss = torch.stack([piece[0] for piece in seen]).mean()
            d_real, d_fake = (torch.cat([piece[i] for piece in seen]) for i in (1, 2))
        state.sums[0] += loss
        state.sums[1] += self.divergence.estimate(d_real, d_fake)

    def _move(self, step_size: float) -> None:
        """Every particle moves along its velocity."""
        state, module = self.state, self.discriminator.module
        assert state.x is not None
        assert state.sums is not None
        moved, mine = [], len(state.x) / self.runtime.world
        # cached: spectral normalisation once for all chunks.
        with frozen(module), evaluating(module), parametrize.cached():
            for x, y in self._pieces(state.x, state.y):
                given = y if self._reads_labels["discriminator"] else None
                with self.runtime.autocast():
                    v = velocity(module, x, self.divergence, self.part.ratio_clip, given)
                state.sums[2] += v.flatten(1).norm(dim=1).sum() / mine
                x = x + step_size * v
                moved.append(x if self.bounds == (None, None) else x.clamp(*self.bounds))
        state.x = self._whole(torch.cat(moved))

    def _project(self, *, last: bool) -> None:
        """One pass of fitting the sampler to the pairs (z, x) by mean squared error."""
        state = self.state
        assert state.z is not None
        assert state.x is not None
        assert state.sums is not None
        order = torch.randperm(len(state.z), generator=self.streams["vgrow.projection"])
        for batch in order.split(self.batch_size):
            index = self.runtime.shard(batch).to(state.x.device)
            seen: list[Tensor] = []
            self.sampler.minimize(self._distances(index, seen))
            if last:
                loss = seen[0] if len(seen) == 1 else torch.stack(seen).sum()
                state.sums[3] += loss * (len(batch) / len(order))

    def _distances(self, index: Tensor, seen: list[Tensor]) -> Iterator[Tensor]:
        """Mean squared errors of the sampler on the pairs at `index`, by pieces that add up to one mean."""
        state = self.state
        assert state.z is not None
        assert state.x is not None
        for piece in index.chunk(self.pieces.number):  # the pool's last batch may not divide
            with self.runtime.autocast():
                x = self._run("sampler", state.z[piece], self._labels_at(piece))
            loss = F.mse_loss(x, state.x[piece])
            if len(piece) < len(index):
                loss = loss * (len(piece) / len(index))
            seen.append(loss.detach())
            yield loss

    def _metrics(self) -> Metrics:
        state, part = self.state, self.part
        assert state.x is not None
        assert state.start is not None
        assert state.sums is not None
        loss, estimate, speed, projection = self.runtime.mean(state.sums)
        taught = part.inner_loops * part.discriminator_steps
        return {
            "discriminator_loss": loss / taught,
            "divergence": estimate / taught,
            "velocity": speed / part.inner_loops,
            "displacement": (state.x - state.start).flatten(1).norm(dim=1).mean(),
            "projection_loss": projection,
        }

    def _run(self, name: str, x: Tensor, y: Tensor | None) -> Tensor:
        """A network's output in the type of x, with the labels where it reads them."""
        module = (self.sampler if name == "sampler" else self.discriminator).module
        out: Tensor = module(x, y) if self._reads_labels[name] else module(x)
        return out.to(x.dtype)

    def _labels_at(self, index: Tensor) -> Tensor | None:
        return None if self.state.y is None else self.state.y[index]

    def _pieces(self, x: Tensor, y: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        """This process's slice of the pool, `chunk_size` at a time, with its labels."""
        size = self.part.chunk_size
        here = self.runtime.shard(x).split(size)
        labels = [None] * len(here) if y is None else self.runtime.shard(y).split(size)
        yield from zip(here, labels, strict=True)

    def _whole(self, x: Tensor) -> Tensor:
        """The whole pool from every process's slice, in the layout that convolutions like."""
        x = self.runtime.gather(x)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
