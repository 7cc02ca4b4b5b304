"""What is wrong with a part whatever a recipe says."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import Any, get_args

import attrs

from gflow_core.errors import PluginError, shown
from gflow_core.parts.foreign import own
from gflow_core.parts.plugins import Plugins
from gflow_core.parts.spec import NETWORKS
from gflow_core.recipes.asking import DEFECT
from gflow_core.recipes.describe import default_value, kinds_of, options_by_name, readable, type_name
from gflow_core.recipes.refusals import invalid
from gflow_core.recipes.tables import plain
from gflow_core.recipes.words import Place

__all__ = ["defects_of", "undeclared"]

Faults = Callable[[Any, Any], list[tuple[Place, str]]]
"""(value, type) -> what keeps the value from being read as the type."""

_TABLES = ("dataset", "sampler", "discriminator", "objective")
"""What an analyzer may need."""
_DECLARED: dict[str, tuple[str, type[Any], tuple[str, ...]]] = {
    **dict.fromkeys(("objective", "flow.velocity"), ("players", tuple, NETWORKS)),
    "analyzer": ("needs", frozenset, _TABLES),
}
"""What says which networks are trained, or which tables are needed; how it is stated, and what may stand in it."""
_TAKEN = {"analyzer": ("every", "name", "sampler_batch_norm"), **dict.fromkeys(NETWORKS, ("from_run",))}
"""Names that mean something else in the tables of a kind, as `use` does in all."""


def defects_of(kind: str, cls: type[Any], plugins: Plugins, faults_of: Faults) -> list[str]:
    """What is wrong with a part whatever a recipe says: members that its kind needs, names, types, defaults."""
    found: list[str] = []
    try:
        with own("class", cls):
            found += (f"lacks {words}; see docs/plugins.md {DEFECT}" for words in plugins.lacks(kind, cls))
            found += undeclared(kind, cls)
            options = options_by_name(cls)
            if kind == "analyzer" and getattr(cls, "of_samples", False):
                if "samples" not in options:
                    found.append("of_samples goes with an option samples, which says how many; add it")
                if not set(getattr(cls, "needs", ())) <= {"dataset", "sampler"}:
                    found.append("of_samples goes with needs of sampler and dataset alone; gflow score has no others")
            for key, field in options.items():
                if key in ("use", *_TAKEN.get(kind, ())):
                    found.append(f'no option can be called "{key}", which means something else there; rename it')
                if not readable(field.type):
                    found.append(f"options of type {type_name(field.type)} cannot be read from a recipe: {key}")
                    continue
                default = default_value(field)
                if default is attrs.NOTHING:
                    continue
                fits = default is None and NoneType in get_args(field.type)
                faults = [] if fits else faults_of(plain(default, kinds_of(field.type), plugins), field.type)
                faults = faults or invalid(cls, options, {key: default})
                found.extend(f"the default of {key} is wrong: {message}" for _, message in faults)
    except PluginError as error:
        found.append(str(error))
    return found


def undeclared(kind: str, part: Any) -> list[str]:
    """What is wrong with `players` or `needs` of a part, or of its class: with what a class computes there nothing."""
    if kind not in _DECLARED:
        return []
    name, shape, known = _DECLARED[kind]
    if not hasattr(part, name):
        return []
    stated = getattr(part, name)
    if isinstance(stated, property) or (isinstance(stated, shape) and set(stated) <= set(known)):
        return []
    return [f"{name} is a {shape.__name__} of {', '.join(known)}; got {shown(stated)}"]
