"""Networks that gflow learns once and keeps in its cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gflow_core.data.places import first_line, locked
from gflow_core.errors import DataError
from gflow_core.files.weights import save_tensors
from gflow_core.files.whole import written_aside
from gflow_core.parts.source import weights_hash

__all__ = ["learned_once"]

T = TypeVar("T")
Restore = Callable[[Mapping[str, Tensor], Mapping[str, str]], T]

logger = logging.getLogger("gflow")


def learned_once(
    file: Path,
    learn: Callable[[], T],
    restore: Restore[T],
    network: Callable[[T], nn.Module],
    notes: Callable[[T], Mapping[str, str]] = lambda found: {},
) -> T:
    """What `learn` makes, or what the file has of when it did; one process learns while others wait for it.

    The file holds the tensors of its `network` and the `notes` on it, of which `restore` makes it again. A file that is
    damaged is made again. Raises DataError where it cannot be kept.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file.with_name(file.name + ".lock")):
            found = _read(file, restore, network)
            if found is None:
                found = learn()
                try:
                    _write(file, network(found), notes(found))
                except OSError as error:  # what was learnt is of use all the same
                    reason = error.strerror or first_line(error)
                    logger.warning(
                        "%s: cannot be kept (%s); set GFLOW_CACHE to a folder with room for it", file, reason
                    )
            return found
    except OSError as error:
        raise DataError(f"{file}: {first_line(error)}; set GFLOW_CACHE to a folder that can be written") from error


def _read(file: Path, restore: Restore[T], network: Callable[[T], nn.Module]) -> T | None:
    """What `_write` wrote; None where there is nothing or it is damaged, for then it is made again."""
    try:
        with safe_open(file, "pt") as tensors:
            notes = tensors.metadata()
            found = restore({name: tensors.get_tensor(name) for name in tensors.keys()}, notes)  # noqa: SIM118
        if weights_hash(network(found)) != notes["sha256"]:
            raise ValueError("its weights are not those that it states")
        return found
    except FileNotFoundError:
        return None
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        logger.warning("%s: %s; made again", file, first_line(error))
        return None


def _write(file: Path, network: nn.Module, notes: Mapping[str, str]) -> None:
    state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    with written_aside(file) as aside:
        save_tensors(state, aside, {"sha256": weights_hash(network), **notes})
