"""The Gaussian mixture with the means and covariances of the features: x = mean + t C^(1/2) (eq. 123).

C = Xc' Xc / m for m centred rows Xc [m, p] (eq. 123's 1/n must be 1/m). No p x p root is formed: with the thin SVD
A = Xc / sqrt(m) = U S V', t C^(1/2) = ((t V) S) V' exactly, in O(m p) a sample. S and V come from the eigenvectors of
the smaller of A A' and A' A in float64. For normal t that is in law g Xc / sqrt(m), g [m] normal, which needs neither.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import attrs
import torch
from torch import Generator, Tensor

from gflow_core import GflowError, Latent, Normal

__all__ = ["Component", "Mixture", "split", "standardised"]


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
        """S [r], largest first, and V' [r, p] of the thin SVD Xc / sqrt(m) = U S V'; r is its rank.

        An eigenvalue of the smaller Gram matrix is right to eps S_1^2 (eps 2e-16), so S_i is to eps S_1^2 / S_i, and
        what falls below its noise has no part in C: a root of a covariance of condition (S_1 / S_r)^2 <= 1e8 is right
        to 1e-12, relative to its norm.
        """
        a = self.centred.double()
        a = (a - a.mean(0)) / self.m**0.5  # rows centred in float32 leave a hair of the direction that has no variance
        wide = a.shape[0] < a.shape[1]
        values, vectors = torch.linalg.eigh(a @ a.mT if wide else a.mT @ a)
        kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
        s, vectors = values[kept].flip(0).sqrt(), vectors[:, kept].flip(1)
        vt = (vectors / s).mT @ a if wide else vectors.mT
        return s.to(self.centred), vt.to(self.centred)

    def root(self, t: Tensor) -> Tensor:
        """t [n, p] -> t C^(1/2) [n, p], without C^(1/2)."""
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
        for i, (component, x) in enumerate(zip(components, features, strict=True)):
            # A mean is rounded, so equal rows need not leave exact zeros.
            size, spread = (torch.linalg.vector_norm(rows) for rows in (x, component.centred))
            if spread <= 4 * torch.finfo(x.dtype).eps * size:
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


def split(features: Tensor, m: int, moments: Literal["split", "reuse"]) -> tuple[Tensor, Tensor]:
    """Features [K, N, p] -> those for the moments [K, m, p] and the sample [K, N - m, p].

    The sample is the last N - m of each class, the moments are of the first m (split) or the last m (reuse).
    """
    start = 0 if moments == "split" else features.shape[1] - m
    return features[:, start : start + m], features[:, m:]
