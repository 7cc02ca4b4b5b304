"""Recipes: read from TOML, extended, overridden and checked."""

from __future__ import annotations

import os
import re
from ast import literal_eval
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from gflow_core.errors import GflowError, did_you_mean, for_people
from gflow_core.files.inside import check_inside
from gflow_core.files.reading import MAX_BYTES, MAX_DEPTH, parse_toml, read_bytes
from gflow_core.parts import plugins as _plugins
from gflow_core.parts.plugins import Plugins
from gflow_core.parts.spec import Spec
from gflow_core.recipes.history import as_written_now
from gflow_core.recipes.overrides import apply
from gflow_core.recipes.shipped import find, shipped
from gflow_core.recipes.structure import format_fault, structure
from gflow_core.recipes.tree import (
    ITSELF,
    OVERRIDE,
    as_toml,
    failure,
    merge,
    origins_below,
    origins_of,
    to_node,
    to_value,
)
from gflow_core.recipes.words import Place, path_text
from gflow_core.recipes.writing import dumps

__all__ = ["Recipe", "load", "located", "parse"]


@attrs.frozen
class Recipe:
    """A recipe as read: its merged table, where each value came from, and what it means."""

    path: Path | None
    """Its file; None of one that was made of a dictionary."""
    table: Mapping[str, Any]
    origins: Mapping[Place, str]
    """("sampler", "channels") -> "recipes/x.toml" or "override sampler.channels=64"."""
    spec: Spec

    @classmethod
    @for_people
    def load(cls, path: Path | str, *overrides: str) -> Recipe:
        """The recipe in a file, with overrides such as "train.steps=200"; see the module's `load`."""
        return load(path, overrides)

    @classmethod
    @for_people
    def of(cls, table: Mapping[str, Any], *overrides: str) -> Recipe:
        """The recipe that a dictionary of tables is, as TOML has them: {"gflow": 1, "dataset": {"use": "ring"}, ...}.

        Numbers of numpy count as Python's, tuples as lists, paths as text; what it `extends` counts from the working
        folder. Raises RecipeError with every problem.
        """
        return _checked(None, _on_parents(as_toml(table), Path(ITSELF), ()), overrides, _plugins.plugins())

    @property
    def source(self) -> str:
        """Where messages say that it comes from."""
        return ITSELF if self.path is None else str(self.path)

    def dumps(self) -> str:
        """The resolved recipe as TOML, every default filled in."""
        return dumps(self.spec)


def load(
    path: Path | str, overrides: Sequence[str] = (), plugins: Plugins | None = None, *, begun: bool = False
) -> Recipe:
    """Read a recipe, a file or the name of a shipped one, with its parents; apply overrides left to right; check it.

    `begun`: a run's own, of which what training started from need not be there any more. Raises RecipeError with
    every problem, each with the file or override that it came from.
    """
    loaded = plugins if plugins is not None else _plugins.plugins()
    path = located(Path(path), loaded)
    return _checked(path, _read(path, alone=begun), overrides, loaded, begun=begun)


def _checked(
    path: Path | None, tree: dict[str, Any], overrides: Sequence[str], plugins: Plugins, *, begun: bool = False
) -> Recipe:
    """The recipe that a tree with its origins is, once overrides are applied."""
    for text in overrides:
        apply(tree, text, plugins)
    itself = ITSELF if path is None else str(path)
    table = {key: to_value(node) for key, node in tree.items()}
    origins = dict(origins_of(tree))

    def source(place: Place) -> str:
        """The origin of the value or table at or next around `place`: one file or override, or both together."""
        for end in range(len(place), 0, -1):
            if found := origins_below(origins, place[:end]):
                if place in (("sampler",), ("discriminator",)):  # what is wrong may be the data that it is to suit
                    found += [one for one in origins_below(origins, ("dataset",)) if one.startswith(OVERRIDE)]
                base = found[0] if place[:end] in origins else itself
                changed = " and ".join(origin for origin in found if origin.startswith(OVERRIDE) and origin != base)
                return found[0] if len(found) == 1 else f"{base} with {changed}" if changed else base
        return itself

    return Recipe(path, table, origins, structure(table, plugins, source, begun=begun))


def located(path: Path, plugins: Plugins) -> Path:
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
            raise failure(path, f"no such file; for the one that comes with {recipe.dist} write {recipe.name}")
    return path


def _read(path: Path, children: tuple[Path, ...] = (), *, alone: bool = False) -> dict[str, Any]:
    """The file's tree on top of its parents', of which one that stands alone has none."""
    return _on_parents(parse(path), path, children, alone=alone)


def _on_parents(
    table: dict[str, Any], path: Path, children: tuple[Path, ...], *, alone: bool = False
) -> dict[str, Any]:
    if "gflow" in table and (message := format_fault(table["gflow"])):
        raise failure(path, message, ("gflow",))
    parent = table.pop("extends", None)
    tree = {key: to_node(value, str(path)) for key, value in table.items()}
    if parent is None:
        return tree
    if alone:  # it may come from anybody, and would show what lies elsewhere
        raise failure(path, "a run's recipe extends no other; take this line out", ("extends",))
    if not isinstance(parent, str):
        raise failure(path, "expected the path of one recipe, relative to this one, as a string", ("extends",))
    above = Path(os.path.normpath(path.parent / parent))
    chain = (*children, path)
    if any(_same(above, seen) for seen in chain):
        circle = " -> ".join(str(p) for p in (*chain, above))
        raise failure(path, f"goes round in a circle: {circle}", ("extends",))
    if len(chain) > MAX_DEPTH:
        raise failure(path, f"more than {MAX_DEPTH} recipes extend one another", ("extends",))
    if not above.exists():
        raise failure(path, f"no such file: {above}{_similar(above)}", ("extends",))
    base = _read(above, chain)
    merge(base, tree)
    return base


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def parse(path: Path) -> dict[str, Any]:
    """The file's table. Raises RecipeError where it cannot be read."""
    a_runs_own = path.name == "recipe.toml" and (path.parent / "manifest.json").exists()
    try:
        if a_runs_own:
            check_inside(path.parent)
        content = read_bytes(path, MAX_BYTES)
    except GflowError as error:
        raise failure(path, str(error)) from None
    except FileNotFoundError:
        raise failure(path, f"no such file{_similar(path)}") from None
    except IsADirectoryError:
        raise failure(path, "is a folder, not a recipe") from None
    except (OSError, ValueError) as error:
        raise failure(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        table = parse_toml(content)
        return as_written_now(table) if a_runs_own else table
    except ValueError as error:
        where = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", str(error), re.DOTALL)
        if where:
            said = f"{where[2]}: {_plainly(where[1])}"
        else:
            said = str(error) if str(error).startswith("line ") else f"not TOML: {error}"
        if a_runs_own:  # written by gflow
            said += "; the run's recipe is damaged: put it back from a backup, or start a new run"
        raise failure(path, said) from None


def _plainly(said: str) -> str:
    """What tomllib says, without its inner life."""
    if twice := re.fullmatch(r"Cannot declare (\(.*\)) twice", said):
        return f"[{path_text(literal_eval(twice[1]))}] is there twice"
    return "this key is there twice" if said == "Cannot overwrite a value" else said


def _similar(path: Path) -> str:
    """`; did you mean "base.toml"?` for the closest recipe in the same folder."""
    stems = [found.stem for found in path.parent.glob("*.toml")]
    return re.sub(r'"(?= or |\?)', '.toml"', did_you_mean(path.stem, stems))
