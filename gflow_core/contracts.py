"""The nouns of gflow, and what each kind of part promises.

A part is a frozen attrs class that is cheap to import: its fields are its options, `check` says whether it
fits the rest of the recipe, and `build` imports torch and makes the thing that works. Nothing here imports
torch, so that recipes are listed, shown and checked in a fraction of a second.

Shapes are written without the batch: `[B, *shape]` is a batch of B items of `DataShape.shape`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import attrs

if TYPE_CHECKING:
    import numpy as np
    import torch
    from matplotlib.figure import Figure
    from torch import Generator, Tensor, nn

    from gflow_core.data import Feed, Source
    from gflow_core.nn.ema import Ema
    from gflow_core.nn.player import Player
    from gflow_core.nn.replicas import ReplicaFeed
    from gflow_core.rng import Streams
    from gflow_core.runtime import Runtime
    from gflow_core.spec import Spec

__all__ = [
    "AnalyzerPart",
    "Batch",
    "DataShape",
    "DatasetPart",
    "DiscriminatorPart",
    "Encoder",
    "EncoderPart",
    "Experiment",
    "Latent",
    "Map",
    "Metrics",
    "Moments",
    "Objective",
    "ObjectivePart",
    "Phase",
    "Progress",
    "Result",
    "SamplerPart",
    "Subject",
    "no_progress",
]

X = TypeVar("X")
Y = TypeVar("Y")


@attrs.frozen
class DataShape:
    """What the items of a data set look like; known from its options alone, without reading data."""

    kind: Literal["image", "vector"]
    shape: tuple[int, ...]
    """(channels, height, width) of an image, (dimension,) of a vector."""
    low: float | None = None
    high: float | None = None
    """The closed range of the values; None where they are unbounded."""
    classes: int | None = None
    """Labels are 0 .. classes-1; None where they are not classes."""
    conditions: tuple[str, ...] = ()
    """What the real numbers of each label [k] mean, one name a number; empty where labels are not real vectors."""

    @property
    def label_size(self) -> int:
        """Numbers in a label as networks read it: one a class (one-hot), or one a condition; 0 without labels."""
        return self.classes or len(self.conditions)

    def __str__(self) -> str:
        size = "x".join(str(n) for n in self.shape)
        bounds = "unbounded" if self.low is None else f"in [{self.low:g}, {self.high:g}]"
        labels = f", {self.classes} classes" if self.classes else ""
        conditions = f", conditions {', '.join(self.conditions)}" if self.conditions else ""
        return f"{self.kind} {size} {bounds}{labels}{conditions}"


@attrs.frozen(eq=False)
class Batch:
    """Items of a data set on the training device."""

    x: Tensor
    """[B, *shape], in the range that the data's DataShape states."""
    y: Tensor | None = None
    """Class indices [B] (int64) or real conditions [B, k]; None where the data has no labels."""


class Progress(Protocol):
    """How long work reports itself: `progress("decoding", done, total)`."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


def no_progress(what: str, done: int, total: int) -> None:
    """Report nothing."""


# ------------------------------------------------------------------ the kinds of parts


@attrs.frozen
class Moments:
    """Mean and covariance of a law of z whose components are alike."""

    mean: float
    """Of each component."""
    variance: float
    """Of each component."""
    covariance: float = 0.0
    """Of any two components."""


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


class DiscriminatorPart(Protocol):
    """A classifier of real against generated: x -> logit. `conditional` as a sampler's."""

    @property
    def conditional(self) -> bool:
        """Whether it reads labels."""

    def check(self, data: DataShape | None) -> Iterable[str]:
        """Why it cannot judge items of this shape; nothing if it can."""

    def build(self, data: DataShape | None) -> nn.Module:
        """A module with `forward(x [B, *shape], y=None) -> logit [B]`; real is positive."""


class ObjectivePart(Protocol):
    """A training method. It owns the step; the core owns the clock, seeds, devices and records.

    It may also have `equilibrium() -> Mapping[str, float]`, metric -> its value where samples and data follow one law:
    the reference lines of its curves; and `replicable: ClassVar[bool]`, whether it trains stacked replicas
    [R, B, ...] as it trains one run (`train.replicas`).
    """

    players: ClassVar[tuple[str, ...]]
    """The networks it trains, of "sampler" and "discriminator"; each needs a table in [optimizer]."""

    def check(self, spec: Spec) -> Iterable[str]:
        """Why it cannot train this recipe; nothing if it can."""

    def build(self, experiment: Experiment) -> Objective:
        """The runnable objective over the built experiment (whose own `objective` is not set yet)."""


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


class AnalyzerPart(Protocol):
    """A measurement or a picture of a run, live or finished.

    It may also have `prepare(spec: Spec, device: torch.device, progress: Progress) -> None`: fetch what it will need
    from disk, before training starts. Raises GflowError where that is missing.
    """

    needs: ClassVar[frozenset[str]]
    """What the recipe must have, of "dataset", "sampler", "discriminator", "objective"."""

    def check(self, spec: Spec) -> Iterable[str]:
        """Why it cannot look at this recipe's run; nothing if it can."""

    def build(self) -> Callable[[Subject], Result]:
        """The function that does the work."""


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


