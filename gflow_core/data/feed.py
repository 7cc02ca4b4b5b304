"""The order that data are read in, and how they reach the device."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from gflow_core.data.augmentations import Dither, Flip
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams, derive
from gflow_core.parts.contracts import Augmentation
from gflow_core.parts.nouns import Batch
from gflow_core.parts.source import Source

__all__ = ["Feed", "ReplicaFeed"]


@attrs.define(eq=False)
class Feed:
    """Training batches: shuffled epochs, one after the other, each process getting its slice.

    The order of epoch e follows from the seed and e alone, so `position` is all there is to save.
    """

    source: Source
    runtime: Runtime
    streams: Streams
    position: int = 0
    """Items read since the start of training, over all processes."""
    augment: Sequence[Augmentation] = ()
    """What is done to the items, after what the data set itself asks for."""
    done: int = attrs.field(default=0, init=False)
    """Steps done: what the numbers of augmentations follow."""
    _changes: list[Augmentation] = attrs.field(init=False)
    _epoch: int = attrs.field(default=-1, init=False)
    _order: Tensor = attrs.field(factory=lambda: torch.empty(0, dtype=torch.int64), init=False)

    def __attrs_post_init__(self) -> None:
        own: list[tuple[bool, Augmentation]] = [(self.source.flip, Flip()), (self.source.dither, Dither())]
        self._changes = [*(part for wanted, part in own if wanted), *self.augment]

    def next(self, n: int) -> Batch:
        """This process's slice of the next global batch of n items, augmented, on the device."""
        index = self._next_index(n)
        source, runtime = self.source, self.runtime
        drawn = [self._draw(change, n) for change in self._changes]
        batch = source.batch(runtime.shard(index), runtime.device)
        if not self._changes:
            return batch
        x = batch.x
        for change, what in zip(self._changes, drawn, strict=True):
            x = change.apply(x, runtime.here(what))
        return Batch(x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x, batch.y)

    def _draw(self, change: Augmentation, n: int) -> Tensor:
        """What is random about the next n items, over all processes."""
        shape, streams = self.source.shape, self.streams.on(self.runtime.draws_on)
        return streams.draw(lambda own: change.draw(n, shape, own["augment"], self.done))

    def _next_index(self, n: int) -> Tensor:
        parts, missing = [], n
        while missing:
            epoch, start = divmod(self.position, len(self.source))
            if epoch != self._epoch:
                generator = torch.Generator().manual_seed(derive(self.streams.seed, f"data.{epoch}"))
                self._order = torch.randperm(len(self.source), generator=generator)
                self._epoch = epoch
            part = self._order[start : start + missing]
            parts.append(part)
            self.position += len(part)
            missing -= len(part)
        return torch.cat(parts)


class ReplicaFeed:
    """The feeds of all replicas, in step: each reads the same number of items in an order of its own."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.feeds = list(feeds)
        self.source = self.feeds[0].source

    @property
    def position(self) -> int:
        """Items that each replica has read since the start of training."""
        return self.feeds[0].position

    @position.setter
    def position(self, value: int) -> None:
        for feed in self.feeds:
            feed.position = value

    @property
    def done(self) -> int:
        """Steps done."""
        return self.feeds[0].done

    @done.setter
    def done(self, value: int) -> None:
        for feed in self.feeds:
            feed.done = value

    def next(self, n: int) -> Batch:
        """The next n items of each replica, x [R, n, *shape]."""
        batches = [feed.next(n) for feed in self.feeds]
        labels = [batch.y for batch in batches if batch.y is not None]
        return Batch(torch.stack([batch.x for batch in batches]), torch.stack(labels) if labels else None)
