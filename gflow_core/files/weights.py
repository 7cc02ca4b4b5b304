"""Files of weights: written, read from anywhere without running code, and loaded into a network that they fit."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gflow_core.errors import DataError, first_line
from gflow_core.files.reading import opened

__all__ = ["load_state", "not_finite", "read_state", "save_tensors"]

logger = logging.getLogger("gflow.weights")


def save_tensors(tensors: Mapping[str, Tensor], path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write a .safetensors, contiguous tensors and notes, that others may read as they may any new file.

    (The library's own are for their owner alone: a run on a shared disk could be copied by nobody else.) Raises OSError
    where there is no room, or none may write.
    """
    try:
        save_file(dict(tensors), path, None if notes is None else dict(notes))
    except SafetensorError as error:
        said = re.search(r"\(os error (\d+)\)", str(error))
        raise (OSError(int(said[1]), os.strerror(int(said[1]))) if said else OSError(str(error))) from error
    mask = os.umask(0o077)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name: of a .safetensors, or of what torch.save wrote.

    A state dict that lies under a key of its own, such as "state_dict", is taken where it is the only one. Raises
    DataError where the file cannot be read, or holds no state dict, or several, which it names.
    """
    safe = path.suffix == ".safetensors"
    try:
        opened(path).close()
        found = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises all kinds
        wanted = "tensors that safetensors wrote" if safe else "a state dict that torch.save wrote"
        reason = first_line(error)
        if isinstance(error, UnpicklingError):  # torch's words say how to switch that off
            reason = "it is damaged, or holds other objects than tensors, which could run code and are not read"
        raise DataError(
            f"{path}: not readable as weights ({reason}); give {wanted}, and if it is one, fetch it again"
        ) from error
    if _is_state(found):
        return dict(found)
    inside = [key for key, value in found.items() if _is_state(value)] if isinstance(found, Mapping) else []
    if len(inside) > 1:
        raise DataError(
            f"{path}: holds several state dicts, {', '.join(map(str, inside))}; save the one wanted alone, as in "
            f'torch.save(torch.load("{path.name}")["{inside[0]}"], "{inside[0]}.pt")'
        )
    if not inside:
        raise DataError(f"{path}: not a state dict of tensors by name; save model.state_dict() alone")
    logger.info('%s: takes the state dict under its key "%s"', path, inside[0])
    return dict(found[inside[0]])


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in value.items())
    )


def load_state(network: nn.Module, state: Mapping[str, Tensor], path: Path, mend: str = "give the right file") -> None:
    """Copy `state`, read from `path`, into the network.

    A prefix that all of its names share and the network's lack, such as "module.", is left out. DataError names what
    is missing, unexpected, of another shape, and ends with `mend`; or which tensor is not finite.
    """
    own = network.state_dict()
    if prefix := _foreign_prefix(state, own):
        logger.info('%s: all its names begin with "%s", which is left out', path, prefix)
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    # Counters of batches, which evaluation does not read; older files lack them.
    missing = [key for key in own if key not in state and not key.endswith(".num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} {list(state[key].shape)} instead of {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if name := not_finite(state):
        raise DataError(f"{path}: {name} holds NaN or infinite values; these weights are of a network that diverged")
    found = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
    wrong = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in found if keys]
    if wrong:
        raise DataError(f"{path}: the weights of another network: tensors {'; '.join(wrong)}; {mend}")
    network.load_state_dict(state, strict=False)


def not_finite(state: Mapping[str, Any]) -> str | None:
    """The name of the first tensor that holds NaN or infinite values; None where all are finite."""
    for name, tensor in state.items():
        if isinstance(tensor, Tensor) and (tensor.is_floating_point() or tensor.is_complex()):
            whole = tensor if tensor.element_size() > 1 else tensor.float()  # of 8 bits torch cannot ask it
            if not bool(whole.isfinite().all()):
                return name
    return None


def _foreign_prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The prefix of all names in `state` without which most of them are the network's own; empty where that is none."""
    first = next(iter(state), "")
    prefixes = [first[: dot.end()] for dot in re.finditer(r"\.", first)]
    shared = [prefix for prefix in prefixes if all(name.startswith(prefix) for name in state)]
    return max(["", *shared], key=lambda prefix: sum(name.removeprefix(prefix) in own for name in state))


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
