"""The grid: `objective.divergence=kl,js seeds=0:10` -> one resolved recipe a run. Needs no torch."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import attrs

from gflow_core.errors import GflowError, Problem, RecipeError
from gflow_core.files.reading import parse_toml
from gflow_core.parts.spec import Spec
from gflow_core.recipes import recipe as recipes
from gflow_core.recipes.changes import training
from gflow_core.recipes.writing import dumps

__all__ = ["Cell", "alike", "cells", "split", "what_trains"]

MOST = 10_000
"""Runs of one sweep: more is a slip of the keyboard."""

_SEED_PATH = "train.seed"
_RANGE = re.compile(r"(\d{1,18})(?::(\d{1,18})(?::(\d{1,18}))?)?")
_PAIRS = {"[": "]", "{": "}"}


@attrs.frozen
class Cell:
    """One run of the grid."""

    overrides: tuple[str, ...]
    """All of them, in the order of the command line; the seed's comes last."""
    axes: Mapping[str, str]
    """The options in which cells differ, and this one's values as written; "seed" where there are several seeds."""
    spec: Spec
    text: str
    """The resolved recipe: what a run folder's recipe.toml says. A run is known by it."""

    @property
    def label(self) -> str:
        """`objective.divergence=kl seed=3`; empty for an only cell."""
        return " ".join(f"{path}={value}" for path, value in self.axes.items())


def cells(path: Path, words: Sequence[str]) -> list[Cell]:
    """Every run of `gflow sweep PATH WORDS`: axes in the order of the words, the last one turning fastest, seeds last.

    Raises GflowError for words that are no grid, and RecipeError with every problem of every cell, each once.
    """
    choices, axes, several = _choices(words)
    if (count := math.prod(map(len, choices))) > MOST:
        raise GflowError(f"a grid of {count:,} runs; at most {MOST:,} are one sweep")
    found: list[Cell] = []
    problems: dict[str, Problem] = {}
    for overrides in product(*choices):
        values = {axes[i]: word.partition("=")[2] for i, word in enumerate(overrides) if i in axes}
        if several:
            values["seed"] = overrides[-1].partition("=")[2]
        try:
            recipe = recipes.load(path, overrides)
        except RecipeError as error:
            problems |= {str(problem): problem for problem in error.problems}
            continue
        named = {_name(axis, value, recipe.table): value for axis, value in values.items()}
        found.append(Cell(overrides, named, recipe.spec, dumps(recipe.spec)))
    if problems:
        raise RecipeError(list(problems.values()))
    spec = found[0].spec
    if spec.objective is None and not spec.analyze:
        raise GflowError(f"{path}: nothing to do: it has neither an [objective] nor an [[analyze]] table")
    _check_alike(found)
    _check_replicas(found)
    return found


def what_trains(table: Mapping[str, Any]) -> str:
    """What resolved recipes have in common that train the same from one seed."""
    return json.dumps([training(table), table.get("train", {}).get("seed")], sort_keys=True, default=str)


def alike(cells: Sequence[Cell]) -> list[str]:
    """What to know of axes whose values train the same, a sentence each: their runs are no settings to compare."""
    first: dict[str, Cell] = {}
    axes: dict[str, str] = {}
    for cell in cells:
        same = first.setdefault(what_trains(parse_toml(cell.text)), cell)
        axes |= {axis: same.axes[axis] for axis, value in cell.axes.items() if value != same.axes[axis]}
    return [
        f"{axis.removesuffix('.use')} trains the same whatever it is, and a comparison takes one run of a recipe and "
        f"seed; if a list was meant: '{axis.removesuffix('.use')}=[{json.dumps(value)}, ...]'"
        for axis, value in axes.items()
    ]


def _name(axis: str, value: str, table: Mapping[str, Any]) -> str:
    """What a comparison calls the axis: `objective.use` where `objective=NAME` names a part."""
    at: Any = table
    for key in (key.strip() for key in axis.split(".")):
        at = at.get(key) if isinstance(at, Mapping) else None
    return f"{axis}.use" if isinstance(at, Mapping) and at.get("use") == value.strip("\"'") else axis


def split(text: str) -> list[str]:
    """`text` at its commas, those in quotes, brackets and braces aside: `a,[1, 2],"b,c"` is three.

    As in TOML a quote opens at the beginning of a value or inside brackets: `don't,won't` is two values. Raises
    ValueError where a comma stands behind a bracket or quote that nothing closes.
    """
    pieces = [""]
    closing: list[str] = []  # brackets that wait for their ends
    quote = ""
    letters = iter(text)
    for letter in letters:
        if letter == "," and not (quote or closing):
            pieces.append("")
            continue
        if quote:
            if letter == "\\" and quote == '"':
                letter += next(letters, "")
            elif letter == quote:
                quote = ""
        elif letter in "\"'" and (closing or not pieces[-1].strip()):
            quote = letter
        elif letter in _PAIRS and (closing or not pieces[-1].strip()):
            closing.append(_PAIRS[letter])
        elif closing and letter == closing[-1]:
            closing.pop()
        pieces[-1] += letter
    if (quote or closing) and "," in pieces[-1]:
        raise ValueError(f"nothing closes what opens in {pieces[-1]}: expected {quote or closing[-1]}")
    return pieces


