"""The learnt velocities: their options and checks. The work is in `flow`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core import Experiment, FlowRules, Loss, Monoflow, name_of, option
from gflow_vgrow.divergences import KL, Divergence

if TYPE_CHECKING:
    from torch import Tensor

    from gflow_core import Spec
    from gflow_vgrow.flow import LearntRatio

__all__ = ["Ept", "MonoflowVelocity", "Ratio", "RatioOptions"]


@attrs.frozen(kw_only=True, slots=False)
class RatioOptions:
    """Options of the velocity, which the objective has, too."""

    cite: ClassVar[tuple[str, ...]] = ("gao2019vgrow",)

    divergence: Divergence = option(factory=KL, doc="The f-divergence that the flow decreases.")
    discriminator_steps: int = option(1, doc="Discriminator updates before each move.", ge=1)
    ratio_clip: tuple[float, float] | None = option(
        None, doc="Bounds [low, high] on the factor s(x) (the authors' 2-D runs with jeffreys: [1, 100]).", ge=0
    )


class _Learnt:
    """What velocities along a learnt discriminator share."""

    players: ClassVar[tuple[str, ...]] = ("discriminator",)
    replicable: ClassVar[bool] = True

    if TYPE_CHECKING:
        discriminator_steps: int

    def items_a_move(self, batch_size: int, rules: FlowRules) -> int:
        return batch_size * self.discriminator_steps


@attrs.frozen(kw_only=True)
class Ratio(RatioOptions, _Learnt):
    """The velocity of an f-divergence's gradient flow (Gao et al. 2019), its density ratio learnt between moves.

    v(x) = s(x) grad d(x), where s(x) = r f''(r) at r = exp(-d(x)). Before each move the discriminator takes
    `discriminator_steps` logistic-regression steps on `train.batch_size` real items against as many random particles.
    """

    log_ratio: ClassVar[bool] = True

    def check(self, spec: Spec) -> Iterable[str]:
        if self.ratio_clip is not None and self.ratio_clip[0] >= self.ratio_clip[1]:
            low, high = self.ratio_clip
            yield f"ratio_clip = [{low:g}, {high:g}]: the first number must be the smaller"

    def factor(self, d: Tensor) -> Tensor:
        """s at logits d, the same shape."""
        s = self.divergence.scale(d)
        return s if self.ratio_clip is None else s.clamp(*self.ratio_clip)

    def build(self, experiment: Experiment, rules: FlowRules) -> LearntRatio:
        from gflow_vgrow.flow import LearntRatio, comparing, discriminator_loss

        return LearntRatio(
            experiment,
            rules,
            factor=self.factor,
            lesson=comparing(discriminator_loss),
            discriminator_steps=self.discriminator_steps,
            observe=self.divergence.estimate,
            name=r"$\log r = -d$",
        )


@attrs.frozen(kw_only=True)
class MonoflowVelocity(_Learnt):
    """The flow that an adversarial game approximates (Yi, Zhu and Liu 2023): particles descend its sampler's loss.

    v(x) = h'(d(x)) grad d(x) where that loss is -E h(d(x)). Before each move the discriminator takes
    `discriminator_steps` steps on its own half, on `train.batch_size` real items against as many random particles.
    """

    cite: ClassVar[tuple[str, ...]] = ("yi2023monoflow",)

    loss: Loss = option(factory=Monoflow, doc="The pair of losses on logits; monoflow has every published h.")
    discriminator_steps: int = option(1, doc="Discriminator updates before each move.", ge=1)

    @property
    def log_ratio(self) -> bool:
        """Whether d comes to log p/q, as the loss says."""
        return getattr(self.loss, "log_ratio", False)

    def check(self, spec: Spec) -> Iterable[str]:
        name = name_of("loss", self.loss)
        if self.loss.reads_real:
            yield f'velocity: loss = "{name}" compares pairs of items; take one of single logits, such as monoflow'
        if not getattr(self.loss, "bounded", True):
            yield f'velocity: loss = "{name}" has no minimum without a penalty; monoflow moves along the same grad d'

    def build(self, experiment: Experiment, rules: FlowRules) -> LearntRatio:
        from gflow_vgrow.flow import LearntRatio, comparing, factor_of

        return LearntRatio(
            experiment,
            rules,
            factor=factor_of(lambda d: self.loss.sampler(d, None)),
            lesson=comparing(self.loss.discriminator),
            discriminator_steps=self.discriminator_steps,
            observe=lambda d_real, d_fake: self.loss.sampler(d_fake, None),
            observes=("discriminator_loss", "sampler_loss"),
        )


@attrs.frozen(kw_only=True)
class Ept(_Learnt):
    """Steepest descent of Pearson's chi^2, the density ratio learnt by least squares (Gao et al. 2020).

    The discriminator's output is read as R. With R = q/p, particles over data, it minimises E_p R^2 - 2 E_q R + penalty
    E_p|grad R|^2, and particles decrease chi^2(q || p) = E_p (q/p - 1)^2: v = -2 grad R. With R = p/q both laws change
    places in the loss, and particles decrease chi^2(p || q): v = 2 R grad R, which is small far from data.
    """

    cite: ClassVar[tuple[str, ...]] = ("gao2020ept",)

    ratio: Literal["p/q", "q/p"] = option(
        "q/p", doc="What R estimates: the density of particles over that of data, or the inverse."
    )
    penalty: float = option(0.5, doc="Weight of E|grad R|^2, over the law in the denominator.", ge=0)
    discriminator_steps: int = option(1, doc="Discriminator updates before each move.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        return ()

    def factor(self, r: Tensor) -> Tensor:
        """What multiplies grad R at outputs R, the same shape."""
        return 2 * r if self.ratio == "p/q" else r.new_full(r.shape, -2.0)

    def estimate(self, r_real: Tensor, r_fake: Tensor) -> Tensor:
        """The divergence [...] from outputs on real and generated items [..., B]: exact for the exact R."""
        upper, lower = (r_real, r_fake) if self.ratio == "p/q" else (r_fake, r_real)
        return 2 * upper.mean(-1) - lower.square().mean(-1) - 1

    def build(self, experiment: Experiment, rules: FlowRules) -> LearntRatio:
        from gflow_vgrow.flow import LearntRatio, least_squares

        return LearntRatio(
            experiment,
            rules,
            factor=self.factor,
            lesson=least_squares("generated" if self.ratio == "p/q" else "real", self.penalty),
            discriminator_steps=self.discriminator_steps,
            observe=self.estimate,
            witness=(lambda r: 1 - r) if self.ratio == "p/q" else (lambda r: r - 1),
            name="$1 - R$" if self.ratio == "p/q" else "$R - 1$",
        )
