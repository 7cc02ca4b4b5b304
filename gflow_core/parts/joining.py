"""Several loaded data sets as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import attrs
import torch

from gflow_core.errors import DataError
from gflow_core.parts.source import Joint, Source
from gflow_core.parts.stacked import Stacked

__all__ = ["joined"]


def joined(sources: Sequence[Source], weights: Sequence[float], names: Sequence[str]) -> Source:
    """The items of all sources, which have one DataShape, one after the other.

    Vectors and images in memory are copied together, memory-mapped ones stay where they are. Raises DataError where
    sources do not go together.
    """
    first = sources[0]
    joints = [
        Joint(name, len(source), weight, source.fingerprint, source.cache)
        for source, weight, name in zip(sources, weights, names, strict=True)
    ]
    named = next((source.class_names for source in sources if source.class_names), ())
    for i, (source, joint) in enumerate(zip(sources, joints, strict=True)):
        place = f"dataset.join.{i - 1}"
        if source.class_names and tuple(source.class_names) != tuple(named):
            one, other = next((a, b) for a, b in zip(named, source.class_names, strict=False) if a != b)
            raise DataError(
                f"{place}: its classes are others: {other} where those before have {one}; join data whose classes have "
                "the same names in the same order"
            )
        if (source.flip, source.dither) != (first.flip, first.dither):
            raise DataError(f"{place}: flip and dither are of all items alike; set them as in [dataset]")
        if not joint.seen:
            raise DataError(
                f"{place}.weight: {joint.weight:g} of {joint.items:,} items is less than one an epoch; raise it"
            )
    mapped = any(source.cache is not None for source in sources)
    x = [source.x for source in sources]
    y = [source.y for source in sources if source.y is not None]
    sha256 = hashlib.sha256("".join(f"{joint.fingerprint}{joint.weight!r}" for joint in joints).encode())
    return attrs.evolve(
        first,
        x=Stacked(x) if mapped else torch.cat(x),
        y=torch.cat(y) if len(y) == len(sources) else None,
        fingerprint=sha256.hexdigest(),
        modes=None,
        log_density=None,
        class_names=named,
        cache=None,
        joints=joints,
    )
