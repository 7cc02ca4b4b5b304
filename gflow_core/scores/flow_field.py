"""flow_field: a particle flow drawn in the plane."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core.methods.flow import ParticleFlow
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.parts.spec import Spec

__all__ = ["FlowField"]


@attrs.frozen(kw_only=True)
class FlowField:
    """What a flow does in the plane: particles, their paths over inner loops, velocities, and what the field knows.

    Fresh particles leave the sampler as it stands, or a cloud's go on from where they are; they move by the run's own
    velocity, whose networks are copies that go on learning as in training. Nothing of the run changes.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler", "objective"})

    particles: int = option(
        256, doc="Particles drawn from the sampler and moved; of a cloud all move, and at most so many are shown.", ge=2
    )
    inner_loops: int | None = option(None, doc="Moves drawn as paths; the objective's own number by default.", ge=1)
    arrows: int = option(24, doc="Velocity arrows along each axis, where the field is known between particles.", ge=2)
    resolution: int = option(200, doc="Points along each axis of the heat map.", unit="points", ge=10)

    def check(self, spec: Spec) -> Iterable[str]:
        if spec.objective is not None and not isinstance(spec.objective, ParticleFlow):
            yield "draws how particles move, and the recipe's objective moves none; flow and vgrow.flow do"
        if any(part is not None and part.conditional for part in (spec.sampler, spec.discriminator)):
            yield "draws one flow for all points; a network reads labels, and each has a flow of its own"
        if spec.dataset is not None and spec.dataset.data_shape().shape != (2,):
            yield f"draws the plane, the data is {spec.dataset.data_shape()}"

    def build(self) -> Callable[[Subject], Result]:
        from gflow_core.scores.flow_moves import flow_field

        return lambda subject: flow_field(
            subject,
            subject.spec.objective,
            particles=self.particles,
            loops=self.inner_loops or subject.spec.objective.inner_loops,
            arrows=self.arrows,
            resolution=self.resolution,
        )
