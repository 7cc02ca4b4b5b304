"""What a particle flow's part begins with: particles move along a velocity, and the sampler is fitted to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core.methods.rules import FlowRules

if TYPE_CHECKING:
    from gflow_core.parts.spec import Spec

__all__ = ["ParticleFlow"]


@attrs.frozen(kw_only=True)
class ParticleFlow(FlowRules):
    """A particle flow. A plugin's part extends it, and its objective `ParticleFlowObjective`.

    One step is one outer loop: a pool of z is drawn and pushed through the sampler; the particles move `inner_loops`
    times; the sampler is fitted to the pairs (z, moved x).
    """

    players: ClassVar[tuple[str, ...]] = ("sampler",)
    accumulates: ClassVar[bool] = True

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
