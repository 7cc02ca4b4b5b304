"""Laws of the latent z."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from gflow_core.options import option

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Normal", "Uniform"]


@attrs.frozen(kw_only=True)
class Normal:
    """Independent standard normal components: z ~ N(0, I), mean 0, covariance I."""

    dim: int = option(128, doc="Length of z.", ge=1)

    def draw(self, n: int, generator: Generator) -> Tensor:
        """n draws, [n, dim], on the CPU."""
        import torch

        return torch.randn(n, self.dim, generator=generator)


@attrs.frozen(kw_only=True)
class Uniform:
    """Independent uniform components on [low, high): mean (low+high)/2, variance (high-low)^2/12."""

    dim: int = option(128, doc="Length of z.", ge=1)
    low: float = option(-1.0, doc="Lower end of the interval.")
    high: float = option(1.0, doc="Upper end of the interval; above `low`.")

    def check(self) -> Iterable[str]:
        """The interval must not be empty."""
        if self.low >= self.high:
            yield f"low = {self.low:g} must be below high = {self.high:g}"

    def draw(self, n: int, generator: Generator) -> Tensor:
        """n draws, [n, dim], on the CPU."""
        import torch

        return torch.rand(n, self.dim, generator=generator) * (self.high - self.low) + self.low
