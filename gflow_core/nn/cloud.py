"""The sampler `cloud`: particles that move, and no network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core.nn.latents import Uniform
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.nn.picked import Picked

__all__ = ["Cloud"]


@attrs.frozen(kw_only=True)
class Cloud:
    """Particles in place of a network: samples are drawn from among them, with replacement.

    A particle flow with `objective.sampler = "none"` moves them. They begin as independent draws of N(mean, std^2),
    within the range of the data. z is one number, uniform on [0, 1): it picks a particle, so that there is nothing
    between two samples.
    """

    conditional: ClassVar[bool] = False
    latent: ClassVar[Uniform] = Uniform(dim=1, low=0.0, high=1.0)

    particles: int = option(1280, doc="Particles.", ge=1)
    mean: float | tuple[float, ...] = option(0.0, doc="Where they begin: one number, or one a dimension of vectors.")
    std: float = option(1.0, doc="Standard deviation along each dimension that they begin with.", gt=0)

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None:
            yield "needs a [dataset] that says where particles live"
        elif isinstance(self.mean, tuple) and (len(self.mean),) != data.shape:
            yield f"mean has {len(self.mean)} numbers, the data is {data}"

    def build(self, data: DataShape | None) -> Picked:
        import torch

        from gflow_core.nn.picked import Picked

        assert data is not None
        start = torch.tensor(self.mean) + self.std * torch.randn(self.particles, *data.shape)
        return Picked(start if data.low is None else start.clamp(data.low, data.high))
