"""Velocities along a discriminator that is learnt between moves: s(x) grad d(x), s a function of d(x).

VGrow's (Gao et al. 2019, Section 4 and Table 1; order of operations as in the authors' code) is the gradient flow of
D_f(q || p): with r = q/p learnt as exp(-d) by logistic regression, dx/dt = -f''(r) grad r = s(x) grad d(x).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gflow_core import (
    Batch,
    Everywhere,
    Experiment,
    FlowRules,
    FlowState,
    Pieces,
    Streams,
    evaluating,
    frozen,
    squared_gradient_norm,
    zero_centred,
)

__all__ = [
    "LearntRatio",
    "Lesson",
    "comparing",
    "discriminator_loss",
    "factor_of",
    "least_squares",
    "projection_passes",
    "velocity",
]

Lesson = Callable[[Callable[[Batch], Tensor], Batch, Batch], tuple[Tensor, Tensor, Tensor]]
"""judge, real, fake -> the discriminator's loss [...], d(real) and d(fake) [..., B]; `judge` gives a batch's logits."""

Passes = int | Literal["authors", "authors_cifar10"]

# Passes over the pool when the sampler is fitted: (below this outer loop, passes), then 20.
_SCHEDULES = {
    "authors": ((200, 5), (1000, 10), (1500, 15)),
    "authors_cifar10": ((600, 5), (2000, 10), (3000, 15)),
}


def discriminator_loss(d_real: Tensor, d_fake: Tensor) -> Tensor:
    """Logistic regression of real (positive) against generated: E softplus(-d(real)) + E softplus(d(fake))."""
    return F.softplus(-d_real).mean(-1) + F.softplus(d_fake).mean(-1)


def comparing(loss: Callable[[Tensor, Tensor], Tensor]) -> Lesson:
    """A lesson by logits alone, from a loss of d(real) and d(fake)."""

    def lesson(judge: Callable[[Batch], Tensor], real: Batch, fake: Batch) -> tuple[Tensor, Tensor, Tensor]:
        # Two forwards, so that batch statistics of real and generated items do not mix.
        d_real, d_fake = judge(real), judge(fake)
        return loss(d_real, d_fake), d_real, d_fake

    return lesson


def least_squares(over: Literal["real", "generated"], penalty: float) -> Lesson:
    """Least squares for R, the ratio of the other law to that `over` which squares are taken (Gao et al. 2020).

    E R^2 - 2 E_other R + penalty E|grad R|^2, with E over the law named.
    """

    def lesson(judge: Callable[[Batch], Tensor], real: Batch, fake: Batch) -> tuple[Tensor, Tensor, Tensor]:
        below, above = (real, fake) if over == "real" else (fake, real)
        below = Batch(below.x.detach().requires_grad_(), below.y)
        lower, upper = judge(below), judge(above)
        loss = lower.square().mean(-1) - 2 * upper.mean(-1)
        if penalty:
            loss = loss + penalty * zero_centred(squared_gradient_norm(lower, below.x))
        return (loss, lower, upper) if over == "real" else (loss, upper, lower)

    return lesson


def factor_of(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """d [..., B] -> h'(d) where a game's sampler minimises the mean of -h(d), `loss` of logits [..., B]."""

    def factor(d: Tensor) -> Tensor:
        alone = d.detach().unsqueeze(-1).requires_grad_()  # each item a batch
        (slope,) = torch.autograd.grad(loss(alone).sum(), alone)
        return -slope.squeeze(-1)

    return factor


def velocity(
    discriminator: nn.Module, x: Tensor, factor: Callable[[Tensor], Tensor], y: Tensor | None = None
) -> Tensor:
    """v(x) = s(x) grad d(x) at x [..., B, *shape], where s = factor(d(x)) [..., B], detached. Same shape as x.

    A conditional discriminator judges x under the labels y [B] or [B, k]. Each item's velocity is its own only if the
    discriminator treats items separately: call it in eval mode.
    """
    x = x.detach().requires_grad_()
    d = discriminator(x) if y is None else discriminator(x, y)
    (gradient,) = torch.autograd.grad(d.sum(), x)
    s = factor(d.detach().to(x.dtype))
    return gradient * s.view(*s.shape, *[1] * (x.dim() - s.dim()))


def projection_passes(rule: Passes, step: int) -> int:
    """Passes over the pool in outer loop `step` (from 1): a number of its own, or by one of the authors' schedules."""
    if isinstance(rule, int):
        return rule
    for below, passes in _SCHEDULES[rule]:
        if step - 1 < below:
            return passes
    return 20


