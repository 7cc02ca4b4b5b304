"""What a particle flow's part begins with: particles move along a velocity, and the sampler is fitted to them.

A velocity is a part of the kind `flow.velocity`; `flow` takes any.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import attrs

from gflow_core.methods.rules import FlowRules
from gflow_core.parts.kinds import kind

if TYPE_CHECKING:
    from gflow_core.methods.fields import Velocity
    from gflow_core.methods.particles import ParticleFlowObjective
    from gflow_core.parts.spec import Spec
    from gflow_core.parts.training import Experiment

__all__ = ["ParticleFlow", "VelocityPart"]


@kind(
    "flow.velocity",
    members={
        "players": "the class attribute players, such as ()",
        "check": "the method check",
        "items_a_move": "the method items_a_move",
        "build": "the method build",
    },
)
@runtime_checkable
class VelocityPart(Protocol):
    """What moves the particles of a flow, by its options.

    It may also have `replicable` and `log_ratio`, as an objective has them: whether it moves the pools of all replicas,
    `state.x` [R, N, *shape], and what the logit of the discriminator is that it trains.
    """

    players: ClassVar[tuple[str, ...]]
    """The networks that it trains: ("discriminator",), or none."""

    def check(self, spec: Spec) -> Iterable[str]:
        """Why it cannot move the particles of this recipe; nothing if it can."""

    def items_a_move(self, batch_size: int, rules: FlowRules) -> int:
        """Items of the data that it reads for each move."""

    def build(self, experiment: Experiment, rules: FlowRules) -> Velocity:
        """The velocity over the built experiment."""


@attrs.frozen(kw_only=True)
class ParticleFlow(FlowRules):
    """A particle flow along its `velocity`. A part extends it by that: an option, or what its options come to.

    One step is one outer loop: a pool of z is drawn and pushed through the sampler; the particles move `inner_loops`
    times; the sampler is fitted to the pairs (z, moved x). With `sampler = "none"` the same particles move in every
    step, and that is all.
    """

    accumulates: ClassVar[bool] = True

    if TYPE_CHECKING:

        @property
        def velocity(self) -> VelocityPart:
            """What moves the particles."""

    @property
    def players(self) -> tuple[str, ...]:
        """The sampler, if it is fitted, and the networks that the velocity trains."""
        return (*(("sampler",) if self.sampler == "fit" else ()), *self.velocity.players)

    @property
    def replicable(self) -> bool:
        """Whether the velocity moves the pools of several replicas."""
        return getattr(self.velocity, "replicable", False)

    @property
    def log_ratio(self) -> bool:
        """Whether the logit that the velocity's discriminator learns is log p/q of data and samples."""
        return getattr(self.velocity, "log_ratio", False)

    def check(self, spec: Spec) -> Iterable[str]:
        for name in dict.fromkeys(("dataset", "sampler", *self.players)):
            if getattr(spec, name) is None:
                yield f"needs a [{name}]"
        if self.sampler == "none" and spec.sampler is not None:
            yield from self._check_cloud(spec.particles)
            if spec.train is not None and spec.train.ema is not None:
                yield 'sampler = "none" moves particles, and train.ema would average where they were; take it out'
        yield from spec.label_faults()
        if spec.train is not None and spec.train.batch_size > self.pool_size:
            yield f"pool_size = {self.pool_size} is smaller than train.batch_size = {spec.train.batch_size}"
        if isinstance(self.clamp, tuple) and self.clamp[0] >= self.clamp[1]:
            low, high = self.clamp
            yield f"clamp = [{low:g}, {high:g}]: the first number must be the smaller"
        if self.classes is not None:
            yield from self._check_classes(spec)
        yield from self.velocity.check(spec)

    def _check_classes(self, spec: Spec) -> Iterable[str]:
        """Why a pool cannot be of so many classes."""
        assert self.classes is not None
        if spec.sampler is not None and not spec.sampler.conditional:
            yield f"classes = {self.classes} is of samplers that read labels, and [sampler] reads none; leave it out"
        shape = spec.data_shape()
        if shape is not None and self.classes > (shape.classes or 0):
            yield f"classes = {self.classes} of a pool, and the data has {shape.classes or 'none'}"
        if self.pool_size % self.classes:
            yield f"pool_size = {self.pool_size} does not divide into classes = {self.classes}"

    def _check_cloud(self, particles: int | None) -> Iterable[str]:
        """Why all of so many particles of the sampler cannot be the pool; None where it has none."""
        if particles is None:
            yield 'sampler = "none" moves particles, and [sampler] makes items of z; set sampler.use = "cloud"'
        elif particles != self.pool_size:
            yield f"pool_size = {self.pool_size}, and [sampler] has {particles} particles; set both to one number"

    def items_a_step(self, batch_size: int) -> int:
        """Real items that one outer loop reads."""
        return self.inner_loops * self.velocity.items_a_move(batch_size, self)

    def passes(self, step: int) -> int:
        """Passes over the pool when the sampler, if any, is fitted in outer loop `step` (from 1)."""
        return 1

    def build(self, experiment: Experiment) -> ParticleFlowObjective:
        from gflow_core.methods.particles import ParticleFlowObjective

        return ParticleFlowObjective(experiment, self, self.velocity.build(experiment, self), passes=self.passes)
