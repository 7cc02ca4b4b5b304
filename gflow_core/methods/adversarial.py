"""The part `adversarial`: the alternating game of two networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.parts.options import option
from gflow_core.parts.training import Experiment

if TYPE_CHECKING:
    from gflow_core.methods.game import AdversarialObjective
    from gflow_core.parts.spec import Spec

__all__ = ["Adversarial", "Penalty"]


@attrs.frozen(kw_only=True)
class Penalty:
    """A gradient penalty on the discriminator, weight * E|grad d|^2 (no factor 1/2)."""

    kind: Literal["none", "r1", "r2", "interpolation", "mixed", "wgan_gp"] = option(
        "none",
        doc="Where the gradient is taken: at real samples (r1), at generated ones (r2), between the two "
        "(interpolation; wgan_gp likewise, but pulling its norm to 1), or at what counts as real (mixed).",
    )
    weight: float = option(10.0, doc="Factor of the penalty.", ge=0)
    on: Literal["logit", "probability"] = option(
        "logit", doc="What is differentiated: the logit d, or sigmoid(d), as in the public code of 0GP-interpolation."
    )
    interval: int = option(
        1, doc="Discriminator steps between penalties; each is then counted `interval` times.", unit="steps", ge=1
    )


@attrs.frozen(kw_only=True)
class Adversarial:
    """A discriminator and a sampler, trained in turns.

    One step is `discriminator_steps` updates of the discriminator on a batch of real and a batch of generated
    items, then one update of the sampler. Labels are passed on where the data has them and a network reads them.
    """

    players: ClassVar[tuple[str, ...]] = ("sampler", "discriminator")
    replicable: ClassVar[bool] = True

    loss: Literal["nonsaturating", "minimax", "hinge", "least_squares", "wasserstein"] = option(
        "nonsaturating", doc="The pair of losses on logits."
    )
    discriminator_steps: int = option(1, doc="Discriminator updates before each update of the sampler.", ge=1)
    penalty: Penalty = option(factory=Penalty, doc="Gradient penalty on the discriminator.")

    def check(self, spec: Spec) -> Iterable[str]:
        for name in ("dataset", "sampler", "discriminator"):
            if getattr(spec, name) is None:
                yield f"needs a [{name}]"
        if self.loss == "wasserstein" and (self.penalty.kind == "none" or self.penalty.weight == 0):
            yield 'loss = "wasserstein" has no minimum without a penalty; set penalty = { kind = "wgan_gp" }'
        yield from spec.label_faults()

    def equilibrium(self) -> Mapping[str, float]:
        from gflow_core.methods.losses import LOSSES

        discriminator, sampler = LOSSES[self.loss].equilibrium
        values = {"discriminator_loss": discriminator, "sampler_loss": sampler}
        return {name: value for name, value in values.items() if value is not None}

    def build(self, experiment: Experiment) -> AdversarialObjective:
        from gflow_core.methods.game import AdversarialObjective

        return AdversarialObjective(self, experiment)
