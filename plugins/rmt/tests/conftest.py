"""A small world to analyze: images of one grey a class, a sampler of known noise, and an encoder."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, ClassVar

import attrs
import pytest
import torch
from torch import Tensor, nn

from gflow_core import DataShape, Normal, Runtime, Source, Spec, Streams, Subject, fingerprint, no_progress


def greys(y: Tensor, classes: int, shape: tuple[int, ...]) -> Tensor:
    """Images of one grey: class k of K is (k + 1/2) / K of the range [-1, 1]."""
    return (2 * (y.float() + 0.5) / classes - 1).view(-1, 1, 1, 1).expand(-1, *shape)


@attrs.frozen(kw_only=True)
class Pictures:
    """Greys with noise of one part in 100, in turn of the classes 0 to `present` - 1, of which `n` are there."""

    n: int = 200
    shape: tuple[int, ...] = (1, 4, 4)
    classes: int | None = 4
    present: int = 4
    conditions: tuple[str, ...] = ()

    def data_shape(self) -> DataShape:
        return DataShape("image", self.shape, -1.0, 1.0, self.classes, self.conditions)

    def load(self, progress: Any = no_progress) -> Source:
        y = torch.arange(self.n) % self.present
        noise = 0.02 * torch.rand(self.n, *self.shape, generator=torch.Generator().manual_seed(0))
        x = ((greys(y, self.classes or 4, self.shape) + noise + 1) * 127.5).byte()
        labels = None if not (self.classes or self.conditions) else y if self.classes else y[:, None].float()
        return Source(x, self.data_shape(), fingerprint(x), y=labels)


@attrs.frozen(kw_only=True)
class Points:
    """Standard normal vectors, in turn of the classes."""

    n: int = 200
    dim: int = 6
    classes: int | None = 4

    def data_shape(self) -> DataShape:
        return DataShape("vector", (self.dim,), classes=self.classes)

    def load(self, progress: Any = no_progress) -> Source:
        x = torch.randn(self.n, self.dim, generator=torch.Generator().manual_seed(0))
        y = None if self.classes is None else torch.arange(self.n) % self.classes
        return Source(x, self.data_shape(), fingerprint(x), y=y)


@attrs.frozen(kw_only=True)
class Part:
    """A sampler part, as far as analyzers look at it."""

    conditional: bool = True
    latent: Any = attrs.field(factory=lambda: Normal(dim=3))


class Noisy(nn.Module):
    """z -> a grey image of the class asked for, or without labels of the class that z[0] says, plus projected z.

    Remembers the labels and latents it was asked for.
    """

    def __init__(self, shape: tuple[int, ...] = (1, 4, 4), classes: int = 4, dim: int = 3, scale: float = 0.02) -> None:
        super().__init__()
        self.shape, self.classes, self.scale = shape, classes, scale
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("matrix", torch.randn(dim, math.prod(shape), generator=generator))
        self.asked: list[Tensor] = []
        self.latents: list[Tensor] = []

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        self.latents.append(z.clone())
        if y is None:
            y = (torch.special.ndtr(z[:, 0]) * self.classes).long().clamp(max=self.classes - 1)
        self.asked.append(y.clone())
        noise = (z @ self.matrix).view(-1, *self.shape)
        return (greys(y, self.classes, self.shape) + self.scale * noise).clamp(-1, 1)


class Shifted(nn.Module):
    """z -> vectors z + y: class by class normal."""

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z if y is None else z + y[:, None]


class Projection:
    """x -> relu of a fixed random projection; classifies by grey. Meets contracts.Encoder."""

    resizer = "none"

    def __init__(self, part: Encoding, shape: DataShape) -> None:
        self.name, self.weights, self.dim, self.classes = part.name, part.weights, part.dim, part.classes
        generator = torch.Generator().manual_seed(3)
        self.matrix = torch.randn(math.prod(shape.shape), part.dim, generator=generator) / 4
        self.seen = part.seen

    def __call__(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        return torch.relu(x.flatten(1) @ self.matrix + 0.1)

    def classify(self, x: Tensor) -> Tensor:
        return -(
            x.mean((1, 2, 3))[:, None] - greys(torch.arange(self.classes), self.classes, (1, 1, 1)).flatten()
        ).abs()


@attrs.frozen(kw_only=True, eq=False)
class Encoding:
    """The part of Projection. Meets contracts.EncoderPart."""

    classifies: ClassVar[bool] = True

    name: str = "projection"
    weights: str = "abc"
    dim: int = 24
    classes: int = 4
    seen: list[Tensor] = attrs.field(factory=list)

    def check(self, data: DataShape | None) -> Any:
        if data is not None and data.kind != "image":
            yield f"reads images, the data is {data}"

    def build(self, data: DataShape, device: torch.device, progress: Any = no_progress) -> Projection:
        return Projection(self, data)


def subject(
    dataset: Any = None,
    sampler: nn.Module | None = None,
    *,
    part: Any = None,
    seed: int = 1,
    bf16: bool = False,
    progress: Any = no_progress,
) -> Subject:
    """A subject on the CPU at step 7."""
    dataset = dataset if dataset is not None else Pictures()
    spec = Spec(dataset=dataset, sampler=part if part is not None else Part())
    return Subject(
        spec,
        Runtime(torch.device("cpu"), bf16),
        Streams(seed),
        step=7,
        data=dataset.load(),
        sampler=sampler if sampler is not None else Noisy(),
        progress=progress,
    )


@pytest.fixture
def scene() -> SimpleNamespace:
    """The names above: test modules cannot import them."""
    return SimpleNamespace(
        Encoding=Encoding,
        Noisy=Noisy,
        Part=Part,
        Pictures=Pictures,
        Points=Points,
        Shifted=Shifted,
        greys=greys,
        subject=subject,
    )
