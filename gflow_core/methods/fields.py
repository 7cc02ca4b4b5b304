"""What the loop of a particle flow and its velocity tell one another: the pool's state, and the field that moves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import attrs
from torch import Tensor

from gflow_core.nn.picked import rows_at
from gflow_core.parts.nouns import Batch, DataShape

__all__ = ["Everywhere", "Field", "FlowState", "Rows", "Velocity", "clamp_bounds"]

Rows = slice | tuple[slice, ...]
"""Which particles: an index of what lies in `FlowState`, which passes over replicas."""


@attrs.define(eq=False)
class FlowState:
    """An outer loop in progress; all empty between two of them. N is the pool's size.

    With replicas every tensor has one more axis in front, [R, ...].
    """

    z: Tensor | None = None
    """Latents of the particles [N, latent]; None where no sampler is fitted."""
    y: Tensor | None = None
    """Their labels [N] or [N, k]; None where no network reads labels."""
    start: Tensor | None = None
    """Where the particles were when it began [N, *shape]."""
    x: Tensor | None = None
    """Where they are now [N, *shape]."""
    choices: Tensor | None = None
    """Indices of particles, a row for each update that the velocity still makes; None where it chooses none, or not
    yet."""
    moves: int = 0
    passes: int = 0
    sums: Tensor | None = None
    """What was observed so far: what the velocity observes, then velocity norms and projection errors [. + 2]."""

    def batch(self, index: Tensor) -> Batch:
        """The particles at `index` [B], with their labels; with replicas each one's own, `index` [R, B]."""
        assert self.x is not None
        rows = rows_at(index)
        return Batch(self.x[rows], None if self.y is None else self.y[rows])


class Field(Protocol):
    """Where particles go."""

    def __call__(self, rows: Rows, /) -> Tensor:
        """Velocities of the particles `state.x[rows]`: the same shape, in the pool's type, without gradient."""


@attrs.frozen(eq=False)
class Everywhere:
    """A field that is known between particles, too: it can be drawn. Called, it is the field of the particles."""

    rows: Field
    at: Callable[[Tensor], Tensor]
    """Velocities at points [n, *shape], which move no particle: the same shape, without gradient."""
    witness: Callable[[Tensor], Tensor] | None = None
    """What particles go down, at points [n, *shape]: [n], 0 where particles and data are even."""
    label: str = ""
    """What the witness is called in figures."""
    observe: Callable[[Tensor, Tensor], Mapping[str, Tensor]] = lambda real, particles: {}
    """What it makes of data and particles [n, *shape], such as a divergence between them: 0-dimensional, by names."""

    def __call__(self, rows: Rows) -> Tensor:
        return self.rows(rows)


class Velocity(Protocol):
    """What moves the particles, built: one field a move.

    A field may couple all particles of the pool, or treat them one by one, and be learnt between moves. All that a
    velocity needs beyond the move that it is asked for is in `state`, the data's order and the random streams.
    """

    observes: Sequence[str]
    """Metrics that it observes: their sums over an outer loop lead `state.sums`, in this order."""
    updates: int
    """How often it adds to each of those sums in a move."""

    def at(self, state: FlowState, done: int) -> AbstractContextManager[Field]:
        """The field in which the pool `state.x` moves now, entered while all particles move once.

        `done` are the steps finished, which schedules follow. Every process is asked for it, with the whole pool. One
        that is an `Everywhere` is drawn between particles, too.
        """


def clamp_bounds(
    clamp: Literal["data", "none"] | tuple[float, float], data: DataShape
) -> tuple[float | None, float | None]:
    """Where particles are kept: (low, high), None where there is no bound."""
    if clamp == "none":
        return None, None
    return (data.low, data.high) if clamp == "data" else clamp
