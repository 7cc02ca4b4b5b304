"""The kinds of parts as words on the command line."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from gflow_core.errors import did_you_mean
from gflow_core.from_run import FromRun
from gflow_core.plugins import KINDS, plugins
from gflow_core.schema import registry_of

__all__ = ["ALL", "Kind", "name_of"]

ALL = (*KINDS, "optimizer", "schedule")


class Kind(click.ParamType[str]):
    """A kind of part, in the singular or the plural; or one of `others`, as it stands."""

    name = "kind"

    def __init__(self, *others: str) -> None:
        self.words = {**{f"{kind}s": kind for kind in ALL}, **{kind: kind for kind in ALL}, **{o: o for o in others}}

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.words:
            if having := [kind for kind in ALL if value in registry_of(plugins(), kind)]:
                shown = " or ".join(f"gflow show {kind} {value}" for kind in having)
                self.fail(f"{value} is a part, not a kind: {shown}", param, ctx)
            known = ", ".join(dict.fromkeys(self.words.values()))
            self.fail(f'there is no kind "{value}"{did_you_mean(value, self.words)} (known: {known})', param, ctx)
        return self.words[value]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in self.words if word.startswith(incomplete)]


def name_of(kind: str, part: Any) -> str:
    """What a recipe calls the part: the name it is registered under, or "from RUN"."""
    return f"from {part.from_run}" if isinstance(part, FromRun) else plugins().registries[kind].name_of(type(part))
