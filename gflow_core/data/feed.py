"""The order that data are read in, and how they reach the device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import attrs
import torch
from torch import Tensor

from gflow_core.data.augmentations import Dither, Flip
from gflow_core.errors import GflowError
from gflow_core.machine.runtime import Runtime, send
from gflow_core.machine.streams import Streams, derive
from gflow_core.nn.labels import label_name
from gflow_core.parts.contracts import Augmentation
from gflow_core.parts.nouns import Batch
from gflow_core.parts.source import Source

__all__ = ["Feed", "ReplicaFeed", "Shelf"]


@attrs.define(eq=False, slots=False)
class Shelf:
    """Where batches are taken from: the data as they were read, or a copy of them on the device."""

    source: Source
    runtime: Runtime
    asked: bool | Literal["auto"] = False
    """As `dataset.on_device` says."""

    @cached_property
    def on_device(self) -> bool:
        """Whether they lie on the device: as asked, or by the memory that is free there when this is first needed."""
        device = self.runtime.device
        if device.type != "cuda" or self.asked != "auto":
            return device.type == "cuda" and self.asked is True
        free, _ = torch.cuda.mem_get_info(device)
        return sum(x.nbytes for x in self._tensors) <= free / 4

    @cached_property
    def here(self) -> Source:
        """The data at that place, brought there when training first reads them."""
        if not self.on_device:
            return self.source
        device, source = self.runtime.device, self.source
        try:
            y = None if source.y is None else source.y.to(device)
            return attrs.evolve(source, x=source.x.to(device), y=y)
        except torch.OutOfMemoryError as error:
            size = sum(x.nbytes for x in self._tensors) / 1e9
            raise GflowError(
                f"dataset.on_device: the data take {size:.3g} GB, which are not free on {device}; set it to false"
            ) from error

    @property
    def _tensors(self) -> list[Tensor]:
        return [x for x in (self.source.x, self.source.y) if x is not None]


@attrs.define(eq=False, slots=False)
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
    shelf: Shelf = attrs.field(default=attrs.Factory(lambda own: Shelf(own.source, own.runtime), takes_self=True))
    """Where the items are taken from."""
    done: int = attrs.field(default=0, init=False)
    """Steps done: what the numbers of augmentations follow."""
    _changes: list[Augmentation] = attrs.field(init=False)
    _epoch: int = attrs.field(default=-1, init=False)
    _order: Tensor = attrs.field(factory=lambda: torch.empty(0, dtype=torch.int64), init=False)

    def __attrs_post_init__(self) -> None:
        own: list[tuple[bool, Augmentation]] = [(self.source.flip, Flip()), (self.source.dither, Dither())]
        self._changes = [*(part for wanted, part in own if wanted), *self.augment]

    @property
    def on_device(self) -> bool:
        """Whether the data lie on the device."""
        return self.shelf.on_device

    @property
    def plain(self) -> bool:
        """Whether items reach training as they are, the same each time."""
        return not self._changes

    def next(self, n: int) -> Batch:
        """This process's slice of the next global batch of n items, augmented, on the device."""
        return self.at(self.next_index(n))

    def at(self, index: Tensor) -> Batch:
        """This process's slice of the global batch of items `index` [n], augmented, on the device."""
        data, runtime, n = self.shelf.here, self.runtime, len(index)
        drawn = [self._draw(change, n) for change in self._changes]
        batch = data.batch(runtime.shard(index), runtime.device)
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

    def next_index(self, n: int) -> Tensor:
        """Where the next global batch of n items lies [n]."""
        parts, missing = [], n
        while missing:
            epoch, start = divmod(self.position, self.source.epoch)
            if epoch != self._epoch:
                generator = torch.Generator().manual_seed(derive(self.streams.seed, f"data.{epoch}"))
                self._order = send(self.source.order(generator), self.shelf.here.x.device)
                self._epoch = epoch
            part = self._order[start : start + missing]
            parts.append(part)
            self.position += len(part)
            missing -= len(part)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def index_of(self, y: Tensor) -> Tensor:
        """Where an item of each of the classes y [n] lies [n], drawn with replacement from that class."""
        streams = self.streams.on(self.runtime.draws_on)
        drawn = streams.draw(lambda own: torch.rand(len(y), generator=own["data.of_class"], dtype=torch.float64))
        order, starts, counts = self._by_class
        at = starts[y] + (self.runtime.to_device(drawn) * counts[y]).long()
        self.position += len(y)
        return send(order[at], self.shelf.here.x.device)

    @cached_property
    def _by_class(self) -> tuple[Tensor, Tensor, Tensor]:
        """The items in the order of their classes, where each class begins there, and how many it has."""
        y, shape = self.source.y, self.source.shape
        assert y is not None
        assert shape.classes is not None
        counts = torch.bincount(y, minlength=shape.classes)
        if not bool(counts.all()):
            missing = label_name(counts.argmin(), shape, self.source.class_names)
            raise GflowError(f"dataset: no item is of class {missing}, and every class is asked for")
        found = y.argsort(stable=True), counts.cumsum(0) - counts, counts
        return tuple(part.to(self.runtime.device) for part in found)  # type: ignore[return-value]


class ReplicaFeed:
    """The feeds of all replicas, in step: each reads the same number of items in an order of its own."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.feeds = list(feeds)
        self.source = self.feeds[0].source

    @property
    def on_device(self) -> bool:
        """Whether the data lie on the device."""
        return self.feeds[0].on_device

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

    @property
    def plain(self) -> bool:
        """Whether items reach training as they are."""
        return self.feeds[0].plain

    def next(self, n: int) -> Batch:
        """The next n items of each replica, x [R, n, *shape]."""
        return self.at(self.next_index(n))

    def next_index(self, n: int) -> Tensor:
        """Where they lie [R, n]."""
        return torch.stack([feed.next_index(n) for feed in self.feeds])

    def index_of(self, y: Tensor) -> Tensor:
        """Where items of the classes y [R, n] lie, each replica's drawn from streams of its own: [R, n]."""
        return torch.stack([feed.index_of(own) for feed, own in zip(self.feeds, y, strict=True)])

    def at(self, index: Tensor) -> Batch:
        """The items of each replica at `index` [R, n], x [R, n, *shape]."""
        batches = [feed.at(own) for feed, own in zip(self.feeds, index, strict=True)]
        labels = [batch.y for batch in batches if batch.y is not None]
        return Batch(torch.stack([batch.x for batch in batches]), torch.stack(labels) if labels else None)
