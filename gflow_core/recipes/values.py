"""Reading by type: a table becomes a part, or every problem it has at once.

cattrs chooses a hook by the type of each option; the hooks here are strict (1.7 is no whole number, "3" no
number, "false" no truth value) and raise `WrongError`, which gather on the way up with the path they belong to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import NoneType
from typing import Any, Literal, Union, get_args

import attrs
from cattrs import Converter

from gflow_core.errors import GflowError, PluginError, did_you_mean
from gflow_core.parts.foreign import own
from gflow_core.parts.kinds import kind_of
from gflow_core.parts.options import option_unit
from gflow_core.parts.plugins import Plugins
from gflow_core.parts.spans import Span, read_span
from gflow_core.recipes.asking import DEFECT
from gflow_core.recipes.defects import defects_of
from gflow_core.recipes.describe import (
    default_value,
    has_option,
    kinds_of,
    options_by_name,
    origin_of,
    type_name,
    type_text,
)
from gflow_core.recipes.refusals import REFUSALS, first_words, invalid
from gflow_core.recipes.tables import part_table
from gflow_core.recipes.words import Place, WrongError, close_to, either, in_words, known_names, quote

__all__ = ["Reader", "a_list", "a_table", "defects", "on_part"]


class Reader:
    """A strict cattrs converter over some plugins."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self.spans: list[Span] = []
        """Numbers of steps that were given in epochs or items."""
        self._defects: dict[type[Any], list[str]] = {}
        self.converter = converter = Converter()
        factories: tuple[tuple[Callable[[Any], bool], Callable[[Any], Callable[[Any, Any], Any]]], ...] = (
            (lambda kind: True, self._unsupported),  # cattrs tries the last one first
            (lambda kind: origin_of(kind) is tuple, self._tuple),
            (lambda kind: origin_of(kind) is Union, self._union),
            (lambda kind: origin_of(kind) is Literal, self._literal),
            (attrs.has, lambda kind: self.table),
            (lambda kind: kind_of(kind) is not None, self._nested),
        )
        for fits, factory in factories:
            converter.register_structure_hook_factory(fits, factory)
        for kind, hook in ((int, _int), (float, _float), (bool, _bool), (str, _str)):
            converter.register_structure_hook(kind, hook)

    def value(self, value: Any, kind: Any) -> Any:
        """`value` as a recipe writes it, as the type `kind`. Raises WrongError."""
        return self.converter.structure(value, kind)

    def faults(self, value: Any, kind: Any) -> list[tuple[Place, str]]:
        """What keeps `value` from being read as `kind`."""
        try:
            self.value(value, kind)
        except WrongError as error:
            return error.faults
        return []

    def part(self, value: Any, kind: str, extra: Iterable[str] = ()) -> Any:
        """A part from its table: `use` names it, the other keys are its options. A string is its name alone."""
        options = {"use": value} if isinstance(value, str) else dict(a_table(value))
        if "use" not in options:
            raise WrongError.one(f"required: which {kind}{known_names(self.plugins.registries.get(kind, ()))}", "use")
        name = options.pop("use")
        if not isinstance(name, str):
            raise WrongError.one(f"expected the name of a part, got {in_words(name)}", "use")
        try:
            part = self.plugins.get(kind, name)
        except GflowError as error:
            raise WrongError.one(str(error), "use") from None
        if defects := self.defects(kind, part):
            said = (defect if DEFECT.rstrip(")") in defect else f"{defect} {DEFECT}" for defect in defects)
            raise WrongError([((), message) for message in said])
        return self.table(options, part, f" (gflow show {kind} {name})", ("use", *extra))

    def defects(self, kind: str, part: type[Any]) -> list[str]:
        """What is wrong with a part whatever a recipe says."""
        if part not in self._defects:
            self._defects[part] = []  # of one that holds itself by default
            self._defects[part] = defects_of(kind, part, self.plugins, self.faults)
        return self._defects[part]

    def table(self, value: Any, cls: Any, hint: str = "", extra: Iterable[str] = ()) -> Any:
        """An instance of the attrs class `cls` from a table of its options."""
        try:
            options = options_by_name(cls)
        except PluginError as error:
            raise WrongError.one(str(error)) from None
        values: dict[str, Any] = {}
        faults: list[tuple[Place, str]] = []
        for key, given in a_table(value).items():
            if key not in options:
                close = did_you_mean(key, (*options, *extra))
                faults.append(((key,), f"unknown option{close}{hint or ('' if close else known_names(options))}"))
                continue
            try:
                if option_unit(options[key]) == "steps":
                    given = self._in_steps(given)
                values[key] = self.value(_on_default(given, options[key], self.plugins), options[key].type)
            except WrongError as error:
                faults.extend(((key, *path), message) for path, message in error.faults)
            except PluginError as error:
                faults.append(((key,), str(error)))
        for key, field in options.items():
            if key not in value and field.default is attrs.NOTHING:
                faults.append(((key,), f"required: {type_text(field.type)}{hint}"))
        faults.extend(invalid(cls, options, values))
        if faults:
            raise WrongError(faults)
        try:
            with own("class", cls, REFUSALS):
                return cls(**{options[key].alias or key: given for key, given in values.items()})
        except (PluginError, *REFUSALS) as error:
            raise WrongError.one(f"cannot be made: {first_words(error)}") from None

    def _in_steps(self, value: Any) -> Any:
        """A number of steps as it is given, or as a span."""
        if isinstance(value, list):
            return [self._in_steps(one) for one in value]
        try:
            span = read_span(value) if isinstance(value, str) else None
        except ValueError as error:
            raise WrongError.one(str(error)) from None
        if span is not None:
            self.spans.append(span)
        return value if span is None else span

    def _nested(self, contract: Any) -> Callable[[Any, Any], Any]:
        own = kind_of(contract)
        assert own is not None
        return lambda value, _: self.part(value, own.name)

    def _tuple(self, kind: Any) -> Callable[[Any, Any], Any]:
        arms = get_args(kind)
        variadic = len(arms) == 2 and arms[1] is Ellipsis
        of_parts = variadic and kind_of(arms[0]) is not None

        def hook(value: Any, _: Any) -> tuple[Any, ...]:
            if of_parts and isinstance(value, dict | str):  # one of them needs no list
                return (self.value(value, arms[0]),)
            if not isinstance(value, list) or not (variadic or len(value) == len(arms)):
                got = f"a list of {len(value)}" if isinstance(value, list) else in_words(value)
                raise WrongError.one(f"expected {type_text(kind)}, got {got}")
            found: list[Any] = []
            faults: list[tuple[Place, str]] = []
            for i, item in enumerate(value):
                try:
                    found.append(self.value(item, arms[0 if variadic else i]))
                except WrongError as error:
                    faults.extend(((i, *path), message) for path, message in error.faults)
            if faults:
                raise WrongError(faults)
            return tuple(found)

        return hook

    def _union(self, kind: Any) -> Callable[[Any, Any], Any]:
        arms = [arm for arm in get_args(kind) if arm is not NoneType]
        words = [option for arm in arms if origin_of(arm) is Literal for option in get_args(arm)]

        def hook(value: Any, _: Any) -> Any:
            fitting = [arm for arm in arms if _fits(value, arm)]
            for arm in fitting[:-1]:
                try:
                    return self.value(value, arm)
                except WrongError:
                    continue
            if fitting:
                return self.value(value, fitting[-1])
            raise WrongError.one(f"expected {type_text(kind)}, got {in_words(value)}{close_to(value, words)}")

        return hook

    def _literal(self, kind: Any) -> Callable[[Any, Any], Any]:
        def hook(value: Any, _: Any) -> Any:
            if not _fits(value, kind):
                raise WrongError.one(
                    f"expected {type_text(kind)}, got {in_words(value)}{close_to(value, get_args(kind))}"
                )
            return value

        return hook

    def _unsupported(self, kind: Any) -> Callable[[Any, Any], Any]:
        def hook(value: Any, _: Any) -> Any:
            raise WrongError.one(
                f"options of type {type_name(kind)} cannot be read from a recipe (a defect of the plugin)"
            )

        return hook


