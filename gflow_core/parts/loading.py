"""Parts without a package: from one file, or registered in a notebook.

    gflow run mine.toml --load my_parts.py
    gflow_core.load("my_parts.py")
    gflow_core.register(sampler={"mine.unet": Unet})

A file is a plugin's module: its hooks register its parts. It is loaded because the person names it, never because a
recipe does. A run keeps a copy, which goes on counting for that run.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gflow_core.errors import GflowError, PluginError, RecipeError, for_people
from gflow_core.files.inside import check_inside
from gflow_core.files.run_folder import read_manifest
from gflow_core.files.whole import sha256_of, written_aside
from gflow_core.parts.plugins import LOAD, NOTEBOOK, PluginRecord, named_files, plugins, unload

__all__ = [
    "BIBLIOGRAPHY",
    "check_loaded",
    "copies",
    "forget_files",
    "load",
    "loaded_files",
    "name_files",
    "of_run",
    "register",
    "registered",
]

_FOLDER = "parts"
"""Where a run folder keeps the files that its parts came from."""

BIBLIOGRAPHY = "bibliography.bib"
"""What parts cite, beside their module."""


@for_people
def load(file: Path | str) -> PluginRecord:
    """Load parts from a Python file, for this process and those that it starts.

    Its functions marked `@hookimpl` register them, as a plugin's would. The same file again changes nothing; one that
    has changed since replaces what it registered. Raises PluginError where it cannot be loaded.
    """
    path = Path(file).expanduser().resolve()
    record = plugins().load_file(path)
    name_files([str(path)])
    return record


def register(parts: Mapping[str, Mapping[str, type[Any]]] | None = None, **kinds: Mapping[str, type[Any]]) -> None:
    """Register part classes by kind and name, for this process: `register(sampler={"mine.unet": Unet})`.

    Kinds whose names have a dot come in a mapping: `register({"vgrow.divergence": {"mine.chi2": Chi2}})`. A name that
    was registered so before is replaced: cells of a notebook run twice. Raises PluginError for a name that a plugin
    has, or that is no name; UnknownPart for a kind that no loaded plugin owns.
    """
    if not isinstance(parts or {}, Mapping):
        raise PluginError('register takes names and classes by kind, as in register(sampler={"mine.name": Class})')
    for kind, named in {**(parts or {}), **kinds}.items():
        if not isinstance(named, Mapping):
            raise PluginError(f'{kind} takes names and classes, as in register({kind}={{"mine.name": Class}})')
        for name, part in named.items():
            plugins().register_one(kind, name, part)


# ------------------------------------------------------------------ files that were named


def name_files(files: list[str]) -> None:
    """Have this process, and those that it starts, load these files with the plugins."""
    os.environ[LOAD] = os.pathsep.join(dict.fromkeys([*named_files(), *files]))


def forget_files(before: str | None) -> None:
    """Name the files again that were named before, and load plugins anew when they are asked for."""
    if before is None:
        os.environ.pop(LOAD, None)
    else:
        os.environ[LOAD] = before
    unload()


def loaded_files() -> list[dict[str, str]]:
    """For a manifest: each file that parts were loaded from, its sha256, and the names of its parts."""
    return [
        {"file": record.file, "sha256": record.sha256, "parts": ", ".join(map(" ".join, record.parts))}
        for record in plugins().records
        if record.sha256
    ]


def registered() -> dict[str, str]:
    """For a manifest: each part that was registered in Python, and the sha256 of its class as it is written."""
    found = {}
    for kind, name in (part for record in plugins().records if record.name == NOTEBOOK for part in record.parts):
        try:
            source = inspect.getsource(plugins().get(kind, name))
        except (OSError, TypeError):
            source = ""  # typed where nothing keeps it
        found[f"{kind} {name}"] = hashlib.sha256(source.encode()).hexdigest() if source else ""
    return found


def check_loaded(manifest: Mapping[str, Any], run: Path) -> list[str]:
    """Parts of files and notebooks must be those that a run began with. GflowError for another file's.

    Returns what a person should know of parts that were registered in Python, and of which no copy is kept.
    """
    now = {part: one for one in loaded_files() for part in one["parts"].split(", ")}
    for one in manifest.get("loaded", []):
        for part in str(one["parts"]).split(", "):
            if part in now and now[part]["sha256"] != one["sha256"]:
                name = Path(str(one["file"])).name
                raise GflowError(
                    f"{run}: its {part} came from another file than {now[part]['file']}; say --load {name}, and the "
                    "run's own copy is used"
                )
    mine, said = registered(), []
    for part, digest in manifest.get("registered", {}).items():
        if part not in mine:
            said.append(f"{part} was registered in Python when the run began")
        elif digest and mine[part] != digest:
            said.append(f"{part} has changed since the run began, and no copy of it is kept; it goes on as it is now")
    return said


def copies(run: Path) -> None:
    """Put a copy of every loaded file into a run folder, and what they cite."""
    folder, cited = run / _FOLDER, b""
    for one in loaded_files():
        file, target = Path(one["file"]), folder / Path(one["file"]).name
        folder.mkdir(exist_ok=True)
        if file != target.resolve():
            shutil.copyfile(file, target)
        if (beside := file.parent / BIBLIOGRAPHY).is_file() and (text := beside.read_bytes().strip()) not in cited:
            cited += text + b"\n"
    if cited:
        with written_aside(folder / BIBLIOGRAPHY) as aside:
            aside.write_bytes(cited)


@contextmanager
def of_run(run: Path) -> Iterator[list[str]]:
    """Within the block files that were named count as the run's own copies of them do.

    Yields what a person should know of that. Where the recipe cannot be read because a file was not named, the error
    says which. To be entered before plugins are first asked for.
    """
    check_inside(run)
    manifest = read_manifest(run) if run.is_dir() else {}
    own = {Path(one["file"]).name: one for one in manifest.get("loaded", [])}
    named = [Path(one) for one in named_files()]
    said, files = [], []
    for path in named:
        one = own.pop(path.name, None)
        if one is None:
            files.append(str(path))
            continue
        copy = run / _FOLDER / path.name
        if _sha256(copy) != one["sha256"]:
            raise GflowError(f"{copy}: not the file that the run began with; put it back from a backup")
        if path.is_file() and _sha256(path) != one["sha256"]:
            said.append(f"{path} has changed since the run began; the run's copy is used, {copy}")
        files.append(str(copy.resolve()))
    if named:
        os.environ[LOAD] = os.pathsep.join(files)
    try:
        yield said
    except RecipeError as error:
        hints = []
        if own:
            lacking = " ".join(f"--load {name}" for name in own)
            hints.append(f"the run began with parts of its own: say {lacking}")
        if manifest.get("registered"):
            parts = ", ".join(manifest["registered"])
            hints.append(
                f"the run began with parts registered in Python ({parts}): register them, and go on from there"
            )
        if not hints:
            raise
        raise GflowError("\n".join([str(error), *hints])) from error


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise PluginError(f"{path}: cannot be read: {error.strerror or error}") from error
