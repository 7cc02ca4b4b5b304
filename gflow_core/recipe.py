"""Recipes: read from TOML, extended, overridden, checked, and written back resolved.

While a recipe is put together every value carries its origin: each table is a dict, and each other value a
`_Leaf` that remembers the file or the override it came from.
"""

from __future__ import annotations

import os
import re
import tomllib
from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from gflow_core import plugins as _plugins
from gflow_core import schema
from gflow_core.errors import Problem, RecipeError, did_you_mean, printable
from gflow_core.plugins import Plugins
from gflow_core.shipped import find, shipped
from gflow_core.spec import Spec

__all__ = ["Recipe", "dumps", "load", "standalone"]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
"""No recipe needs more; what does is a mistake or an attack, and gets a message instead of a traceback."""

_OVERRIDE = "override "
"""How the origin of a value begins that does not come from a file."""


@attrs.frozen
class Recipe:
    """A recipe as read: its merged table, where each value came from, and what it means."""

    path: Path
    table: Mapping[str, Any]
    origins: Mapping[schema.Path, str]
    """("sampler", "channels") -> "recipes/x.toml" or "override sampler.channels=64"."""
    spec: Spec

    @classmethod
    def load(cls, path: Path | str, *overrides: str) -> Recipe:
        """The recipe in a file, with overrides such as "train.steps=200"; see the module's `load`."""
        return load(path, overrides)

    def dumps(self) -> str:
        """The resolved recipe as TOML, every default filled in."""
        return dumps(self.spec)


@attrs.frozen
class _Leaf:
    """A value that is no table, and where it came from. A list's value is a list of nodes."""

    value: Any
    origin: str


_Node = dict[str, Any] | _Leaf


def load(path: Path | str, overrides: Sequence[str] = (), plugins: Plugins | None = None) -> Recipe:
    """Read a recipe, a file or the name of a shipped one, with its parents; apply overrides left to right; check it.

    Raises RecipeError with every problem, each with the file or override that it came from.
    """
    loaded = plugins if plugins is not None else _plugins.plugins()
    path = _located(Path(path), loaded)
    tree = _read(path)
    for text in overrides:
        _override(tree, text, loaded)
    table = {key: _value(node) for key, node in tree.items()}
    origins = dict(_origins(tree))

    def source(place: schema.Path) -> str:
        """The origin of the value or table at or next around `place`: one file or override, or both together."""
        for end in range(len(place), 0, -1):
            if found := _origins_below(origins, place[:end]):
                if place in (("sampler",), ("discriminator",)):  # what is wrong may be the data that it is to suit
                    found += [one for one in _origins_below(origins, ("dataset",)) if one.startswith(_OVERRIDE)]
                base = found[0] if place[:end] in origins else str(path)
                changed = " and ".join(origin for origin in found if origin.startswith(_OVERRIDE) and origin != base)
                return found[0] if len(found) == 1 else f"{base} with {changed}" if changed else base
        return str(path)

    return Recipe(path, table, origins, schema.structure(table, loaded, source))


def _fail(source: object, message: str, path: schema.Path = ()) -> RecipeError:
    return RecipeError([Problem(schema.path_text(path), message, str(source))])


# ------------------------------------------------------------------ reading and extending


def _located(path: Path, plugins: Plugins) -> Path:
    """The path itself, or the file of the shipped recipe that a bare word names."""
    try:
        os.lstat(path)
        return path
    except FileNotFoundError:
        pass
    except (OSError, ValueError):
        return path  # reading it tells why
    if path.suffix != ".toml" and path.name == str(path):
        return find(path.name, plugins)
    for recipe in shipped(plugins):
        if recipe.name == path.stem:
            raise _fail(path, f"no such file; for the one that comes with {recipe.dist} write {recipe.name}")
    return path


