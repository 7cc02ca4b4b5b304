"""The checked recipe: what a TOML file means, as attrs classes. Made by `gflow_core.recipes.structure`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from gflow_core.parts.contracts import Augmentation, Number, Schedule, TrackerPart
from gflow_core.parts.goal import Goal
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option

__all__ = ["NETWORKS", "OWN_KEYS", "Analysis", "Ema", "Network", "Spec", "Storage", "Train"]

NETWORKS = ("sampler", "discriminator")
"""The tables that hold a network each."""


@attrs.frozen(kw_only=True)
class Ema:
    """An exponential moving average of the sampler's weights, used for samples and analyses."""

    decay: Number = option(0.999, doc="Share of the average kept at each step.", ge=0, lt=1)
    start: int = option(
        0, doc="Last step at which the plain weights count; averaging begins with the one after it.", unit="steps", ge=0
    )
    half_life: Number | None = option(
        None,
        doc="Items, batch_size a step, after which a step's share of the average has halved; in place of `decay`.",
        unit="items",
        ge=0,
    )
    ramp: float | None = option(
        None, doc="Longest half-life, as a share of the items so far: an average that is short at first.", gt=0
    )
    buffers: Literal["copy", "average", "reestimate"] = option(
        "copy",
        doc="Statistics of batch norm: the network's own, averaged as weights are, or those of the averaged network "
        "itself, taken over 4,096 of its samples whenever it is looked at or saved.",
    )


@attrs.frozen(kw_only=True)
class Train:
    """The clock: how long, on what, how often to look and to save."""

    seed: int = option(0, doc="Seed of every random stream.", ge=0)
    from_run: str | None = option(
        None,
        doc="Run folder that training starts from: both networks, and averaged weights, begin as its last checkpoint "
        "has them; optimizers, random streams and steps anew.",
    )
    steps: int = option(
        0,
        doc="Length of training; required with an [objective]. 0 trains nothing: the networks are saved and looked at "
        "as they begin.",
        unit="steps",
        ge=0,
    )
    batch_size: int = option(64, doc="Global batch: items over all processes.", ge=1)
    accumulate: int = option(
        1, doc="Pieces in which a batch is computed, one after another, for one update: that share of the memory.", ge=1
    )
    clip: Number | None = option(
        None, doc="Longest gradient of a network, over all its parameters; longer ones are scaled down to it.", gt=0
    )
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
        doc="bf16 autocasts the networks; auto does so for images where that is the faster: on CUDA with native bf16, "
        "on a CPU as it was measured (`gflow machine`).",
    )
    tf32: bool = option(
        False,
        doc="Compute float32 products and convolutions of training and sampling on CUDA in TF32, of 10 bits, "
        "which is several times as fast. Other devices have none, and ignore it.",
    )
    deterministic: bool = option(
        False, doc="Ask torch for deterministic kernels (bit-exact resuming on CUDA needs it)."
    )
    draws: Literal["host", "device"] = option(
        "host",
        doc="Where training draws random numbers: host, the same on every device, or device, which spares a CUDA "
        "device their copies and draws numbers of its own there; elsewhere both are the same.",
    )
    compile: bool | Literal["auto"] = option(
        False,
        doc="Compile the steps' tensor work, which small networks of vectors on the CPU gain by: it takes a minute at "
        "first and a C++ compiler, and last digits differ. auto does so where it can, and the run repays it.",
    )
    log_every: int = option(1, doc="Write metrics, averaged since the last line.", unit="steps", ge=1)
    sample_every: int = option(100, doc="Draw a sample picture; 0 draws only the last.", unit="steps", ge=0)
    checkpoint_every: int = option(100, doc="Save a checkpoint; 0 saves only the last.", unit="steps", ge=0)
    keep: int = option(2, doc="Checkpoints kept, newest first; the final one always stays.", ge=1)
    keep_best: str | None = option(
        None,
        doc="ANALYSIS.SCORE of an analysis that runs while training: the checkpoint where it is best is made, and kept "
        "beside the newest. min: or max: before it says which way is better where the analyzer does not.",
    )
    stop_after: int | None = option(
        None, doc="End training once that score has not improved for so many steps.", unit="steps", ge=1
    )
    trackers: tuple[TrackerPart, ...] = option(
        (), doc="Who follows metrics, pictures and scores, besides the tracker jsonl, which every run has."
    )
    augment: tuple[Augmentation, ...] = option((), doc="Random changes of the data as training reads them, in turn.")
    ema: Ema | None = option(None, doc="Average the sampler's weights, for samples and analyses.")


@attrs.frozen(kw_only=True)
class Network:
    """The core's own keys of [sampler] and [discriminator], beside the options of the part."""

    weights: str | None = option(
        None, doc="File of weights that it begins from; relative paths count from where gflow is started."
    )
    freeze: tuple[str, ...] = option((), doc='Patterns of parameters that are not trained, as in ["blocks.0.*"].')


@attrs.frozen(kw_only=True)
class Storage:
    """The core's own key of [dataset], beside the options of the part."""

    on_device: bool | Literal["auto"] = option(
        "auto",
        doc="Training reads the data from a copy on the CUDA device; auto: where they take a quarter of its free "
        "memory at most. The batches are the same; elsewhere nothing changes.",
    )


OWN_KEYS: Mapping[str, type[Any]] = {"dataset": Storage, **dict.fromkeys(NETWORKS, Network)}
"""The tables that hold keys of the core's own beside a part's options, and what these are."""


