"""The nouns that every part speaks of: what data look like, batches, progress.

Shapes are written without the batch: `[B, *shape]` is a batch of B items of `DataShape.shape`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Batch", "DataShape", "Moments", "Progress", "TextEncoder", "no_progress"]


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
    """What the real numbers of each label [k] mean, one name a number; empty where they mean nothing by themselves."""
    text: int | None = None
    """Labels are captions, each as so many real numbers [k] of a text encoder; None where they are not."""

    @property
    def label_size(self) -> int:
        """Numbers in a label as networks read it: one a class (one-hot), one a condition, a text's; 0: no labels."""
        return self.classes or self.text or len(self.conditions)

    def __str__(self) -> str:
        size = "x".join(str(n) for n in self.shape)
        bounds = "unbounded" if self.low is None else f"in [{self.low:g}, {self.high:g}]"
        labels = f", {self.classes} classes" if self.classes else ""
        conditions = f", conditions {', '.join(self.conditions)}" if self.conditions else ""
        text = f", captions as {self.text} numbers" if self.text else ""
        return f"{self.kind} {size} {bounds}{labels}{conditions}{text}"


@attrs.frozen(eq=False)
class Batch:
    """Items of a data set on the training device."""

    x: Tensor
    """[B, *shape], in the range that the data's DataShape states."""
    y: Tensor | None = None
    """Class indices [B] (int64) or real conditions [B, k]; None where the data has no labels."""


class TextEncoder(Protocol):
    """Texts as vectors."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """[n, dim], float32, on the CPU; a text's vector depends on no other text.

        Raises ValueError where a text says nothing to it.
        """

    def state(self) -> Mapping[str, Any]:
        """What `restored` makes it of again: tensors, numbers, words, and lists and dicts of these."""


@runtime_checkable
class Progress(Protocol):
    """How long work reports itself: `progress("decoding", done, total)`."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


def no_progress(what: str, done: int, total: int) -> None:
    """Report nothing."""


@attrs.frozen
class Moments:
    """Mean and covariance of a law of z whose components are alike."""

    mean: float
    """Of each component."""
    variance: float
    """Of each component."""
    covariance: float = 0.0
    """Of any two components."""
