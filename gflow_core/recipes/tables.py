"""A checked recipe back to its table, every default filled in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from gflow_core.errors import UnknownPart
from gflow_core.parts.plugins import Plugins
from gflow_core.parts.spec import Network, Spec, Storage
from gflow_core.recipes.describe import default_value, kinds_of, options_of
from gflow_core.recipes.joined import Join, Joined

__all__ = ["FORMAT", "PARTS", "default_of", "part_table", "plain", "table_of", "unstructure"]


FORMAT = 1
"""The version of the recipe format that this core reads."""


PARTS = ("dataset", "sampler", "discriminator", "objective")
"""The tables that name one part each."""


def unstructure(spec: Spec, plugins: Plugins) -> dict[str, Any]:
    """The recipe's table with every default filled in: `structure` of it is `spec` again. None is left out."""
    table: dict[str, Any] = {"gflow": FORMAT}
    if spec.title:
        table["title"] = spec.title
    for kind in PARTS:
        if getattr(spec, kind) is not None:
            part = getattr(spec, kind)
            table[kind] = part_table(part.first if isinstance(part, Joined) else part, {kind}, plugins)
            core = spec.storage if kind == "dataset" else spec.networks.get(kind)
            if core not in (None, Storage(), Network()):
                table[kind] |= table_of(core, plugins)
            if isinstance(part, Joined):
                table[kind]["join"] = [_join_table(one, plugins) for one in part.join]
    if spec.optimizer:
        table["optimizer"] = {name: part_table(part, {"optimizer"}, plugins) for name, part in spec.optimizer.items()}
    if spec.train is not None:
        table["train"] = table_of(spec.train, plugins)
    if spec.analyze:
        table["analyze"] = []
        for analysis in spec.analyze:
            part = part_table(analysis.part, {"analyzer"}, plugins)
            own = {"use": part.pop("use"), "name": analysis.name, "every": analysis.every}
            if analysis.sampler_batch_norm != "eval":
                own["sampler_batch_norm"] = analysis.sampler_batch_norm
            table["analyze"].append({**own, **part})
    return table


def _join_table(join: Join, plugins: Plugins) -> dict[str, Any]:
    """A [[dataset.join]] table; a weight of 1 is left out."""
    table = part_table(join.part, {"dataset"}, plugins)
    return table if join.weight == 1 else {"use": table.pop("use"), "weight": join.weight, **table}


def table_of(part: Any, plugins: Plugins) -> dict[str, Any]:
    """A part's options as a recipe writes them, without `use`."""
    pairs = ((f.name, plain(getattr(part, f.name), kinds_of(f.type), plugins)) for f in options_of(type(part)))
    return {name: value for name, value in pairs if value is not None}


def part_table(part: Any, kinds: Iterable[str], plugins: Plugins) -> dict[str, Any]:
    for kind in kinds:
        try:
            name = plugins.registries[kind].name_of(type(part))
        except UnknownPart:
            continue
        return {"use": name, **table_of(part, plugins)}
    return table_of(part, plugins)


def plain(value: Any, kinds: Iterable[str], plugins: Plugins) -> Any:
    if isinstance(value, tuple):
        return [plain(item, kinds, plugins) for item in value]
    return part_table(value, kinds, plugins) if attrs.has(type(value)) else value


def default_of(field: attrs.Attribute[Any], plugins: Plugins) -> Any:
    """An option's default as a recipe would write it; None where there is none."""
    default = default_value(field)
    return None if default is attrs.NOTHING else plain(default, kinds_of(field.type), plugins)
