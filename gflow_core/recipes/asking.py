"""What parts say of themselves: asked one by one, and whatever goes wrong there is a PluginError of the part's."""

from __future__ import annotations

import math
from typing import Any

from gflow_core.errors import PluginError, shown
from gflow_core.parts.foreign import own
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.spec import Spec

__all__ = ["DEFECT", "ask", "judged_by", "known_shape", "no_number", "rates", "shape_of"]

DEFECT = "(a defect of the plugin)"


def ask(part: Any, *args: Any) -> list[str]:
    """What the part's `check` says; a part without one has nothing to say."""
    try:
        with own("check", part):
            check = getattr(part, "check", None)
            said = () if check is None else check(*args)
            return [said] if isinstance(said, str) else [str(message) for message in said or ()]
    except PluginError as error:
        return [str(error)]


def shape_of(part: Any) -> DataShape:
    """What the part says of its items. PluginError where that is nothing of the kind."""
    with own("data_shape", part):
        shape = part.data_shape()
    return _a_shape(shape, "data_shape")


def known_shape(part: Any) -> DataShape | None:
    """What the data set says of its items; None without one, and where it fails to, which `check_parts` tells."""
    try:
        return None if part is None else shape_of(part)
    except PluginError:
        return None


def judged_by(spec: Spec, shape: DataShape | None) -> DataShape | None:
    """`spec.judged(shape)`; PluginError where the objective says nothing of the kind."""
    with own("judged_shape", spec.objective):
        judged = spec.judged(shape)
    return judged if shape is None else _a_shape(judged, "judged_shape")


def _a_shape(found: Any, method: str) -> DataShape:
    if not isinstance(found, DataShape):
        raise PluginError(f"its own {method} returned {shown(found)}, not a DataShape {DEFECT}")
    return found


def no_number(value: Any) -> str | None:
    """Why it is none; None where it is one. (Where an honest schedule overflows, training says so.)"""
    try:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    except Exception:  # nothing like a number
        fits = False
    return None if fits else f"its own at returned {shown(value)}, not a number {DEFECT}"


def rates(optimizer: Any, done: int) -> dict[str, Any]:
    """What the optimizer's groups are set to. PluginError where that is no table of numbers."""
    with own("at", optimizer):
        values = optimizer.at(done)
        if isinstance(values, dict) and "lr" in values:
            numbers = [one for value in values.values() for one in (value if isinstance(value, tuple) else (value,))]
            if not any(map(no_number, numbers)):
                return values
    raise PluginError(f'its own at returned {shown(values)}, not numbers by name, "lr" among them {DEFECT}')
