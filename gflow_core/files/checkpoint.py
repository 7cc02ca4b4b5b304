"""Checkpoints: a folder of safetensors and one JSON, no pickle, written so that it is whole or not there.

000100/
  sampler.safetensors, optimizer.sampler.safetensors, objective.safetensors, ...
  checkpoint.json       step, phase, scalars, tensor layouts, and the sha256 of every file and of itself
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import attrs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gflow_core.errors import CheckpointError, first_line
from gflow_core.files.inside import is_plain
from gflow_core.files.reading import fault, parse_json, read_bytes
from gflow_core.files.sealed import digest
from gflow_core.files.weights import save_tensors
from gflow_core.files.whole import beside, sha256_of

__all__ = ["Checkpoint", "delete", "misfit", "pack", "read", "unpack", "unsavable", "write"]

_JSON = "checkpoint.json"
_BODY = {"step": int, "phase": (str, NoneType), "threads": int, "files": {"*": {"sha256": str}}}
_SCALAR = bool | int | float | str
_THREADS = 4096  # more than any machine has


@attrs.frozen
class Checkpoint:
    """What a checkpoint holds: `parts` are trees of dicts, lists, tensors, numbers, strings, None."""

    step: int
    """Steps that were done."""
    parts: Mapping[str, Any]
    phase: str | None = None
    """Where in the next step it was taken, such as "inner loop 3 of 20"; None between steps."""
    threads: int = 0
    """CPU threads of the run; the bits of a sum depend on it."""


# ------------------------------------------------------------------ trees <-> tensors and JSON


def pack(tree: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """The tree as JSON, its tensors moved into `tensors` under their paths.

    safetensors keeps neither memory layout nor 0-dimensional strides, so tensors are stored contiguous and a
    channels-last layout is noted beside them.
    """
    if isinstance(tree, Tensor):
        while path in tensors:  # of {1: x, "1": y}, for one
            path += "+"
        tensors[path] = tree.detach().to("cpu", copy=True).contiguous()
        note: dict[str, Any] = {"$tensor": path}
        if tree.dim() == 4 and not tree.is_contiguous() and tree.is_contiguous(memory_format=torch.channels_last):
            note["layout"] = "channels_last"
        return note
    if isinstance(tree, Mapping) and all(isinstance(key, _SCALAR) for key in tree):
        # As pairs, because optimizers use numbers as keys and JSON does not.
        return {
            "$items": [
                [key, pack(value, tensors, f"{path}/{key}" if path else str(key))] for key, value in tree.items()
            ]
        }
    if isinstance(tree, tuple | list):
        items = [pack(value, tensors, f"{path}/{i}" if path else str(i)) for i, value in enumerate(tree)]
        return {"$tuple": items} if isinstance(tree, tuple) else items
    if tree is None or isinstance(tree, _SCALAR):
        return tree
    raise CheckpointError(f"a checkpoint cannot hold {unsavable(tree, path)}")


def unsavable(tree: Any, path: str = "") -> str | None:
    """What in the tree `pack` cannot take, in words; None where it takes all."""
    if tree is None or isinstance(tree, Tensor) or _is_scalar(tree):
        return None
    if not isinstance(tree, Mapping | tuple | list):
        return (
            f"{path} of type {type(tree).__name__} (tensors, numbers, words, None, and lists and dicts of these it can)"
        )
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for key, value in items:
        if not _is_scalar(key):
            return f"the key {key!r:.60}{path and f' of {path}'} (words and numbers it can)"
        if found := unsavable(value, f"{path}/{key}" if path else str(key)):
            return found
    return None


def _is_scalar(value: Any) -> bool:
    """A number, or words that a file can hold: half of a surrogate pair is no letter."""
    return isinstance(value, _SCALAR) and not (isinstance(value, str) and re.search("[\ud800-\udfff]", value))


def unpack(note: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The tree that `pack` took apart."""
    if isinstance(note, list):
        return [unpack(value, tensors) for value in note]
    if not isinstance(note, dict):
        return note
    if "$tensor" in note:
        tensor = tensors[note["$tensor"]]
        return tensor.contiguous(memory_format=torch.channels_last) if note.get("layout") == "channels_last" else tensor
    if "$tuple" in note:
        return tuple(unpack(value, tensors) for value in note["$tuple"])
    return {key: unpack(value, tensors) for key, value in note["$items"]}


# ------------------------------------------------------------------ folders


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` as `folder`: aside, flushed to the disk, then renamed into place."""
    aside = beside(folder)
    try:
        _write(aside, checkpoint)
        if folder.exists():  # the same step once more, after a resume
            delete(folder)
        aside.rename(folder)
    except BaseException:  # a full disk, for one, has no room for half a checkpoint
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _sync_folder(folder.parent)


def delete(folder: Path) -> None:
    """Delete a checkpoint, which is whole until it is gone."""
    aside = beside(folder)
    folder.rename(aside)
    _sync_folder(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    folder.mkdir(parents=True)
    files: dict[str, Any] = {}
    for name, tree in checkpoint.parts.items():
        tensors: dict[str, Tensor] = {}
        note = pack(tree, tensors)
        path = folder / f"{name}.safetensors"
        save_tensors(tensors, path)
        files[name] = {"sha256": _sync_and_hash(path), "tree": note}
    body = {"step": checkpoint.step, "phase": checkpoint.phase, "threads": checkpoint.threads, "files": files}
    path = folder / _JSON
    path.write_text(json.dumps({"sha256": digest(body), "body": body}), encoding="utf-8")
    _sync_and_hash(path)
    _sync_folder(folder)


def misfit(error: Exception) -> str:
    """What keeps a state from being loaded into a network, in a line: the first of the mismatches torch lists."""
    if isinstance(error, KeyError):
        return f"it holds no {error.args[0]}"
    return next((line for line in str(error).splitlines() if "mismatch" in line), str(error)).strip()


def read(folder: Path, only: tuple[str, ...] | None = None) -> Checkpoint:
    """Read and verify a checkpoint, or just the parts named in `only` (those it has).

    Raises CheckpointError that names the file which is missing, truncated or altered.
    """
    body = _read_json(folder / _JSON)
    parts = {}
    for name, entry in body["files"].items():
        if only is not None and name not in only:
            continue
        path = folder / f"{name}.safetensors"
        try:
            found = sha256_of(path)
        except OSError as error:
            raise CheckpointError(f"{path} is missing or unreadable: {error.strerror}") from error
        if found != entry["sha256"]:
            raise CheckpointError(f"{path} is damaged: its content does not match its sha256")
        try:
            parts[name] = unpack(entry["tree"], load_file(path))
        except (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path} is damaged: {first_line(error)}") from error
    return Checkpoint(step=body["step"], phase=body["phase"], threads=body["threads"], parts=parts)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        whole = parse_json(read_bytes(path))
        body: dict[str, Any] = whole["body"]
        if digest(body) != whole["sha256"]:
            raise CheckpointError(f"{path} is damaged: its content does not match its sha256")
        if wrong := fault(body, _BODY):
            raise ValueError(wrong)
        if not (body["step"] >= 0 <= body["threads"] <= _THREADS and all(map(is_plain, body["files"]))):
            raise ValueError("numbers or names of files that no checkpoint has")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged or missing: {error}") from error
    return body


def _sync_and_hash(path: Path) -> str:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return sha256_of(path)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
