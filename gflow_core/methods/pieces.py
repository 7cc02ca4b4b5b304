"""A batch in pieces, for one update (`train.accumulate`): the mean over the batch is the mean over its pieces."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import attrs
import torch
from torch import Tensor

from gflow_core.parts.nouns import Batch

__all__ = ["Pieces", "Shared", "in_batches"]


def in_batches(x: Tensor, size: int, processes: int = 1) -> list[Tensor]:
    """x [..., N] in batches of `size`. A last one that leaves each process a single item joins the one before.

    Batch norm has nothing to say about a single item.
    """
    batches: list[Tensor] = list(x.split(size, -1))
    *first, last = batches
    if first and last.shape[-1] == processes:
        first[-1] = torch.cat([first[-1], last], -1)
        return first
    return batches


@attrs.frozen
class Pieces:
    """How batches [..., B, *shape] are cut: into `number` equal pieces along the axis `lead`."""

    number: int
    lead: int = 0
    """0, or 1 where replicas stand before it."""

    def of(self, x: Tensor, first: int | None = None) -> list[Tensor]:
        """Every piece of x, in order. Each has the same share of the `first` items, and of the others behind them."""
        if self.number == 1:
            return [x]
        length = x.shape[self.lead]
        if first is None or first == length:
            return list(x.chunk(self.number, self.lead))
        ahead, behind = (part.chunk(self.number, self.lead) for part in x.split([first, length - first], self.lead))
        return [torch.cat(both, self.lead) for both in zip(ahead, behind, strict=True)]

    def share(self, loss: Tensor) -> Tensor:
        """What a piece's loss [...] adds to what is minimised: the sum over replicas, divided among the pieces."""
        total = loss.sum() if loss.dim() else loss
        return total / self.number if self.number > 1 else total

    def of_batch(self, batch: Batch, first: int | None = None) -> list[Batch]:
        """Every piece of a batch, cut as `of` cuts it."""
        labels = [None] * self.number if batch.y is None else self.of(batch.y, first)
        return [Batch(x, y) for x, y in zip(self.of(batch.x, first), labels, strict=True)]


class Shared:
    """Draws for a whole batch that its pieces share: call k of every piece gives its part of draw k."""

    def __init__(self, draw: Callable[[], Tensor], pieces: Pieces, first: int | None = None) -> None:
        self._draw, self._pieces, self._first = draw, pieces, first
        self._drawn: list[list[Tensor]] = []

    def of_piece(self, index: int) -> Callable[[], Tensor]:
        """What piece `index` draws with."""
        calls = count()

        def draw() -> Tensor:
            call = next(calls)
            if call == len(self._drawn):
                self._drawn.append(self._pieces.of(self._draw(), self._first))
            return self._drawn[call][index]

        return draw
