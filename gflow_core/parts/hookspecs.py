"""The whole plugin surface: one hook a kind.

A plugin is a module (or any object) with functions marked `@hookimpl`, named in its distribution's
entry-point group `gflow.plugins`:

    from gflow_core import hookimpl

    @hookimpl
    def register_samplers(add):
        add("mine.unet", UnetSampler)

Each hook receives `add(name, part)`, where `part` is a frozen attrs class whose fields are its options
(the contracts: `parts.contracts`). Names are `plugin.part`; the core's own are bare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pluggy

__all__ = ["API_VERSION", "ENTRY_POINT_GROUP", "HOOKS", "hookimpl", "hookspec"]

API_VERSION = 2
"""A plugin module may state `API_VERSION`; one that states another number is refused with a reason.

What may change within a version stands in docs/plugins.md. A hook that a later version will not have is marked
`@hookspec(warn_on_impl=DeprecationWarning("..."))`, an argument `warn_on_impl_args={"name": ...}`: `gflow plugins`
shows the warning beside each plugin that uses it.
"""

ENTRY_POINT_GROUP = "gflow.plugins"

hookspec = pluggy.HookspecMarker("gflow")
hookimpl = pluggy.HookimplMarker("gflow")

Add = Callable[[str, type[Any]], None]


@hookspec
def register_samplers(add: Add) -> None:
    """Register generators: `add(name, part)`, `part` meeting `SamplerPart`."""


@hookspec
def register_discriminators(add: Add) -> None:
    """Register discriminators: `add(name, part)`, `part` meeting `DiscriminatorPart`."""


@hookspec
def register_objectives(add: Add) -> None:
    """Register training objectives: `add(name, part)`, `part` meeting `ObjectivePart`."""


@hookspec
def register_datasets(add: Add) -> None:
    """Register data sets: `add(name, part)`, `part` meeting `DatasetPart`."""


@hookspec
def register_analyzers(add: Add) -> None:
    """Register analyzers: `add(name, part)`, `part` meeting `AnalyzerPart`."""


@hookspec
def register_encoders(add: Add) -> None:
    """Register frozen representation networks: `part` meeting `EncoderPart`."""


@hookspec
def register_text_encoders(add: Add) -> None:
    """Register what makes vectors of captions: `add(name, part)`, `part` meeting `TextEncoderPart`."""


@hookspec
def register_latents(add: Add) -> None:
    """Register laws of z: `add(name, part)`, `part` meeting `Latent`."""


@hookspec
def register_losses(add: Add) -> None:
    """Register pairs of losses on logits: `add(name, part)`, `part` meeting `Loss`."""


@hookspec
def register_penalties(add: Add) -> None:
    """Register penalties on the discriminator: `add(name, part)`, `part` meeting `Penalty`."""


@hookspec
def register_augmentations(add: Add) -> None:
    """Register random changes of items: `add(name, part)`, `part` meeting `Augmentation`."""


@hookspec
def register_trackers(add: Add) -> None:
    """Register those who follow runs: `add(name, part)`, `part` meeting `TrackerPart`."""


@hookspec
def register_optimizers(add: Add) -> None:
    """Register optimizers: `add(name, part)`, `part` meeting `OptimizerPart`."""


@hookspec
def register_schedules(add: Add) -> None:
    """Register schedules: `add(name, part)`, `part` meeting `Schedule`."""


@hookspec
def register_kinds(add: Callable[[type[Any]], None]) -> None:
    """Register kinds of parts that the plugin owns: `add(contract)`, a Protocol under `@kind("plugin.kind")`."""


@hookspec
def register_parts(add: Callable[[str, str, type[Any]], None]) -> None:
    """Register parts of a kind that a plugin owns, this one or another: `add(kind, name, part)`."""


HOOKS: dict[str, str] = {
    "sampler": "register_samplers",
    "discriminator": "register_discriminators",
    "objective": "register_objectives",
    "dataset": "register_datasets",
    "analyzer": "register_analyzers",
    "encoder": "register_encoders",
    "text_encoder": "register_text_encoders",
    "latent": "register_latents",
    "loss": "register_losses",
    "penalty": "register_penalties",
    "schedule": "register_schedules",
    "optimizer": "register_optimizers",
    "augmentation": "register_augmentations",
    "tracker": "register_trackers",
}
"""Kind of part -> the hook that registers it."""
