"""The files of a run folder, read without torch."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any

from gflow_core.errors import GflowError, shown, typed
from gflow_core.files.reading import fault, opened, parse_json, read_bytes, read_json, read_toml
from gflow_core.files.sealed import SEAL, changed, digest

__all__ = [
    "BECOMES",
    "GIVEN",
    "NAMING",
    "RUN_NAME",
    "WRITTEN",
    "check_free",
    "checkpoint_names",
    "checkpoint_order",
    "last_metrics",
    "lock_of",
    "making_runs",
    "parse_metrics",
    "read_manifest",
    "read_metrics",
    "read_recipe",
    "read_result",
    "run_name",
]

logger = logging.getLogger("gflow")

RUN_NAME = re.compile(r"(.+)-s\d+-\d{3,}")
"""A run folder's name, unless it was given one: stem of the recipe's file, seed, number."""

GIVEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""A name that somebody gives to a folder of a run or of an analysis."""

NAMING = "it names a folder: up to 100 of a-z, A-Z, 0-9, . _ and -, a letter or a digit first"

_CHECKPOINT = re.compile(r"\d{6,}(-\d{3,})?")
# What is read of these files, and of what type (`reading.fault`).
_RECIPE = {
    "title?": str,
    "train?": {"seed?": int, "steps?": int, "keep_best?": str},
    "analyze?": [{"use?": str, "name?": str}],
}
_ORIGIN = {"sha256": str, "run?": str, "file?": str}
_MANIFEST = {
    "folder?": str,
    "recipe?": (str, NoneType),
    "device?": str,
    "precision?": str,
    "note?": str,
    "written?": str,
    "data?": {"fingerprint?": str, "classes?": [str]},
    "loaded?": [{"file": str, "sha256": str, "parts": str}],
    "registered?": {"*": str},
    "from_run?": _ORIGIN,
    "origins?": {"*": _ORIGIN},
    "resumed?": [dict],
    "began_with?": dict,
    "ended?": {"step": int, "why": str},
    "files?": {"*": {"file": str, "sha256": str}},
}
WRITTEN = "written"
"""Where a manifest keeps the resolved recipe that has epochs or items, of which recipe.toml has the steps."""
BECOMES = "becomes"
"""Where a manifest keeps the one that holds once recipe.toml is the recipe that that one names."""

_LINE = {"step": int, "seconds?": (int, float), "seeds?": {"*": dict}}
_SCORES = {"*": (float, int, str, bool, NoneType)}
_RESULT = {
    "step?": int,
    "scores": _SCORES,
    "manifest": dict,
    "files?": [str],
    "seeds?": [{"seed": int, "scores": _SCORES}],
}

_TAIL = 1 << 16  # bytes at the end of metrics.jsonl in which its last line is looked for


def run_name(recipe: Path) -> str:
    """What the runs of a recipe are called: its file's stem; of a run's own recipe.toml, that run's name."""
    folder = recipe.resolve().parent
    if recipe.stem != "recipe":
        return recipe.stem
    named = RUN_NAME.fullmatch(folder.name)
    return named[1] if named else folder.name if (folder / "manifest.json").exists() else recipe.stem


def check_free(runs: Path, name: str) -> None:
    """Raise GflowError where `name` is no name that a run in `runs` may be given, or is there already."""
    if not GIVEN.fullmatch(name):
        raise GflowError(f"--name {shown(name)}: {NAMING}; --runs says where")
    if os.path.lexists(runs / name):
        raise GflowError(
            f"{runs / name}: is there already; choose another --name, or gflow resume {typed(runs / name)}"
        )


@contextmanager
def making_runs(runs: Path) -> Iterator[None]:
    """Writing run folders into `runs` within the block; GflowError where that cannot be."""
    try:
        yield
    except OSError as error:
        raise GflowError(
            f"{runs}: cannot make a run folder there: {error.strerror}; choose another with --runs"
        ) from error


