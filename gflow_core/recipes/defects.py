"""What is wrong with a part whatever a recipe says."""

from __future__ import annotations

from functools import lru_cache
from types import NoneType
from typing import get_args

import attrs

from gflow_core.errors import PluginError
from gflow_core.parts.foreign import own
from gflow_core.parts.plugins import Plugins
from gflow_core.recipes.checks import missing
from gflow_core.recipes.describe import default_value, kinds_of, options_by_name, readable, type_name
from gflow_core.recipes.tables import plain
from gflow_core.recipes.values import Reader, invalid

__all__ = ["defects"]


def defects(kind: str, name: str, plugins: Plugins) -> list[str]:
    """What is wrong with a part whatever a recipe says: members that its kind needs, types, defaults."""
    cls = plugins.registries[kind].get(name)
    found: list[str] = []
    try:
        with own("class", cls):
            found += missing(kind, cls, plugins)
            options = options_by_name(cls)
            reader = reader_of(plugins)
            for key, field in options.items():
                if not readable(field.type):
                    found.append(f"options of type {type_name(field.type)} cannot be read from a recipe: {key}")
                    continue
                default = default_value(field)
                if default is attrs.NOTHING:
                    continue
                fits = default is None and NoneType in get_args(field.type)
                faults = [] if fits else reader.faults(plain(default, kinds_of(field.type), plugins), field.type)
                faults = faults or invalid(cls, options, {key: default})
                found.extend(f"the default of {key} is wrong: {message}" for _, message in faults)
    except PluginError as error:
        found.append(str(error))
    return found


@lru_cache(maxsize=1)
def reader_of(plugins: Plugins) -> Reader:
    """One for all parts: making a converter takes longer than looking at a part."""
    return Reader(plugins)
