"""What a score is of, and what it is against: files or arrays, a run's samples, or a recipe's data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import torch
from torch import Generator, Tensor, nn

from gflow_core.data.array import AnyArray, array_items, array_shape
from gflow_core.data.headers import Held, held_in
from gflow_core.data.parts import Array, ImageFolder
from gflow_core.errors import DataError, GflowError
from gflow_core.files.run_folder import checkpoint_order
from gflow_core.nn.sampling import draw_from
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.source import Source, fingerprint
from gflow_core.parts.training import Experiment
from gflow_core.recipes.recipe import load
from gflow_core.runs.analyze import looking
from gflow_core.runs.build import read_data
from gflow_core.runs.drawing import Drawing
from gflow_core.runs.pictures import finite
from gflow_core.runs.record import RunFolder
from gflow_core.scores.features import as_stored

__all__ = ["Data", "Files", "Given", "Items", "Loose", "Samples", "Side", "side_of"]

_MEMBER = re.compile(r"(.+\.npz)\[([^\[\]]+)\]")


@attrs.frozen
class Files:
    """Loose files: a folder, zip or tar of images, or an array."""

    untouched: ClassVar[str] = "as they are"
    """What was done to its items, where nothing was done to files."""

    text: str
    path: Path
    held: Held
    key: str | None = None

    @property
    def is_array(self) -> bool:
        """Whether they are one file of an array."""
        return self.path.suffix.lower() in (".npy", ".npz")

    def part(self, shape: DataShape) -> Any:
        """The data set that reads them as such items."""
        if shape.kind == "vector":
            return Array(root=str(self.path), key=self.key, shape=shape.shape)
        channels: Any
        channels, height, width = shape.shape
        if self.is_array:
            return Array(root=str(self.path), key=self.key, image_size=(height, width), channels=channels, fit="resize")
        return ImageFolder(root=str(self.path), image_size=(height, width), channels=channels)

    def __str__(self) -> str:
        return f"{self.text}: {self.held}"


@attrs.frozen(eq=False)
class Given:
    """An array that was passed, as a .npy file would hold it."""

    untouched: ClassVar[str] = Files.untouched
    is_array: ClassVar[bool] = True

    text: str
    array: AnyArray
    held: Held

    def part(self, shape: DataShape) -> Any:
        """A data set of its items, as such ones."""
        return _InMemory(shape, self.text, self.array)

    def __str__(self) -> str:
        return f"{self.text}: {self.held}"


Loose = Files | Given
"""Items that are taken at the size and in the channels of the reference."""


@attrs.frozen
class Data:
    """A recipe's data set."""

    untouched: ClassVar[str] = "as the recipe reads them"

    text: str
    dataset: Any

    @property
    def shape(self) -> DataShape:
        """What its items look like, by its options."""
        return bare(self.dataset.data_shape())

    def part(self, shape: DataShape) -> Any:
        """The data set itself, which has the shape."""
        return self.dataset

    def __str__(self) -> str:
        return f"{self.text}: its data, {self.shape}"


@attrs.define(eq=False, slots=False)
class Samples:
    """A run's sampler: averaged weights where the run keeps them, of its newest checkpoint."""

    untouched: ClassVar[str] = "as the run makes them"

    text: str
    experiment: Experiment
    step: int

    @property
    def shape(self) -> DataShape:
        """What its samples look like."""
        found = self.experiment.spec.data_shape()
        assert found is not None
        return bare(found)

    @cached_property
    def averaged(self) -> bool:
        """Whether its weights are an average over training."""
        with looking(self.experiment, "averaged", self.step) as subject:
            return bool(subject.protocol()["ema"])

    def drawn(self, n: int, name: str, chunk: int, progress: Progress) -> Source:
        """n samples as the analysis `name` of the run draws them, `chunk` at a time, and as files would hold them."""
        pieces = []
        with looking(self.experiment, name, self.step) as subject:
            for x in draw_from(subject, n, chunk):
                pieces.append(_bytes(finite(x).cpu(), self.shape))
                progress("drawing", min(chunk * len(pieces), n), n)
        x = torch.cat(pieces)
        return Source(x, self.shape, fingerprint(x))

    def part(self, shape: DataShape) -> Any:
        """A data set of what was drawn, for a recipe's sake."""
        return _Drawn(shape)

    def __str__(self) -> str:
        averaged = ", averaged weights" if self.averaged else ""
        return f"{self.text}: samples after step {self.step}{averaged}, {self.shape}"


Side = Loose | Data | Samples


