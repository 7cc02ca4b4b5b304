"""Gradient penalties on the discriminator, weight * E|grad d|^2 (no factor 1/2).

Weight 10 here is gamma = 20 where the penalty is written gamma/2 E|grad d|^2 (Mescheder et al. 2018). Each is a mean
over the batch, [...]: leading axes are replicas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.parts.contracts import Judged, Number
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["R1", "R2", "GradientPenalty", "Interpolation", "Mixed", "WganGp"]


@attrs.frozen(kw_only=True)
class GradientPenalty:
    """Options that all gradient penalties share."""

    differentiates: ClassVar[frozenset[str]] = frozenset()

    weight: Number = option(10.0, doc="Factor of the penalty.", ge=0)
    on: Literal["logit", "probability"] = option(
        "logit", doc="What is differentiated: the logit d, or sigmoid(d), as in the public code of 0GP-interpolation."
    )
    interval: int = option(
        1,
        doc="Discriminator steps between penalties; each is then counted `interval` times.",
        unit="updates",
        ge=1,
    )


@attrs.frozen(kw_only=True)
class R1(GradientPenalty):
    """E|grad d(x)|^2 at real items (Mescheder et al. 2018, eq. 9)."""

    cite: ClassVar[tuple[str, ...]] = ("mescheder2018converge",)
    differentiates: ClassVar[frozenset[str]] = frozenset({"real"})

    def value(self, judged: Judged) -> Tensor:
        from gflow_core.methods import gradients

        square = gradients.squared_gradient_norm(judged.d_real, judged.real.x, on=self.on)
        return gradients.zero_centred(square[..., : judged.true])


@attrs.frozen(kw_only=True)
class R2(GradientPenalty):
    """E|grad d(y)|^2 at generated items (Mescheder et al. 2018, eq. 10)."""

    cite: ClassVar[tuple[str, ...]] = ("mescheder2018converge",)
    differentiates: ClassVar[frozenset[str]] = frozenset({"fake"})

    def value(self, judged: Judged) -> Tensor:
        from gflow_core.methods import gradients

        return gradients.zero_centred(gradients.squared_gradient_norm(judged.d_fake, judged.fake.x, on=self.on))


@attrs.frozen(kw_only=True)
class Mixed(GradientPenalty):
    """E|grad d|^2 at what counts as real, real or not (FAR, eq. 12); without counted items it is r1."""

    differentiates: ClassVar[frozenset[str]] = frozenset({"real"})

    def value(self, judged: Judged) -> Tensor:
        from gflow_core.methods import gradients

        return gradients.zero_centred(gradients.squared_gradient_norm(judged.d_real, judged.real.x, on=self.on))


@attrs.frozen(kw_only=True)
class Interpolation(GradientPenalty):
    """E|grad d|^2 between a real and a generated item, a x + (1 - a) y with a ~ U(0, 1) (Thanh-Tung et al. 2019)."""

    cite: ClassVar[tuple[str, ...]] = ("thanhtung2019improving",)
    pairs: ClassVar[bool] = True

    def value(self, judged: Judged) -> Tensor:
        from gflow_core.methods import gradients

        return gradients.zero_centred(self._between(judged))

    def _between(self, judged: Judged) -> Tensor:
        """Squared gradient norms between the two items of each pair."""
        from gflow_core.methods import gradients

        x = gradients.interpolate(judged.real.x.detach(), judged.fake.x.detach(), judged.uniform()).requires_grad_()
        return gradients.squared_gradient_norm(judged.judge(x, judged.real.y), x, on=self.on)


@attrs.frozen(kw_only=True)
class WganGp(Interpolation):
    """E(|grad d| - 1)^2 between a real and a generated item (Gulrajani et al. 2017, eq. 3)."""

    cite: ClassVar[tuple[str, ...]] = ("gulrajani2017improved",)

    def value(self, judged: Judged) -> Tensor:
        from gflow_core.methods import gradients

        return gradients.one_centred(self._between(judged))
