"""The checked recipe: what a TOML file means, as attrs classes. Made by `gflow_core.recipes.structure`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option

__all__ = ["Analysis", "Ema", "Spec", "Train"]


@attrs.frozen(kw_only=True)
class Ema:
    """An exponential moving average of the sampler's weights, used for samples and analyses."""

    decay: float = option(0.999, doc="Share of the average kept at each step.", ge=0, lt=1)
    start: int = option(
        0, doc="Step from which weights are averaged; until then the plain weights count.", unit="steps", ge=0
    )


@attrs.frozen(kw_only=True)
class Train:
    """The clock: how long, on what, how often to look and to save."""

    seed: int = option(0, doc="Seed of every random stream.", ge=0)
    steps: int = option(0, doc="Length of training; required with an [objective].", unit="steps", ge=0)
    batch_size: int = option(64, doc="Global batch: items over all processes.", ge=1)
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", doc="Where to compute; auto takes CUDA, then MPS, then the CPU."
    )
    replicas: int = option(
        1,
        doc="Runs trained at once, of seeds seed, seed+1, ...: the linear layers of their networks are stacked, which "
        "on small networks costs little more than one run. For vector data.",
        ge=1,
    )
    devices: int = option(1, doc="Processes on this machine, one a device; torchrun sets its own.", ge=1)
    precision: Literal["auto", "float32", "bf16"] = option(
        "auto",
        doc="bf16 autocasts the networks; auto does so for images where that is the faster (CUDA, CPUs with AMX).",
    )
    deterministic: bool = option(
        False, doc="Ask torch for deterministic kernels (bit-exact resuming on CUDA needs it)."
    )
    log_every: int = option(1, doc="Write metrics, averaged since the last line.", unit="steps", ge=1)
    sample_every: int = option(100, doc="Draw a sample picture; 0 draws only the last.", unit="steps", ge=0)
    checkpoint_every: int = option(100, doc="Save a checkpoint; 0 saves only the last.", unit="steps", ge=0)
    keep: int = option(2, doc="Checkpoints kept, newest first; the final one always stays.", ge=1)
    tensorboard: bool = option(
        False, doc="Write metrics, sample pictures and scores under tensorboard/ of the run folder, too."
    )
    ema: Ema | None = option(None, doc="Average the sampler's weights: { decay, start }.")


@attrs.frozen(kw_only=True)
class Analysis:
    """One [[analyze]] table: an analyzer and when it runs."""

    name: str
    """Its folder under analysis/; the part's own name unless the recipe gives another."""
    every: int
    """Steps between runs during training; 0 runs it once, at the end."""
    part: Any


@attrs.frozen(kw_only=True)
class Spec:
    """A checked recipe: parts built from their tables, ready to be built into an Experiment."""

    title: str = ""
    dataset: Any = None
    sampler: Any = None
    discriminator: Any = None
    objective: Any = None
    optimizer: Mapping[str, Any] = attrs.field(factory=dict)
    train: Train | None = None
    analyze: tuple[Analysis, ...] = ()

    def data_shape(self) -> DataShape | None:
        """What items look like: the data, or what the sampler makes by its own account; None where neither tells."""
        for part in (self.dataset, self.sampler):
            if part is not None and hasattr(part, "data_shape"):
                shape: DataShape = part.data_shape()
                return shape
        return None

    def label_faults(self) -> Iterator[str]:
        """Why sampler and discriminator cannot agree about labels, when they are trained against each other."""
        both = self.sampler is not None and self.discriminator is not None
        if both and self.discriminator.conditional and not self.sampler.conditional:
            yield "the discriminator reads labels, which an unconditional sampler's items do not have"

    @property
    def seed(self) -> int:
        """The seed of the run; 0 where the recipe has no [train]."""
        return self.train.seed if self.train else 0

    @property
    def seeds(self) -> range:
        """The seed of each replica; one where the run is one."""
        return range(self.seed, self.seed + (self.train.replicas if self.train else 1))
