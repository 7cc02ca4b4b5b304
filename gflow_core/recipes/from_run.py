"""`sampler.from_run = RUN`: the sampler that another run trained."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from gflow_core.errors import CheckpointError, GflowError
from gflow_core.files.run_folder import checkpoint_names, checkpoint_order
from gflow_core.parts.contracts import Latent
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option
from gflow_core.parts.spec import Spec
from gflow_core.recipes.history import as_written_now

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
        """The data, where there is a [dataset], must look as the run's; have its labels, too, if they are read."""
        if data is not None and self._read(data) != self._read(self.data_shape()):
            yield f"{self.from_run} was trained on {self.data_shape()}, the data is {data}"
        if self.latent.dim != self.run.sampler.latent.dim:
            yield f"latent.dim = {self.latent.dim}; the network of {self.from_run} reads {self.run.sampler.latent.dim}"

    def _read(self, data: DataShape) -> DataShape:
        """`data` less what the sampler does not know of it."""
        return data if self.conditional else attrs.evolve(data, classes=None, conditions=())

    def build(self, data: DataShape | None) -> nn.Module:
        """The network with its trained weights. Raises CheckpointError where they are missing or damaged."""
        from gflow_core.files import checkpoint

        folder = self.checkpoint()
        module = self._network()
        try:
            module.load_state_dict(checkpoint.read(folder, (self._file,)).parts[self._file])
        except CheckpointError as error:
            raise CheckpointError(f"sampler.from_run: {error}; {self._mend(folder)}") from error
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"sampler.from_run: {folder} does not fit the run's own recipe.toml: {checkpoint.misfit(error)}; put "
                "the recipe back as it was"
            ) from error
        return module

    def checkpoint(self) -> Path:
        """The folder of the run's newest checkpoint. CheckpointError where there is none, or training is not done."""
        folder = Path(self.from_run).expanduser() / "checkpoints"
        names = checkpoint_names(folder)
        if not names:
            raise CheckpointError(
                f"sampler.from_run: {self.from_run} has no checkpoint; train it with gflow run "
                f"{self.from_run}/recipe.toml"
            )
        steps = self.run.train.steps if self.run.train else 0
        if checkpoint_order(names[-1]) != [steps]:
            raise CheckpointError(
                f"sampler.from_run: {self.from_run} has done {checkpoint_order(names[-1])[0]} of {steps} steps; finish "
                f"it with gflow resume {self.from_run}"
            )
        return folder / names[-1]

    def origin(self) -> dict[str, Any]:
        """Where the weights come from, for the manifest: run, checkpoint, and the sha256 of the file."""
        folder = self.checkpoint()
        with (folder / f"{self._file}.safetensors").open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        return {"run": self.from_run, "checkpoint": folder.name, "ema": self.averaged, "sha256": digest}

    @property
    def _file(self) -> str:
        """The part of the checkpoint that holds the weights."""
        return "ema" if self.averaged else "sampler"

    def _network(self) -> nn.Module:
        """The run's network, freshly initialised. (Of a run that trained yet another run's on, only that is asked.)"""
        part = self.run.sampler
        module: nn.Module = part._network() if isinstance(part, FromRun) else part.build(self.data_shape())
        return module

    def _mend(self, folder: Path) -> str:
        before = checkpoint_names(folder.parent)[:-1]
        if before:
            return f"gflow resume {self.from_run} --checkpoint {before[-1]} trains its end again"
        return f"train it again with gflow run {self.from_run}/recipe.toml"


def table_of_run(path: str) -> tuple[str, Mapping[str, Any]]:
    """The real path of a run folder, and its resolved recipe, unchecked. GflowError says why there is none."""
    try:
        folder = Path(path).expanduser()
        return os.path.realpath(folder), as_written_now(
            tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
        )
    except (FileNotFoundError, NotADirectoryError):
        where = "" if folder.is_absolute() else f"; relative paths count from where gflow is started, here {Path.cwd()}"
        raise GflowError(f"{path}: not a run folder (it has no recipe.toml){where}") from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: nobody's home, or nested too deep
        raise GflowError(f"{path}: its recipe.toml cannot be read: {error}") from error
