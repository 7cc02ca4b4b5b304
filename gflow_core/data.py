"""Data in memory, the order it is read in, and how it reaches the device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs
import torch
from torch import Tensor

from gflow_core.contracts import Batch, DataShape
from gflow_core.rng import Streams, derive
from gflow_core.runtime import Runtime

__all__ = ["Feed", "Modes", "Source", "fingerprint"]


class Modes(Protocol):
    """The modes of a synthetic law: where coverage is counted."""

    @property
    def count(self) -> int:
        """How many there are."""

    def nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [n, d] -> the nearest mode's index [n] and the distance to it in its standard deviations [n]."""


def fingerprint(*arrays: Tensor | None) -> str:
    """sha256 over shapes, types and bytes of the given tensors (None is skipped)."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(f"{tuple(array.shape)}{array.dtype}".encode())
            digest.update(array.contiguous().numpy().data)
    return digest.hexdigest()


@attrs.define(eq=False)
class Source:
    """A loaded data set: all of it, sliced by index.

    Images are one uint8 tensor [N, C, H, W] (in memory or memory-mapped), vectors one float tensor [N, d].
    """

    x: Tensor
    """The items."""
    shape: DataShape
    """The same as the part's `data_shape()`."""
    fingerprint: str
    """sha256 of items and labels, for the run's manifest; the function `fingerprint` makes it."""
    y: Tensor | None = None
    """Class indices [N], int64, or real labels [N, k], float."""
    flip: bool = False
    """Mirror each image with probability 1/2 when training."""
    dither: bool = False
    """Add U(0, 1/128) noise in [-1, 1] units when training (one 8-bit step), as FAR's reference does."""
    modes: Modes | None = None
    """The modes of the law that x is drawn from; the part that loads them says `has_modes = True`."""
    log_density: Callable[[Tensor], Tensor] | None = None
    """log p(x) [n] (nats, float64) of x [n, d] where the law is known."""
    cache: Path | None = None
    """The decoded copy that x is mapped from, where there is one."""

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, index: Tensor, device: torch.device | str = "cpu") -> Batch:
        """The items at `index` [B], on `device`, in the range of `shape`; without flip and dither."""
        y = None if self.y is None else _send(self.y[index], device)
        if y is not None and y.is_floating_point():
            y = y.to(torch.get_default_dtype())
        return Batch(self._scale(_send(self.x[index], device)), y)

    def _scale(self, x: Tensor) -> Tensor:
        if self.shape.kind == "vector":
            return x.to(torch.get_default_dtype())
        # Scaled on the device: a quarter of the bytes cross the bus.
        x = x.to(torch.get_default_dtype()).div_(127.5).sub_(1.0)
        return x.contiguous(memory_format=torch.channels_last)

    def augment(self, x: Tensor, flip: Tensor | None, dither: Tensor | None) -> Tensor:
        """Apply drawn augmentations: `flip` [B] bool, `dither` [B, *shape] in [0, 1)."""
        if flip is not None:
            x = torch.where(flip.view(-1, 1, 1, 1), x.flip(-1), x)
        if dither is not None:
            x = x + dither / 128
        return x.contiguous(memory_format=torch.channels_last)


def _send(x: Tensor, device: torch.device | str) -> Tensor:
    if torch.device(device).type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


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
    _epoch: int = attrs.field(default=-1, init=False)
    _order: Tensor = attrs.field(factory=lambda: torch.empty(0, dtype=torch.int64), init=False)

    def next(self, n: int) -> Batch:
        """This process's slice of the next global batch of n items, augmented, on the device."""
        index = self._next_index(n)
        flip = dither = None
        if self.source.flip:
            flip = torch.rand(n, generator=self.streams["augment"]) < 0.5
        if self.source.dither:
            dither = torch.rand(n, *self.source.shape.shape, generator=self.streams["augment"])
        batch = self.source.batch(self.runtime.shard(index), self.runtime.device)
        if flip is None and dither is None:
            return batch
        here = [None if t is None else _send(self.runtime.shard(t), self.runtime.device) for t in (flip, dither)]
        return Batch(self.source.augment(batch.x, here[0], here[1]), batch.y)

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