def _read(path: Path, children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's tree on top of its parents'."""
    table = _parse(path)
    if "gflow" in table and (message := schema.format_fault(table["gflow"])):
        raise _fail(path, message, ("gflow",))
    parent = table.pop("extends", None)
    tree = {key: _node(value, str(path)) for key, value in table.items()}
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise _fail(path, "expected the path of one recipe, relative to this one, as a string", ("extends",))
    above = Path(os.path.normpath(path.parent / parent))
    chain = (*children, path)
    if any(_same(above, seen) for seen in chain):
        circle = " -> ".join(str(p) for p in (*chain, above))
        raise _fail(path, f"goes round in a circle: {circle}", ("extends",))
    if len(chain) > MAX_DEPTH:
        raise _fail(path, f"more than {MAX_DEPTH} recipes extend one another", ("extends",))
    if not above.exists():
        raise _fail(path, f"no such file: {above}{_similar(above)}", ("extends",))
    base = _read(above, chain)
    _merge(base, tree)
    return base


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _fail(path, f"no such file{_similar(path)}") from None
    except IsADirectoryError:
        raise _fail(path, "is a folder, not a recipe") from None
    except (OSError, ValueError) as error:
        raise _fail(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_BYTES:
        raise _fail(path, f"larger than {MAX_BYTES // 1024} KB, too large for a recipe")
    try:
        return _toml(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _fail(path, f"line {line}: not UTF-8 text") from None
    except ValueError as error:
        where = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", str(error), re.DOTALL)
        said = f"{where[2]}: {_plainly(where[1])}" if where else f"not TOML: {error}"
        if path.name == "recipe.toml" and (path.parent / "manifest.json").exists():  # a run's own, written by gflow
            said += "; the run's recipe is damaged: put it back from a backup, or start a new run"
        raise _fail(path, said) from None


def _plainly(said: str) -> str:
    """What tomllib says, without its inner life."""
    if twice := re.fullmatch(r"Cannot declare (\(.*\)) twice", said):
        return f"[{schema.path_text(literal_eval(twice[1]))}] is there twice"
    return "this key is there twice" if said == "Cannot overwrite a value" else said


def _similar(path: Path) -> str:
    """`; did you mean "base.toml"?` for the closest recipe in the same folder."""
    stems = [found.stem for found in path.parent.glob("*.toml")]
    return re.sub(r'"(?= or |\?)', '.toml"', did_you_mean(path.stem, stems))


def _toml(text: str) -> dict[str, Any]:
    """Parse TOML. ValueError tells what is wrong, nesting too deep included."""
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):
            raise ValueError("a number of more digits than any option takes") from None
        raise
    level: list[Any] = [table]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
        level = [child for child in level if isinstance(child, dict | list)]
    if level:
        raise ValueError(f"nested deeper than {MAX_DEPTH} tables and lists")
    return table


def _node(value: Any, origin: str) -> _Node:
    if isinstance(value, dict):
        return {key: _node(child, origin) for key, child in value.items()}
    if isinstance(value, list):
        return _Leaf([_node(child, origin) for child in value], origin)
    return _Leaf(value, origin)


def _value(node: _Node) -> Any:
    if isinstance(node, dict):
        return {key: _value(child) for key, child in node.items()}
    return [_value(child) for child in node.value] if isinstance(node.value, list) else node.value


def _origins(node: _Node, path: schema.Path = ()) -> Iterator[tuple[schema.Path, str]]:
    if isinstance(node, _Leaf):
        yield path, node.origin
        for i, child in enumerate(node.value if isinstance(node.value, list) else ()):
            yield from _origins(child, (*path, i))
    else:
        for key, child in node.items():
            yield from _origins(child, (*path, key))


def _origins_below(origins: Mapping[schema.Path, str], path: schema.Path) -> list[str]:
    """Every origin at `path` and under it, each once, in the order of the recipe."""
    return list(dict.fromkeys(origin for place, origin in origins.items() if place[: len(path)] == path))


def _merge(base: dict[str, Any], over: dict[str, Any], path: schema.Path = ()) -> None:
    """Put `over` on `base`, which stands at `path`: tables merge, everything else replaces.

    Another `use` drops what belonged to the old one; in [sampler], so does another `from_run`.
    """
    naming = ("use", "from_run") if path == ("sampler",) else ("use",)
    was, now = ({key: _value(node[key]) for key in naming if key in node} for node in (base, over))
    if was and now and was != now:
        base.clear()
    for key, node in over.items():
        if isinstance(node, dict) and isinstance(base.get(key), dict):
            _merge(base[key], node, (*path, key))
        else:
            base[key] = node


# ------------------------------------------------------------------ overrides


def _override(tree: dict[str, Any], text: str, plugins: Plugins) -> None:
    """Apply `a.b=VALUE` or `~a.b`."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    origin = f"{_OVERRIDE}{shown if len(shown) <= 80 else shown[:77] + '...'}"
    if shown != text:
        raise _fail(origin, "not UTF-8 text")
    name, equals, value = text.removeprefix("~").partition("=")
    removes = text.startswith("~")
    if removes and equals:
        raise _fail(origin, f"~ removes and takes no value; write ~{name}")
    if not (removes or equals):
        raise _fail(origin, "expected KEY=VALUE, as in train.steps=100, or ~KEY")
    keys = [key.strip() for key in name.split(".")]
    if not all(keys):
        raise _fail(origin, "a key is empty; write it as in train.steps=100")
    if keys == ["seeds"]:
        raise _fail(origin, "seeds= is for gflow sweep; here train.seed=N")
    if len(keys) > MAX_DEPTH:
        raise _fail(origin, f"more than {MAX_DEPTH} keys")
    if keys[0] == "extends":
        raise _fail(origin, "extends cannot be overridden: it is what the file itself stands on")
    if keys[0] == "analyze" and len(keys) > 1:
        tree.setdefault("analyze", _Leaf([], origin))
    at, path = _descend(tree, keys[:-1], origin, make=not removes)
    key = keys[-1]
    place = (*path, _index(at, key, path, origin, grow=not removes) if isinstance(at, list) else key)
    if removes:
        if isinstance(at, dict) and key not in at:
            raise _fail(origin, f"{schema.path_text(place)} is not there to remove{did_you_mean(key, at)}")
        del at[place[-1]]
        return
    node = _node(_override_value(value, origin), origin)
    table = {k: _value(n) for k, n in tree.items()}
    if isinstance(node, _Leaf) and isinstance(node.value, str) and schema.is_part_place(place, table, plugins):
        node = {"use": node}
    if isinstance(at, dict):
        _merge(at, {key: node}, path)
    elif isinstance(node, dict) and isinstance(at[place[-1]], dict):
        _merge(at[place[-1]], node, place)
    else:
        at[place[-1]] = node


def _descend(tree: dict[str, Any], keys: Sequence[str], origin: str, make: bool) -> tuple[Any, schema.Path]:
    """The table or list that `keys` lead to, and its path; with `make`, missing tables are made."""
    at: Any = tree
    path: schema.Path = ()
    for key in keys:
        if isinstance(at, list):
            step: str | int = _index(at, key, path, origin, grow=make)
            node = at[step]  # type: ignore[index]
        else:
            step = key
            if key not in at and not make:
                close = did_you_mean(key, at)
                raise _fail(origin, f"{schema.path_text((*path, key))} is not there to remove{close}")
            node = at.setdefault(key, {})
        path = (*path, step)
        if isinstance(node, _Leaf) and not isinstance(node.value, list):
            raise _fail(origin, f"{schema.path_text(path)} is no table: nothing can stand under it")
        at = node.value if isinstance(node, _Leaf) else node
    return at, path


def _index(at: list[Any], key: str, path: schema.Path, origin: str, grow: bool) -> int:
    """Which item of the list `key` means; with `grow` the one after the last is a new table of [[analyze]]."""
    here = schema.path_text(path)
    if not re.fullmatch(r"[0-9]{1,6}", key):
        raise _fail(origin, f'{here} is a list: expected a number such as {here}.0, got "{key}"')
    if grow and path == ("analyze",) and int(key) == len(at):
        at.append({})
    if int(key) >= len(at):
        have = f"it has {len(at)}, counted from 0" if at else "it is empty"
        raise _fail(origin, f"{here}.{key}: no such item; {have}")
    return int(key)


def _override_value(text: str, origin: str) -> Any:
    """TOML where it is TOML, else the bare string."""
    try:
        table = _toml(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    except ValueError as error:
        raise _fail(origin, str(error)) from None
    return table["value"] if len(table) == 1 else text


# ------------------------------------------------------------------ writing


def dumps(spec: Spec, origins: Mapping[schema.Path, str] | None = None, plugins: Plugins | None = None) -> str:
    """The resolved recipe as TOML, every default filled in; `load` of it gives an equal spec.

    With `origins`, a comment on each line says where its value came from.
    """
    import tomlkit

    def origin(path: schema.Path) -> str | None:
        return None if origins is None else printable("; ".join(_origins_below(origins, path))) or "default"

    def item(value: Any, path: schema.Path) -> Any:
        if _is_of_tables(value):
            return _in_lines(value, [origin((*path, i)) for i in range(len(value))])
        made = tomlkit.item(_inline(value))
        if (comment := origin(path)) and path != ("gflow",):
            made.comment(comment)
        return made

    return _written(schema.unstructure(spec, plugins if plugins is not None else _plugins.plugins()), item)


def standalone(path: Path | str, name: str, plugins: Plugins | None = None) -> str:
    """The text of a recipe, a file or the name of a shipped one, for a file `name` that may lie anywhere.

    Its launch lines, `gflow run FILE`, name the new file. A recipe that extends another is written out with what it
    inherits, not with defaults: its opening comment, then its tables, each value as its own file has it, with the
    comment beside it. Raises RecipeError where a file cannot be read, or a recipe that extends another is not valid.
    """
    import tomlkit
    from tomlkit import items
    from tomlkit.container import Container

    loaded = plugins if plugins is not None else _plugins.plugins()
    path = _located(Path(path), loaded)
    own = _parse(path)
    text = path.read_text(encoding="utf-8-sig")
    launch = rf"gflow run (\S*/)?{re.escape(path.name)}(?!\S)"
    text = re.sub(launch, lambda _: f"gflow run {name}", text)
    if "extends" not in own:
        return text

    recipe = load(path, plugins=loaded)
    files = {file: tomlkit.parse(Path(file).read_text("utf-8-sig")) for file in dict.fromkeys(recipe.origins.values())}

    def item(value: Any, place: schema.Path) -> Any:
        origins = _origins_below(recipe.origins, place)
        if len(origins) == 1:
            at: Any = files[origins[0]]
            for key in place[:-1]:
                at = at[key]
            table = at if isinstance(at, Container) else at.value
            found = table.item(str(place[-1])) if isinstance(table, Container) else None
            if isinstance(found, items.Item) and not isinstance(found, items.Table):
                found.trivia.indent, found.trivia.trail = "", "\n"
                return found
        return _in_lines(value, [None] * len(value)) if _is_of_tables(value) else tomlkit.item(_inline(value))

    head = re.match(r"(#.*\n)*", text)
    above = ", ".join(os.path.relpath(file, path.parent) for file in files if file != str(path))
    order = ["gflow", *(field.name for field in attrs.fields(Spec))]
    merged = {key: recipe.table[key] for key in sorted(recipe.table, key=order.index)}
    return f"{head[0] if head else ''}# Written out with what it extends: {above}.\n{_written(merged, item)}"


def _written(table: Mapping[str, Any], item: Callable[[Any, schema.Path], Any]) -> str:
    """A recipe's table as TOML; `item` makes the tomlkit item of each value that is no table of its own."""
    import tomlkit
    from tomlkit import items

    document = tomlkit.document()

    def fill(made: Any, values: Mapping[str, Any], path: schema.Path) -> Any:
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


def _is_of_tables(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(child, dict) for child in value)


def _in_lines(values: Sequence[Any], comments: Sequence[str | None]) -> Any:
    """A list of tables, one a line, each with its comment."""
    import tomlkit

    array = tomlkit.array()
    for value, comment in zip(values, comments, strict=True):
        array.add_line(_inline(value), comment=comment)
    array.add_line(indent="")
    return array


def _inline(value: Any) -> Any:
    """Tables as tomlkit's inline ones, at every depth."""
    import tomlkit

    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update({key: _inline(child) for key, child in value.items()})
        return table
    return [_inline(child) for child in value] if isinstance(value, list) else value
