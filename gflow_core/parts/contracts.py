"""What each kind of part promises: one Protocol of a few lines a kind.

A part is a frozen attrs class that is cheap to import: its fields are its options, `check` says whether it
fits the rest of the recipe, and `build` imports torch and makes the thing that works. Nothing here imports
torch, so that recipes are listed, shown and checked in a fraction of a second.

Objectives stand in `parts.training`, analyzers in `parts.analysis`: they see the whole recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from attrs import frozen

from gflow_core.parts.kinds import kind
from gflow_core.parts.nouns import Batch, DataShape, Progress, TextEncoder, no_progress

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor, nn
    from torch.optim import Optimizer

    from gflow_core.parts.source import Source

__all__ = [
    "Adaptive",
    "Augmentation",
    "DatasetPart",
    "DiscriminatorPart",
    "Encoder",
    "EncoderPart",
    "Judged",
    "Latent",
    "Loss",
    "Number",
    "OptimizerPart",
    "Penalty",
    "SamplerPart",
    "Schedule",
    "TextEncoderPart",
    "Tracker",
    "TrackerPart",
    "at",
]


@kind("latent", members={"dim": "the option dim", "draw": "the method draw"})
@runtime_checkable
class Latent(Protocol):
    """A law of the latent z. Frozen attrs class, registered as a latent."""

    @property
    def dim(self) -> int:
        """Numbers in z."""

    def draw(self, n: int, generator: Generator) -> Tensor:
        """n independent draws, [n, dim], in torch's default dtype, by functions that are told no device.

        A law whose components are alike may also state its `moments() -> Moments`; any law in `code() -> str` lines of
        Python that draw `z` [n, dim] with torch and math alone, for `gflow export`; and one that is not discrete in
        `project(z: Tensor) -> Tensor` the nearest points to z [n, dim] that it may draw, for what moves z along a
        gradient. All that the core registers have them, save the discrete one `project`.
        """


@kind(
    "sampler",
    members={
        "latent": "the option latent",
        "conditional": "the class attribute conditional (True or False)",
        "build": "the method build",
    },
)
class SamplerPart(Protocol):
    """A generator: z -> x. `conditional` says whether it reads labels: on the class, or as one of its options.

    A part that knows by its options alone what it makes has a `data_shape() -> DataShape` too: recipes with it can do
    without a [dataset]. One with batch norm of single numbers says `least_batch: ClassVar[int] = 2`, the items that
    training must give it at once: recipes are checked by it. One that is particles and no network, of which z
    picks, says how many in `particles: int`; what it builds has them as a tensor of that name [N, *shape], without
    gradient, for flows to move.
    """

    @property
    def latent(self) -> Latent:
        """The law of its z."""

    @property
    def conditional(self) -> bool:
        """Whether it reads labels."""

    def check(self, data: DataShape | None) -> Iterable[str]:
        """Why it cannot produce items of this shape; nothing if it can. None: the recipe has no data set."""

    def build(self, data: DataShape | None) -> nn.Module:
        """A module with `forward(z [B, latent.dim], y=None) -> x [B, *shape]`, freshly initialised."""


@kind(
    "discriminator",
    members={"conditional": "the class attribute conditional (True or False)", "build": "the method build"},
)
class DiscriminatorPart(Protocol):
    """A classifier of real against generated: x -> logit. `conditional` as a sampler's, and `least_batch`, if any.

    It may also have `itemwise: ClassVar[bool]`: an item's logit depends on no other item of the batch, and a forward
    changes nothing in the network; the adversarial game then judges real and generated items in one forward.
    """

    @property
    def conditional(self) -> bool:
        """Whether it reads labels."""

    def check(self, data: DataShape | None) -> Iterable[str]:
        """Why it cannot judge items of this shape; nothing if it can."""

    def build(self, data: DataShape | None) -> nn.Module:
        """A module with `forward(x [B, *shape], y=None) -> logit [B]`; real is positive."""


@kind("dataset", members={"data_shape": "the method data_shape", "load": "the method load"})
class DatasetPart(Protocol):
    """A data set, by its options.

    It may also have `has_modes: ClassVar[bool]`: whether the Source that it loads states the modes of its law, for
    `mode_coverage` to count; and `has_density: ClassVar[bool]`: whether it states `log_density`, for `svgd` to follow.
    A recipe is checked by them, before anything is loaded; without them there are none. One whose labels are captions
    has an option `text: TextEncoderPart`, and its Source says `captions` and `text`.
    """

    def data_shape(self) -> DataShape:
        """Shape, range and classes of its items, from the options alone."""

    def check(self) -> Iterable[str]:
        """Options that contradict each other. Must not touch the disk."""

    def load(self, progress: Progress = no_progress) -> Source:
        """Read (decoding once into a cache, where that is needed). Raises DataError: where it was looked
        for, and what to download or which option to set."""


class Encoder(Protocol):
    """A frozen representation network, on its device and in eval mode."""

    @property
    def name(self) -> str:
        """What scores on its features are called after: "inception", "resnet50 (random)"."""

    @property
    def dim(self) -> int:
        """Numbers in the features of an item."""

    @property
    def weights(self) -> str:
        """sha256 of its weights."""

    @property
    def resizer(self) -> str:
        """How items reach its input, in words: "bilinear to 299x299, antialiased"."""

    def __call__(self, x: Tensor) -> Tensor:
        """[B, *shape] in the data's range, on its device -> features [B, dim], float32, without gradient."""

    def classify(self, x: Tensor) -> Tensor:
        """[B, *shape] -> logits [B, classes]; only where the part says `classifies`."""


