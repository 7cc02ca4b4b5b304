"""What the options of a part are: their types as a recipe writes them, and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from gflow_core.errors import PluginError
from gflow_core.parts.foreign import own
from gflow_core.parts.kinds import kind_of
from gflow_core.recipes.words import either, quote

__all__ = [
    "Options",
    "default_value",
    "has_option",
    "kinds_of",
    "options_by_name",
    "options_of",
    "origin_of",
    "readable",
    "toml_type",
    "type_name",
    "type_text",
]


Options = dict[str, "attrs.Attribute[Any]"]


_WORDS: Mapping[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "truth values"),
    str: ("a string", "strings"),
}


def options_of(cls: type[Any]) -> tuple[attrs.Attribute[Any], ...]:
    """The options of a part, their types resolved."""
    return tuple(options_by_name(cls).values())


def options_by_name(cls: type[Any]) -> Options:
    """Name -> option, types resolved. Raises PluginError where they cannot be."""
    try:
        attrs.resolve_types(cls)
    except Exception as error:
        raise PluginError(
            f"the types of its options cannot be resolved ({type(error).__name__}: {error}): import them outside "
            "TYPE_CHECKING (a defect of the plugin)"
        ) from error
    return {field.name: field for field in attrs.fields(cls) if field.init}


def has_option(cls: type[Any], name: str) -> bool:
    """Whether a recipe may set `name` in a part of this class."""
    field = attrs.fields_dict(cls).get(name)
    return field is not None and field.init


def default_value(field: attrs.Attribute[Any]) -> Any:
    """The option's default, made if it is made by a factory; NOTHING where there is none or it needs the rest."""
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        with own(f"default of {field.name}", default.factory):
            return attrs.NOTHING if default.takes_self else default.factory()
    return default


def origin_of(kind: Any) -> Any:
    """Union, tuple or Literal where the type is one of these, however it is written."""
    origin: Any = get_origin(kind)
    return Union if origin is UnionType else origin


def kinds_of(kind: Any) -> set[str]:
    """The kinds of parts that an option of this type may hold."""
    if own := kind_of(kind):
        return {own.name}
    if origin_of(kind) in (Union, tuple):
        return set().union(*(kinds_of(arm) for arm in get_args(kind)))
    return set()


def readable(kind: Any) -> bool:
    """Whether a recipe can hold an option of this type."""
    origin = origin_of(kind)
    if origin is Literal:
        return all(isinstance(word, str | int) for word in get_args(kind))
    if origin in (Union, tuple):
        return all(arm in (NoneType, Ellipsis) or readable(arm) for arm in get_args(kind))
    return (
        kind_of(kind) is not None
        or kind in _WORDS
        or (attrs.has(kind) and all(readable(f.type) for f in options_of(kind)))
    )


def type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind)


def toml_type(kind: Any) -> str:
    """The type of an option as a recipe writes it: `"relu" | "tanh"`, `[float, float]`, `{ use = latent, ... }`."""
    origin, arms = origin_of(kind), get_args(kind)
    if origin is Union:
        return " | ".join(toml_type(arm) for arm in arms if arm is not NoneType)
    if origin is Literal:
        return " | ".join(quote(word) for word in arms)
    if origin is tuple:
        return "[" + ", ".join("..." if arm is Ellipsis else toml_type(arm) for arm in arms) + "]"
    if own := kind_of(kind):
        return f"{{ use = {own.name}, ... }}"
    if attrs.has(kind):
        return "{ " + ", ".join(f"{f.name} = {toml_type(f.type)}" for f in options_of(kind)) + " }"
    return "string" if kind is str else getattr(kind, "__name__", str(kind))


def type_text(kind: Any) -> str:
    """The type in words, for messages."""
    origin, arms = origin_of(kind), get_args(kind)
    if origin is Union:
        return either([type_text(arm) for arm in arms if arm is not NoneType])
    if origin is Literal:
        return either([quote(word) for word in arms])
    if origin is tuple:
        names = [_WORDS.get(arm, ("", "values"))[1] for arm in arms if arm is not Ellipsis]
        count = "" if Ellipsis in arms else f"{len(arms)} "
        return f"a list of {count}{names[0] if len(set(names)) == 1 else 'values'}"
    if own := kind_of(kind):
        return f"a table that names {'an' if own.name[0] in 'aeiou' else 'a'} {own.name} with `use`"
    return _WORDS[kind][0] if kind in _WORDS else "a table"
