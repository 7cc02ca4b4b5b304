"""What the validators of options say of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gflow_core.errors import PluginError
from gflow_core.parts.foreign import own
from gflow_core.recipes.describe import Options
from gflow_core.recipes.words import Place

__all__ = ["REFUSALS", "first_words", "invalid"]


REFUSALS = (ValueError, TypeError)
"""What validators raise of a value that is wrong; all else is a defect of theirs."""


def invalid(cls: Any, options: Options, values: Mapping[str, Any]) -> list[tuple[Place, str]]:
    """What each option's validator says of the values that could be read, each for itself."""
    shell = object.__new__(cls)  # validators may look at other options: those that could be read are there
    for key, value in values.items():
        object.__setattr__(shell, key, value)
    faults: list[tuple[Place, str]] = []
    for key, value in values.items():
        validator = options[key].validator
        if validator is None:
            continue
        try:
            with own("validator", cls, (AttributeError, *REFUSALS)):
                validator(shell, options[key], value)
        except AttributeError:
            pass  # it looked at an option that is missing or wrong itself; making the part tells
        except (PluginError, *REFUSALS) as error:
            faults.append(((key,), first_words(error)))
    return faults


def first_words(error: BaseException) -> str:
    """The error's message; attrs' own validators put more into `args`."""
    return str(error.args[0]) if error.args else type(error).__name__
