"""Splits of a data set: the items that a run did not train on, and those that samples are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

import attrs

from gflow_core.parts.analysis import Subject
from gflow_core.recipes.joined import Joined

if TYPE_CHECKING:
    from gflow_core.parts.source import Source

__all__ = ["against_faults", "compared_items", "compared_with", "held_out", "held_out_faults", "of_split"]


def of_split(dataset: Any, split: str) -> Any:
    """The data set part with its option `split` set so; None where it has no such split."""
    if isinstance(dataset, Joined):
        return dataset.each(lambda part: of_split(part, split))
    field = attrs.fields_dict(attrs.resolve_types(type(dataset))).get("split")
    return attrs.evolve(dataset, split=split) if field is not None and split in get_args(field.type) else None


def held_out(dataset: Any) -> Any:
    """The data set part of the other split: test, or train where test is trained on; None where there is none.

    Of several joined ones, each by itself.
    """
    if isinstance(dataset, Joined):
        return dataset.each(held_out)
    return of_split(dataset, "train" if getattr(dataset, "split", None) == "test" else "test")


def against_faults(dataset: Any, against: str | None) -> Iterator[str]:
    """Why samples cannot be compared with this split of the data set; nothing if they can, or no split is named."""
    if against is not None and of_split(dataset, against) is None:
        yield (
            f'against = "{against}": the data set has no option split with "{against}"; leave it out, or use a data '
            'set that has one, such as mnist5k with split = "train"'
        )


def held_out_faults(dataset: Any) -> Iterator[str]:
    """Why a run on the data set part leaves no items out; nothing if it does."""
    if held_out(dataset) is None:
        yield (
            "compares with held-out items, and the data set has no option split with train and test; use one that "
            'has, such as mnist5k with split = "train"'
        )
    elif dataset.split == "all":
        yield 'needs items that were not trained on, and dataset.split = "all" leaves none; set it to "train"'


def compared_with(dataset: Any, against: str | None) -> Any:
    """The data set part of the split named, or of the one not trained on; None where there is none."""
    return held_out(dataset) if against is None else of_split(dataset, against)


def compared_items(subject: Subject, against: str | None = None) -> tuple[Source, str]:
    """Items to compare with, and which they are, in words: those not trained on, where the data set has such.

    Raises DataError where they are missing.
    """
    part = subject.spec.dataset
    assert subject.data is not None
    other = compared_with(part, against)
    if other is None:
        return subject.data, "training data (the data set has no other split)"
    trained_on = {"all": ", part of the training data", other.split: ", the training data"}
    words = f"{other.split} split{trained_on.get(part.split, '')}"
    return other.load(subject.progress), words
