"""Velocities that follow from the whole pool and a batch of the data, built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from gflow_core.errors import GflowError
from gflow_core.methods.particles import Field, FlowState
from gflow_core.parts.training import Experiment

__all__ = ["Coupled"]


class Coupled:
    """Every process reads the whole batch, and computes the velocity of every particle: each depends on all.

    `velocity(x, y, normal, done)` gives [n, d] for particles x [n, d] and data y [m, d], as `BatchVelocity.of` does; m
    is `data_size`, which may be 0.
    """

    observes: Sequence[str] = ()
    updates: int = 1

    def __init__(
        self,
        experiment: Experiment,
        velocity: Callable[[Tensor, Tensor, Callable[[int, int], Tensor], int], Tensor],
        *,
        data_size: int,
    ) -> None:
        assert experiment.feed is not None
        self.experiment = experiment
        self.feed = experiment.feed
        self.runtime = experiment.runtime
        self.velocity = velocity
        self.data_size = data_size
        if data_size % self.runtime.world:
            raise GflowError(
                f"objective.velocity.data_size = {data_size} does not divide among {self.runtime.world} processes"
            )

    @contextmanager
    def at(self, state: FlowState, done: int) -> Iterator[Field]:
        """The velocities of all particles, each row at hand."""
        assert state.x is not None
        read = self.data_size > 0
        y = self.runtime.gather(self.feed.next(self.data_size).x) if read else state.x[:0]
        with torch.no_grad():
            v = self.velocity(state.x.flatten(1), y.flatten(1), self._normal, done).view(state.x.shape)
        yield lambda rows: v[rows]

    def _normal(self, n: int, d: int) -> Tensor:
        drawn = self.experiment.draw(lambda streams: torch.randn(n, d, generator=streams["flow.velocity"]))
        return self.runtime.to_device(drawn)