@runtime_checkable
class EncoderPart(Protocol):
    """A representation network, by its options."""

    classifies: ClassVar[bool]
    """Whether the network ends in a classifier, so that `classify` works."""

    def check(self, data: DataShape | None) -> Iterable[str]:
        """Why it cannot read items of this shape; nothing if it can."""

    def build(self, data: DataShape, device: torch.device, progress: Progress = no_progress) -> Encoder:
        """Load the network (or train it once and cache it). Raises DataError where weights are missing."""


# ------------------------------------------------------------------ training


@attrs.frozen
class Phase:
    """A safe point inside a step: the state is whole, and the run may be saved and stopped here."""

    name: str
    done: int
    total: int


Metrics = Mapping[str, "Tensor"]
"""What a step observed: name -> tensor on the device, 0-dimensional or, with replicas, [R]. (No `.item()` there.)"""


class Objective(Protocol):
    """A built objective.

    `state` is a mutable attrs object of tensors, numbers, strings and None: all that the next step needs
    beyond networks, optimizers, data order and random streams. It is checkpointed as it stands.
    """

    state: Any

    def step(self, step: int) -> Iterator[Phase | Metrics]:
        """Do step number `step` (from 1), or the rest of it where `state` stands in its middle.

        Yields a Phase at every safe point inside the step, and last, when the step is done, its Metrics.
        At every yield `state` is whole: abandoning the iterator there and calling `step` again with the
        same networks, optimizers, streams and state continues bit for bit.
        """


@attrs.define(eq=False)
class Experiment:
    """A recipe built: everything that training and analysis work on. Made by `build.build`."""

    spec: Spec
    runtime: Runtime
    streams: Streams
    data: Source | None = None
    feed: Feed | ReplicaFeed | None = None
    sampler: nn.Module | None = None
    discriminator: nn.Module | None = None
    players: dict[str, Player] = attrs.field(factory=dict)
    objective: Objective | None = None
    ema: Ema | None = None
    replicas: tuple[Streams, ...] = ()
    """The streams of each replica (`train.replicas`), whose networks are stacked; empty where the run is one."""

    @property
    def final_sampler(self) -> nn.Module | None:
        """The network that samples come from: the averaged weights where the run keeps them."""
        return self.ema.module if self.ema is not None else self.sampler

    def draw(self, function: Callable[[Streams], Tensor]) -> Tensor:
        """What `function` draws from the run's streams [n, ...]; with replicas, from each one's [R, n, ...]."""
        if not self.replicas:
            return function(self.streams)
        import torch

        return torch.stack([function(streams) for streams in self.replicas])


# ------------------------------------------------------------------ analysis


class Map(Protocol):
    """`map(function, items)` -> an iterator of function(item), in the items' order, that takes items as it needs them.

    Both must pickle. What `function` raises is raised where its result would have come.
    """

    def __call__(self, function: Callable[[X], Y], items: Iterable[X], /) -> Iterator[Y]: ...


@attrs.define(eq=False)
class Subject:
    """What an analyzer looks at: a run at one moment. Networks are in eval mode; draws are its own."""

    spec: Spec
    runtime: Runtime
    streams: Streams
    """The analyzer's own streams: what it draws does not disturb training, and repeats with the seed."""
    step: int = 0
    data: Source | None = None
    sampler: nn.Module | None = None
    """EMA weights where the run keeps them."""
    discriminator: nn.Module | None = None
    progress: Progress = no_progress
    folder: Path | None = None
    """The run folder, where there is one: for metrics and pictures already recorded."""
    earlier: Mapping[int, Path] = attrs.field(factory=dict)
    """Step -> folder of what this analyzer found earlier in the run, oldest first."""
    work: Path | None = None
    """A folder of this analyzer's own (it may not exist yet), where long work keeps what a killed run goes on from."""
    map: Map = map
    """Python's own map, or the workers of a cluster where one is given: for long work in independent pieces."""

    def protocol(self) -> dict[str, Any]:
        """What every score depends on, for its manifest: the data, its split, averaged weights or not, batch norm."""
        train = self.spec.train
        averaged = self.spec.objective is None and getattr(self.spec.sampler, "averaged", False)
        return {
            "split": getattr(self.spec.dataset, "split", "all"),
            "data": self.data.fingerprint if self.data is not None else None,
            "ema": averaged or (train is not None and train.ema is not None),
            "batch_norm": "eval",
        }


@attrs.define(eq=False)
class Result:
    """What an analyzer found. The core writes it: result.json, NAME.csv a table, NAME.png a figure, NAME.gif."""

    scores: dict[str, float | int | str | None] = attrs.field(factory=dict)
    tables: dict[str, list[dict[str, Any]]] = attrs.field(factory=dict)
    """Name -> rows, each a mapping from column to value; all rows have the same columns."""
    figures: dict[str, Figure] = attrs.field(factory=dict)
    animations: dict[str, list[np.ndarray[Any, Any]]] = attrs.field(factory=dict)
    """Name -> frames [H, W, 3] of bytes, all of one size, shown 20 a second; written as NAME.gif."""
    manifest: dict[str, Any] = attrs.field(factory=dict)
    """What the scores depend on: counts, splits, encoder, averaged weights or not."""
    seeds: dict[int, dict[str, float | int | str | None]] = attrs.field(factory=dict)
    """Where several replicas were analyzed: seed -> its own scores; `scores` are then means over seeds."""
