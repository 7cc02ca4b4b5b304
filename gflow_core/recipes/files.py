"""Files that a recipe's options name, such as the weights of an encoder: which they were when a run began."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union, get_args

import attrs

from gflow_core.errors import GflowError
from gflow_core.files.whole import sha256_of
from gflow_core.parts.spec import Spec
from gflow_core.recipes.changes import stated
from gflow_core.recipes.describe import options_of, origin_of

__all__ = ["FILES", "changed_files", "check_files", "files_of"]

FILES = "files"
"""Where a manifest keeps them: place in the recipe -> absolute path and sha256."""

_TABLES = ("sampler", "discriminator", "objective", "optimizer", "train", "analyze")
"""Not the data set: its fingerprint holds what its files say."""


def files_of(spec: Spec) -> dict[str, dict[str, str]]:
    """Place -> absolute path and sha256 of the file there, of every option of text (no choice of words) that names one.

    Files that networks begin from are not among them: once training has begun they are not read again.
    """
    found = {}
    for place, value in _texts(spec):
        path = _path(value)
        if path is not None and os.path.isfile(path):  # Path's own raises where a text is too long for a path
            found[place] = {"file": str(path), "sha256": _sha256(place, path)}
    return found


def check_files(
    manifest: Mapping[str, Any], run: Path, spec: Spec, overrides: Sequence[str] = (), tables: Sequence[str] = _TABLES
) -> None:
    """The files of these tables must be those that the run began with, save where overrides name others.

    Raises GflowError, which names each that is missing or another.
    """
    values, faults = dict(_texts(spec)), []
    for place, began in _noted(manifest).items():
        if stated(place, overrides) or place not in values or not any(f"{place}.".startswith(f"{t}.") for t in tables):
            continue
        path = _path(values[place])
        if path is None or not os.path.isfile(path):
            faults.append(f"{place}: {path} is missing")
        elif _sha256(place, path) != began["sha256"]:
            faults.append(
                f"{place}: {path} is not the file that it was"
                if str(path) == began["file"]
                else f"{place}: {path} is another file"
            )
        else:
            continue
        faults[-1] += f"; the run began with {began['file']} (sha256 {began['sha256'][:12]})"
    if faults:
        where = manifest.get("folder", "where the run began")
        raise GflowError(
            "\n".join(f"{run}: {fault}" for fault in faults)
            + f"\nput it back, or start gflow in {where}, where relative paths of this run count from"
        )


def changed_files(manifest: Mapping[str, Any]) -> list[str]:
    """A sentence for each file that is not there any more as it was when the run began."""
    said = []
    for place, began in _noted(manifest).items():
        path = Path(began["file"])
        if not os.path.isfile(path):
            said.append(f"{place}: {path}, which the run began with, is missing.")
        elif _sha256(place, path) != began["sha256"]:
            said.append(f"{place}: {path} has changed since the run began.")
    return said


def _noted(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
    """What a manifest says of files; nothing where it is none of gflow's."""
    noted = manifest.get(FILES)
    return {
        place: one
        for place, one in (noted.items() if isinstance(noted, Mapping) else ())
        if isinstance(one, Mapping) and all(isinstance(one.get(key), str) for key in ("file", "sha256"))
    }


def _texts(spec: Spec) -> Iterator[tuple[str, str]]:
    """Place -> value of every option that holds any text."""
    for table in _TABLES[:-1]:
        yield from _below(table, getattr(spec, table))
    for i, analysis in enumerate(spec.analyze):
        yield from _below(f"analyze.{i}", analysis.part)


def _below(place: str, value: Any, kind: Any = None) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if _is_text(kind):
            yield place, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _below(f"{place}.{key}", one)
    elif isinstance(value, tuple):
        for i, one in enumerate(value):
            yield from _below(f"{place}.{i}", one, kind)
    elif attrs.has(type(value)):
        for field in options_of(type(value)):
            yield from _below(f"{place}.{field.name}", getattr(value, field.name), field.type)


def _is_text(kind: Any) -> bool:
    """Whether an option of this type may hold any text."""
    return kind is str or (origin_of(kind) in (Union, tuple) and any(map(_is_text, get_args(kind))))


def _path(value: str) -> Path | None:
    """The absolute path that a value may be; None where it can be none."""
    try:
        return Path(value).expanduser().absolute()
    except (RuntimeError, ValueError):  # nobody's home
        return None


def _sha256(place: str, path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise GflowError(f"{place}: {path}: cannot be read: {error.strerror or error}") from error
