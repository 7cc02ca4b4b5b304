"""The plugin's parts: their options and checks. Nothing here imports torch until something is built."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import attrs

from gflow_core import DataShape, Latent, Normal, option

__all__ = ["Affine", "Energy"]


@attrs.frozen(kw_only=True)
class Affine:
    """An affine map of the latent, x = A z + b: any Gaussian, if z is normal."""

    conditional: ClassVar[bool] = False

    bias: bool = option(True, doc="Learn b; without it the mean is 0.")
    init: Literal["identity", "random"] = option("random", doc="What A is before training.")
    latent: Latent = option(factory=lambda: Normal(dim=2), doc="Law of z.")

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None or data.kind != "vector":
            yield f"makes vectors, the data is {data or 'missing'}"
        elif self.init == "identity" and data.shape[0] != self.latent.dim:
            yield f'init = "identity" needs latent.dim = {data.shape[0]}, as many as the data has'

    def build(self, data: DataShape | None):
        from gflow_example.energy import AffineSampler

        assert data is not None
        return AffineSampler(self.latent.dim, data.shape[0], bias=self.bias, identity=self.init == "identity")


@attrs.frozen(kw_only=True)
class Energy:
    """The energy distance between generated and real data, made small by gradient descent; no discriminator.

    E = 2 E|x - y|^p - E|x - x'|^p - E|y - y'|^p, zero only where both laws agree (Szekely and Rizzo 2013).
    """

    players: ClassVar[tuple[str, ...]] = ("sampler",)

    power: float = option(1.0, doc="p in |x - y|^p.", ge=1, lt=2)

    def check(self, spec) -> Iterable[str]:
        if spec.dataset is None:
            yield "needs a [dataset]"
        if spec.sampler is not None and spec.sampler.conditional:
            yield "trains unconditional samplers; the sampler reads labels"

    def build(self, experiment):
        from gflow_example.energy import EnergyObjective

        return EnergyObjective(experiment, power=self.power)
