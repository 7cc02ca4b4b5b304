"""What the two loops go by: options alone, which parts extend and the built loops read.

They stand below both, so that a part imports what it builds and nothing imports the part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from gflow_core.methods.losses import Nonsaturating
from gflow_core.parts.contracts import Augmentation, Loss, Number, Penalty
from gflow_core.parts.options import option

__all__ = ["FlowRules", "GameRules"]


@attrs.frozen(kw_only=True)
class GameRules:
    """What every game has as options: `Adversarial` checks them, `AdversarialObjective` plays by them."""

    loss: Loss = option(factory=Nonsaturating, doc="The pair of losses on logits.")
    discriminator_steps: int = option(1, doc="Discriminator updates before each update of the sampler.", ge=1)
    penalty: tuple[Penalty, ...] = option(
        (), doc="Penalties on the discriminator, each with its own weight and interval; one needs no list."
    )

    augment: tuple[Augmentation, ...] = option(
        (),
        doc="Changes of all that the discriminator sees, in both players' steps; penalties differentiate by items "
        "before them.",
    )
    pack: int = option(
        1, doc="Items that the discriminator judges together, all real or all generated (Lin et al. 2018).", ge=1
    )


@attrs.frozen(kw_only=True)
class FlowRules:
    """What every particle flow has as options: `ParticleFlow` checks them, `ParticleFlowObjective` flows by them."""

    sampler: Literal["fit", "none"] = option(
        "fit",
        doc="fit: particles are drawn from the sampler, which is fitted to where they went. none: they are the sampler "
        "`cloud` itself, and stay where they went; nothing is fitted.",
    )
    step_size: Number = option(0.5, doc="How far particles move along the velocity.", gt=0)
    pool_size: int = option(1280, doc="Particles.", ge=1)
    classes: int | None = option(
        None,
        doc="Classes of a pool, drawn afresh for each, with as many particles of each; labels as in the data by "
        "default.",
        ge=1,
    )
    inner_loops: int = option(20, doc="Moves of the particles in one outer loop.", ge=1)
    clamp: Literal["data", "none"] | tuple[float, float] = option(
        "data", doc="Where particles are kept: the data's own range (none for unbounded data), nowhere, or [low, high]."
    )
    chunk_size: int | Literal["auto"] = option(
        "auto",
        doc="Particles moved at once; bounds the memory, changes nothing else. auto: 64, and on CUDA as many as its "
        "memory holds.",
        ge=1,
    )

    if TYPE_CHECKING:

        @property
        def velocity(self) -> Any:
            """The part that moves the particles."""
