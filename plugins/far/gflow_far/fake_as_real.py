"""FAR's real batch (eqs. 11 and 12): N0 real items, and of M1 fresh samples the M0 with the lowest logits."""

from __future__ import annotations

import torch
from torch import Tensor

from gflow_core import AdversarialObjective, Batch, Experiment, GameRules, GflowError, evaluating

__all__ = ["FakeAsRealObjective", "lowest"]


def lowest(d: Tensor, n: int) -> Tensor:
    """Indices [..., n] of the n lowest logits d [..., M], ascending; of equal ones the first drawn, NaN the highest."""
    return d.sort(dim=-1, stable=True).indices[..., :n]


class FakeAsRealObjective(AdversarialObjective):
    """`far.fake_as_real`, built: the adversarial game over a mixed batch."""

    def __init__(self, experiment: Experiment, rules: GameRules, *, fake_as_real: int, candidates: int) -> None:
        super().__init__(experiment, rules)
        self.fake_as_real = fake_as_real
        self.candidates = candidates
        world = self.runtime.world
        for name, size in (("fake_as_real", fake_as_real), ("candidates", candidates)):
            if size % world:
                raise GflowError(f"objective.{name} = {size} does not divide among {world} processes")
        pairs = rules.loss.reads_real or any(getattr(penalty, "pairs", False) for penalty in rules.penalty)
        if world > 1 and fake_as_real and pairs:
            # Each process has a slice of the real and one of the chosen items: other pairs than one process has.
            raise GflowError(
                f"the loss or a penalty of [objective] pairs items, which {world} processes would pair differently "
                "than one; train in one process, or set objective.fake_as_real = 0"
            )

    def real_batch(self) -> tuple[Batch, int]:
        """N0 = N - M0 real items, then the M0 chosen; each process its slice of both."""
        if self.fake_as_real == 0:
            return super().real_batch()
        real = self.feed.next(self.batch_size - self.fake_as_real)
        mixed = self.compute("the choice of fakes", self._mixed, real, self.latents(self.candidates, "far"))
        return mixed, (self.batch_size - self.fake_as_real) // self.runtime.world

    def _mixed(self, real: Batch, latents: Batch) -> Batch:
        """The real items, and of what the sampler makes of the latents the lowest over all processes, this one's slice.

        Judging them leaves no trace in the discriminator (running statistics, spectral-norm vectors).
        """
        fresh = self.generate(latents)
        with evaluating(self.discriminator.module):
            d = self.judge(fresh.x, fresh.y)
        gather, shard = self.runtime.gather, self.runtime.shard
        index = lowest(gather(d), self.fake_as_real)
        lead = d.dim() - 1  # 1 with replicas, else 0

        def chosen(items: Tensor) -> Tensor:
            """Those of items [..., M, *any], [..., n, *any]; each replica its own."""
            shape = (*index.shape, *items.shape[lead + 1 :])
            wide = index.view(*index.shape, *[1] * (items.dim() - index.dim())).expand(shape)
            return shard(gather(items).gather(lead, wide))

        x = torch.cat([real.x, chosen(fresh.x).to(real.x.dtype)], dim=lead)
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        y = None if real.y is None or fresh.y is None else torch.cat([real.y, chosen(fresh.y)], dim=lead)
        return Batch(x, y)
