"""Options: the documented, typed, checked fields of a part.

    @attrs.frozen(kw_only=True)
    class Flow:
        step_size: float = option(0.5, doc="s in x <- x + s v(x)", gt=0)

The type says what a recipe may hold (`int`, `float`, `bool`, `str`, `Literal`, `tuple`, unions of these,
another attrs class, or a contract such as `Latent` for a nested part); the rest stands in the option itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from gflow_core.parts.foreign import own

__all__ = ["option", "option_doc", "option_range", "option_unit", "out_of_bounds"]

_BOUNDS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "ge": (">=", lambda value, bound: value >= bound),
    "gt": (">", lambda value, bound: value > bound),
    "le": ("<=", lambda value, bound: value <= bound),
    "lt": ("<", lambda value, bound: value < bound),
}


class _RefusedError(ValueError):
    """A value that an option does not take: `args` say why, as recipes tell it at its place, `str` of which option."""

    def __init__(self, why: str, name: str) -> None:
        super().__init__(why)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name}: {self.args[0]}"


def option(
    default: Any = attrs.NOTHING,
    *,
    doc: str,
    unit: str = "",
    factory: Callable[[], Any] | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    """Declare one option of a part.

    `default` (or `factory`) makes it optional. `ge`, `gt`, `le`, `lt` bound a number, or every number of a
    tuple. `check(value)` returns a message when the value is wrong, for what bounds cannot say. `unit`
    names the unit ("pixels", "steps"); `doc` is one sentence, with the source where there is one.
    """
    bounds = {key: bound for key, bound in (("ge", ge), ("gt", gt), ("le", le), ("lt", lt)) if bound is not None}

    def validate(_instance: object, field: attrs.Attribute[Any], value: Any) -> None:
        numbers = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if message := out_of_bounds(field, number):
                raise _RefusedError(message, field.name)
        if check is not None:
            with own("check", check):
                message = check(value)
            if message:
                raise _RefusedError(message, field.name)

    metadata = {"doc": doc, "unit": unit, "bounds": bounds}
    if factory is not None:
        return attrs.field(factory=factory, validator=validate, metadata=metadata)
    return attrs.field(default=default, validator=validate, metadata=metadata)


def option_doc(field: attrs.Attribute[Any]) -> str:
    """What the option means."""
    return str(field.metadata.get("doc", ""))


def option_unit(field: attrs.Attribute[Any]) -> str:
    """Its unit, or an empty string."""
    return str(field.metadata.get("unit", ""))


def option_range(field: attrs.Attribute[Any]) -> str:
    """Its bounds, such as ">= 0 and < 1", or an empty string."""
    bounds = field.metadata.get("bounds", {})
    return " and ".join(f"{_BOUNDS[key][0]} {bound:g}" for key, bound in bounds.items())


def out_of_bounds(field: attrs.Attribute[Any], number: Any) -> str | None:
    """Why the number is not one that the option takes; None where it is, or is no number."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    # "not (x >= a)" rather than "x < a": NaN fails every comparison, and must be refused.
    fits = all(_BOUNDS[key][1](number, bound) for key, bound in field.metadata.get("bounds", {}).items())
    return None if fits else f"must be {option_range(field)}, got {number!r}"