def _choices(words: Sequence[str]) -> tuple[list[list[str]], dict[int, str], bool]:
    """For each word the overrides it stands for; which words are axes, and their paths; whether seeds are one, too."""
    choices: list[list[str]] = []
    axes: dict[int, str] = {}
    seeds: list[int] | None = None
    for word in words:
        path, equals, text = word.partition("=")
        path = path.strip()
        if path == "seeds" and equals:
            if seeds is not None:
                raise GflowError("seeds: given twice; write them in one list, as in seeds=0:5,7")
            seeds = _seeds(text)
            continue
        if path == "seed" and equals:
            raise GflowError(f"{word}: no such key; did you mean seeds={text}?")
        try:
            values = split(text) if equals and not word.startswith("~") else [text]
        except ValueError as error:
            raise GflowError(f"{word}: {error}") from None
        if len(values) == 1:
            choices.append([word])
            continue
        values = [value.strip() for value in values]
        if "" in values:
            raise GflowError(f"{word}: an empty value among the commas; for an empty text write ''")
        if twice := _repeated(values):
            raise GflowError(f"{word}: {twice} is there twice")
        axes[len(choices)] = path
        choices.append([f"{path}={value}" for value in values])
    _check_paths([word.partition("=")[0].strip() for word in words], set(axes.values()), seeds is not None)
    if seeds is not None:
        choices.append([f"{_SEED_PATH}={seed}" for seed in seeds])
    return choices, axes, seeds is not None and len(seeds) > 1


def _seeds(text: str) -> list[int]:
    """`0:10`, `0:10:2`, `0,3,5`, `0:3,7`; the end of a range is not part of it."""
    found: list[int] = []
    for piece in text.split(","):
        match = _RANGE.fullmatch(piece.strip())
        if match is None:
            raise GflowError(
                f"seeds={text}: expected whole numbers, as in seeds=0:10 (0 to 9), seeds=0:10:2 or seeds=0,3,5"
            )
        first, last, step = (int(number) if number else None for number in match.groups())
        assert first is not None
        if step == 0:
            raise GflowError(f"seeds={text}: a step of 0 goes nowhere")
        numbers = range(first, first + 1 if last is None else last, step or 1)
        if not numbers:
            raise GflowError(f"seeds={text}: {piece.strip()} is empty; the end is not part of a range")
        if len(numbers) > MOST:
            raise GflowError(f"seeds={text}: {len(numbers):,} seeds; at most {MOST:,} runs are one sweep")
        found += numbers
    if twice := _repeated(map(str, found)):
        raise GflowError(f"seeds={text}: {twice} is there twice")
    return found


def _check_paths(paths: Sequence[str], axes: set[str], seeds: bool) -> None:
    """An axis is named once, and the seed in one way."""
    for axis in axes:
        if paths.count(axis) > 1:
            raise GflowError(f"{axis}: named twice; write its values in one list, as in {axis}=A,B")
    if _SEED_PATH in axes:
        raise GflowError(f"{_SEED_PATH}: several seeds are written seeds=0:10 or seeds=0,3,5")
    if seeds and _SEED_PATH in paths:
        raise GflowError(f"{_SEED_PATH} and seeds: both name the seed; keep seeds")


def _repeated(values: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((value for value in values if value in seen or seen.add(value)), None)  # type: ignore[func-returns-value]


def _check_alike(found: Sequence[Cell]) -> None:
    """Raise GflowError where two cells are one run."""
    by_text: dict[str, Cell] = {}
    for cell in found:
        if (other := by_text.setdefault(cell.text, cell)) is not cell:
            raise GflowError(f"{other.label} and {cell.label} are the same run: leave one of them out")


def _check_replicas(found: Sequence[Cell]) -> None:
    """Raise GflowError where two runs of one recipe would train one seed: train.replicas trains several in a run."""
    for before, cell in _neighbours(found):
        if before.spec.seeds.stop > cell.spec.seeds.start:
            many = len(before.spec.seeds)
            first, last = before.spec.seeds[0], before.spec.seeds[-1]
            raise GflowError(
                f"seeds: train.replicas = {many} trains seeds {first} to {last} in one run, and seed {cell.spec.seed} "
                f"would be trained twice; leave {many} between seeds, as in seeds={first}:{first + 2 * many}:{many}"
            )


def _neighbours(found: Sequence[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """Cells that differ in the seed alone, each with the one of the next higher seed."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in found:
        if "seed" in cell.axes:
            groups.setdefault(cell.overrides[:-1], []).append(cell)
    for group in groups.values():
        group.sort(key=lambda cell: cell.spec.seed)
        yield from pairwise(group)
