"""A loaded data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import attrs
import torch
from torch import Tensor, nn

from gflow_core.machine.paging import read_ahead
from gflow_core.machine.runtime import send
from gflow_core.parts.nouns import Batch, DataShape, TextEncoder
from gflow_core.parts.stacked import Stacked

__all__ = ["ImageModes", "Joint", "Modes", "Source", "fingerprint", "weights_hash"]


class Modes(Protocol):
    """The modes of a synthetic law of vectors: where coverage is counted."""

    @property
    def count(self) -> int:
        """How many there are."""

    def nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [n, d] -> the nearest mode's index [n] and the distance to it in its standard deviations [n]."""


@attrs.frozen
class ImageModes:
    """The modes of a law of images: what a classifier sees in their channels, each by itself.

    The classes of the channels are the digits of one number, the mode's.
    """

    channels: int
    classes: int
    """That a channel may show."""

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.classes**self.channels)

    def index(self, seen: Tensor) -> Tensor:
        """The class of each channel [n, channels] -> the mode [n]."""
        return (seen * self.classes ** torch.arange(self.channels - 1, -1, -1, device=seen.device)).sum(1)


def fingerprint(*arrays: Tensor | None) -> str:
    """sha256 over shapes, types and bytes of the given tensors (None is skipped)."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(f"{tuple(array.shape)}{array.dtype}".encode())
            digest.update(array.contiguous().reshape(-1).view(torch.uint8).numpy().data)  # numpy knows no bfloat16
    return digest.hexdigest()


def weights_hash(network: nn.Module) -> str:
    """sha256 over parameters and buffers in the order of their names."""
    state = network.state_dict()
    return fingerprint(*(state[name].cpu() for name in sorted(state)))


@attrs.frozen
class Joint:
    """One of several data sets that a Source is joined of; its items follow those of the one before."""

    use: str
    """What a recipe calls it."""
    items: int
    weight: float
    """How often an epoch holds an item of it, on average."""
    fingerprint: str
    cache: Path | None = None

    @property
    def seen(self) -> int:
        """Items of it in an epoch."""
        return round(self.weight * self.items)


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
    modes: Modes | ImageModes | None = None
    """The modes of the law that x is drawn from; the part that loads them says `has_modes = True`."""
    log_density: Callable[[Tensor], Tensor] | None = None
    """log p(x) [n] (nats, float64) of x [n, d] where the law is known, differentiable; the part that loads them says
    `has_density = True`."""
    class_names: Sequence[str] = ()
    """What the classes are called, in the order of their labels; empty where nothing names them."""
    cache: Path | None = None
    """The decoded copy that x is mapped from, where there is one."""
    captions: Sequence[str] = ()
    """The text that each label y [N, k] is the vector of; empty where labels are no texts."""
    text: TextEncoder | None = None
    """What makes vectors of captions, where there are any."""
    joints: Sequence[Joint] = ()
    """What it is joined of, in the order of the items; empty where it is one data set."""

    def __len__(self) -> int:
        return len(self.x)

    def score(self, x: Tensor) -> Tensor:
        """The gradient of log p at x [n, d], of the same shape and type, where `log_density` is known."""
        assert self.log_density is not None
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.log_density(x).sum(), x)
        return gradient

    @property
    def epoch(self) -> int:
        """Items that an epoch of training holds: each once, or as often as its weight says."""
        return sum(joint.seen for joint in self.joints) or len(self)

    def order(self, generator: torch.Generator) -> Tensor:
        """The items of an epoch in random order: indices [epoch]."""
        if all(joint.weight == 1 for joint in self.joints):
            return torch.randperm(len(self), generator=generator)
        pieces, start = [], 0
        for joint in self.joints:
            times, rest = divmod(joint.seen, joint.items)
            pieces += [torch.arange(joint.items).repeat(times) + start]
            pieces += [torch.randperm(joint.items, generator=generator)[:rest] + start]
            start += joint.items
        index = torch.cat(pieces)
        return index[torch.randperm(len(index), generator=generator)]

    @property
    def labels(self) -> Tensor | None:
        """The labels, each as often as an epoch holds it; None where there are none."""
        weighted = self.y is not None and any(joint.weight != 1 for joint in self.joints)
        return self.y[self.order(torch.Generator().manual_seed(0))] if self.y is not None and weighted else self.y

    def batch(self, index: Tensor, device: torch.device | str = "cpu") -> Batch:
        """The items at `index` [B], on `device`, in the range of `shape`; without flip and dither."""
        self._read_ahead(index)
        y = None if self.y is None else send(self.y[index], device)
        if y is not None and y.is_floating_point():
            y = y.to(torch.get_default_dtype())
        return Batch(self._scale(send(self.x[index], device)), y)

    def _read_ahead(self, index: Tensor) -> None:
        """Have the system read these items from disk all at once, where they are mapped."""
        mapped = self.cache is not None or any(joint.cache is not None for joint in self.joints)
        if not mapped or self.x.device.type != "cpu":
            return
        if not isinstance(self.x, Stacked):
            read_ahead(self.x, index)
            return
        for part, _, at in self.x.found(index):
            read_ahead(part, at)

    def caption(self, y: Tensor) -> str:
        """The caption whose vector is next to y [k]."""
        assert self.y is not None
        return self.captions[int((self.y - y).square().sum(1).argmin())]

    def under(self, text: TextEncoder) -> Source:
        """The same items, with the vectors that another encoder makes of their captions."""
        return attrs.evolve(self, text=text, y=text(self.captions))

    def _scale(self, x: Tensor) -> Tensor:
        if self.shape.kind == "vector":
            return x.to(torch.get_default_dtype())
        # Scaled on the device: a quarter of the bytes cross the bus.
        x = x.to(torch.get_default_dtype()).div_(127.5).sub_(1.0)
        return x.contiguous(memory_format=torch.channels_last)
