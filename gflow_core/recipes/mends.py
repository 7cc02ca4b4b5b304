"""What was meant by a value of the wrong type, as a recipe or an override would write it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import date, time
from typing import Any

from gflow_core.files.reading import parse_toml
from gflow_core.recipes.tree import OVERRIDE
from gflow_core.recipes.words import Place, path_text, quote

__all__ = ["mended"]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "a whole number": (int,),
    "a number": (int, float),
    "true or false": (bool,),
    "a list": (list,),
}
"""How messages call what TOML reads as these types."""

_NONE = ("none", "null", "nil", "")
_PYTHON = {"True": "true", "False": "false"}
_UNKNOWN = re.compile(r'unknown \S+ "[^"]*"')


def mended(message: str, place: Place, table: Mapping[str, Any], source: str) -> str:
    """The message about the value at `place` of a recipe from `source`, with what to write instead where that is clear.

    A bare word on the command line names a part where a part may stand; a number in a spelling that TOML lacks does so.
    """
    unknown = _UNKNOWN.match(message) if place[-1:] == ("use",) else None
    place = place[:-1] if unknown else place
    value = _at(table, place)
    if isinstance(value, Mapping) and list(value) == ["use"]:
        value = value["use"]
    told = message.partition("expected ")[2]
    if not (unknown or told):
        return message
    wrong = unknown[0] if unknown else message
    overridden = source.startswith(OVERRIDE)
    if isinstance(value, str) and value.lower() in _NONE and not told.startswith("a string"):
        mend = f"~{path_text(place)} removes what the recipe has" if overridden else "remove this line"
        return f"{wrong}; to have none, {mend}"
    text = _text(value, told)
    if text is None or not place:
        return message
    key = path_text(place)
    written = shlex.quote(f"{key}={text}") if overridden else f"{path_text(place[-1:])} = {text}"
    return f"{wrong}; write {written}"


def _at(table: Any, place: Place) -> Any:
    for key in place:
        try:
            table = table[key]
        except (KeyError, IndexError, TypeError):
            return None
    return table


def _text(value: Any, told: str) -> str | None:
    """`value` as TOML writes it, where that is of the type that was `told`; for a part, a number is meant."""
    if told.startswith("a string"):
        return quote(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None
    wanted = next((types for words, types in _TYPES.items() if told.startswith(words)), () if told else (int, float))
    if isinstance(value, float) and value.is_integer() and wanted == (int,):
        return str(int(value))
    if not isinstance(value, str):
        return None
    text = re.sub(r"^\((.*)\)$", r"[\1]", value.strip())
    text = re.sub(r"(?<![\w.])\.(?=\d)", "0.", text)
    text = re.sub(r"(?<=\d)\.(?!\d)", ".0", text)
    text = _PYTHON.get(text, text)
    try:
        found = parse_toml(f"value = {text}")
    except ValueError:
        return None
    meant = found.get("value")
    if len(found) > 1 or isinstance(meant, date | time):
        return None
    if isinstance(meant, float) and meant.is_integer() and wanted == (int,):
        return str(int(meant))
    return text if type(meant) in wanted else None
