"""What an analyzer looks at, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import attrs

from gflow_core.parts.kinds import kind
from gflow_core.parts.nouns import Progress, no_progress
from gflow_core.parts.spec import Spec

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from torch import nn

    from gflow_core.machine.runtime import Runtime
    from gflow_core.machine.streams import Streams
    from gflow_core.parts.source import Source

__all__ = ["AnalyzerPart", "Map", "Result", "Subject"]

X = TypeVar("X")
Y = TypeVar("Y")


@kind(
    "analyzer",
    members={"needs": 'the class attribute needs, such as frozenset({"sampler"})', "build": "the method build"},
)
class AnalyzerPart(Protocol):
    """A measurement or a picture of a run, live or finished.

    It may also have `prepare(spec: Spec, device: torch.device, progress: Progress) -> None`: fetch what it will need
    from disk, before training starts. Raises GflowError where that is missing. And `better: ClassVar[Mapping[str,
    Literal["min", "max"]]]`: score, without what stands in brackets in its name, -> whether less or more of it is
    better; scores that it leaves out are neither (`train.keep_best`). And `of_samples: ClassVar[bool]`: whether it asks
    samples and data alone, `samples` of its options saying how many, so that `gflow score` has it, too. And `walks:
    ClassVar[bool]`, whether it goes from one z to another, where a sampler of particles has nothing between.
    """

    needs: ClassVar[frozenset[str]]
    """What the recipe must have, of "dataset", "sampler", "discriminator", "objective"."""

    def check(self, spec: Spec) -> Iterable[str]:
        """Why it cannot look at this recipe's run; nothing if it can."""

    def build(self) -> Callable[[Subject], Result]:
        """The function that does the work."""


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
    batch_norm: str = "eval"
    """The statistics of batch norm in the sampler: "eval", those of training, or "standing", over its own samples."""
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
            "batch_norm": self.batch_norm,
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
