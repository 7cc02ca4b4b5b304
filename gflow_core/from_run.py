"""`sampler.from_run = RUN`: the sampler that another run trained."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from gflow_core.contracts import DataShape, Latent
from gflow_core.errors import CheckpointError, GflowError
from gflow_core.options import option
from gflow_core.spec import Spec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FromRun", "table_of_run"]


@attrs.frozen(kw_only=True)
class FromRun:
    """A run's sampler as its final checkpoint has it, with averaged weights where the run keeps them.

    Its network, and what it makes, are that run's; only the law of z may be another. The recipe may train it on.
    """

    from_run: str = option(doc="Run folder; relative paths count from where gflow is started.")
    latent: Latent = option(doc="Law of z; the run's own by default, and of its length.")
    run: Spec = attrs.field(init=False, repr=False, eq=False)
    """The recipe of that run."""

    def of(self, run: Spec) -> FromRun:
        """Itself, knowing the run's recipe."""
        object.__setattr__(self, "run", run)
        return self

    @property
    def conditional(self) -> bool:
        """Whether the run's sampler reads labels."""
        return bool(self.run.sampler.conditional)

    @property
    def averaged(self) -> bool:
        """Whether its weights are an average over training."""
        return self.run.train is not None and self.run.train.ema is not None

    def data_shape(self) -> DataShape:
        """What that run's data look like."""
        shape = self.run.data_shape()
        assert shape is not None
        return shape

    def check(self, data: DataShape | None) -> Iterable[str]:
        """The data, where there is a [dataset], must be what the run was trained on, by shape, range and labels."""
        if data is not None and data != self.data_shape():
            yield f"{self.from_run} was trained on {self.data_shape()}, the data is {data}"
        if self.latent.dim != self.run.sampler.latent.dim:
            yield f"latent.dim = {self.latent.dim}; the network of {self.from_run} reads {self.run.sampler.latent.dim}"

    def build(self, data: DataShape | None) -> nn.Module:
        """The network with its trained weights. Raises CheckpointError where they are missing or damaged."""
        from gflow_core import checkpoint

        folder = self.checkpoint()
        part = "ema" if self.averaged else "sampler"
        state = checkpoint.read(folder, (part,)).parts
        module: nn.Module = self.run.sampler.build(self.data_shape())
        try:
            module.load_state_dict(state[part])
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"{folder}: does not fit the run's own recipe: {error}") from error
        return module

    def checkpoint(self) -> Path:
        """The folder of the run's newest checkpoint. CheckpointError where there is none, or training is not done."""
        from gflow_core import checkpoint

        folder = Path(self.from_run).expanduser() / "checkpoints"
        names = checkpoint.names(folder)
        if not names:
            raise CheckpointError(f"sampler.from_run: {self.from_run} has no checkpoint; train it first")
        steps = self.run.train.steps if self.run.train else 0
        if checkpoint.order(names[-1]) != [steps]:
            raise CheckpointError(
                f"sampler.from_run: {self.from_run} is at {names[-1]} of {steps} steps; finish it with gflow resume "
                f"{self.from_run}"
            )
        return folder / names[-1]

    def origin(self) -> dict[str, Any]:
        """Where the weights come from, for the manifest: run, checkpoint, and the sha256 of the file."""
        folder = self.checkpoint()
        file = folder / f"{'ema' if self.averaged else 'sampler'}.safetensors"
        with file.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        return {"run": self.from_run, "checkpoint": folder.name, "ema": self.averaged, "sha256": digest}


def table_of_run(path: str) -> Mapping[str, Any]:
    """The resolved recipe of a run folder, unchecked. GflowError says why there is none."""
    file = Path(path).expanduser() / "recipe.toml"
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GflowError(f"{path}: not a run folder (it has no recipe.toml); gflow run makes one under runs/") from None
    except (OSError, ValueError) as error:
        raise GflowError(f"{file}: cannot be read: {error}") from error
