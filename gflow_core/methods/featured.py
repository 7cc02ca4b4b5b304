"""What an encoder sees of items, for velocities in its features."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from gflow_core.parts.training import Experiment

__all__ = ["Features"]

CHUNK = 256
"""Items of the data that are read at once."""

KEPT = 2**30
"""Bytes of the data's features that are kept, rather than computed again in each step."""


class Features:
    """Sets of features, each to be compared by itself: of every map its means, and the map on a coarser grid.

    `maps(x)` are an encoder's feature maps of x [n, *shape], each [n, C, h, w]. A map of more than `grid` positions
    along a side is averaged down to that many.
    """

    def __init__(self, experiment: Experiment, maps: Callable[[Tensor], list[Tensor]], *, grid: int) -> None:
        assert experiment.feed is not None
        self.feed = experiment.feed
        self.runtime = experiment.runtime
        self.maps = maps
        self.grid = grid

    def __call__(self, x: Tensor) -> list[Tensor]:
        """The sets of x [n, *shape], float32 [n, d] with a d of their own, with gradient."""
        with self.runtime.autocast():
            maps = self.maps(x)
        coarse = [self._coarse(one) for one in maps]
        return [one.mean((2, 3)) for one in maps] + [one.flatten(1) for one in coarse if one[0, 0].numel() > 1]

    def _coarse(self, x: Tensor) -> Tensor:
        """A map [n, C, h, w] averaged down to `grid` positions along each side that has more."""
        height, width = (min(self.grid, side) for side in x.shape[2:])
        if x.shape[2] % height == x.shape[3] % width == 0:  # the quicker one
            return F.avg_pool2d(x, (x.shape[2] // height, x.shape[3] // width))
        return F.adaptive_avg_pool2d(x, (height, width))

    @torch.no_grad()
    def of_data(self, index: Tensor) -> list[Tensor]:
        """Those of the global batch of data at `index` [m]."""
        if self._kept is not None:
            here = self.runtime.to_device(index)
            return [one[here] for one in self._kept]
        return self(self.runtime.gather(self.feed.at(index).x))

    @cached_property
    def _kept(self) -> list[Tensor] | None:
        """Those of all items, where they are few enough and reach training as they are."""
        source, device = self.feed.source, self.runtime.device
        if not self.feed.plain:
            return None
        everything = torch.arange(len(source)).split(CHUNK)
        first = self(source.batch(everything[0][:1], device).x)
        if sum(one.nbytes for one in first) * len(source) > KEPT:
            return None
        pieces = [self(source.batch(index, device).x) for index in everything]
        return [torch.cat(parts) for parts in zip(*pieces, strict=True)]
