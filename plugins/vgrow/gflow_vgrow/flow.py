"""VGrow's velocity (Gao et al. 2019, Section 4 and Table 1; order of operations as in the authors' code).

Particles follow the gradient flow of D_f(q || p): with r = q/p learnt as exp(-d) by logistic regression between moves,
dx/dt = -f''(r) grad r = s(x) grad d(x).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gflow_core import Batch, Experiment, Field, FlowRules, FlowState, Pieces, Streams, evaluating, frozen
from gflow_vgrow.divergences import Divergence

__all__ = ["LearntRatio", "discriminator_loss", "projection_passes", "velocity"]

Passes = int | Literal["authors", "authors_cifar10"]

# Passes over the pool when the sampler is fitted: (below this outer loop, passes), then 20.
_SCHEDULES = {
    "authors": ((200, 5), (1000, 10), (1500, 15)),
    "authors_cifar10": ((600, 5), (2000, 10), (3000, 15)),
}


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


def projection_passes(rule: Passes, step: int) -> int:
    """Passes over the pool in outer loop `step` (from 1): a number of its own, or by one of the authors' schedules."""
    if isinstance(rule, int):
        return rule
    for below, passes in _SCHEDULES[rule]:
        if step - 1 < below:
            return passes
    return 20


class LearntRatio:
    """`vgrow.ratio`, built: the velocity s(x) grad d(x), d learnt before each move."""

    observes: Sequence[str] = ("discriminator_loss", "divergence")

    def __init__(
        self,
        experiment: Experiment,
        rules: FlowRules,
        *,
        divergence: Divergence,
        discriminator_steps: int,
        ratio_clip: tuple[float, float] | None,
    ) -> None:
        assert experiment.spec.train is not None
        assert experiment.feed is not None
        self.experiment = experiment
        self.rules = rules
        self.divergence = divergence
        self.updates = discriminator_steps
        self.ratio_clip = ratio_clip
        self.feed = experiment.feed
        self.runtime = experiment.runtime
        self.discriminator = experiment.players["discriminator"]
        self.batch_size = experiment.spec.train.batch_size
        self.pieces = Pieces(experiment.spec.train.accumulate)
        self._reads_labels: bool = experiment.spec.discriminator.conditional

    @contextmanager
    def at(self, state: FlowState, done: int) -> Iterator[Field]:
        """The field after the updates of one move."""
        self.learn(state)
        with self.standing(state) as field:
            yield field

    @contextmanager
    def standing(self, state: FlowState) -> Iterator[Field]:
        """The field of the discriminator as it is: it stands still, its weights normalised and cast once for all."""
        module = self.discriminator.module

        def field(rows: slice) -> Tensor:
            assert state.x is not None
            y = state.y[rows] if self._reads_labels and state.y is not None else None
            with self.runtime.autocast():
                return velocity(module, state.x[rows], self.divergence, self.ratio_clip, y)

        with frozen(module), evaluating(module), parametrize.cached(), self.discriminator.cast():
            yield field

    def learn(self, state: FlowState) -> None:
        """The logistic-regression steps before a move."""
        left = (self.rules.inner_loops - state.moves) * self.updates
        if state.choices is None:  # all of the outer loop's at once, or of what is left of it
            state.choices = self._choose(left)
        for number in range(left, left - self.updates, -1):
            self._teach(state, state.choices[-number])

    def _choose(self, updates: int) -> Tensor:
        """Random particles for so many updates, indices [updates, B] on the device."""

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
        """One logistic-regression step: a batch of real data against the particles chosen for it."""
        assert state.x is not None
        assert state.sums is not None
        real = self.feed.next(self.batch_size)
        index = self.runtime.shard(choice)
        fake = Batch(state.x[index], None if state.y is None else state.y[index])
        seen: list[tuple[Tensor, Tensor, Tensor]] = []

        def losses() -> Iterator[Tensor]:
            for ours, theirs in zip(self.pieces.of_batch(real), self.pieces.of_batch(fake), strict=True):
                # Two forwards, so that batch statistics of real and generated items do not mix.
                with self.runtime.autocast():
                    d_real, d_fake = self._judge(ours), self._judge(theirs)
                loss = discriminator_loss(d_real, d_fake)
                seen.append((loss.detach(), d_real.detach(), d_fake.detach()))
                yield loss / self.pieces.number

        self.discriminator.minimize(losses())
        loss, d_real, d_fake = seen[0]
        if len(seen) > 1:
            loss = torch.stack([piece[0] for piece in seen]).mean()
            d_real, d_fake = (torch.cat([piece[i] for piece in seen]) for i in (1, 2))
        state.sums[0].add_(loss)
        state.sums[1].add_(self.divergence.estimate(d_real, d_fake))
