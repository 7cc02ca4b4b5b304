"""What a recipe's parts ask to be cited as: BibTeX, by the keys that they name.

A part names keys in `cite`, a class attribute or a property. The entries stand in `bibliography.bib` beside the module
of its plugin (or beside the file that `--load` named), or else in the core's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from gflow_core.errors import PluginError
from gflow_core.files.reading import read_bytes
from gflow_core.parts.loading import BIBLIOGRAPHY
from gflow_core.parts.plugins import PluginRecord, Plugins
from gflow_core.parts.spec import Spec

__all__ = ["BIBLIOGRAPHY", "Citation", "bibliography", "citations", "entry_of", "own_entry", "parts_of"]


@attrs.frozen
class Citation:
    """An entry, and the parts for which it is cited."""

    key: str
    bibtex: str
    parts: tuple[str, ...]
    """Names as recipes have them: "loss hinge"."""


@cache
def bibliography(path: Path) -> Mapping[str, str]:
    """The entries of a BibTeX file by their keys; each begins a line with @ and ends with a line that is }.

    Empty where there is no such file.
    """
    try:
        text = read_bytes(path).decode()
    except FileNotFoundError:
        return {}
    entries = re.findall(r"^(@\w+\{([^,\s]+),\n(?:[^@\n].*\n)*?\})$", text, re.MULTILINE)
    return {key: entry for entry, key in entries}


def citations(spec: Spec, plugins: Plugins) -> list[Citation]:
    """What the recipe's parts cite, each entry once, in the order of the recipe. PluginError for keys without entry."""
    found: dict[str, Citation] = {}
    for part in parts_of(spec):
        name = _name(part, plugins)
        for key in getattr(part, "cite", ()):
            before = found.get(key)
            names = (*before.parts, name) if before is not None else (name,)
            entry = before.bibtex if before is not None else entry_of(key, type(part), name, plugins)
            found[key] = Citation(key, entry, tuple(dict.fromkeys(names)))
    return list(found.values())


def own_entry(version: str) -> Citation:
    """gflow itself."""
    title = "{gflow}: a plugin-based framework for adversarial and gradient-flow generative models"
    return Citation("gflow", f"@software{{gflow,\n  title = {{{title}}},\n  version = {{{version}}},\n}}", ("gflow",))


def parts_of(value: Any) -> Iterator[Any]:
    """Every object of options in a recipe, those in options of others as well."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from parts_of(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from parts_of(one)
    elif attrs.has(type(value)):
        yield value
        for field in attrs.fields(type(value)):
            yield from parts_of(getattr(value, field.name))


def entry_of(key: str, part: type[Any], name: str, plugins: Plugins) -> str:
    """The entry that a part class's key stands for. Raises PluginError where its plugin and the core have none."""
    records = (_record(part, plugins), plugins.records[0])  # the second is the core
    files = [Path(record.file).parent / BIBLIOGRAPHY for record in records if record is not None and record.file]
    for file in dict.fromkeys(files):
        if key in (entries := bibliography(file)):
            return entries[key]
    raise PluginError(f'{name} cites "{key}", which is not in {" nor in ".join(map(str, files))}; add the entry')


def _record(part: type[Any], plugins: Plugins) -> PluginRecord | None:
    """The plugin whose package defines the part's class."""
    module = part.__module__.split(".")[0]
    return next((record for record in plugins.records if record.module.split(".")[0] == module), None)


def _name(part: Any, plugins: Plugins) -> str:
    for kind, registry in plugins.registries.items():
        for name in registry:
            if registry.get(name) is type(part):
                return f"{kind} {name}"
    return type(part).__name__
