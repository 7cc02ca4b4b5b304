"""What the loop of a particle flow and its velocity tell one another: the pool's state, and the field that moves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, Protocol

import attrs
from torch import Tensor

from gflow_core.errors import PluginError
from gflow_core.nn.picked import rows_at
from gflow_core.parts.nouns import Batch, DataShape
from gflow_core.parts.returned import kind_fault, named, refuse, tensor_fault, what

__all__ = [
    "Everywhere",
    "Field",
    "FlowState",
    "Rows",
    "Velocity",
    "built_velocity",
    "clamp_bounds",
    "entered",
    "points_fault",
    "velocities",
]

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
    """What was observed so far [k + 2]: of each of the k metrics that the velocity observes, in their order, the sum of
    what it added to `sums[..., i]`, `updates` times a move; then the loop's own, velocity norms and projection errors.
    """

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
    """Metrics that it observes: their sums over an outer loop lead `state.sums`, in this order, and their means are
    logged."""
    updates: int
    """How often it adds to each of those sums in a move, such as once for each step of its discriminator."""

    def at(self, state: FlowState, done: int) -> AbstractContextManager[Field]:
        """The field in which the pool `state.x` moves now, entered while all particles move once.

        `done` are the steps finished, which schedules follow. Every process is asked for it, with the whole pool. One
        that is an `Everywhere` is drawn between particles, too.
        """


# ------------------------------------------------------------------ what a velocity returns, looked at

KIND = "flow.velocity"
LOGGED = ("velocity", "displacement", "projection_loss")
"""Metrics of the loop's own."""


def built_velocity(part: Any, velocity: Any) -> Velocity:
    """The velocity that `part` built, if it can be one. Raises PluginError."""
    observes, updates = (getattr(velocity, name, None) for name in ("observes", "updates"))
    fault = None
    if not callable(getattr(velocity, "at", None)):
        fault = f"{what(velocity)}, an object with a method at is expected"
    elif not isinstance(observes, tuple | list) or not isinstance(updates, int):
        fault = (
            f"a velocity whose observes is {observes!r} and updates {updates!r}; the names of its metrics, such as (), "
            "and how often it adds to them in a move, such as 1, are expected"
        )
    elif taken := [name for name in observes if name in LOGGED]:
        fault = f"a velocity that observes {taken[0]!r}, as its loop does; take another name"
    refuse(KIND, part, "build", fault)
    built: Velocity = velocity
    return built


@contextmanager
def entered(part: Any, velocity: Velocity, state: FlowState, done: int) -> Iterator[Field]:
    """The field that `velocity`, which `part` built, gives for a move; within, and by it, the pool must not change.

    Raises PluginError where either is not so.
    """
    assert state.x is not None
    before = state.x._version
    manager = velocity.at(state, done)
    refuse(KIND, part, "at", kind_fault(manager, AbstractContextManager, "a context that gives a field"))
    with manager as field:
        refuse(KIND, part, "at", None if callable(field) else f"a context of {what(field)}; a field is expected")
        yield field
    if state.x._version != before:
        raise PluginError(
            f"{named(KIND, part)}: changes the particles that it is given in place; what it returns moves them"
        )


def velocities(part: Any, field: Field, x: Tensor, rows: Rows) -> Tensor:
    """The velocities of the particles x[rows], as the contract has them. Raises PluginError."""
    v = field(rows)
    refuse(KIND, part, "field", points_fault(v, x[rows]))
    return v


def points_fault(v: Any, x: Tensor) -> str | None:
    """Why `v` are no velocities of x, in words that follow "returns"; None where they are."""
    of = f" for particles {list(x.shape)}"
    if fault := tensor_fault(v, tuple(x.shape), of, finite=False):
        return fault
    if v.dtype != x.dtype:
        return f"{v.dtype}{of}, {x.dtype} as theirs is expected"
    return f"a tensor that asks for a gradient{of}; detach it, or work under no_grad" if v.requires_grad else None


def clamp_bounds(
    clamp: Literal["data", "none"] | tuple[float, float], data: DataShape
) -> tuple[float | None, float | None]:
    """Where particles are kept: (low, high), None where there is no bound."""
    if clamp == "none":
        return None, None
    return (data.low, data.high) if clamp == "data" else clamp