@attrs.frozen(kw_only=True)
class Analysis:
    """One [[analyze]] table: an analyzer and when it runs."""

    name: str
    """Its folder under analysis/; the part's own name unless the recipe gives another."""
    every: int
    """Steps between runs during training; 0 runs it once, at the end."""
    sampler_batch_norm: Literal["eval", "standing"] = "eval"
    """The statistics that batch norm in the sampler has: those of training, or new ones over its own samples."""
    part: Any

    def due(self, step: int) -> bool:
        """Whether it runs after this step, while training."""
        return self.every > 0 and step % self.every == 0


@attrs.frozen(kw_only=True)
class Spec:
    """A checked recipe: parts built from their tables, ready to be built into an Experiment."""

    title: str = ""
    dataset: Any = None
    sampler: Any = None
    discriminator: Any = None
    objective: Any = None
    storage: Storage = Storage()
    networks: Mapping[str, Network] = attrs.field(factory=lambda: {kind: Network() for kind in NETWORKS})
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

    @property
    def particles(self) -> int | None:
        """How many particles the sampler is; None where it is a network, or there is none."""
        return getattr(self.sampler, "particles", None)

    def judged(self, data: DataShape | None) -> DataShape | None:
        """What the discriminator judges of such data: items as they are, unless the objective packs them."""
        packs = getattr(self.objective, "judged_shape", None)
        shape: DataShape | None = packs(data) if packs is not None and data is not None else data
        return shape

    def smallest_batch(self, kind: str, processes: int) -> tuple[int, str]:
        """Items that the network of this kind is given at once in training, by so many processes; and in words, why."""
        assert self.train is not None
        pack = getattr(self.objective, "pack", 1) if kind == "discriminator" else 1
        shares = {"processes": processes, "train.accumulate": self.train.accumulate, "objective.pack": pack}
        by = "".join(f" / {share} ({name})" for name, share in shares.items() if share > 1)
        size = self.train.batch_size // (processes * self.train.accumulate * pack)
        return size, f"train.batch_size = {self.train.batch_size}" + (f"{by} is {size}" if by else "")

    def items_a_step(self) -> int:
        """Items of the data that one step reads: `batch_size`, unless the objective states otherwise."""
        if self.train is None:
            return 1
        stated = getattr(self.objective, "items_a_step", None)
        return max(1, stated(self.train.batch_size)) if stated is not None else self.train.batch_size

    def label_faults(self) -> Iterator[str]:
        """Why sampler and discriminator cannot agree about labels, when they are trained against each other."""
        both = self.sampler is not None and self.discriminator is not None
        if both and self.discriminator.conditional and not self.sampler.conditional:
            yield "the discriminator reads labels, which an unconditional sampler's items do not have"

    def schedules(self) -> Iterator[tuple[tuple[str | int, ...], attrs.Attribute[Any], Schedule]]:
        """Every number that follows a schedule: its place in the recipe, its option, and the schedule."""
        for name in ("objective", "optimizer", "train"):
            yield from _schedules((name,), getattr(self, name))

    def scheduled(self, done: int) -> dict[str, float]:
        """Place in the recipe -> value for the step that follows `done` finished ones, of all that changes.

        Of optimizers the rates themselves, whatever changes them.
        """
        length = self.train.steps if self.train else 0
        moments = (0, min(1, length), length // 2, length, done)
        seen: list[dict[str, float]] = []
        for moment in moments:
            values = {
                ".".join(map(str, place)): schedule.at(moment)
                for place, _, schedule in self.schedules()
                if place[0] != "optimizer"
            }
            for name, part in self.optimizer.items():
                for key, value in part.at(moment).items():
                    for i, number in enumerate(value if isinstance(value, tuple) else (value,)):
                        at_i = f".{i}" if isinstance(value, tuple) else ""
                        values[f"optimizer.{name}.{key}{at_i}"] = number
            seen.append(values)
        return {name: value for name, value in seen[-1].items() if len({one[name] for one in seen}) > 1}

    @property
    def goal(self) -> Goal | None:
        """The score by which a checkpoint is kept (`train.keep_best`)."""
        return Goal.of(self.train.keep_best if self.train else None, [analysis.name for analysis in self.analyze])

    def judged_after(self, step: int) -> bool:
        """Whether that score is measured after this step, so that its checkpoint may be the best."""
        goal = self.goal
        return goal is not None and any(a.name == goal.analysis and a.due(step) for a in self.analyze)

    @property
    def seed(self) -> int:
        """The seed of the run; 0 where the recipe has no [train]."""
        return self.train.seed if self.train else 0

    @property
    def seeds(self) -> range:
        """The seed of each replica; one where the run is one."""
        return range(self.seed, self.seed + (self.train.replicas if self.train else 1))


def _schedules(
    place: tuple[str | int, ...], value: Any, field: attrs.Attribute[Any] | None = None
) -> Iterator[tuple[tuple[str | int, ...], attrs.Attribute[Any], Schedule]]:
    """The schedules in `value`, which stands at `place` in the option `field`."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _schedules((*place, key), one)
    elif isinstance(value, tuple):
        for i, one in enumerate(value):
            yield from _schedules((*place, i) if len(value) > 1 else place, one, field)
    elif field is not None and isinstance(value, Schedule):
        yield place, field, value
    elif attrs.has(type(value)):
        for own in attrs.fields(type(value)):
            if own.init:
                yield from _schedules((*place, own.name), getattr(value, own.name), own)
