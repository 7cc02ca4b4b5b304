"""The part `adversarial`: the alternating game of two networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core.methods.rules import GameRules
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.plugins import name_of
from gflow_core.parts.training import Experiment

if TYPE_CHECKING:
    from gflow_core.methods.game import AdversarialObjective
    from gflow_core.parts.spec import Spec

__all__ = ["Adversarial"]


@attrs.frozen(kw_only=True)
class Adversarial(GameRules):
    """A discriminator and a sampler, trained in turns.

    One step is `discriminator_steps` updates of the discriminator on a batch of real and a batch of generated
    items, then one update of the sampler. Labels are passed on where the data has them and a network reads them.
    """

    cite: ClassVar[tuple[str, ...]] = ("goodfellow2014gan",)
    players: ClassVar[tuple[str, ...]] = ("sampler", "discriminator")
    replicable: ClassVar[bool] = True
    accumulates: ClassVar[bool] = True
    compiles: ClassVar[bool] = True

    def check(self, spec: Spec) -> Iterable[str]:
        for name in ("dataset", "sampler", "discriminator"):
            if getattr(spec, name) is None:
                yield f"needs a [{name}]"
        if not getattr(self.loss, "bounded", True) and not any(penalty.weight for penalty in self.penalty):
            name = name_of("loss", self.loss)
            yield f'loss = "{name}" has no minimum without a penalty; set penalty = {{ use = "wgan_gp" }}'
        yield from spec.label_faults()
        if self.pack > 1 and self.augment:
            yield "pack and augment do not go together: a pack is no item of the data's shape; leave one of them out"
        if self.pack > 1 and getattr(spec.discriminator, "conditional", False):
            yield "pack: packed items have no label of their own; take a discriminator that reads none"
        if self.pack > 1 and spec.train is not None:
            share = spec.train.devices * spec.train.accumulate
            if spec.train.batch_size % (self.pack * share):
                of = f" in {share} pieces" if share > 1 else ""
                yield f"pack = {self.pack} does not divide train.batch_size = {spec.train.batch_size}{of}"

    @property
    def log_ratio(self) -> bool:
        """Whether the logit that the discriminator learns is log p/q of data and samples."""
        # Of augmented items it would be that of what augmentations make of them.
        return getattr(self.loss, "log_ratio", False) and self.pack == 1 and not self.augment

    def judged_shape(self, data: DataShape) -> DataShape:
        """What the discriminator judges: `pack` items behind one another."""
        first, *rest = data.shape
        return attrs.evolve(data, shape=(first * self.pack, *rest))

    def items_a_step(self, batch_size: int) -> int:
        """Real items that one step reads."""
        return batch_size * self.discriminator_steps

    def equilibrium(self) -> Mapping[str, float]:
        known = getattr(self.loss, "equilibrium", None)
        discriminator, sampler = known() if known is not None else (None, None)
        values = {"discriminator_loss": discriminator, "sampler_loss": sampler}
        return {name: value for name, value in values.items() if value is not None}

    def build(self, experiment: Experiment) -> AdversarialObjective:
        from gflow_core.methods.game import AdversarialObjective

        return AdversarialObjective(experiment, self)
