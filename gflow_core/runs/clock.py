"""How many steps a recipe's epochs and items are, on the data that are there."""

from __future__ import annotations

from gflow_core.parts.nouns import Progress, no_progress
from gflow_core.parts.source import Source
from gflow_core.recipes.recipe import Recipe
from gflow_core.recipes.settling import settled, spans
from gflow_core.runs.blame import blaming
from gflow_core.runs.build import read_data

__all__ = ["in_steps"]


def in_steps(
    recipe: Recipe, progress: Progress = no_progress, *, begun: bool = False
) -> tuple[Recipe, Source | None, dict[str, str]]:
    """The recipe in whole steps, the data that had to be read for it, and what was said: "200 epochs = 15,625 steps".

    A recipe that counts in steps is given back, and nothing is read.
    """
    written = spans(recipe.spec)
    if not written:
        return recipe, None, {}
    data, items = None, 0
    with blaming(recipe.spec):
        a_step = recipe.spec.items_a_step()
        if recipe.spec.dataset is not None:
            data = read_data(recipe.spec.dataset, progress)
            items = data.epoch
    said = {}
    for place, span in written.items():
        steps = span.steps(items, a_step)
        said[place] = f"{span.text} = {steps:,} step{'s' if steps > 1 else ''}"
    return settled(recipe, items, a_step, begun=begun), data, said
