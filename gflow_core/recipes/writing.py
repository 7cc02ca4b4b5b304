"""Recipes written back as TOML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gflow_core.errors import printable
from gflow_core.parts import plugins as _plugins
from gflow_core.parts.plugins import Plugins
from gflow_core.parts.spans import Span
from gflow_core.parts.spec import Spec
from gflow_core.recipes.tables import unstructure
from gflow_core.recipes.tree import origins_below
from gflow_core.recipes.words import Place

__all__ = ["dumps", "in_lines", "inline", "is_of_tables", "written"]


def dumps(spec: Spec, origins: Mapping[Place, str] | None = None, plugins: Plugins | None = None) -> str:
    """The resolved recipe as TOML, every default filled in; `load` of it gives an equal spec.

    With `origins`, a comment on each line says where its value came from.
    """
    import tomlkit

    def origin(path: Place) -> str | None:
        return None if origins is None else printable("; ".join(origins_below(origins, path))) or "default"

    def item(value: Any, path: Place) -> Any:
        if is_of_tables(value):
            return in_lines(value, [origin((*path, i)) for i in range(len(value))])
        made = tomlkit.item(inline(value))
        if (comment := origin(path)) and path != ("gflow",):
            made.comment(comment)
        return made

    return written(unstructure(spec, plugins if plugins is not None else _plugins.plugins()), item)


def written(table: Mapping[str, Any], item: Callable[[Any, Place], Any]) -> str:
    """A recipe's table as TOML; `item` makes the tomlkit item of each value that is no table of its own."""
    import tomlkit
    from tomlkit import items

    document = tomlkit.document()

    def fill(made: Any, values: Mapping[str, Any], path: Place) -> Any:
        for key, value in values.items():
            made.add(key, item(value, (*path, key)))
        return made

    for key, value in table.items():
        if key == "optimizer":
            tables = tomlkit.table(is_super_table=True)
            for name, options in value.items():
                tables.add(name, fill(tomlkit.table(), options, (key, name)))
            document.add(key, tables)
        elif key == "analyze":
            array: items.AoT = tomlkit.aot()
            for i, options in enumerate(value):
                array.append(fill(tomlkit.table(), options, (key, i)))
            document.add(key, array)
        elif isinstance(value, dict):
            document.add(key, fill(tomlkit.table(), value, (key,)))
        else:
            document.add(key, item(value, (key,)))
    return tomlkit.dumps(document)


def is_of_tables(value: Any) -> bool:
    """Whether it is a list that holds tables."""
    return isinstance(value, list) and any(isinstance(child, dict) for child in value)


def in_lines(values: Sequence[Any], comments: Sequence[str | None]) -> Any:
    """A list of tables, one a line, each with its comment."""
    import tomlkit

    array = tomlkit.array()
    for value, comment in zip(values, comments, strict=True):
        array.add_line(inline(value), comment=comment)
    array.add_line(indent="")
    return array


def inline(value: Any) -> Any:
    """Tables as tomlkit's inline ones, at every depth, and spans as they were written."""
    import tomlkit

    if isinstance(value, Span):
        return value.text

    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update({key: inline(child) for key, child in value.items()})
        return table
    return [inline(child) for child in value] if isinstance(value, list) else value
