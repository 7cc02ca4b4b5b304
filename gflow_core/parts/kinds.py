"""Kinds of parts: what a recipe can `use`, and where.

    @kind("mine.velocity", members={"build": "the method build"})
    class Velocity(Protocol): ...

An option of that type holds a part of that kind; which ones there are is a registry's matter. The core's own kinds
have bare names (`sampler`), or say which of its parts holds them (`flow.velocity`); those that a plugin owns are
`plugin.kind`. What is not in the core's list of kinds is registered with the hook `register_kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

__all__ = ["Kind", "kind", "kind_of"]

C = TypeVar("C", bound=type[Any])


@attrs.frozen
class Kind:
    """One kind of part."""

    name: str
    contract: type[Any]
    """The Protocol that its parts meet; options of this type hold them."""
    members: Mapping[str, str]
    """What a part must have, in words: {"build": "the method build"}."""

    @property
    def plural(self) -> str:
        """As `gflow ls` takes it: "samplers", "losses"."""
        if self.name.endswith("y"):
            return f"{self.name[:-1]}ies"
        return f"{self.name}es" if self.name.endswith("s") else f"{self.name}s"

    @property
    def owner(self) -> str:
        """The plugin whose kind it is; "core" for the core's own."""
        plugin, dot, _ = self.name.partition(".")
        cores = self.contract.__module__.partition(".")[0] == __name__.partition(".")[0]
        return plugin if dot and not cores else "core"


_KINDS: dict[type[Any], Kind] = {}


def kind(name: str, *, members: Mapping[str, str]) -> Callable[[C], C]:
    """Declare a Protocol the contract of the kind `name`; `members` are what its parts must have, in words.

    What a contract merely allows (`check`, as a rule) is left out of `members`.
    """

    def declare(contract: C) -> C:
        _KINDS[contract] = Kind(name, contract, dict(members))
        return contract

    return declare


def kind_of(contract: Any) -> Kind | None:
    """The kind whose contract this type is; None for any other type."""
    return _KINDS.get(contract) if isinstance(contract, type) else None
