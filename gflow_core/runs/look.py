"""A recipe's data as its networks will see them, before anything is trained: a picture, and what is in them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from gflow_core.data.feed import Feed
from gflow_core.errors import GflowError, for_people
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams, draws_kept
from gflow_core.nn.labels import label_in, label_name
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.source import Source
from gflow_core.recipes.recipe import Recipe, load
from gflow_core.runs.blame import blaming
from gflow_core.runs.build import read_data
from gflow_core.runs.drawing import IMAGES, POINTS
from gflow_core.runs.pictures import draw_captioned, draw_points
from gflow_core.runs.promised import check_augmentations

__all__ = ["Look", "look"]

_MOST = 10_000  # more would be no picture
_CHUNK = 1024  # items whose values are looked at at once

logger = logging.getLogger("gflow")


@attrs.frozen
class Look:
    """What was found in a data set, and the picture of some of it."""

    picture: Path
    shown: int
    """Items in the picture."""
    items: int
    """Items in all, N."""
    shape: DataShape
    low: float
    """The least of all their values, in the range of `shape`, and the greatest."""
    high: float
    classes: Mapping[str, int]
    """Items of each class, by its name or else its index; empty where labels are no classes."""
    conditions: Mapping[str, tuple[float, float, float]]
    """Least, mean and greatest value of each condition."""
    remarks: Sequence[str]
    """What was left out, and whatever else was said while they were read."""
    fingerprint: str


@for_people
@draws_kept()
def look(
    recipe: Recipe | Path | str,
    *overrides: str,
    out: Path | str = "data.png",
    n: int | None = None,
    augmented: bool = False,
    progress: Progress = no_progress,
) -> Look:
    """Draw the items of the first batch that training would take into the picture `out` (.png), and count the data.

    `n` of them: 64 images, 2048 points or all there are by default, images with their labels, points by their first
    two coordinates. With `augmented` they are changed as training will change them (the data's flip and dither,
    `train.augment`). Nothing is trained. Raises RecipeError, DataError, and GflowError for what cannot be drawn.
    """
    path = _writable(Path(out))
    if n is not None and not 1 <= n <= _MOST:
        raise GflowError(f"n = {n}: a picture holds 1 to {_MOST:,} items")
    if not isinstance(recipe, Recipe):
        recipe = load(recipe, overrides)
    elif overrides:
        raise GflowError("overrides: the recipe is loaded already; give them to Recipe.load")
    spec = recipe.spec
    if spec.dataset is None:
        raise GflowError(f"{recipe.source}: dataset: there is no [dataset] to look at")
    with blaming(spec), _said() as remarks:
        data = read_data(spec.dataset, progress)
        check_augmentations(spec, data.shape)
        n = min(n or (IMAGES if data.shape.kind == "image" else POINTS), len(data))
        augment = spec.train.augment if augmented and spec.train else ()
        source = data if augmented else attrs.evolve(data, flip=False, dither=False)
        batch = Feed(source, Runtime.of("cpu", "float32"), Streams(spec.seed), augment=augment).next(n)
    if data.shape.kind == "image":
        names = [] if batch.y is None else [label_in(data, y, data.shape) for y in batch.y]
        draw_captioned(path, batch.x, data.shape, names)
    else:
        draw_points(path, batch.x, batch.y if data.shape.classes else None, data.class_names)
    low, high = _range(data)
    classes, conditions = _labels(data)
    return Look(path, n, len(data), data.shape, low, high, classes, conditions, remarks, data.fingerprint)


def _writable(path: Path) -> Path:
    """The picture's path. Raises GflowError, before anything is read, where none can be written there."""
    if path.suffix.lower() != ".png":
        raise GflowError(f"{path}: the picture is a PNG; end its name in .png")
    if not path.parent.is_dir():
        raise GflowError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise GflowError(f"{path}: cannot be written; choose another place")
    return path


@contextmanager
def _said() -> Iterator[list[str]]:
    """What gflow logs within the block."""
    lines: list[str] = []
    listener, level = logging.Handler(logging.INFO), logger.level
    listener.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)


def _range(data: Source) -> tuple[float, float]:
    """The least and the greatest value, as networks read them; bytes are looked at until both ends were met."""
    x, low, high = data.x, float("inf"), float("-inf")
    for start in range(0, len(x), _CHUNK):
        some = x[start : start + _CHUNK]
        low, high = min(low, float(some.min())), max(high, float(some.max()))
        if x.dtype == torch.uint8 and (low, high) == (0, 255):
            break
    return (low / 127.5 - 1, high / 127.5 - 1) if data.shape.kind == "image" else (low, high)


def _labels(data: Source) -> tuple[dict[str, int], dict[str, tuple[float, float, float]]]:
    """Items of each class; least, mean and greatest of each condition."""
    y, shape = data.y, data.shape
    if y is None or not shape.label_size:
        return {}, {}
    if shape.classes:
        counts = torch.bincount(y, minlength=shape.classes).tolist()
        return {label_name(torch.tensor(i), shape, data.class_names): count for i, count in enumerate(counts)}, {}
    if shape.text:
        return {}, {}
    columns: Any = zip(shape.conditions, y.double().T, strict=True)
    return {}, {name: _summary(values) for name, values in columns}


def _summary(values: Tensor) -> tuple[float, float, float]:
    return float(values.min()), float(values.mean()), float(values.max())
