"""What networks begin from, where it is not chance: the final checkpoint of another run, or a file of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from torch import Tensor, nn

from gflow_core.errors import CheckpointError, DataError, typed
from gflow_core.files import checkpoint
from gflow_core.files.inside import check_inside
from gflow_core.files.run_folder import checkpoint_names, checkpoint_order, read_manifest
from gflow_core.files.weights import load_state, read_state
from gflow_core.files.whole import sha256_of
from gflow_core.parts.spec import NETWORKS, Spec
from gflow_core.recipes.from_run import FromRun, no_such_place, table_of_run

__all__ = ["Origin", "origins_of"]


@attrs.frozen
class Origin:
    """Weights that a network begins from, as they were read."""

    place: str
    """What in the recipe names them: "sampler.from_run"."""
    path: Path
    state: Mapping[str, Tensor]
    mend: str
    """What to do where they do not fit."""
    record: Mapping[str, str]
    """For the manifest: the run and its checkpoint, if they are a run's, the file, and its sha256."""

    def begin(self, module: nn.Module) -> None:
        """Give the module these weights. CheckpointError says how its tensors differ where they do not fit."""
        try:
            load_state(module, self.state, self.path, self.mend)
        except DataError as error:
            raise CheckpointError(f"{self.place}: {error}") from error


def origins_of(spec: Spec) -> dict[str, Origin]:
    """What the recipe's "sampler", "discriminator" and "ema" begin from; those not in it begin by chance.

    Raises CheckpointError where weights are missing or damaged, or the run that trains them is not done.
    """
    train = spec.train
    if train is not None and train.from_run is not None:
        names = [kind for kind in NETWORKS if getattr(spec, kind) is not None]
        mend = f"make [sampler] and [discriminator] as {train.from_run}/recipe.toml has them"
        found = _of_run("train.from_run", train.from_run, {name: name for name in [*names, "ema"]}, mend)
        return {name: origin for name, origin in found.items() if name != "ema" or train.ema is not None}
    found = {}
    for kind in NETWORKS:
        part, weights = getattr(spec, kind), spec.networks[kind].weights
        if isinstance(part, FromRun):
            mend = "put that run's recipe.toml back as it was"
            found |= _of_run(f"{kind}.from_run", part.from_run, {kind: part.file}, mend)
        elif weights is not None:
            found[kind] = _of_file(f"{kind}.weights", weights, kind)
    return found


def _of_file(place: str, name: str, kind: str) -> Origin:
    """The weights in a file."""
    path = Path(name).expanduser()
    try:
        if not path.is_file():
            raise DataError(str(no_such_place(name, "no such file of weights")))
        state = read_state(path)
    except DataError as error:
        raise CheckpointError(f"{place}: {error}") from error
    mend = f"give weights of this network, or make [{kind}] the network that they are of"
    return Origin(place, path, state, mend, {"file": str(path.absolute()), "sha256": sha256_of(path)})


def _of_run(place: str, run: str, files: Mapping[str, str], mend: str) -> dict[str, Origin]:
    """Network -> its weights in the run's final checkpoint; `files`: network -> its part there. An "ema" may lack."""
    folder = _final(place, run)
    try:
        parts = checkpoint.read(folder, tuple(files.values())).parts
    except CheckpointError as error:
        raise CheckpointError(f"{place}: {error}; {_repeat(run, folder)}") from error
    found = {}
    for name, file in files.items():
        if file in parts:
            path = folder / f"{file}.safetensors"
            record = {
                "run": str(folder.parent.parent.absolute()),
                "checkpoint": folder.name,
                "file": path.name,
                "sha256": sha256_of(path),
            }
            found[name] = Origin(place, path, parts[file], mend, record)
        elif name != "ema":
            raise CheckpointError(f"{place}: {folder} holds no {file}; {mend}")
    return found


def _final(place: str, run: str) -> Path:
    """The folder of the run's final checkpoint. CheckpointError where there is none, or training is not done."""
    check_inside(Path(run).expanduser())
    folder = Path(run).expanduser() / "checkpoints"
    names = checkpoint_names(folder)
    if not names:
        raise CheckpointError(
            f"{place}: {run} has no checkpoint; train it with gflow run {typed(f'{run}/recipe.toml')}"
        )
    steps: Any = table_of_run(run)[1].get("train", {}).get("steps", 0)
    last = checkpoint_order(names[-1])
    if last != [steps] and last != [read_manifest(folder.parent).get("ended", {}).get("step")]:
        raise CheckpointError(
            f"{place}: {run} has done {last[0]} of {steps} steps; finish it with gflow resume {typed(run)}"
        )
    return folder / names[-1]


def _repeat(run: str, folder: Path) -> str:
    """How to get a damaged final checkpoint again."""
    before = checkpoint_names(folder.parent)[:-1]
    if before:
        return f"gflow resume {typed(run)} --checkpoint {before[-1]} trains its end again"
    return f"train it again with gflow run {typed(f'{run}/recipe.toml')}"
