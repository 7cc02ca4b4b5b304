"""Overrides of the command line: `a.b=VALUE` and `~a.b`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from datetime import date, time
from typing import Any

from gflow_core.errors import did_you_mean
from gflow_core.files.reading import MAX_DEPTH, parse_toml
from gflow_core.parts.plugins import Plugins
from gflow_core.recipes.structure import is_part_place
from gflow_core.recipes.tree import OVERRIDE, Leaf, failure, merge, to_node, to_value
from gflow_core.recipes.words import Place, path_text

__all__ = ["apply"]


def apply(tree: dict[str, Any], text: str, plugins: Plugins) -> None:
    """Apply `a.b=VALUE` or `~a.b`."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    origin = f"{OVERRIDE}{shown if len(shown) <= 80 else shown[:77] + '...'}"
    if shown != text:
        raise failure(origin, "not UTF-8 text")
    name, equals, value = text.removeprefix("~").partition("=")
    removes = text.startswith("~")
    if removes and equals:
        raise failure(origin, f"~ removes and takes no value; write ~{name}")
    if not (removes or equals):
        raise failure(origin, "expected KEY=VALUE, as in train.steps=100, or ~KEY")
    keys = [key.strip() for key in name.split(".")]
    if not all(keys):
        raise failure(origin, "a key is empty; write it as in train.steps=100")
    if keys == ["seeds"]:
        raise failure(origin, "seeds= is for gflow sweep; here train.seed=N")
    if len(keys) > MAX_DEPTH:
        raise failure(origin, f"more than {MAX_DEPTH} keys")
    if keys[0] == "extends":
        raise failure(origin, "extends cannot be overridden: it is what the file itself stands on")
    if keys[0] == "analyze" and len(keys) > 1:
        tree.setdefault("analyze", Leaf([], origin))
    at, path = _descend(tree, keys[:-1], origin, make=not removes, naming=keys[-1] == "use" and not removes)
    key = keys[-1]
    place = (*path, _index(at, key, path, origin, grow=not removes) if isinstance(at, list) else key)
    if removes:
        if isinstance(at, dict) and key not in at:
            raise failure(origin, f"{path_text(place)} is not there to remove{did_you_mean(key, at)}")
        del at[place[-1]]
        return
    node = to_node(_override_value(value, origin), origin)
    table = {k: to_value(n) for k, n in tree.items()}
    if isinstance(node, Leaf) and isinstance(node.value, str) and is_part_place(place, node.value, table, plugins):
        node = {"use": node}
    if isinstance(at, dict):
        merge(at, {key: node}, path)
    elif isinstance(node, dict) and isinstance(at[place[-1]], dict):
        merge(at[place[-1]], node, place)
    else:
        at[place[-1]] = node


def _descend(
    tree: dict[str, Any], keys: Sequence[str], origin: str, make: bool, naming: bool = False
) -> tuple[Any, Place]:
    """The table or list that `keys` lead to, and its path; with `make`, missing tables are made.

    `naming`: a part is to be named there, in place of a number that may stand there.
    """
    at: Any = tree
    path: Place = ()
    for i, key in enumerate(keys):
        if isinstance(at, list):
            step: str | int = _index(at, key, path, origin, grow=make)
            node = at[step]  # type: ignore[index]
        else:
            step = key
            if key not in at and not make:
                close = did_you_mean(key, at)
                raise failure(origin, f"{path_text((*path, key))} is not there to remove{close}")
            node = at.setdefault(key, {})
        path = (*path, step)
        if isinstance(node, Leaf) and not isinstance(node.value, list) and naming and i == len(keys) - 1:
            at[step] = node = {}  # a number gives way to a schedule: a.b.use=NAME
        if isinstance(node, Leaf) and not isinstance(node.value, list):
            raise failure(origin, f"{path_text(path)} is no table: nothing can stand under it")
        at = node.value if isinstance(node, Leaf) else node
    return at, path


def _index(at: list[Any], key: str, path: Place, origin: str, grow: bool) -> int:
    """Which item of the list `key` means; with `grow` the one after the last is a new table of [[analyze]]."""
    here = path_text(path)
    if not re.fullmatch(r"[0-9]{1,6}", key):
        raise failure(origin, f'{here} is a list: expected a number such as {here}.0, got "{key}"')
    if grow and path == ("analyze",) and int(key) == len(at):
        at.append({})
    if int(key) >= len(at):
        have = f"it has {len(at)}, counted from 0" if at else "it is empty"
        raise failure(origin, f"{here}.{key}: no such item; {have}")
    return int(key)


def _override_value(text: str, origin: str) -> Any:
    """TOML where it is TOML, else the bare string; so is a date, which no option holds."""
    try:
        table = parse_toml(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    except ValueError as error:
        raise failure(origin, str(error)) from None
    value = table["value"]
    return text if len(table) > 1 or isinstance(value, date | time) else value
