"""What each kind of part promises: one Protocol of a few lines a kind.

A part is a frozen attrs class that is cheap to import: its fields are its options, `check` says whether it
fits the rest of the recipe, and `build` imports torch and makes the thing that works. Nothing here imports
torch, so that recipes are listed, shown and checked in a fraction of a second.

Objectives stand in `parts.training`, analyzers in `parts.analysis`: they see the whole recipe.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from gflow_core.parts.kinds import kind
from gflow_core.parts.nouns import DataShape, Progress, no_progress

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor, nn
    from torch.optim import Optimizer

    from gflow_core.parts.source import Source

__all__ = [
    "DatasetPart",
    "DiscriminatorPart",
    "Encoder",
    "EncoderPart",
    "Latent",
    "OptimizerPart",
    "SamplerPart",
    "Schedule",
]


@kind("latent", members={"dim": "the option dim", "draw": "the method draw"})
@runtime_checkable
class Latent(Protocol):
    """A law of the latent z. Frozen attrs class, registered as a latent."""

    @property
    def dim(self) -> int:
        """Numbers in z."""

    def draw(self, n: int, generator: Generator) -> Tensor:
        """n independent draws, [n, dim], on the CPU in torch's default dtype.

        A law whose components are alike may also state its `moments() -> Moments`; all that the core registers do.
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
    without a [dataset].
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
    """A classifier of real against generated: x -> logit. `conditional` as a sampler's."""

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
    `mode_coverage` to count. A recipe is checked by it, before anything is loaded; without it there are none.
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
    """A representation network, by its options."""

    classifies: ClassVar[bool]
    """Whether the network ends in a classifier, so that `classify` works."""

    def check(self, data: DataShape | None) -> Iterable[str]:
        """Why it cannot read items of this shape; nothing if it can."""

    def build(self, data: DataShape, device: torch.device, progress: Progress = no_progress) -> Encoder:
        """Load the network (or train it once and cache it). Raises DataError where weights are missing."""


@kind("schedule", members={"at": "the method at"})
@runtime_checkable
class Schedule(Protocol):
    """A factor, of the learning rate or the momentum, as a function of the number of steps already done."""

    def at(self, done: int) -> float:
        """The factor after `done` steps; 0 <= done."""


@kind("optimizer", members={"lr": "the option lr", "at": "the method at", "build": "the method build"})
@runtime_checkable
class OptimizerPart(Protocol):
    """An optimizer, by its options."""

    lr: float
    schedule: Schedule

    def build(self, module: nn.Module) -> Optimizer:
        """torch's optimizer over the module's parameters."""

    def at(self, done: int) -> dict[str, float]:
        """Option -> its value for the step that follows `done` finished ones: what schedules change."""
