"""The alternating game: `adversarial`, built. What counts as the real batch is open to plugins.

With `train.replicas` every tensor has one more leading axis, [R, B, ...]: means are taken over B, and the sum over R
is minimised, so that each replica's gradients are its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor, nn

from gflow_core.methods import penalties
from gflow_core.methods.losses import LOSSES
from gflow_core.nn.sampling import draw_labels
from gflow_core.optim.player import frozen
from gflow_core.parts.nouns import Batch
from gflow_core.parts.training import Experiment, Metrics, Phase

if TYPE_CHECKING:
    from gflow_core.methods.adversarial import Adversarial

__all__ = ["AdversarialObjective", "State"]


@attrs.define(eq=False)
class State:
    """Nothing outlives a step."""


class AdversarialObjective:
    """`adversarial`, built. A plugin overrides `real_batch`, and has its own method without copying the loop."""

    def __init__(self, part: Adversarial, experiment: Experiment) -> None:
        spec = experiment.spec
        assert spec.train is not None
        assert experiment.feed is not None
        self.part = part
        self.experiment = experiment
        self.runtime = experiment.runtime
        self.feed = experiment.feed
        self.sampler = experiment.players["sampler"]
        self.discriminator = experiment.players["discriminator"]
        self.batch_size = spec.train.batch_size
        self.loss = LOSSES[part.loss]
        self.state = State()
        self._latent = spec.sampler.latent
        self._reads_labels = {"sampler": spec.sampler.conditional, "discriminator": spec.discriminator.conditional}
        self._labels = experiment.data.y if experiment.data is not None else None

    def step(self, step: int) -> Iterator[Phase | Metrics]:
        """The discriminator's updates, then the sampler's."""
        count = self.part.discriminator_steps
        taught = [self._teach((step - 1) * count + i) for i in range(count)]
        metrics = taught[0]
        if count > 1:
            names = dict.fromkeys(name for seen in taught for name in seen)  # a penalty may be due in some only
            metrics = {name: torch.stack([seen[name] for seen in taught if name in seen]).mean(0) for name in names}
        metrics["sampler_loss"] = self._improve()
        if self.runtime.world > 1:  # each process has seen its slice
            metrics = dict(zip(metrics, self.runtime.mean(torch.stack(list(metrics.values()))), strict=True))
        yield metrics

    # ------------------------------------------------------------------ what a plugin may change

    def real_batch(self) -> tuple[Batch, int]:
        """This process's slice of the batch that counts as real, and how many of it, the first, are real."""
        batch = self.feed.next(self.batch_size)
        return batch, self.batch_size // self.runtime.world

    # ------------------------------------------------------------------ the game

    def generate(self, n: int, stream: str = "adversarial") -> Batch:
        """This process's slice of n fresh items, with labels where a network reads them."""
        draw = self.experiment.draw
        z = self._here(draw(lambda streams: self._latent.draw(n, streams[f"{stream}.latent"])))
        y = None
        if any(self._reads_labels.values()):
            pool = self._labels
            assert pool is not None
            y = self._here(draw(lambda streams: draw_labels(pool, n, streams[f"{stream}.label"])))
        with self.runtime.autocast():
            x = self._forward("sampler", z, y)
        return Batch(x.to(z.dtype), y)

    def judge(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Logits of items x [..., B, *shape], [..., B], in the loss's precision."""
        with self.runtime.autocast():
            d = self._forward("discriminator", x, y)
        return d.to(x.dtype)

    def _teach(self, number: int) -> dict[str, Tensor]:
        """Discriminator update `number` (from 0). Real and generated items get a forward each: their batch
        statistics do not mix."""
        penalty = self.part.penalty
        due = penalty.kind != "none" and number % penalty.interval == 0
        with torch.no_grad():
            fake = self.generate(self.batch_size)
        real, true = self.real_batch()
        if due:
            real.x.requires_grad_(penalty.kind in ("r1", "mixed"))
            fake.x.requires_grad_(penalty.kind == "r2")
        d_real, d_fake = self.judge(real.x, real.y), self.judge(fake.x, fake.y)
        loss = self.loss.discriminator(d_real, d_fake)
        seen = {"discriminator_loss": loss, "logit_real": d_real[..., :true].mean(-1), "logit_fake": d_fake.mean(-1)}
        if true < d_real.shape[-1]:
            seen["logit_counted"] = d_real[..., true:].mean(-1)  # generated, but counted as real
        total = loss
        if due:
            seen["penalty"] = self._penalty(real, fake, d_real, d_fake, true)
            total = loss + penalty.weight * penalty.interval * seen["penalty"]
        self.discriminator.minimize(total.sum())
        return {name: value.detach() for name, value in seen.items()}

    def _penalty(self, real: Batch, fake: Batch, d_real: Tensor, d_fake: Tensor, true: int) -> Tensor:
        kind, on = self.part.penalty.kind, self.part.penalty.on
        if kind == "mixed":
            return penalties.zero_centred(penalties.squared_gradient_norm(d_real, real.x, on=on))
        if kind == "r1":
            return penalties.zero_centred(penalties.squared_gradient_norm(d_real, real.x, on=on)[..., :true])
        if kind == "r2":
            return penalties.zero_centred(penalties.squared_gradient_norm(d_fake, fake.x, on=on))
        share = self._here(
            self.experiment.draw(lambda streams: torch.rand(self.batch_size, generator=streams["adversarial.between"]))
        )
        x = penalties.interpolate(real.x.detach(), fake.x, share).requires_grad_()
        square = penalties.squared_gradient_norm(self.judge(x, real.y), x, on=on)
        return penalties.one_centred(square) if kind == "wgan_gp" else penalties.zero_centred(square)

    def _improve(self) -> Tensor:
        """One update of the sampler against a discriminator whose own gradients nobody needs."""
        with frozen(self.discriminator.module):
            fake = self.generate(self.batch_size)
            loss = self.loss.sampler(self.judge(fake.x, fake.y))
            self.sampler.minimize(loss.sum())
        return loss.detach()

    def _forward(self, name: str, x: Tensor, y: Tensor | None) -> Tensor:
        module: nn.Module = (self.sampler if name == "sampler" else self.discriminator).module
        out: Tensor = module(x, y) if self._reads_labels[name] else module(x)
        return out

    def _here(self, x: Tensor) -> Tensor:
        """This process's slice of a global draw, on its device."""
        return self.runtime.shard(x).to(self.runtime.device)
