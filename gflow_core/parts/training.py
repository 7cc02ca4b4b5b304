"""What a training method is given, and what it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import attrs

from gflow_core.parts.kinds import kind
from gflow_core.parts.nouns import Batch
from gflow_core.parts.spec import Spec

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from gflow_core.machine.runtime import Runtime
    from gflow_core.machine.streams import Streams
    from gflow_core.parts.contracts import Encoder
    from gflow_core.parts.source import Source

__all__ = ["Average", "Experiment", "Feed", "Metrics", "Objective", "ObjectivePart", "Phase", "Player"]


@attrs.frozen
class Phase:
    """A safe point inside a step: the state is whole, and the run may be saved and stopped here."""

    name: str
    done: int
    total: int


Metrics = Mapping[str, "Tensor"]
"""What a step observed: name -> tensor on the device, 0-dimensional or, with replicas, [R]. (No `.item()` there.)"""


class Feed(Protocol):
    """The training data, in an order that follows from the seed."""

    source: Source
    """All of it, on the host."""
    position: int
    """Items read since the start of training, over all processes."""

    done: int
    """Steps done: what scheduled augmentations follow."""

    @property
    def on_device(self) -> bool:
        """Whether batches are taken from a copy of the data on the device (`dataset.on_device`)."""

    def next(self, n: int) -> Batch:
        """This process's slice of the next global batch of n items, on the device: x [n / world, *shape].

        With replicas, the next n items of each: x [R, n, *shape].
        """

    @property
    def plain(self) -> bool:
        """Whether items reach training as they are, the same each time: no augmentation changes them."""

    def next_index(self, n: int) -> Tensor:
        """Where the next global batch of n items lies in `source` [n]; with replicas [R, n]."""

    def index_of(self, y: Tensor) -> Tensor:
        """Where items of the classes y [n] lie [n], each drawn with replacement from its class.

        Raises GflowError where a class has none.
        """

    def at(self, index: Tensor) -> Batch:
        """As `next`, the global batch of items at `index`."""


class Player(Protocol):
    """A network in training, with its optimizer and schedules."""

    module: nn.Module
    optimizer: Optimizer

    def train(self) -> None:
        """Put the network in training mode, save what is frozen whole."""

    def set_rates(self, done: int) -> None:
        """Set what schedules change for the step that follows `done` finished ones."""

    def cast(self) -> AbstractContextManager[None]:
        """Under autocast, the network's weights cast all at once; they are not to change within the block.

        Without gradients for the weights, blocks within one share its casts: a block around many forwards casts once.
        """

    def minimize(self, loss: Tensor | Iterable[Tensor]) -> None:
        """One optimizer step on `loss`, this process's mean over its slice; gradients are averaged over processes.

        Of several losses gradients add up: pieces of one mean, each of which is made when the one before is done with.
        """

    def follow(self, gradients: Iterable[Tensor | None]) -> None:
        """One optimizer step by gradients at hand, one a parameter of the module; None where it has none."""


class Average(Protocol):
    """An average of a network's weights over training."""

    module: nn.Module
    """The network with the averaged weights, in eval mode."""

    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights of `module` after `step`."""


class Objective(Protocol):
    """A built objective.

    `state` is a mutable attrs object of tensors, numbers, strings and None, and of lists and dicts of these: all that
    the next step needs beyond networks, optimizers, data order and random streams. It is checkpointed as it stands.
    """

    state: Any

    def step(self, step: int) -> Iterator[Phase | Metrics]:
        """Do step number `step` (from 1), or the rest of it where `state` stands in its middle.

        Yields a Phase at every safe point inside the step, and last, when the step is done, its Metrics.
        At every yield `state` is whole: abandoning the iterator there and calling `step` again with the
        same networks, optimizers, streams and state continues bit for bit.
        """


@kind(
    "objective", members={"players": 'the class attribute players, such as ("sampler",)', "build": "the method build"}
)
class ObjectivePart(Protocol):
    """A training method. It owns the step; the core owns the clock, seeds, devices and records.

    It may also have `equilibrium() -> Mapping[str, float]`, metric -> its value where samples and data follow one law:
    the reference lines of its curves; `replicable: ClassVar[bool]`, whether it trains stacked replicas [R, B, ...] as
    it trains one run (`train.replicas`); `accumulates: ClassVar[bool]`, whether it computes batches in pieces
    (`train.accumulate`); `compiles: ClassVar[bool]`, whether it has its steps compiled (`train.compile`);
    `items_a_step(batch_size: int) -> int`, the items of the data that one step reads, where these are not `batch_size`;
    `judged_shape(data: DataShape) -> DataShape`, where its discriminator judges others than items of the data; and
    `log_ratio: bool`, whether the logit that its discriminator learns is log p/q of data and samples.
    """

    players: ClassVar[tuple[str, ...]]
    """The networks it trains, of "sampler" and "discriminator"; each needs a table in [optimizer]."""

    def check(self, spec: Spec) -> Iterable[str]:
        """Why it cannot train this recipe; nothing if it can."""

    def build(self, experiment: Experiment) -> Objective:
        """The runnable objective over the built experiment (whose own `objective` is not set yet)."""


@attrs.define(eq=False)
class Experiment:
    """A recipe built: everything that training and analysis work on. Made by `runs.build`."""

    spec: Spec
    runtime: Runtime
    streams: Streams
    data: Source | None = None
    feed: Feed | None = None
    sampler: nn.Module | None = None
    discriminator: nn.Module | None = None
    players: dict[str, Player] = attrs.field(factory=dict)
    objective: Objective | None = None
    ema: Average | None = None
    origins: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    """Network ("sampler", "discriminator", "ema") -> where its first weights were read, and their sha256."""
    encoders: dict[str, Encoder] = attrs.field(factory=dict)
    """What in the recipe trains in a network's features ("objective.velocity") -> that network, frozen."""
    replicas: tuple[Streams, ...] = ()
    """The streams of each replica (`train.replicas`), whose networks are stacked; empty where the run is one."""
    compiled: bool = False
    """Whether its steps are compiled: what `train.compile` comes to here."""

    @property
    def final_sampler(self) -> nn.Module | None:
        """The network that samples come from: the averaged weights where the run keeps them."""
        return self.ema.module if self.ema is not None else self.sampler

    @property
    def lead(self) -> int:
        """Dimensions before that of a batch: 1, of replicas, or 0."""
        return 1 if self.replicas else 0

    def draw(self, function: Callable[[Streams], Tensor]) -> Tensor:
        """What `function` draws from the run's streams [n, ...]; with replicas, from each one's [R, n, ...].

        It is made where `train.draws` says: tensors that name no device, and those of the streams' generators.
        """
        place = self.runtime.draws_on
        if not self.replicas:
            return self.streams.on(place).draw(function)
        import torch

        return torch.stack([streams.on(place).draw(function) for streams in self.replicas])
