"""Laws of the latent z, each with its moments in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core.parts.nouns import Moments
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Bernoulli", "Equicorrelated", "Normal", "StudentT", "TruncatedNormal", "Uniform"]


@attrs.frozen(kw_only=True)
class Normal:
    """Independent standard normal components: z ~ N(0, I), mean 0, covariance I."""

    dim: int = option(128, doc="Length of z.", ge=1)

    def moments(self) -> Moments:
        """Mean 0, variance 1."""
        return Moments(0.0, 1.0)

    def draw(self, n: int, generator: Generator) -> Tensor:
        """n draws, [n, dim], on the CPU."""
        import torch

        return torch.randn(n, self.dim, generator=generator)

    def project(self, z: Tensor) -> Tensor:
        """The nearest points to z [n, dim] that may be drawn: z itself."""
        return z

    def code(self) -> str:
        """Lines of Python that draw z [n, dim] with torch alone: the same numbers as `draw`."""
        return f"z = torch.randn(n, {self.dim})"


@attrs.frozen(kw_only=True)
class TruncatedNormal:
    """Independent normal components that are drawn again while |z| > bound, then multiplied by `scale`.

    BigGAN's law (Brock et al. 2019): bound 2, and the scale is the truncation. Mean 0; the variance is
    scale^2 (1 - 2 b phi(b) / (2 Phi(b) - 1)), .774 scale^2 at the bound 2.
    """

    cite: ClassVar[tuple[str, ...]] = ("brock2019large",)

    dim: int = option(128, doc="Length of z.", ge=1)
    bound: float = option(2.0, doc="Largest |z| before scaling.", ge=1e-3)
    scale: float = option(1.0, doc="Multiplies z; BigGAN's truncation.", gt=0)

    def moments(self) -> Moments:
        """The variance of a normal law cut off at +-bound, times scale^2."""
        inside = math.erf(self.bound / math.sqrt(2))
        density = math.exp(-self.bound * self.bound / 2) / math.sqrt(2 * math.pi)
        return Moments(0.0, self.scale**2 * (1 - 2 * self.bound * density / inside))

    def draw(self, n: int, generator: Generator) -> Tensor:
        """n draws, [n, dim], on the CPU."""
        import torch

        inside = math.erf(self.bound / math.sqrt(2))
        u = torch.rand(n, self.dim, generator=generator, dtype=torch.float64)
        z = math.sqrt(2) * torch.erfinv(inside * (2 * u - 1))  # the inverse of its distribution function
        return (self.scale * z.clamp(-self.bound, self.bound)).to(torch.get_default_dtype())

    def project(self, z: Tensor) -> Tensor:
        """z [n, dim] cut off at +-bound, times `scale`."""
        return z.clamp(-self.scale * self.bound, self.scale * self.bound)

    def code(self) -> str:
        """Lines of Python, as a normal law has them."""
        inside = f"math.erf({self.bound} / math.sqrt(2))"
        return (
            f"u = torch.rand(n, {self.dim}, dtype=torch.float64)\n"
            f"z = math.sqrt(2) * torch.erfinv({inside} * (2 * u - 1))\n"
            f"z = ({self.scale} * z.clamp({-self.bound}, {self.bound})).float()"
        )


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

    def moments(self) -> Moments:
        """Mean (low+high)/2, variance (high-low)^2/12."""
        return Moments((self.low + self.high) / 2, (self.high - self.low) ** 2 / 12)

    def draw(self, n: int, generator: Generator) -> Tensor:
        """n draws, [n, dim], on the CPU."""
        import torch

        return torch.rand(n, self.dim, generator=generator) * (self.high - self.low) + self.low

    def project(self, z: Tensor) -> Tensor:
        """z [n, dim] cut off at the ends of the interval."""
        return z.clamp(self.low, self.high)

    def code(self) -> str:
        """Lines of Python, as a normal law has them."""
        return f"z = torch.rand(n, {self.dim}) * {self.high - self.low} + {self.low}"


@attrs.frozen(kw_only=True)
class Bernoulli:
    """Independent components, 1 with probability p and 0 otherwise: mean p, variance p (1-p)."""

    dim: int = option(128, doc="Length of z.", ge=1)
    p: float = option(0.5, doc="Probability of 1.", gt=0, lt=1)

    def moments(self) -> Moments:
        """Mean p, variance p (1-p)."""
        return Moments(self.p, self.p * (1 - self.p))

    def draw(self, n: int, generator: Generator) -> Tensor:
        """n draws of 0 and 1, [n, dim], on the CPU."""
        import torch

        return (torch.rand(n, self.dim, generator=generator) < self.p).to(torch.get_default_dtype())

    def code(self) -> str:
        """Lines of Python, as a normal law has them."""
        return f"z = (torch.rand(n, {self.dim}) < {self.p}).float()"


@attrs.frozen(kw_only=True)
class Equicorrelated:
    """Normal components of variance 1, any two of which have the covariance rho: mean 0.

    z = sqrt(rho) g0 1 + sqrt(1-rho) g. The covariance has the eigenvalues 1 + (dim-1) rho, once, and 1 - rho; at
    rho = 1 it has rank one, and all components of a z are the same number.
    """

    dim: int = option(128, doc="Length of z.", ge=1)
    rho: float = option(0.5, doc="Covariance of two components.", ge=0, le=1)

    def moments(self) -> Moments:
        """Mean 0, variance 1, covariance rho."""
        return Moments(0.0, 1.0, self.rho)

    def draw(self, n: int, generator: Generator) -> Tensor:
        """n draws, [n, dim], on the CPU."""
        import torch

        shared = torch.randn(n, 1, generator=generator)
        own = torch.randn(n, self.dim, generator=generator)
        return math.sqrt(self.rho) * shared + math.sqrt(1 - self.rho) * own

    def project(self, z: Tensor) -> Tensor:
        """z [n, dim] itself; at rho = 1 the mean of its components in each of them."""
        return z if self.rho < 1 else z.mean(1, keepdim=True).expand_as(z)

    def code(self) -> str:
        """Lines of Python, as a normal law has them."""
        shared = f"math.sqrt({self.rho}) * torch.randn(n, 1)"
        return f"z = {shared} + math.sqrt(1 - {self.rho}) * torch.randn(n, {self.dim})"


@attrs.frozen(kw_only=True)
class StudentT:
    """Independent components of Student's t law with nu degrees of freedom, scaled to variance 1: heavy tails, mean 0.

    Drawn by Bailey's polar method (Mathematics of Computation 62, 1994): sqrt(nu (u^(-2/nu) - 1)) cos(2 pi v).
    """

    cite: ClassVar[tuple[str, ...]] = ("bailey1994polar",)

    dim: int = option(128, doc="Length of z.", ge=1)
    nu: float = option(5.0, doc="Degrees of freedom; above 2, where the variance nu/(nu-2) is finite.", gt=2)

    def moments(self) -> Moments:
        """Mean 0, variance 1."""
        return Moments(0.0, 1.0)

    def draw(self, n: int, generator: Generator) -> Tensor:
        """n draws, [n, dim], on the CPU."""
        import torch

        u, v = torch.rand(2, n, self.dim, generator=generator, dtype=torch.float64)
        radius = (self.nu * torch.expm1(-2 / self.nu * torch.log1p(-u))).sqrt()  # 1 - u is never 0
        z = radius * torch.cos(2 * math.pi * v) * math.sqrt((self.nu - 2) / self.nu)
        return z.to(torch.get_default_dtype())

    def project(self, z: Tensor) -> Tensor:
        """z [n, dim] itself."""
        return z

    def code(self) -> str:
        """Lines of Python, as a normal law has them."""
        return (
            f"u, v = torch.rand(2, n, {self.dim}, dtype=torch.float64)\n"
            f"radius = ({self.nu} * torch.expm1(-2 / {self.nu} * torch.log1p(-u))).sqrt()\n"
            f"z = (radius * torch.cos(2 * math.pi * v) * math.sqrt(({self.nu} - 2) / {self.nu})).float()"
        )
