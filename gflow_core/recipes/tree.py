"""A recipe while it is put together: each table is a dict, and each other value a `Leaf` that remembers its origin."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping
from datetime import date, time
from numbers import Real
from typing import Any, SupportsIndex

import attrs

from gflow_core.errors import Problem, RecipeError, shown
from gflow_core.files.reading import MAX_DEPTH
from gflow_core.parts.spec import NETWORKS
from gflow_core.recipes.words import Place, path_text

__all__ = [
    "ITSELF",
    "OVERRIDE",
    "Leaf",
    "Node",
    "as_toml",
    "failure",
    "merge",
    "origins_below",
    "origins_of",
    "to_node",
    "to_value",
]


OVERRIDE = "override "
"""How the origin of a value begins that does not come from a file."""


ITSELF = "recipe"
"""The origin of what comes from no file: of a dictionary."""


@attrs.frozen
class Leaf:
    """A value that is no table, and where it came from. A list's value is a list of nodes."""

    value: Any
    origin: str


Node = dict[str, Any] | Leaf


def failure(source: object, message: str, path: Place = ()) -> RecipeError:
    """One problem, to be raised."""
    return RecipeError([Problem(path_text(path), message, str(source))])


def as_toml(value: Any, place: Place = ()) -> Any:
    """A value of Python as TOML would have it read. Raises RecipeError for one that TOML cannot write."""
    if len(place) > MAX_DEPTH:
        raise failure(ITSELF, f"more than {MAX_DEPTH} tables and lists in one another")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise failure(ITSELF, f"{shown(key)} names nothing: names are text", place)
        return {key: as_toml(one, (*place, key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_toml(one, (*place, i)) for i, one in enumerate(value)]
    if isinstance(value, os.PathLike) and isinstance(os.fspath(value), str):
        return os.fspath(value)
    if isinstance(value, bool | int | float | str | date | time):
        return value
    if isinstance(value, Real):  # of numpy
        return operator.index(value) if isinstance(value, SupportsIndex) else float(value)
    mend = "leave it out" if value is None else "it holds numbers, text, true and false, lists and tables"
    raise failure(ITSELF, f"{shown(value)} cannot stand in a recipe; {mend}", place)


def to_node(value: Any, origin: str) -> Node:
    """A TOML value as a tree, all of one origin."""
    if isinstance(value, dict):
        return {key: to_node(child, origin) for key, child in value.items()}
    if isinstance(value, list):
        return Leaf([to_node(child, origin) for child in value], origin)
    return Leaf(value, origin)


def to_value(node: Node) -> Any:
    """The tree without its origins."""
    if isinstance(node, dict):
        return {key: to_value(child) for key, child in node.items()}
    return [to_value(child) for child in node.value] if isinstance(node.value, list) else node.value


def origins_of(node: Node, path: Place = ()) -> Iterator[tuple[Place, str]]:
    """Every leaf's place and origin."""
    if isinstance(node, Leaf):
        yield path, node.origin
        for i, child in enumerate(node.value if isinstance(node.value, list) else ()):
            yield from origins_of(child, (*path, i))
    else:
        for key, child in node.items():
            yield from origins_of(child, (*path, key))


def origins_below(origins: Mapping[Place, str], path: Place) -> list[str]:
    """Every origin at `path` and under it, each once, in the order of the recipe."""
    return list(dict.fromkeys(origin for place, origin in origins.items() if place[: len(path)] == path))


def merge(base: dict[str, Any], over: dict[str, Any], path: Place = ()) -> None:
    """Put `over` on `base`, which stands at `path`: tables merge, everything else replaces.

    Another `use` drops what belonged to the old one; of a network, so does another `from_run`.
    """
    naming = ("use", "from_run") if len(path) == 1 and path[0] in NETWORKS else ("use",)
    was, now = ({key: to_value(node[key]) for key in naming if key in node} for node in (base, over))
    if was and now and was != now:
        base.clear()
    for key, node in over.items():
        if isinstance(node, dict) and isinstance(base.get(key), dict):
            merge(base[key], node, (*path, key))
        else:
            base[key] = node
