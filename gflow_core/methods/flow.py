"""A particle flow's options: particles move along a velocity, and the sampler is fitted to where they went."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.parts.contracts import Number
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.parts.spec import Spec

__all__ = ["ParticleFlow"]


@attrs.frozen(kw_only=True)
class ParticleFlow:
    """What every particle flow has as options; a plugin's part extends it, and its objective `ParticleFlowObjective`.

    One step is one outer loop: a pool of z is drawn and pushed through the sampler; the particles move `inner_loops`
    times; the sampler is fitted to the pairs (z, moved x).
    """

    players: ClassVar[tuple[str, ...]] = ("sampler",)
    accumulates: ClassVar[bool] = True

    step_size: Number = option(0.5, doc="How far particles move along the velocity.", gt=0)
    pool_size: int = option(1280, doc="Particles.", ge=1)
    inner_loops: int = option(20, doc="Moves of the particles in one outer loop.", ge=1)
    clamp: Literal["data", "none"] | tuple[float, float] = option(
        "data", doc="Where particles are kept: the data's own range (none for unbounded data), nowhere, or [low, high]."
    )
    chunk_size: int = option(64, doc="Particles moved at once; bounds the memory, changes nothing else.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        for name in dict.fromkeys(("dataset", "sampler", *self.players)):
            if getattr(spec, name) is None:
                yield f"needs a [{name}]"
        yield from spec.label_faults()
        if spec.train is not None and spec.train.batch_size > self.pool_size:
            yield f"pool_size = {self.pool_size} is smaller than train.batch_size = {spec.train.batch_size}"
        if isinstance(self.clamp, tuple) and self.clamp[0] >= self.clamp[1]:
            low, high = self.clamp
            yield f"clamp = [{low:g}, {high:g}]: the first number must be the smaller"