@lru_cache(maxsize=1)
def _reader_of(plugins: Plugins) -> Reader:
    """One for all parts: making a converter takes longer than looking at a part."""
    return Reader(plugins)


def defects(kind: str, name: str, plugins: Plugins) -> list[str]:
    """What is wrong with a part whatever a recipe says."""
    return _reader_of(plugins).defects(kind, plugins.registries[kind].get(name))


def _int(value: Any, _: Any) -> int:
    if type(value) not in (int, Span):
        raise WrongError.one(f"expected a whole number, got {in_words(value)}")
    if not -(2**63) <= value < 2**63:
        raise WrongError.one("expected a whole number of at most 64 bits")
    whole: int = value
    return whole


def _float(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise WrongError.one(f"expected a number, got {in_words(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise WrongError.one("expected a finite number")
    return number


def _bool(value: Any, _: Any) -> bool:
    if type(value) is not bool:
        raise WrongError.one(f"expected true or false, got {in_words(value)}")
    return value


def _str(value: Any, _: Any) -> str:
    if type(value) is not str:
        raise WrongError.one(f"expected a string, got {in_words(value)}")
    return value


def a_table(value: Any) -> Mapping[str, Any]:
    """`value`, if it is a table."""
    if not isinstance(value, Mapping):
        raise WrongError.one(f"expected a table, got {in_words(value)}")
    return value


def a_list(value: Any, name: str = "analyze") -> list[Any]:
    """`value` of the key `name`, if it is a list of tables."""
    if not isinstance(value, list):
        raise WrongError.one(f"expected a list of tables ([[{name}]]), got {in_words(value)}")
    return value


def _fits(value: Any, kind: Any) -> bool:
    """Whether a TOML value is of the sort that `kind` is written as."""
    origin = origin_of(kind)
    if origin is Literal:
        return any(type(value) is type(word) and value == word for word in get_args(kind))
    if origin is tuple:
        return isinstance(value, list)
    if kind_of(kind):
        return isinstance(value, dict | str)
    if attrs.has(kind):
        return isinstance(value, dict)
    return type(value) is kind or (type(value) is int and kind is float) or (type(value) is Span and kind is int)


def _on_default(value: Any, field: attrs.Attribute[Any], plugins: Plugins) -> Any:
    """A nested part's table without `use` changes the part that is there by default."""
    kinds = kinds_of(field.type)
    if not kinds or not isinstance(value, dict) or "use" in value:
        return value
    default = default_value(field)
    if isinstance(default, tuple) and len(default) == 1:  # the only one of a list needs no list
        (default,) = default
    return on_part(value, default, kinds, plugins) if attrs.has(type(default)) else value


def on_part(value: Any, part: Any, kinds: Iterable[str], plugins: Plugins, *path: str) -> Any:
    """The table `value` without `use` on top of the options of `part`; any other value as it is."""
    if not isinstance(value, dict) or "use" in value:
        return value
    own = part_table(part, kinds, plugins)
    for key in value:
        if "use" in own and key not in attrs.fields_dict(type(part)):
            registries = (plugins.registries[kind] for kind in kinds)
            known = [name for registry in registries for name in registry if has_option(registry.get(name), key)]
            if known:
                uses = either([f"use = {quote(name)}" for name in known])
                message = f"{own['use']}, which is the default, has no such option; add {uses}"
                raise WrongError.one(message, *path, key)
    return {**own, **value}
