"""The check of velocities, the part of a particle flow that moves the particles."""

from __future__ import annotations

from typing import Any

from gflow_core.methods.velocities import Flow
from gflow_core.testing.objectives import BATCH, check_objective
from gflow_core.testing.promises import Promises

__all__ = ["check_velocity"]


def check_velocity(
    part: Any, *, dataset: Any = None, sampler: Any = None, discriminator: Any = None, brief: bool = False
) -> None:
    """What `check_objective` asks of the objective `flow` along it: two moves of a small pool, three times.

    Particles move, by velocities of their shape and type; it leaves the pool as it is; what it observes is logged; its
    draws come from the experiment's streams, and a run that stopped between two moves goes on bit for bit.
    """
    Promises("flow.velocity", part).common()
    flow = Flow(velocity=part, pool_size=BATCH, inner_loops=2)
    check_objective(flow, dataset=dataset, sampler=sampler, discriminator=discriminator, brief=brief)
