"""Several data sets of a recipe as one: [dataset] and its [[dataset.join]] tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option
from gflow_core.recipes.words import Place, path_text

if TYPE_CHECKING:
    from gflow_core.parts.source import Source

__all__ = ["Join", "Joined", "Weight", "joins", "unlike"]


@attrs.frozen(kw_only=True)
class Weight:
    """The core's own key of [[dataset.join]], beside the options of the part."""

    weight: float = option(
        1.0,
        doc="An epoch holds weight x n items of this data set's n, rounded: each as often as whole numbers go into "
        "weight, and of the rest a random choice, new in each epoch.",
        gt=0,
        le=1000,
    )


@attrs.frozen
class Join:
    """One [[dataset.join]] table."""

    part: Any
    weight: float = 1.0


@attrs.frozen
class Joined:
    """A data set joined of several of one DataShape. Meets `DatasetPart`."""

    first: Any
    """The part of [dataset], whose weight is 1."""
    join: tuple[Join, ...]

    @property
    def split(self) -> str:
        """The splits of all of them, "all" where that is one of them; AttributeError where one has none."""
        splits = list(dict.fromkeys(part.split for _, part in joins(self)))
        return "all" if "all" in splits else " + ".join(splits)

    def data_shape(self) -> DataShape:
        """That of each."""
        shape: DataShape = self.first.data_shape()
        return shape

    def each(self, other: Callable[[Any], Any]) -> Joined | None:
        """The join of what `other` makes of each part; None where it makes None of one."""
        parts = [other(part) for _, part in joins(self)]
        if None in parts:
            return None
        return Joined(
            parts[0], tuple(attrs.evolve(old, part=part) for old, part in zip(self.join, parts[1:], strict=True))
        )

    def load(self, progress: Progress = no_progress) -> Source:
        """The items of all of them. Raises DataError."""
        from gflow_core.errors import DataError
        from gflow_core.parts.joining import joined
        from gflow_core.parts.plugins import name_of
        from gflow_core.parts.returned import kind_fault, named, refuse, source_fault
        from gflow_core.parts.source import Source

        parts = [part for _, part in joins(self)]
        sources = []
        for place, part in joins(self):
            try:
                source = part.load(progress)
            except DataError as error:  # which speaks of dataset.root and the like
                raise DataError(str(error) if part is self.first else f"{path_text(place)}: {error}") from error
            refuse("dataset", part, "load", kind_fault(source, Source, "a Source"))
            if source.shape != self.data_shape():
                raise DataError(f"{named('dataset', part)}: promised {self.data_shape()}, loaded {source.shape}")
            if fault := source_fault(source):
                raise DataError(f"{named('dataset', part)}: {fault}")
            sources.append(source)
        weights = [1.0, *(one.weight for one in self.join)]
        return joined(sources, weights, [name_of("dataset", part) for part in parts])


def joins(dataset: Any) -> Iterator[tuple[Place, Any]]:
    """Every part of a recipe's data, and its place in the recipe: one, unless there are [[dataset.join]] tables."""
    if not isinstance(dataset, Joined):
        yield ("dataset",), dataset
        return
    yield ("dataset",), dataset.first
    yield from ((("dataset", "join", i), one.part) for i, one in enumerate(dataset.join))


def unlike(first: Any, its: DataShape, part: Any, shape: DataShape) -> Iterator[tuple[Place, str]]:
    """Why items of `part`, of that shape, cannot be joined to those of `first`: the option, if one is to blame."""
    names = ("kind", "shape", "range", "classes", "conditions")
    both = [(one.kind, one.shape, (one.low, one.high), one.classes, one.conditions) for one in (its, shape)]
    differing = [name for name, one, other in zip(names, *both, strict=True) if one != other]
    if its.text or shape.text:
        yield (), "captions of several data sets would be vectors of as many encoders; join data sets without captions"
    elif differing:
        what = ", ".join(differing)
        yield (), f"differs from [dataset] in {what}: {shape}, there {its}; set the options of both so that they agree"
    for name in ("flip", "dither"):
        if (wanted := getattr(first, name, False)) != getattr(part, name, False):
            yield (name,), f"training changes all items alike; set it as in [dataset], to {str(wanted).lower()}"
