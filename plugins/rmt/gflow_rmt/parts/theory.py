"""What theory says of features, and what it rests on: options of eigenvectors, theory and concentration."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core import Result, Subject, option
from gflow_rmt.options import Represented, Surrogate

if TYPE_CHECKING:
    from gflow_core import Spec

__all__ = ["Concentration", "Eigenvectors", "Theory"]


@attrs.frozen(kw_only=True)
class Eigenvectors(Surrogate):
    """Leading eigenvectors of both Gram matrices as scatter plots by class, with the class means' prediction."""

    cite: ClassVar[tuple[str, ...]] = ("seddik2020rmt",)

    vectors: int = option(4, doc="Leading eigenvectors, which are shown in pairs of neighbours.", ge=2)
    reference: int = option(
        100, doc="Rotations of each class's features that calibrate the distance, as in rmt.spectrum.", ge=1
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if self.n > 0 and self.vectors > self.K * self.n:
            yield f"vectors = {self.vectors} is more than the K n = {self.K * self.n} images of the sample"

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.eigenvectors import eigenvectors

        return lambda subject: eigenvectors(subject, self, vectors=self.vectors, reference=self.reference)


@attrs.frozen(kw_only=True)
class Theory(Surrogate):
    """What random-matrix theory says of the spectrum: Marchenko-Pastur, deterministic equivalent, spikes."""

    cite: ClassVar[tuple[str, ...]] = ("seddik2020rmt",)

    reference: int = option(20, doc="Mixtures drawn, whose distances from the theory calibrate that observed.", ge=1)
    rotated: int = option(
        1,
        doc="Rotations of the features, normal features of the same means and covariances, that are split, fitted and "
        "compared as they are: what estimating the moments costs. Each takes as long as the theory itself.",
        ge=0,
    )
    level: float = option(0.01, doc="Of the Tracy-Widom edge test.", gt=0, lt=0.5)
    top: int = option(10, doc="Largest eigenvalues listed side by side.", ge=1)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.theory import theory

        return lambda subject: theory(
            subject, self, reference=self.reference, rotated=self.rotated, level=self.level, top=self.top
        )


@attrs.frozen(kw_only=True)
class Concentration(Represented):
    """Is the feature vector concentrated: tails of Lipschitz observations, and Lipschitz constants of the networks."""

    cite: ClassVar[tuple[str, ...]] = ("seddik2020rmt",)

    projections: int = option(100, doc="Random unit vectors u, whose u'x are observed.", ge=1)
    nu: int = option(5, doc="Degrees of freedom of Student's t vectors, which are not concentrated.", ge=3)
    reference: int = option(
        100,
        doc="Rotations of each class's features, normal features of the same means and covariances, whose exponents "
        "calibrate those observed.",
        ge=1,
    )
    points: int = option(16, doc="Points z, of the classes in turn, at which the Jacobian's norm is estimated.", ge=1)
    pairs: int = option(200, doc="Pairs z, z' whose |f(z) - f(z')| / |z - z'| are taken.", ge=1)

    def build(self) -> Callable[[Subject], Result]:
        from gflow_rmt.concentration import concentration

        return lambda subject: concentration(
            subject,
            self,
            projections=self.projections,
            nu=self.nu,
            reference=self.reference,
            points=self.points,
            pairs=self.pairs,
        )