@kind("encoder", members={"classifies": "the class attribute classifies (True or False)", "build": "the method build"})
@runtime_checkable
class EncoderPart(Protocol):
    """A representation network, by its options.

    It may also have `smooth: ClassVar[bool]`: features follow every small change of an item, as they do not in a
    network that rounds its input. What it builds then has, both with gradient with respect to x and none for weights,
    `features(x)`, as a call, and `maps(x) -> list[Tensor]`: feature maps at several depths, shallow to deep, none finer
    than the one before, [B, C, h, w] (of a vector h = w = 1), float32.
    """

    classifies: ClassVar[bool]
    """Whether the network ends in a classifier, so that `classify` works."""

    def check(self, data: DataShape | None) -> Iterable[str]:
        """Why it cannot read items of this shape; nothing if it can."""

    def build(self, data: DataShape, device: torch.device, progress: Progress = no_progress) -> Encoder:
        """Load the network (or train it once and cache it). Raises DataError where weights are missing."""


@kind(
    "text_encoder",
    members={"dim": "the option dim", "fit": "the method fit", "restored": "the method restored"},
)
@runtime_checkable
class TextEncoderPart(Protocol):
    """How captions become real labels. A run keeps what was fitted, so that it can be asked for other texts."""

    @property
    def dim(self) -> int:
        """Numbers in a text's vector."""

    def fit(self, texts: Sequence[str]) -> TextEncoder:
        """The encoder that goes with these captions. Raises DataError, or GflowError where something is missing."""

    def restored(self, state: Mapping[str, Any]) -> TextEncoder:
        """The encoder of that state."""


@kind("schedule", members={"at": "the method at"})
@runtime_checkable
class Schedule(Protocol):
    """A number as a function of the steps alone, so that resuming needs no state."""

    def at(self, done: int) -> float:
        """Its value for the step that follows `done` finished ones; 0 <= done."""


Number = float | Schedule
"""What training uses may be a plain number or a schedule: the type of such an option. `at` reads it."""


def at(value: Number, done: int) -> float:
    """The number for the step that follows `done` finished ones."""
    if isinstance(value, float | int):  # first: to ask a number whether it has a protocol's methods takes microseconds
        return value
    return value.at(done) if isinstance(value, Schedule) else value


@kind("optimizer", members={"lr": "the option lr", "at": "the method at", "build": "the method build"})
@runtime_checkable
class OptimizerPart(Protocol):
    """An optimizer, by its options."""

    lr: Number

    def build(self, module: nn.Module) -> Optimizer:
        """torch's optimizer over the module's parameters that require gradients."""

    def at(self, done: int) -> dict[str, Any]:
        """Key of the optimizer's parameter groups -> its value for the step that follows `done` finished ones.

        What schedules change; it holds "lr" at least.
        """


