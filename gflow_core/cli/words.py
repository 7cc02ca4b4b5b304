"""Words that a command takes as they come, overrides for one: those that look like options are mistakes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from gflow_core.errors import GflowError, did_you_mean

__all__ = ["refuse_options", "without_dashes"]


def refuse_options(words: Sequence[str], overrides: Mapping[str, str]) -> None:
    """Raise GflowError at the first word that begins with `-` and is no file; `overrides` say what to write instead.

    They are such as {"--steps": "train.steps"}.
    """
    known = [name for option in click.get_current_context().command.params for name in option.opts if name[0] == "-"]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if not word.startswith("-") or Path(word).exists():
            continue
        option, _, value = word.partition("=")
        if option in overrides:
            value = next((text for text in (value, following) if re.fullmatch(r"[\d:,]+", text)), "N")
            raise GflowError(f"no such option: {option}; did you mean {overrides[option]}={value}?")
        raise GflowError(f"no such option: {option}{without_dashes(word) or did_you_mean(option, known)}")


def without_dashes(word: str) -> str:
    """What to write in place of an override that looks like an option; empty where it is none."""
    key, equals, value = word.lstrip("-").partition("=")
    return f"; overrides have no dashes: {key}={value if equals else 'VALUE'}" if "." in key else ""
