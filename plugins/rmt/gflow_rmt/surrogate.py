"""The Gaussian mixture with the means and covariances of the features: x = mean + t C^(1/2) (eq. 123).

C = Xc' Xc / m for m centred rows Xc [m, p] (eq. 123's 1/n must be 1/m). No p x p root is formed: with the thin SVD
Xc / sqrt(m) = U S V', t C^(1/2) = ((t V) S) V' exactly, in O(m p) a sample. For normal t that is in law g Xc / sqrt(m),
g [m] normal, which needs no SVD at all.
"""

from __future__ import annotations

from functools import cached_property

import attrs
import torch
from torch import Generator, Tensor

from gflow_core.builtin.latents import Normal
from gflow_core.contracts import Latent
from gflow_core.errors import GflowError

__all__ = ["Component", "Mixture", "standardised"]


@attrs.define(eq=False)
class Component:
    """One class: mean [p] and centred features [m, p] (float32 or float64), whose covariance is C = Xc' Xc / m."""

    mean: Tensor
    centred: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Component:
        """Fitted to the rows of x [m, p]."""
        mean = x.mean(0)
        return cls(mean, x - mean)

    @property
    def m(self) -> int:
        """Rows it was fitted to."""
        return len(self.centred)

    @cached_property
    def factors(self) -> tuple[Tensor, Tensor]:
        """S [r] and V' [r, p] of Xc / sqrt(m) = U S V', r = min(m, p)."""
        _, s, vt = torch.linalg.svd(self.centred / self.m**0.5, full_matrices=False)
        return s, vt

    def root(self, t: Tensor) -> Tensor:
        """t [n, p] -> t C^(1/2) [n, p], exactly."""
        s, vt = self.factors
        rooted: Tensor = ((t @ vt.mT) * s) @ vt
        return rooted

    def draw(self, n: int, law: Latent, generator: Generator) -> Tensor:
        """n rows mean + t C^(1/2), [n, p], where t has independent components of the law, standardised."""
        if isinstance(law, Normal):
            g = torch.randn(n, self.m, generator=generator).to(self.mean)
            return torch.addmm(self.mean, g, self.centred, alpha=self.m**-0.5)
        return self.mean + self.root(standardised(law, n, len(self.mean), generator).to(self.mean))


@attrs.define(eq=False)
class Mixture:
    """One Component a class."""

    components: tuple[Component, ...]

    @classmethod
    def of(cls, features: Tensor) -> Mixture:
        """Fitted to features [K, m, p], class by class. GflowError where a class does not vary at all."""
        components = tuple(Component.of(x) for x in features)
        for i, component in enumerate(components):
            if not bool(component.centred.any()):
                raise GflowError(
                    f"class {i} of {len(components)}: all {component.m} feature vectors are the same, so the mixture's "
                    "covariance is 0; the sampler ignores z there, or has collapsed"
                )
        return cls(components)

    def draw(self, n: int, law: Latent, generator: Generator) -> Tensor:
        """n rows of each class, [K, n, p]."""
        return torch.stack([component.draw(n, law, generator) for component in self.components])


def standardised(law: Latent, n: int, dim: int, generator: Generator) -> Tensor:
    """n draws of the law in `dim` dimensions, each component brought to mean 0 and variance 1: [n, dim]."""
    moments = law.moments()  # type: ignore[attr-defined]
    t = attrs.evolve(law, dim=dim).draw(n, generator)  # type: ignore[misc]
    scaled: Tensor = (t - moments.mean) / moments.variance**0.5
    return scaled
