"""Errors that are meant to be read by people.

Everything a user can get wrong raises a `GflowError`. The command line prints its message without a
traceback and leaves with exit code 2; anything else that escapes is a defect of gflow.
"""

from __future__ import annotations

import inspect
import operator
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cache, wraps
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ParamSpec, SupportsIndex, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

__all__ = [
    "CheckpointError",
    "DataError",
    "Diverged",
    "GflowError",
    "Interrupted",
    "PluginError",
    "Problem",
    "RecipeError",
    "UnknownPart",
    "did_you_mean",
    "first_line",
    "for_people",
    "harmless",
    "own_words",
    "printable",
    "raised",
    "shortened",
    "shown",
    "typed",
]


class GflowError(Exception):
    """One clear message that names the place and the mend. Exit code 2."""

    exit_code = 2


class DataError(GflowError):
    """Data that is missing, unreadable or not of the expected shape."""


class PluginError(GflowError):
    """A plugin that cannot be loaded, or two that claim one name."""


class UnknownPart(GflowError):
    """A name that no plugin registered."""


class CheckpointError(GflowError):
    """A checkpoint that is damaged, incomplete or of another experiment."""


class Diverged(GflowError):
    """A loss or a weight became NaN or infinite."""


class Interrupted(GflowError):
    """The user stopped the run; its state is saved."""

    exit_code = 130


@attrs.frozen
class Problem:
    """One thing wrong with a recipe: the place, what is wrong, and how to mend it."""

    path: str
    message: str
    source: str = ""

    def __str__(self) -> str:
        return printable(": ".join(part for part in (self.source, self.path, self.message) if part))


class RecipeError(GflowError):
    """Everything wrong with one recipe, one problem a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


_SYNONYMS = {"gpu": "cuda"}
"""What people call it -> what it is called here, where spelling would lead elsewhere (to "cpu")."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "channels"?` for the closest of `known`, or an empty string.

    Case does not count, and `plugin.part` may go by its part alone: "MLP" means "vgrow.mlp".
    """
    forms: dict[str, list[str]] = {}
    for name in dict.fromkeys(known):
        for form in dict.fromkeys((name.lower(), name.lower().rpartition(".")[2])):
            forms.setdefault(form, []).append(name)
    wanted = word.lower()
    synonym = _SYNONYMS.get(wanted)
    close = [synonym] if synonym in forms else get_close_matches(wanted, forms, n=1, cutoff=0.6)
    names = " or ".join(f'"{name}"' for name in forms[close[0]]) if close else ""
    return f"; did you mean {names}?" if names else ""


def typed(path: object) -> str:
    """A path as it is typed in a command that a message offers: quoted, and not to be taken for an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def printable(text: str) -> str:
    """`text` on one line, with what a terminal would act upon or not show (controls, bidi marks) escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def harmless(text: str) -> str:
    """`text` with its line breaks, each line `printable`: whatever it quotes does not act upon a terminal."""
    return "\n".join(map(printable, text.split("\n")))


_SCREEN = 1600  # letters of a message: what is longer (a list of names, a value) hides what is wrong


def shortened(text: str) -> str:
    """`text`, without its middle where it is longer than a screen: it begins with what is wrong, ends in the mend."""
    left_out = len(text) - _SCREEN
    if left_out <= 0:
        return text
    head, tail = text[: _SCREEN // 2], text[-_SCREEN // 2 :]
    return f"{head} ... [{left_out:,} letters left out] ... {tail}"


def first_line(error: BaseException) -> str:
    """What went wrong, on one line."""
    lines = own_words(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def raised(error: BaseException) -> str:
    """`KeyError: 'width'`, on one line."""
    lines = own_words(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def shown(value: object) -> str:
    """`value` as Python shows it, at most 60 characters, whatever its own __repr__ does."""
    try:
        return f"{value!r:.60}"
    except BaseException as error:
        return f"a {type(value).__name__} (its __repr__ raised {type(error).__name__})"


def own_words(error: BaseException) -> str:
    """The error's own words, whatever its __str__ does."""
    try:
        return str(error)
    except BaseException as other:
        return f"(its __str__ raised {type(other).__name__})"


# ------------------------------------------------------------------ what is passed from Python

P = ParamSpec("P")
T = TypeVar("T")


def for_people(function: Callable[P, T]) -> Callable[P, T]:
    """Of the public door: arguments as its annotations have them, or a GflowError before anything is done.

    Numbers of numpy and torch are taken as Python's, one name where several may stand as a list of it, and ~ in a path
    as the home folder.
    """
    signature = inspect.signature(function)
    name = function.__qualname__.removesuffix(".__init__")

    @cache
    def hints() -> dict[str, Any]:
        return get_type_hints(function)

    def taken(parameter: inspect.Parameter, value: object) -> object:
        if parameter.name not in hints():
            return value
        value = _taken(value, hint := hints()[parameter.name])
        if not _fits(value, hint):
            raise GflowError(f"{name}: {parameter.name} is to be {parameter.annotation}, got {shown(value)}")
        return value

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise GflowError(f"{name}: {error}; it is called as {name}{_called(signature)}") from None
        for key, value in bound.arguments.items():
            parameter = signature.parameters[key]
            if parameter.kind is parameter.VAR_POSITIONAL:  # of which a list may be one
                each = [one for given in value for one in (given if isinstance(given, list | tuple) else (given,))]
                bound.arguments[key] = tuple(taken(parameter, one) for one in each)
            else:
                bound.arguments[key] = taken(parameter, value)
        return function(*bound.args, **bound.kwargs)

    return checked


def _called(signature: inspect.Signature) -> str:
    own = [parameter for name, parameter in signature.parameters.items() if name not in ("self", "cls")]
    return f"({', '.join(str(parameter.replace(annotation=parameter.empty)) for parameter in own)})"


def _arms(hint: Any) -> tuple[Any, ...]:
    """The types that an annotation names."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _taken(value: Any, hint: Any) -> Any:
    """`value` in the type that an annotation of the public door names, where there is no doubt; else as it is."""
    arms = _arms(hint)
    for arm in arms:
        if (origin := get_origin(arm)) is not None and origin is not Mapping and issubclass(origin, Iterable):
            (each,) = get_args(arm)
            if isinstance(value, str | os.PathLike):
                value = (value,)
            return tuple(_taken(one, each) for one in value) if isinstance(value, Iterator | list | tuple) else value
    if Path in arms and isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str):
        path = os.path.expanduser(os.fspath(value))
        return path if isinstance(value, str) else Path(path)
    if int in arms and isinstance(value, SupportsIndex):
        with suppress(TypeError, ValueError):  # a tensor of several numbers, or of none that is whole
            return value if isinstance(value, bool) else operator.index(value)
    return float(value) if float in arms and isinstance(value, Real) and not isinstance(value, int) else value


def _fits(value: object, hint: Any) -> bool:
    """Whether `value` is of the type that an annotation of the public door names."""
    arms, origin = _arms(hint), get_origin(hint)
    if len(arms) > 1:
        return any(_fits(value, one) for one in arms)
    if origin is not None:  # Sequence[X], Iterable[X], Mapping[X, Y]
        each = value if isinstance(value, Collection) else ()
        return isinstance(value, origin) and all(_fits(x, get_args(hint)[0]) for x in each)
    if isinstance(value, str | os.PathLike) and "\0" in os.fspath(value):  # no path and no name has it
        return False
    if hint is int and isinstance(value, bool):
        return False
    wider: dict[Any, Any] = {Path: os.PathLike, bool: object, None: NoneType}
    return isinstance(value, wider.get(hint, hint))
