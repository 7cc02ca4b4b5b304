"""Spans in epochs or items become whole steps, once the size of the data is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from gflow_core.parts.plugins import plugins
from gflow_core.parts.spans import Span
from gflow_core.parts.spec import Spec
from gflow_core.recipes.recipe import Recipe
from gflow_core.recipes.structure import structure
from gflow_core.recipes.tables import unstructure
from gflow_core.recipes.words import path_text

__all__ = ["settled", "spans"]


def spans(spec: Spec) -> dict[str, Span]:
    """Place in the recipe -> span, of all numbers of steps that it gives in epochs or items."""
    return dict(_spans(unstructure(spec, plugins())))


def settled(recipe: Recipe, items: int, a_step: int, *, begun: bool = False) -> Recipe:
    """The recipe in whole steps where the data have so many items and a step reads so many of them.

    All that follows the steps is checked; raises RecipeError as `load` does.
    """

    def whole(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: whole(one) for key, one in value.items()}
        if isinstance(value, list):
            return [whole(one) for one in value]
        return value.steps(items, a_step) if isinstance(value, Span) else value

    table = whole(unstructure(recipe.spec, plugins()))
    return attrs.evolve(recipe, spec=structure(table, plugins(), lambda _: recipe.source, begun=begun))


def _spans(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str, Span]]:
    if isinstance(value, Span):
        yield path_text(place), value
    elif isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, one in pairs:
            yield from _spans(one, (*place, key))