@kind(
    "loss",
    members={
        "reads_real": "the class attribute reads_real (True or False)",
        "discriminator": "the method discriminator",
        "sampler": "the method sampler",
    },
)
@runtime_checkable
class Loss(Protocol):
    """The two losses of a game, on logits d(real) and d(fake) [..., B]: means over the last axis, [...].

    Leading axes are replicas; item i of one batch and of the other are a pair. It may also have
    `equilibrium() -> tuple[float, float | None]`, what (discriminator, sampler) come to where samples and data are one
    law and the discriminator is optimal, None where that leaves it open; `bounded: ClassVar[bool]`, False where
    the discriminator's half has no minimum without a penalty; and `log_ratio: ClassVar[bool]`, True where the optimal
    d is log p/q of data and samples (`gflow sample --refine`).
    """

    reads_real: ClassVar[bool]
    """Whether the sampler's half reads the logits of real items. Where it does not, nobody computes them."""

    def discriminator(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        """What the discriminator minimises."""

    def sampler(self, d_fake: Tensor, d_real: Tensor | None) -> Tensor:
        """What the sampler minimises. `d_real` [..., B], without gradient, where it `reads_real`; else None."""


@frozen(eq=False)
class Judged:
    """One update of the discriminator, as a penalty sees it; leading axes are replicas."""

    real: Batch
    """What counts as real, x [..., B, *shape]; x requires gradients where the penalty differentiates "real"."""
    fake: Batch
    """Generated items, x [..., B, *shape]; x requires gradients where the penalty differentiates "fake"."""
    d_real: Tensor
    """Logits [..., B]."""
    d_fake: Tensor
    """Logits [..., B]."""
    true: int
    """How many of what counts as real, the first, are real."""
    judge: Callable[[Tensor, Tensor | None], Tensor]
    """Logits [..., B] of other items x [..., B, *shape] under their labels."""
    uniform: Callable[[], Tensor]
    """U(0, 1) [..., B], one draw an item."""


@kind(
    "penalty",
    members={
        "weight": "the option weight",
        "interval": "the option interval",
        "differentiates": 'the class attribute differentiates, such as frozenset({"real"})',
        "value": "the method value",
    },
)
@runtime_checkable
class Penalty(Protocol):
    """What is added to the discriminator's loss: weight * value, every `interval` of its updates `interval` times.

    It may also have `pairs: ClassVar[bool]`, whether item i of both batches belong together in it.
    """

    differentiates: ClassVar[frozenset[str]]
    """The batches, of "real" and "fake", whose logits at hand it differentiates by their items."""
    weight: Number
    interval: int

    def value(self, judged: Judged) -> Tensor:
        """The penalty [...], without its weight."""


@kind("augmentation", members={"draw": "the method draw", "apply": "the method apply"})
@runtime_checkable
class Augmentation(Protocol):
    """A random change of items while training: of the data (`train.augment`), or of all that a discriminator sees.

    What is random and what is done with it are kept apart: draws are global, and each process takes its slice. One
    that follows what the discriminator says has three methods more, those of `Adaptive`.
    """

    def check(self, data: DataShape) -> Iterable[str]:
        """Why it cannot change items of this shape; nothing if it can."""

    def draw(self, n: int, data: DataShape, generator: Generator, done: int) -> Tensor:
        """What is random about n items, [n, ...], in the step that follows `done` finished ones; no device is named."""

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Items x [B, *shape] in the data's range, changed by what was drawn for them [B, ...]. Differentiable in x."""


@runtime_checkable
class Adaptive(Augmentation, Protocol):
    """An augmentation in a game that follows its discriminator: it has a state, which a checkpoint keeps.

    Leading axes are replicas. Nothing in it may wait for the device.
    """

    def begin(self) -> Tensor:
        """The first state [k], on the CPU; its first number is logged as `augment_p`."""

    def decided(self, drawn: Tensor, state: Tensor) -> Tensor:
        """What `apply` reads [..., B, ...]: what was drawn [..., B, ...], under the state [..., k]."""

    def adapted(self, state: Tensor, real_sign: Tensor, n: int) -> Tensor:
        """The state [..., k] after an update on n real items, with real_sign [...] their mean of sign(d(real))."""


class Tracker(Protocol):
    """Somebody who follows a run."""

    def log(self, step: int, line: Mapping[str, Any]) -> None:
        """A line of training: metric -> its mean since the last line, and "seconds" of training so far.

        With replicas also "seeds": seed -> metric -> value.
        """

    def scores(self, step: int, name: str, scores: Mapping[str, float | int | str | None]) -> None:
        """What the analysis `name` found at a step."""

    def picture(self, step: int, path: Path) -> None:
        """The sample picture of a step, as it lies in the run folder."""

    def flush(self) -> None:
        """Write what is still in memory: a run that is killed goes on from here."""

    def close(self) -> None:
        """The run ends here, or stops."""


@kind("tracker", members={"open": "the method open"})
@runtime_checkable
class TrackerPart(Protocol):
    """Somebody who follows runs, by the options. One of several processes has them.

    It may also have `prepare() -> None`, called before training starts: GflowError where something is missing.
    """

    def open(self, folder: Path, done: int) -> Tracker:
        """Follow the run in `folder` from after step `done`; what it was told beyond that step is told again."""
