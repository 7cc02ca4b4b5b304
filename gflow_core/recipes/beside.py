"""Tables that hold keys of the core's own beside the options of a part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from gflow_core.recipes.describe import has_option
from gflow_core.recipes.joined import Join, Weight
from gflow_core.recipes.values import Reader, a_list, a_table
from gflow_core.recipes.words import Place, WrongError

__all__ = ["beside", "has_own", "read_joins"]

Own = TypeVar("Own")


def beside(
    value: Any,
    cls: type[Own],
    keys: tuple[str, ...],
    reader: Reader,
    read: Callable[[Mapping[str, Any], tuple[str, ...]], Any],
) -> tuple[Own, Any]:
    """The core's own `keys` of a table as `cls`, and what `read` makes of the others (it is told of `keys`, too)."""
    table = a_table(value)
    faults: list[tuple[Place, str]] = []
    own = part = None
    try:
        own = reader.table({key: table[key] for key in keys if key in table}, cls)
    except WrongError as error:
        faults += error.faults
    try:
        part = read({key: given for key, given in table.items() if key not in keys}, keys)
    except WrongError as error:
        faults += error.faults
    if faults or own is None:
        raise WrongError(faults)
    return own, part


def has_own(table: Any, kind: str, key: str, reader: Reader) -> bool:
    """Whether the part that the table names has an option of this name."""
    name, registry = table.get("use") if isinstance(table, Mapping) else table, reader.plugins.registries[kind]
    return isinstance(name, str) and name in registry and has_option(registry.get(name), key)


def read_joins(value: Any, reader: Reader) -> tuple[Join, ...]:
    """The [[dataset.join]] tables."""
    found: list[Join] = []
    faults: list[tuple[Place, str]] = []
    for i, table in enumerate(a_list(value, "dataset.join")):
        keys = () if has_own(table, "dataset", "weight", reader) else tuple(attrs.fields_dict(Weight))
        try:
            own, part = beside(table, Weight, keys, reader, lambda rest, extra: reader.part(rest, "dataset", extra))
            found.append(Join(part, own.weight))
        except WrongError as error:
            faults += [((i, *path), message) for path, message in error.faults]
    if faults:
        raise WrongError(faults)
    return tuple(found)
