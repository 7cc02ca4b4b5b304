"""What messages are made of: places, values in words, and faults on their way up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from gflow_core.errors import did_you_mean

__all__ = ["Place", "WrongError", "close_to", "either", "in_words", "known_names", "path_text", "quote"]


Place = tuple[str | int, ...]
"""Where something stands in a recipe: ("analyze", 0, "every")."""


def path_text(path: Place) -> str:
    """`analyze.0.every`; keys that TOML would quote are quoted."""
    return ".".join(str(key) if re.fullmatch(r"[A-Za-z0-9_-]+", str(key)) else quote(key) for key in path)


def in_words(value: Any) -> str:
    """A TOML value in words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string {quote(value if len(value) <= 60 else value[:57] + '...')}"
    if isinstance(value, int):
        return f"the whole number {value}" if abs(value) < 2**63 else "a whole number of more than 64 bits"
    if isinstance(value, float):
        return f"the number {value!r}"
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def either(words: list[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def quote(word: Any) -> str:
    """As TOML writes it."""
    return json.dumps(word, ensure_ascii=False)


def close_to(value: Any, words: Iterable[Any]) -> str:
    """Which of the words was meant, if `value` is nearly one."""
    return did_you_mean(value, [w for w in words if isinstance(w, str)]) if isinstance(value, str) else ""


def known_names(names: Iterable[str]) -> str:
    """` (known: a, b)`."""
    return f" (known: {', '.join(names) or 'none'})"


class WrongError(Exception):
    """Problems found below some place of the recipe, by their paths from there."""

    def __init__(self, faults: Iterable[tuple[Place, str]]) -> None:
        super().__init__()
        self.faults = list(faults)

    @classmethod
    def one(cls, message: str, *path: str | int) -> WrongError:
        return cls([(path, message)])
