"""Velocities that follow from the whole pool and a batch of the data, built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from gflow_core.errors import GflowError
from gflow_core.machine.streams import Streams
from gflow_core.methods.featured import Features
from gflow_core.methods.fields import KIND, Everywhere, Field, FlowState, points_fault
from gflow_core.parts.returned import refuse, tensor_fault, what
from gflow_core.parts.training import Experiment

__all__ = ["Coupled"]


def _descending(part: Any, potential: Callable[[], Callable[[Tensor], Tensor]], v: Tensor) -> Everywhere:
    """The field down a potential, which is made when it is first asked for; v [n, *shape] at the particles."""
    made = cache(partial(_function, part, "potential", potential))

    def witness(points: Tensor) -> Tensor:
        found = made()(points.flatten(1))
        refuse(KIND, part, "potential", tensor_fault(found, (len(points),), " at points [k, d]", finite=False))
        return found

    def at(points: Tensor) -> Tensor:
        points = points.detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(witness(points).sum(), points)
        return -slope

    return Everywhere(lambda rows: v[rows], at, witness, "potential    (particles go from red to blue)")


def _between(part: Any, velocity: Callable[[], Callable[[Tensor], Tensor]], v: Tensor) -> Everywhere:
    """A field that goes down nothing, made when it is first asked for; v [n, *shape] at the particles."""
    made = cache(partial(_function, part, "between", velocity))

    @torch.no_grad()
    def at(points: Tensor) -> Tensor:
        flat = points.flatten(1)
        found = made()(flat)
        refuse(KIND, part, "between", points_fault(found, flat))
        return found.view(points.shape)

    return Everywhere(lambda rows: v[rows], at)


def _function(part: Any, name: str, make: Callable[[], Any]) -> Callable[[Tensor], Tensor]:
    """What `make` gives, which must be a function of points. Raises PluginError."""
    made: Callable[[Tensor], Tensor] = make()
    refuse(KIND, part, name, None if callable(made) else f"{what(made)}; a function of points [k, d] is expected")
    return made


def _asked(part: Any, velocity: Callable[..., Tensor], x: Tensor, *given: Any, **others: Tensor) -> Tensor:
    """The velocities of particles x [n, d], which are [n, d], too. Raises PluginError."""
    v = velocity(x, *given, **others)
    refuse(KIND, part, "of", points_fault(v, x))
    return v


class Coupled:
    """Every process reads the whole batch, and computes the velocity of every particle: each depends on all.

    `velocity(x, y, normal, done)` of the part gives [n, d] for particles x [n, d] and data y [m, d], as
    `BatchVelocity.of` does; m is `data_size`, which may be 0. A pool of several classes flows class by class, with data
    of that class, and if it `contrasts` with `others`, those of all. With `features` it is the velocity of what an
    encoder sees, pulled back to the particles. `potential(x, y, done)`, if any, gives what the velocity of items
    descends as a function of points [k, d]: [k]; or `between(x, y, done)` the velocities of points: [k, d].

    Replicas are gone through one after the other: pools are as large as a processor's caches hold, or larger, so that
    one product for all of them is no faster.
    """

    observes: Sequence[str] = ()
    updates: int = 1

    def __init__(
        self,
        experiment: Experiment,
        part: Any,
        velocity: Callable[..., Tensor],
        *,
        data_size: int,
        classes: int | None = None,
        contrasts: bool = False,
        features: Features | None = None,
        potential: Callable[[Tensor, Tensor, int], Callable[[Tensor], Tensor]] | None = None,
        between: Callable[[Tensor, Tensor, int], Callable[[Tensor], Tensor]] | None = None,
    ) -> None:
        assert experiment.feed is not None
        self.experiment = experiment
        self.feed = experiment.feed
        self.runtime = experiment.runtime
        self.part = part
        self.velocity = velocity
        self.data_size = data_size
        self.classes = classes
        self.contrasts = contrasts
        self.features = features
        self.potential = potential
        self.between = between
        if data_size % self.runtime.world:
            raise GflowError(
                f"objective.velocity.data_size = {data_size} does not divide among {self.runtime.world} processes"
            )

    @contextmanager
    def at(self, state: FlowState, done: int) -> Iterator[Field]:
        """The velocities of all particles, each row at hand."""
        assert state.x is not None
        if self.features is not None:
            v = self._pulled_back(state.x, state, done)
        else:
            lead = self.experiment.lead
            x = state.x.flatten(lead + 1)
            y = x[..., :0, :]
            if self.data_size:
                y = self.runtime.gather(self.feed.at(self._chosen(state)).x).flatten(lead + 1)
            with torch.no_grad():
                v = self._of_each(x, y, done).view(state.x.shape)
            alone = self.classes is None and not lead
            if alone and self.potential is not None:
                yield _descending(self.part, partial(self.potential, x, y, done), v)
                return
            if alone and self.between is not None:
                yield _between(self.part, partial(self.between, x, y, done), v)
                return
        yield lambda rows: v[rows]

    def _pulled_back(self, x: Tensor, state: FlowState, done: int) -> Tensor:
        """Velocities [n, *shape] of x, a step of which makes what the encoder sees of it go along its own velocity.

        Minus the gradient of half the mean square by which that would move, added over its sets of features, times
        dim(x). Each set is in units in which two points of the data lie about sqrt(d) apart.
        """
        assert self.features is not None
        theirs = self.features.of_data(self._chosen(state))
        x = x.detach().requires_grad_()
        along = x.new_zeros(())
        for ours, data in zip(self.features(x), theirs, strict=True):
            variance = data.var(0, correction=0).mean()
            unit = (2 * variance).clamp(min=1e-12).sqrt()
            with torch.no_grad():
                v = self._of_each(ours / unit, data / unit, done)
            along = along + (ours / unit * v).sum() / v.shape[1]
        (gradient,) = torch.autograd.grad(along, x)
        return gradient * x[0].numel()

    def _chosen(self, state: FlowState) -> Tensor:
        """Where the data of a move lie [m]: the next ones, or as many of each of the pool's classes, in its order."""
        if self.classes is None:
            return self.feed.next_index(self.data_size)
        assert state.y is not None
        each = self.data_size // self.classes
        return self.feed.index_of(state.y.view(self.classes, -1)[:, 0].repeat_interleave(each))

    def _of_each(self, x: Tensor, y: Tensor, done: int) -> Tensor:
        """Velocities [n, d] of x [n, d] with data y [m, d]; of replicas [R, n, d] each by itself."""
        replicas = self.experiment.replicas
        if not replicas:
            return self._by_class(x, y, self.experiment.streams, done)
        each = zip(x, y, replicas, strict=True)
        return torch.stack([self._by_class(ours, theirs, streams, done) for ours, theirs, streams in each])

    def _by_class(self, x: Tensor, y: Tensor, streams: Streams, done: int) -> Tensor:
        """Velocities [n, d] of x [n, d] with data y [m, d]; of each class by itself."""
        normal = partial(self._normal, streams.on(self.runtime.draws_on))
        blocks = self.classes or 1
        if blocks == 1:
            return _asked(self.part, self.velocity, x, y, normal, done)
        given = {"others": y} if self.contrasts else {}
        pairs = zip(x.chunk(blocks), y.chunk(blocks), strict=True)
        each = [_asked(self.part, self.velocity, ours, theirs, normal, done, **given) for ours, theirs in pairs]
        return torch.cat(each)

    def _normal(self, streams: Streams, n: int, d: int) -> Tensor:
        drawn = streams.draw(lambda streams: torch.randn(n, d, generator=streams["flow.velocity"]))
        return self.runtime.to_device(drawn)
