"""Weights that others trained: found in torch hub's cache or in a file, verified, loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gflow_core.data.places import DAMAGED, fetch, not_found
from gflow_core.encoders.network import fresh
from gflow_core.errors import DataError, first_line
from gflow_core.files.weights import load_state, read_state
from gflow_core.files.whole import sha256_of

__all__ = ["hub_folder", "pretrained"]

State = dict[str, Tensor]


def pretrained(
    name: str,
    make: Callable[[], nn.Module],
    weights: str,
    url: str,
    *,
    aliases: Sequence[str] = (),
    download: bool = False,
    adapt: Callable[[State], State] = dict,
    mend: str = "give the right file",
) -> tuple[nn.Module, str]:
    """The network that `make` builds, with `weights`, and what scores on its features are called after.

    `weights` is "cache" (the file published at `url`, or the same file under one of the `aliases`), "random", or the
    path of a file. Only the published file, wherever it lies, gives the bare `name`; others give "name (random)" and
    "name (FILE)". A published file whose name states no sha256 is known by that name alone. `adapt` brings a file's
    tensors up to date, and `mend` says what to do about those of another network. Raises DataError.
    """
    if weights == "random":
        return fresh(name, make), f"{name} (random)"
    if weights == "cache":
        path, published = _cached(name, url, aliases, download), True
    else:
        path = _file(name, weights)
        digest = _digest(url)
        published = _sha256(path).startswith(digest) if digest else path.name in (Path(url).name, *aliases)
    state = adapt(read_state(path))
    network = fresh(name, make)
    load_state(network, state, path, mend)
    return network, name if published else f"{name} ({path.stem})"


def hub_folder() -> Path:
    """Where torch hub keeps weights, ~/.cache/torch/hub/checkpoints unless TORCH_HOME says otherwise."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _cached(name: str, url: str, aliases: Sequence[str], download: bool) -> Path:
    """The published file in torch hub's cache, verified by the sha256 that its name states, if any."""
    folder = hub_folder()
    places = [folder / file for file in (Path(url).name, *aliases)]
    path = next((place for place in places if place.is_file()), None)
    if path is None and download:
        path = places[0]
        _download(name, url, path)
    if path is None:
        raise not_found(
            f"{name}: its weights",
            places,
            f"fetch {url} into {folder}, set the encoder's weights to the file's path, or set its download = true",
        )
    if not _sha256(path).startswith(_digest(url)):
        raise DataError(f"{path}: its sha256 does not start with {_digest(url)}; {DAMAGED} from {url}")
    return path


def _file(name: str, weights: str) -> Path:
    try:
        path = Path(weights).expanduser()
    except RuntimeError as error:
        raise DataError(f"{name}: weights = {weights}: {error}; write the path out") from error
    if not path.is_file():
        raise not_found(f"{name}: its weights", [path], 'set the encoder\'s weights to a file, "cache" or "random"')
    return path


def _download(name: str, url: str, path: Path) -> None:
    def work() -> None:
        if not path.is_file():  # another process may have fetched it meanwhile
            torch.hub.download_url_to_file(url, str(path), hash_prefix=_digest(url) or None, progress=False)

    fetch(name, path.parent, work, f"fetch {url} yourself into {path.parent}")


def _digest(url: str) -> str:
    """The start of the file's sha256, which torch hub writes into its name, weights-0123abcd.pth; empty without."""
    found = re.search(r"-([0-9a-f]{8,})$", Path(url).stem)
    return found[1] if found else ""


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise DataError(f"{path}: {first_line(error)}; make it readable") from error
