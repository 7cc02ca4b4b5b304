"""Loaded data against what their options promise, and what is odd about them."""

from __future__ import annotations

import logging

import torch

from gflow_core.errors import DataError
from gflow_core.nn.labels import label_fault
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.returned import source_fault
from gflow_core.parts.source import Source

__all__ = ["checked"]

LEVELS = 16
"""Pixels that differ by less, of 256 levels, are one colour."""

_CHUNK = 256  # images looked at at once: ordinary data are told from flat ones by the first few

logger = logging.getLogger("gflow")


def checked(data: Source, shape: DataShape, who: str = "dataset") -> Source:
    """The data, if they are what their options promised; a warning where images show nothing. Raises DataError.

    `who` promised them, as the message says.
    """
    fault = source_fault(data) if data.shape == shape else f"promised {shape}, loaded {data.shape}"
    if fault := fault or label_fault(data.y, len(data), shape):
        raise DataError(f"{who}: {fault}")
    if data.class_names and len(data.class_names) != shape.classes:
        raise DataError(f"{who}: promised {shape.classes or 0} classes, loaded {len(data.class_names)} class names")
    if data.x.dtype == torch.uint8 and shape.kind == "image" and (flat := _flat(data)):
        logger.warning(
            "dataset: %s (pixels differ by less than %d of 256 levels); is it meant so? Of files with 16 bits the "
            "upper 8 are kept: save what holds small numbers with 8 bits",
            flat,
            LEVELS,
        )
    return data


def _flat(data: Source) -> str:
    """What of a set of images is one colour; empty where nothing is."""
    channels = data.x.shape[1]
    low, high = torch.full((channels,), 255), torch.zeros(channels, dtype=torch.int64)
    varied = False
    for start in range(0, len(data), _CHUNK):
        x = data.x[start : start + _CHUNK].flatten(2)
        lows, highs = x.amin(2).long(), x.amax(2).long()  # of each image and channel
        varied = varied or bool((highs - lows >= LEVELS).any())
        low, high = torch.minimum(low, lows.amin(0)), torch.maximum(high, highs.amax(0))
        flat = (high - low < LEVELS).nonzero().flatten().tolist()
        if varied and not flat:
            return ""
    if not varied:
        return "every image is of one colour"
    return " and ".join(f"channel {channel} is the same in all images" for channel in flat)
