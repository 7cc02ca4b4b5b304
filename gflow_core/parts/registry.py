"""Registries: names for parts, and the evidence of where each part came from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, Generic, TypeVar, cast

import attrs

from gflow_core.errors import PluginError, UnknownPart, did_you_mean, shown

__all__ = ["Entry", "Place", "Registry"]

T = TypeVar("T")

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")


@attrs.frozen
class Place:
    """Where a part is defined: module, file and line, and its docstring."""

    module: str
    file: str
    line: int
    doc: str


@attrs.frozen
class Entry(Generic[T]):
    """One registered part and the plugin that provides it."""

    name: str
    part: type[T]
    provider: str


class Registry(Generic[T]):
    """The parts of one kind, by name.

    A name that two plugins claim belongs to neither: `get` raises an error that names both, and every
    other name goes on working.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}
        self._claims: dict[str, list[str]] = {}

    def add(self, name: str, part: type[Any], provider: str) -> None:
        """Register `part` as `name`. Raises PluginError for a malformed or already claimed name."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(
                f"{self.kind} name {shown(name)}: use lower-case letters, digits and _, as in vgrow.resnet"
            )
        if not (inspect.isclass(part) and attrs.has(part)):
            got = f"the class {part.__qualname__}" if inspect.isclass(part) else shown(part)
            raise PluginError(f"{self.kind} {name}: a part is an attrs class (its options), got {got}")
        claims = self._claims.setdefault(name, [])
        claims.append(provider)
        if len(claims) > 1:
            self._entries.pop(name, None)
            raise PluginError(f'{self.kind} "{name}" is claimed by {" and by ".join(claims)}; uninstall or rename one')
        self._entries[name] = Entry[T](name, cast("type[T]", part), provider)

    def remove(self, name: str) -> None:
        """Take back a name."""
        self._entries.pop(name, None)
        self._claims.pop(name, None)

    def get(self, name: str) -> type[T]:
        """The part called `name`. Raises UnknownPart, listing what exists."""
        return self.entry(name).part

    def entry(self, name: str) -> Entry[T]:
        """The entry called `name`, with its provider. Raises UnknownPart, listing what exists."""
        if name in self._entries:
            return self._entries[name]
        if len(self._claims.get(name, ())) > 1:
            both = " and by ".join(self._claims[name])
            raise UnknownPart(f'{self.kind} "{name}" is claimed by {both}; uninstall or rename one')
        known = ", ".join(self) or "none is registered"
        raise UnknownPart(f'unknown {self.kind} "{name}"{did_you_mean(name, self._entries)} (known: {known})')

    def name_of(self, part: type[Any]) -> str:
        """The name under which a part class is registered."""
        for name, entry in self._entries.items():
            if entry.part is part:
                return name
        raise UnknownPart(f"{part.__qualname__} is not a registered {self.kind}")

    def find(self, name: str) -> Place:
        """Where `name` is defined."""
        part = self.get(name)
        try:
            file = inspect.getsourcefile(part) or "?"
            line = inspect.getsourcelines(part)[1]
        except (OSError, TypeError):
            file, line = "?", 0
        return Place(part.__module__, file, line, inspect.getdoc(part) or "")

    def prefixes(self) -> set[str]:
        """What stands before the dot in the names that plugins claim, also in those that belong to neither of two."""
        return {name.partition(".")[0] for name in self._claims if "." in name}

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)