def lock_of(run: Path) -> Path:
    """The file that whoever writes into a run folder holds: see `files.locks`. It may not exist."""
    return run / ".lock"  # one that nothing replaces, as recipe.toml is by a new length


# ------------------------------------------------------------------ recipe, manifest, metrics, results


def read_recipe(run: Path) -> dict[str, Any]:
    """A run's recipe.toml as it stands; what is read of it without a check has its type.

    Raises OSError where there is none, GflowError where it is damaged.
    """
    path = run / "recipe.toml"
    try:
        return read_toml(path, _RECIPE)
    except ValueError as error:
        raise GflowError(f"{path}: damaged ({error})") from error


def read_manifest(run: Path, say: Callable[[str], None] | None = None) -> dict[str, Any]:
    """What a run's manifest.json says; empty where there is none. Raises GflowError where it is damaged.

    One that was changed after gflow wrote it is said to have been: to `say`, or in a warning.
    """
    path = run / "manifest.json"
    try:
        manifest = read_json(path, {**_MANIFEST, f"{BECOMES}?": {**_MANIFEST, "began_with": dict}})
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise GflowError(f"{path}: damaged ({error}); delete it to go on without") from error
    found = _opened(path, manifest, say)
    becomes = found.pop(BECOMES, None)
    return becomes if becomes is not None and _is_recipe(run, becomes["began_with"]) else found


def _is_recipe(run: Path, table: Mapping[str, Any]) -> bool:
    try:
        return digest(read_recipe(run)) == digest(table)
    except (OSError, GflowError, TypeError):  # a date, in a recipe of somebody's: nothing that JSON has
        return False


def _opened(path: Path, body: Mapping[str, Any], say: Callable[[str], None] | None) -> dict[str, Any]:
    """What a sealed file holds."""
    if changed(body):
        (say or _warn)(f"{path}: was changed after gflow wrote it: its content does not match its sha256")
    return {key: value for key, value in body.items() if key != SEAL}


@cache
def _warn(message: str) -> None:
    """Once a process, however often the file is read."""
    logger.warning(message)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every line of a metrics.jsonl that can be read; one that a crash cut short is left out."""
    return parse_metrics(read_bytes(path)) if path.exists() else []


def last_metrics(path: Path) -> dict[str, Any] | None:
    """The last line of a metrics.jsonl that can be read, without reading the rest; None where there is none."""
    try:
        with opened(path) as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
            return next(reversed(parse_metrics(file.read())), None)
    except FileNotFoundError:
        return None


def parse_metrics(text: bytes) -> list[dict[str, Any]]:
    """Every line of a metrics.jsonl's text that can be read."""
    found = []
    for raw in text.splitlines():
        with suppress(ValueError):
            line = parse_json(raw)
            if not fault(line, _LINE):
                found.append(line)
    return found


def read_result(file: Path, say: Callable[[str], None] | None = None) -> dict[str, Any]:
    """An analysis's result.json. Raises GflowError where it is damaged; a changed one is said to be, as a manifest."""
    try:
        result = read_json(file, _RESULT)
    except ValueError as error:
        place = next(folder for folder in file.parents if folder.name == "analysis")
        again = f"gflow analyze {typed(place.parent)} {file.relative_to(place).parts[0]} makes it anew"
        along = file.parent.name.isdecimal() and file.parent.parent != place  # made while training
        mend = "delete it to go on without" if along else again
        raise GflowError(f"{file}: damaged ({error}); {mend}") from error
    return _opened(file, result, say)


# ------------------------------------------------------------------ checkpoints


def checkpoint_names(folder: Path) -> list[str]:
    """The checkpoints in `folder`, oldest first: "000100", or "000100-007" seven safe points into the next step."""
    found = [name for name in os.listdir(folder) if _CHECKPOINT.fullmatch(name)] if folder.is_dir() else []
    return sorted(found, key=checkpoint_order)


def checkpoint_order(name: str) -> list[int]:
    """Checkpoint names in the order of training: [step] or [step, safe point]."""
    return [int(part) for part in name.split("-")]
