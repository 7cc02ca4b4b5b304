"""The kinds of parts as words on the command line."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from gflow_core.errors import did_you_mean
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.from_run import FromRun
from gflow_core.recipes.joined import Joined, joins

__all__ = ["Kind", "name_of"]


class Kind(click.ParamType[str]):
    """A kind of part, in the singular or the plural; or one of `others`, as it stands."""

    name = "kind"

    def __init__(self, *others: str) -> None:
        self.others = others

    @property
    def words(self) -> dict[str, str]:
        """What may stand here -> what it means."""
        kinds = plugins().kinds.values()
        plural, singular = {kind.plural: kind.name for kind in kinds}, {kind.name: kind.name for kind in kinds}
        return {**plural, **singular, **{other: other for other in self.others}}

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        words = self.words
        if value not in words:
            if having := [kind for kind, names in plugins().registries.items() if value in names]:
                shown = " or ".join(f"gflow show {kind} {value}" for kind in having)
                self.fail(f"{value} is a part, not a kind: {shown}", param, ctx)
            known = ", ".join(dict.fromkeys(words.values()))
            self.fail(f'there is no kind "{value}"{did_you_mean(value, words)} (known: {known})', param, ctx)
        return words[value]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in self.words if word.startswith(incomplete)]


def name_of(kind: str, part: Any) -> str:
    """What a recipe calls the part: the name it is registered under, or "from RUN"; "A + B" of joined data sets."""
    if isinstance(part, Joined):
        return " + ".join(name_of(kind, one) for _, one in joins(part))
    return f"from {part.from_run}" if isinstance(part, FromRun) else plugins().registries[kind].name_of(type(part))