def side_of(
    what: str | Path | AnyArray | Tensor,
    name: str,
    device: str | None,
    seed: int | None,
    progress: Progress = no_progress,
) -> Side:
    """What a path, the name of a shipped recipe or an array stands for; messages call arrays by `name`.

    A run is read on `device`, or where its recipe says; its samples have the `seed`, or the run's own. Raises
    GflowError where it is nothing of the kind.
    """
    if isinstance(what, np.ndarray | Tensor):
        array = _as_bytes(what if isinstance(what, np.ndarray) else _array(what))
        return Given(name, array, Held.of(array_shape(array, name)))
    if not (text := str(what)):
        raise GflowError("one of the two is empty; write . for the images in the working folder")
    member = _MEMBER.fullmatch(text)
    path = Path(member[1] if member else text).expanduser()
    if (path / "recipe.toml").is_file():
        return _run(text, path, device, seed, progress)
    if path.suffix != ".toml" and path.exists():
        key = member[2] if member else None
        try:
            return Files(text, path, held_in(path, key), key)
        except DataError as error:
            raise DataError(str(error).replace("name one in dataset.key", f"name one as in {text}[NAME]")) from None
    if path.suffix not in ("", ".toml") or (len(path.parts) > 1 and not path.exists()):
        raise GflowError(f"{text}: no such file or folder")
    spec = load(path).spec
    if spec.dataset is None:
        raise GflowError(f"{text}: the recipe has no [dataset], whose items would be scored")
    return Data(text, spec.dataset)


def _run(text: str, path: Path, device: str | None, seed: int | None, progress: Progress) -> Samples:
    drawing = Drawing(path, device=device, seed=seed)
    experiment = drawing.experiment
    spec = experiment.spec
    if spec.data_shape() is None:
        raise GflowError(f"{text}: its recipe does not say what its samples look like; it has no [dataset]")
    if spec.sampler.conditional and spec.dataset is not None:  # labels are as frequent as in the data
        experiment.data = read_data(spec.dataset, progress)
    step = 0 if spec.objective is None else checkpoint_order(RunFolder(path).checkpoint_name())[0]
    return Samples(text, experiment, step)


def _array(x: Tensor) -> AnyArray:
    x = x.detach().cpu()
    found: AnyArray = (x.float() if x.is_floating_point() else x).numpy()
    return found


def _as_bytes(x: AnyArray) -> AnyArray:
    """Images of floats in [-1, 1], as samples are, as a file of 8 bits holds them; all else as it is.

    Without a number below 0 they may be in [0, 1]: they are left, and refused.
    """
    if x.dtype.kind != "f" or x.ndim < 3 or not x.size or not (-1 <= x.min() < 0 and x.max() <= 1):
        return x
    return ((x + 1) * 127.5).round().astype(np.uint8)


def bare(shape: DataShape) -> DataShape:
    """The shape without its labels."""
    return attrs.evolve(shape, classes=None, conditions=(), text=None)


def _bytes(x: Tensor, shape: DataShape) -> Tensor:
    """Images x [B, C, H, W] in [-1, 1] as a file of 8 bits holds them; vectors as they are."""
    if shape.kind == "vector":
        return x
    return as_stored(x, shape).add(1).mul(127.5).round().to(torch.uint8).contiguous()


@attrs.frozen
class _Drawn:
    """A data set that was drawn: what an analyzer asks one without reading it."""

    shape: DataShape

    def data_shape(self) -> DataShape:
        return self.shape


@attrs.frozen(eq=False)
class _InMemory(_Drawn):
    """A data set of an array."""

    name: str
    array: AnyArray

    def load(self, progress: Progress = no_progress) -> Source:
        x = array_items(self.array, self.name, self.shape, fit="resize")
        return Source(x, self.shape, fingerprint(x))


# ------------------------------------------------------------------ items in a sampler's place


@attrs.define(eq=False)
class _InTurn:
    """Numbers 0, 1, 2, ... in place of draws. Meets `Latent`."""

    dim: ClassVar[int] = 1
    done: int = 0

    def draw(self, n: int, generator: Generator) -> Tensor:
        first, self.done = self.done, self.done + n
        return torch.arange(first, self.done, dtype=torch.get_default_dtype())[:, None]


@attrs.frozen(eq=False)
class Items:
    """A sampler that hands out items of a data set, each once, in the order of `index`. Meets `SamplerPart`."""

    conditional: ClassVar[bool] = False

    source: Source
    index: Tensor
    """[n]."""
    latent: _InTurn = attrs.field(factory=_InTurn, init=False)

    def check(self, data: DataShape | None) -> Iterable[str]:
        return ()

    def build(self, data: DataShape | None = None) -> nn.Module:
        return _Handing(self.source, self.index)


class _Handing(nn.Module):
    def __init__(self, source: Source, index: Tensor) -> None:
        super().__init__()
        self.source, self.index = source, index

    def forward(self, z: Tensor) -> Tensor:
        """Numbers z [B, 1] -> the items of these numbers [B, *shape]."""
        return self.source.batch(self.index[z[:, 0].long().cpu()], z.device).x
