"""What a recipe takes from another run: its sampler, its discriminator, or the start of training."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from gflow_core.errors import GflowError
from gflow_core.files.inside import check_inside
from gflow_core.files.reading import read_toml
from gflow_core.parts.contracts import Latent
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option
from gflow_core.parts.spec import Spec
from gflow_core.recipes.history import as_written_now

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TAKEN", "DiscriminatorFromRun", "FromRun", "SamplerFromRun", "no_such_place", "other_data", "table_of_run"]


@attrs.frozen(kw_only=True)
class FromRun:
    """A network of a run, in place of a part: as that run's recipe has it. The recipe may train it on.

    Its weights, those of the run's final checkpoint, are read when a run begins (`runs.origins`).
    """

    kind: ClassVar[str]

    from_run: str = option(doc="Run folder; relative paths count from where gflow is started.")
    run: Spec = attrs.field(init=False, repr=False, eq=False)
    """The recipe of that run."""

    def of(self, run: Spec) -> FromRun:
        """Itself, knowing the run's recipe."""
        object.__setattr__(self, "run", run)
        return self

    @property
    def conditional(self) -> bool:
        """Whether the run's network reads labels."""
        return bool(self._part.conditional)

    @property
    def least_batch(self) -> int:
        """Items that training must give it at once."""
        return int(getattr(self._part, "least_batch", 1))

    @property
    def file(self) -> str:
        """The part of the checkpoint that holds the weights."""
        return self.kind

    def data_shape(self) -> DataShape:
        """What that run's data look like, as this network has to do with them."""
        shape = self.run.data_shape()
        assert shape is not None
        return shape

    def check(self, data: DataShape | None) -> Iterable[str]:
        """The data, where there is a [dataset], must look as the run's; have its labels, too, if they are read."""
        if data is not None and (fault := other_data(self.from_run, self.data_shape(), data, labels=self.conditional)):
            yield fault

    def build(self, data: DataShape | None) -> nn.Module:
        """The run's network, freshly initialised."""
        module: nn.Module = self._part.build(self.data_shape())
        return module

    @property
    def _part(self) -> Any:
        return getattr(self.run, self.kind)


@attrs.frozen(kw_only=True)
class SamplerFromRun(FromRun):
    """A run's sampler, with averaged weights where the run keeps them. The law of z may be another."""

    kind: ClassVar[str] = "sampler"

    latent: Latent = option(doc="Law of z; the run's own by default, and of its length.")

    @property
    def particles(self) -> int | None:
        """How many particles it is; None where it is a network."""
        return getattr(self._part, "particles", None)

    @property
    def averaged(self) -> bool:
        """Whether its weights are an average over training."""
        return self.run.train is not None and self.run.train.ema is not None

    @property
    def file(self) -> str:
        """The part of the checkpoint that holds the weights."""
        return "ema" if self.averaged else "sampler"

    def check(self, data: DataShape | None) -> Iterable[str]:
        """As of any network, and z must be as long as it reads."""
        yield from super().check(data)
        if self.latent.dim != self.run.sampler.latent.dim:
            yield f"latent.dim = {self.latent.dim}; the network of {self.from_run} reads {self.run.sampler.latent.dim}"


@attrs.frozen(kw_only=True)
class DiscriminatorFromRun(FromRun):
    """A run's discriminator."""

    kind: ClassVar[str] = "discriminator"

    def data_shape(self) -> DataShape:
        """What it judges: the run's data, in packs where the run's objective makes them."""
        shape = self.run.judged(super().data_shape())
        assert shape is not None
        return shape


TAKEN: Mapping[str, type[FromRun]] = {cls.kind: cls for cls in (SamplerFromRun, DiscriminatorFromRun)}
"""Kind of network -> what stands in its place where it is another run's."""


def other_data(path: str, theirs: DataShape, data: DataShape, *, labels: bool) -> str | None:
    """What is said where `data` does not look as the run's, `theirs`; labels count only where they are read."""

    def read(shape: DataShape) -> DataShape:
        return shape if labels else attrs.evolve(shape, classes=None, conditions=(), text=None)

    ours, known = read(data), read(theirs)
    return None if ours == known else f"{path} was trained on {theirs}, the data is {data}"


def table_of_run(path: str) -> tuple[str, Mapping[str, Any]]:
    """The real path of a run folder, and its resolved recipe, unchecked. GflowError says why there is none."""
    try:
        folder = Path(path).expanduser()
        check_inside(folder)
        return os.path.realpath(folder), as_written_now(read_toml(folder / "recipe.toml"))
    except (FileNotFoundError, NotADirectoryError):
        raise no_such_place(path, "not a run folder (it has no recipe.toml)") from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: nobody's home, or nested too deep
        raise GflowError(f"{path}: its recipe.toml cannot be read: {error}") from error


def no_such_place(path: str, what: str) -> GflowError:
    """The error for a path that is not what it should be, saying where a relative one counts from."""
    absolute = Path(path).expanduser().is_absolute()
    where = "" if absolute else f"; relative paths count from where gflow is started, here {Path.cwd()}"
    return GflowError(f"{path}: {what}{where}")
