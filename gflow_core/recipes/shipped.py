"""Recipes that come with distributions: the folder `recipes` in the package of a plugin's module.

A plugin's entry point names a module; `recipes/*.toml` beside it are what its distribution ships, each by the name of
its file. Folders below hold parents that they extend. Nothing needs to be registered.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from gflow_core.errors import Problem, RecipeError, did_you_mean
from gflow_core.parts.plugins import PluginRecord, Plugins

__all__ = ["Shipped", "find", "shipped"]


@attrs.frozen
class Shipped:
    """A recipe of an installed distribution."""

    name: str
    """What `gflow run` calls it: its file's name without .toml."""
    dist: str
    version: str
    path: Path
    """The file; of an editable install, the one in the checkout."""


def shipped(plugins: Plugins) -> list[Shipped]:
    """Every recipe of every plugin's distribution, by distribution and name."""
    found = {
        (record.dist, path.stem): Shipped(path.stem, record.dist, record.version, path.resolve())
        for record in plugins.records
        for path in _files(record)
    }
    return [found[key] for key in sorted(found)]


def _files(record: PluginRecord) -> list[Path]:
    """The recipes beside the plugin's module; a module in no package has no folder of its own."""
    file = Path(record.file)
    if not record.file or not ("." in record.module or file.stem == "__init__"):
        return []
    return [path for path in (file.parent / "recipes").glob("*.toml") if path.is_file()]


def find(name: str, plugins: Plugins) -> Path:
    """The file of the shipped recipe `name`. Raises RecipeError where there is none, or more than one."""
    everything = shipped(plugins)
    found = [recipe for recipe in everything if recipe.name == name]
    if len(found) == 1:
        return found[0].path
    if found:
        dists, files = " and ".join(r.dist for r in found), " or ".join(str(r.path) for r in found)
        raise RecipeError([Problem("", f"shipped by {dists}; give the file, {files}", name)])
    looked = ", ".join(dict.fromkeys(recipe.dist for recipe in everything))
    where = f"of {looked}; gflow ls recipes lists them" if looked else "of plugins: no installed one ships any"
    broken = ", ".join(dict.fromkeys(record.dist for record in plugins.records if record.status == "broken"))
    message = (
        f"no such file or shipped recipe{did_you_mean(name, [recipe.name for recipe in everything])} "
        f"(looked in this folder and among the recipes {where})"
        + (f"; {broken} is BROKEN, which gflow plugins explains" if broken else "")
    )
    raise RecipeError([Problem("", message, name)])
