"""Where a feature is in samples: boxes that a person drew, or a rule (`dcgan.drop_feature`)."""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F

from gflow_core import DataError, DataShape
from gflow_dcgan.options import Rule

__all__ = ["Annotated", "Box", "Grid", "bright", "by_boxes", "by_rule", "cells", "read_boxes"]

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, from the upper left corner."""

Grid = tuple[int, int]
"""Rows and columns of a layer's places."""

COLUMNS = ["image", "x0", "y0", "x1", "y1"]


# ------------------------------------------------------------------ files


def read_boxes(path: Path, samples: int, shape: DataShape) -> dict[int, list[Box]]:
    """The boxes of an annotation file by image, in ascending order of the image.

    Each has an image (0 to samples - 1) and x0 < x1, y0 < y1 in pixels: a line of a .csv whose first line is
    image,x0,y0,x1,y1, or a table [[box]] of a .toml. Raises DataError that names the line or the box.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is no file; set annotations to a .csv or .toml file of boxes")
    found: dict[int, list[Box]] = {}
    for place, row in (_toml if path.suffix.lower() == ".toml" else _csv)(path):
        image, box = _box(row, f"{path}: {place}", samples, shape)
        found.setdefault(image, []).append(box)
    if not found:
        raise DataError(f"{path}: holds no box; images are numbered in the figure samples.png")
    return dict(sorted(found.items()))


def _csv(path: Path) -> Iterator[tuple[str, list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from error
    lines = [(f"line {number}", [cell.strip() for cell in row]) for number, row in enumerate(rows, 1) if any(row)]
    if not lines or lines[0][1] != COLUMNS:
        raise DataError(f"{path}: line 1: its first line must be {','.join(COLUMNS)}")
    yield from lines[1:]


def _toml(path: Path) -> Iterator[tuple[str, list[str]]]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    boxes = table.get("box", [])
    if set(table) - {"box"} or not isinstance(boxes, list) or not all(isinstance(box, dict) for box in boxes):
        raise DataError(f"{path}: expected tables [[box]] with {', '.join(COLUMNS)}, and nothing else")
    for number, box in enumerate(boxes, 1):
        if sorted(box) != sorted(COLUMNS):
            raise DataError(f"{path}: box {number}: expected {', '.join(COLUMNS)}, got {', '.join(box) or 'nothing'}")
        yield f"box {number}", [str(box[column]) for column in COLUMNS]


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read ({error}); set annotations to a .csv or .toml file of boxes")


def _box(row: Sequence[str], place: str, samples: int, shape: DataShape) -> tuple[int, Box]:
    _, height, width = shape.shape
    written = ",".join(row)
    if len(row) != len(COLUMNS):
        raise DataError(f"{place}: expected {len(COLUMNS)} numbers, {','.join(COLUMNS)}, got {written!r}")
    try:
        image = int(row[0])
        x0, y0, x1, y1 = (float(cell) for cell in row[1:])
    except ValueError as error:
        raise DataError(f"{place}: expected numbers, {','.join(COLUMNS)}, got {written!r}") from error
    if not 0 <= image < samples:
        raise DataError(f"{place}: there is no image {image}; the {samples} samples are numbered 0 to {samples - 1}")
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise DataError(
            f"{place}: the box {','.join(row[1:])} is empty or leaves the image; 0 <= x0 < x1 <= {width} and "
            f"0 <= y0 < y1 <= {height} are needed"
        )
    return image, (x0, y0, x1, y1)


# ------------------------------------------------------------------ places


def cells(boxes: Sequence[Box], shape: DataShape, grid: Grid) -> Tensor:
    """The places of a grid over the image that any of the boxes touches, bool [h, w]."""
    _, height, width = shape.shape
    rows, columns = grid
    inside = torch.zeros(grid, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes:
        # (Fractions of the image come with rounding errors; they must not reach into the next place.)
        top, bottom = math.floor(y0 * rows / height + 1e-6), math.ceil(y1 * rows / height - 1e-6)
        left, right = math.floor(x0 * columns / width + 1e-6), math.ceil(x1 * columns / width - 1e-6)
        inside[top:bottom, left:right] = True
    return inside


@attrs.frozen(eq=False)
class Annotated:
    """Where the feature is, in samples that a person or a rule has looked at."""

    area: Tensor
    """Where it is looked for afterwards, bool [n, h, w]: the rule's region, or the boxes."""
    boxes: list[list[Box]]
    """The same as boxes, to draw; one list an image."""
    positive: Tensor
    """Where it is, bool [n, h, w]."""

    def only(self, index: Tensor) -> Annotated:
        return Annotated(self.area[index], [self.boxes[i] for i in index.tolist()], self.positive[index])


def by_rule(rule: Rule, x: Tensor, shape: DataShape, grid: Grid) -> Annotated:
    _, height, width = shape.shape
    x0, y0, x1, y1 = rule.region
    box = (x0 * width, y0 * height, x1 * width, y1 * height)
    area = cells([box], shape, grid).expand(len(x), -1, -1)
    return Annotated(area, [[box]] * len(x), area & bright(rule, x, grid))


def by_boxes(boxes: dict[int, list[Box]], n: int, shape: DataShape, grid: Grid) -> Annotated:
    every = [boxes.get(i, []) for i in range(n)]
    inside = torch.stack([cells(those, shape, grid) for those in every])
    return Annotated(inside, every, inside)


def bright(rule: Rule, x: Tensor, grid: Grid) -> Tensor:
    """Where images x [n, C, H, W] are brighter than the threshold, bool [n, h, w]."""
    return F.adaptive_avg_pool2d(x.mean(1, keepdim=True), grid).squeeze(1) > rule.brighter
