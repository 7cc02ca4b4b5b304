"""The recipe for reading: every option with its default and meaning, and what was set to something else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from gflow_core.errors import GflowError
from gflow_core.parts.options import option_doc, option_unit
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.describe import options_of
from gflow_core.recipes.recipe import Recipe
from gflow_core.recipes.tables import default_of, unstructure

__all__ = ["Option", "Part", "parts", "toml"]


@attrs.frozen
class Option:
    """One option of a part."""

    name: str
    value: str
    """As a recipe writes it."""
    default: str | None = None
    """None where it is required, or where the part is not known here."""
    changed: bool = False
    """Whether the value differs from the default, or there is none."""
    unit: str = ""
    doc: str = ""


@attrs.frozen
class Part:
    """One table of the recipe."""

    table: str
    """Such as "sampler", "optimizer.sampler", "analyze.0"."""
    use: str
    options: tuple[Option, ...]
    known: bool
    """Whether its defaults are known: the recipe is good and its plugins are there."""

    @property
    def changed(self) -> int:
        """How many options differ from their defaults."""
        return sum(option.changed for option in self.options)


def parts(table: Mapping[str, Any], recipe: Recipe | None) -> list[Part]:
    """The tables of a recipe in its order; without a checked recipe their values alone."""
    if recipe is not None:
        table = unstructure(recipe.spec, plugins())
    found = []
    for name, values in _tables(table):
        use = str(values.get("use", ""))
        part = None if recipe is None else _part(recipe, name)
        options = [_option(name, key, value, part) for key, value in values.items() if key != "use"]
        found.append(Part(name, use, tuple(options), part is not None))
    return found


def _tables(table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Dotted name -> table; optimizers and analyses one each."""
    for key, value in table.items():
        if key == "analyze" and isinstance(value, list):
            yield from ((f"analyze.{i}", one) for i, one in enumerate(value) if isinstance(one, Mapping))
        elif key == "optimizer" and isinstance(value, Mapping):
            yield from ((f"{key}.{name}", one) for name, one in value.items() if isinstance(one, Mapping))
        elif isinstance(value, Mapping):
            yield key, value


def _part(recipe: Recipe, name: str) -> Any:
    kind, _, which = name.partition(".")
    if kind == "analyze":
        return recipe.spec.analyze[int(which)].part
    return recipe.spec.optimizer[which] if kind == "optimizer" else getattr(recipe.spec, kind)


def _option(table: str, key: str, value: Any, part: Any) -> Option:
    if table.startswith("analyze.") and key == "name":
        return Option(key, toml(value), doc="Its folder under analysis/.")
    if table.startswith("analyze.") and key == "every":
        doc = "Steps between runs during training; 0 runs it once, at the end."
        return Option(key, toml(value), "0", value != 0, "steps", doc)
    field = next((field for field in options_of(type(part)) if field.name == key), None) if part is not None else None
    if field is None:
        return Option(key, toml(value))
    unit, doc = option_unit(field), option_doc(field)
    if field.default is attrs.NOTHING:
        return Option(key, toml(value), None, True, unit, doc)
    try:
        default = default_of(field, plugins())
    except GflowError:  # a defect of the plugin
        return Option(key, toml(value), unit=unit, doc=doc)
    return Option(key, toml(value), "unset" if default is None else toml(default), value != default, unit, doc)


def toml(value: Any) -> str:
    """A value as a recipe writes it, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