class LearntRatio:
    """The velocity s(x) grad d(x), built: s = factor(d(x)), d learnt before each move by `updates` lessons.

    `observes` names the lesson's loss and what `observe` finds in d(real) and d(fake), a number. `witness` of logits is
    what pictures of the field show, under that `name`: positive where there are too many particles.
    """

    def __init__(
        self,
        experiment: Experiment,
        rules: FlowRules,
        *,
        factor: Callable[[Tensor], Tensor],
        lesson: Lesson,
        discriminator_steps: int,
        observe: Callable[[Tensor, Tensor], Tensor],
        observes: Sequence[str] = ("discriminator_loss", "divergence"),
        witness: Callable[[Tensor], Tensor] = torch.neg,
        name: str = "$-d$",
    ) -> None:
        assert experiment.spec.train is not None
        assert experiment.feed is not None
        self.experiment = experiment
        self.rules = rules
        self.factor = factor
        self.lesson = lesson
        self.updates = discriminator_steps
        self.observe = observe
        self.observes = observes
        self.witness = witness
        self.label = f"{name}    (blue: more real,  red: more generated)"
        self.feed = experiment.feed
        self.runtime = experiment.runtime
        self.discriminator = experiment.players["discriminator"]
        self.batch_size = experiment.spec.train.batch_size
        self.pieces = Pieces(experiment.spec.train.accumulate, experiment.lead)
        self._reads_labels: bool = experiment.spec.discriminator.conditional

    @contextmanager
    def at(self, state: FlowState, done: int) -> Iterator[Everywhere]:
        """The field after the updates of one move."""
        self.learn(state)
        with self.standing(state) as field:
            yield field

    @contextmanager
    def standing(self, state: FlowState) -> Iterator[Everywhere]:
        """The field of the discriminator as it is: it stands still, its weights normalised and cast once for all."""
        module = self.discriminator.module

        def field(rows: slice | tuple[slice, ...]) -> Tensor:
            assert state.x is not None
            y = state.y[rows] if self._reads_labels and state.y is not None else None
            with self.runtime.autocast():
                return velocity(module, state.x[rows], self.factor, y)

        def elsewhere(points: Tensor) -> Tensor:
            with self.runtime.autocast():
                return velocity(module, points, self.factor)

        def logits(points: Tensor) -> Tensor:
            with torch.no_grad(), self.runtime.autocast():
                d: Tensor = module(points)
            return d.to(points.dtype)

        def witness(points: Tensor) -> Tensor:
            return self.witness(logits(points))

        def observe(real: Tensor, particles: Tensor) -> Mapping[str, Tensor]:
            return {self.observes[1]: self.observe(logits(real), logits(particles))}

        with frozen(module), evaluating(module), parametrize.cached(), self.discriminator.cast():
            yield Everywhere(field, elsewhere, witness, self.label, observe)

    def learn(self, state: FlowState) -> None:
        """The discriminator's steps before a move."""
        left = (self.rules.inner_loops - state.moves) * self.updates
        if state.choices is None:  # all of the outer loop's at once, or of what is left of it
            state.choices = self._choose(left)
        for number in range(left, left - self.updates, -1):
            self._teach(state, state.choices[..., -number, :])

    def _choose(self, updates: int) -> Tensor:
        """Random particles for so many updates, indices [..., updates, B] on the device."""

        def rows(streams: Streams) -> Tensor:
            size, generator = self.rules.pool_size, streams["vgrow.particles"]
            return torch.stack([torch.randperm(size, generator=generator)[: self.batch_size] for _ in range(updates)])

        return self.runtime.to_device(self.experiment.draw(rows))

    def _judge(self, batch: Batch) -> Tensor:
        """Logits in the items' type, with the labels where the discriminator reads them."""
        with self.discriminator.cast():
            given = (batch.x, batch.y) if self._reads_labels else (batch.x,)
            d: Tensor = self.discriminator.module(*given)
        return d.to(batch.x.dtype)

    def _teach(self, state: FlowState, choice: Tensor) -> None:
        """One step: a batch of real data against the particles chosen for it."""
        assert state.sums is not None
        real, fake = self.feed.next(self.batch_size), state.batch(self.runtime.shard(choice))
        seen: list[tuple[Tensor, Tensor, Tensor]] = []

        def losses() -> Iterator[Tensor]:
            for ours, theirs in zip(self.pieces.of_batch(real), self.pieces.of_batch(fake), strict=True):
                with self.runtime.autocast():
                    loss, d_real, d_fake = self.lesson(self._judge, ours, theirs)
                seen.append((loss.detach(), d_real.detach(), d_fake.detach()))
                yield self.pieces.share(loss)

        self.discriminator.minimize(losses())
        loss, d_real, d_fake = seen[0]
        if len(seen) > 1:
            loss = torch.stack([piece[0] for piece in seen]).mean(0)
            d_real, d_fake = (torch.cat([piece[i] for piece in seen], -1) for i in (1, 2))
        state.sums[..., 0].add_(loss)
        state.sums[..., 1].add_(self.observe(d_real, d_fake))
