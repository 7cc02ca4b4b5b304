"""A recipe that can lie anywhere: what `gflow cp` writes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import attrs

from gflow_core.parts import plugins as _plugins
from gflow_core.parts.plugins import Plugins
from gflow_core.parts.spec import Spec
from gflow_core.recipes.recipe import load, located, parse
from gflow_core.recipes.tree import origins_below
from gflow_core.recipes.words import Place
from gflow_core.recipes.writing import in_lines, inline, is_of_tables, written

__all__ = ["standalone"]


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
    path = located(Path(path), loaded)
    own = parse(path)
    text = path.read_text(encoding="utf-8-sig")
    launch = rf"gflow run (\S*/)?{re.escape(path.name)}(?!\S)"
    text = re.sub(launch, lambda _: f"gflow run {name}", text)
    if "extends" not in own:
        return text

    recipe = load(path, plugins=loaded)
    files = {file: tomlkit.parse(Path(file).read_text("utf-8-sig")) for file in dict.fromkeys(recipe.origins.values())}

    def item(value: Any, place: Place) -> Any:
        origins = origins_below(recipe.origins, place)
        if len(origins) == 1:
            at: Any = files[origins[0]]
            for key in place[:-1]:
                at = at[key]
            table = at if isinstance(at, Container) else at.value
            found = table.item(str(place[-1])) if isinstance(table, Container) else None
            if isinstance(found, items.Item) and not isinstance(found, items.Table):
                found.trivia.indent, found.trivia.trail = "", "\n"
                return found
        return in_lines(value, [None] * len(value)) if is_of_tables(value) else tomlkit.item(inline(value))

    head = re.match(r"(#.*\n)*", text)
    above = ", ".join(os.path.relpath(file, path.parent) for file in files if file != str(path))
    order = ["gflow", *(field.name for field in attrs.fields(Spec))]
    merged = {key: recipe.table[key] for key in sorted(recipe.table, key=order.index)}
    return f"{head[0] if head else ''}# Written out with what it extends: {above}.\n{written(merged, item)}"
