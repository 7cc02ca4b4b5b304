"""VGrow's outer loop (Gao et al. 2019, Section 4 and Table 1; order of operations as in the authors' code).

Particles x_i = G(z_i) follow the gradient flow of D_f(q || p): with r = q/p learnt as exp(-d) by logistic
regression, dx/dt = -f''(r) grad r = s(x) grad d(x). The sampler G is then fitted to where they went.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gflow_core import Batch, Experiment, FlowRules, ParticleFlowObjective, Streams, evaluating, frozen
from gflow_vgrow.divergences import Divergence

__all__ = ["FlowObjective", "discriminator_loss", "projection_passes", "velocity"]

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


class FlowObjective(ParticleFlowObjective):
    """`vgrow.flow`, built: the particle flow along s(x) grad d(x), d learnt between moves."""

    stream: ClassVar[str] = "vgrow"
    learnt: ClassVar[tuple[str, ...]] = ("discriminator_loss", "divergence")

    def __init__(
        self,
        experiment: Experiment,
        rules: FlowRules,
        *,
        divergence: Divergence,
        discriminator_steps: int,
        projection_passes: Passes,
        ratio_clip: tuple[float, float] | None,
    ) -> None:
        super().__init__(experiment, rules)
        self.divergence = divergence
        self.discriminator_steps = discriminator_steps
        self.projection_passes = projection_passes
        self.ratio_clip = ratio_clip
        self.discriminator = experiment.players["discriminator"]

    def velocity(self, x: Tensor, y: Tensor | None) -> Tensor:
        given = y if self._reads_labels["discriminator"] else None
        return velocity(self.discriminator.module, x, self.divergence, self.ratio_clip, given)

    @contextmanager
    def moving(self) -> Iterator[None]:
        """The discriminator stands still; its weights are normalised and cast once for all chunks."""
        module = self.discriminator.module
        with frozen(module), evaluating(module), parametrize.cached(), self.discriminator.cast():
            yield

    def passes(self, step: int) -> int:
        return projection_passes(self.projection_passes, step)

    def observations(self) -> int:
        return self.rules.inner_loops * self.discriminator_steps

    def learn(self) -> None:
        """`discriminator_steps` logistic-regression steps."""
        state, steps = self.state, self.discriminator_steps
        left = (self.rules.inner_loops - state.moves) * steps
        if state.choices is None:  # all of the outer loop's at once, or of what is left of it
            state.choices = self._choose(left)
        for number in range(left, left - steps, -1):
            self._teach(state.choices[-number])

    def _choose(self, updates: int) -> Tensor:
        """Random particles for so many updates, indices [updates, B] on the device."""

        def rows(streams: Streams) -> Tensor:
            size, generator = self.rules.pool_size, streams["vgrow.particles"]
            return torch.stack([torch.randperm(size, generator=generator)[: self.batch_size] for _ in range(updates)])

        return self.drawn(rows)

    def _teach(self, choice: Tensor) -> None:
        """One logistic-regression step: a batch of real data against the particles chosen for it."""
        state = self.state
        assert state.x is not None
        assert state.sums is not None
        real = self.feed.next(self.batch_size)
        index = self.runtime.shard(choice)
        fake = Batch(state.x[index], self.labels_at(index))
        seen: list[tuple[Tensor, Tensor, Tensor]] = []

        def losses() -> Iterator[Tensor]:
            for ours, theirs in zip(self.pieces.of_batch(real), self.pieces.of_batch(fake), strict=True):
                # Two forwards, so that batch statistics of real and generated items do not mix.
                with self.runtime.autocast():
                    d_real = self.run("discriminator", ours.x, ours.y)
                    d_fake = self.run("discriminator", theirs.x, theirs.y)
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
