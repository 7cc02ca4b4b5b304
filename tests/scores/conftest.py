"""A small world to score: data of known laws, samplers that draw from them or copy, encoders that count."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import ClassVar, Literal

import attrs
import pytest
import torch
from torch import nn

from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.nn.latents import Normal
from gflow_core.parts.analysis import Subject
from gflow_core.parts.nouns import DataShape, no_progress
from gflow_core.parts.source import Source, fingerprint
from gflow_core.parts.spec import Spec

SHAPE = (1, 6, 6)


@attrs.frozen(kw_only=True)
class Pictures:
    """Images of independent pixels, uniform on 0..255."""

    n: int = 600
    split: Literal["train", "test"] = "train"

    def data_shape(self):
        return DataShape("image", SHAPE, -1.0, 1.0)

    def load(self, progress=no_progress):
        generator = torch.Generator().manual_seed(len(self.split))
        x = torch.randint(0, 256, (self.n, *SHAPE), generator=generator, dtype=torch.uint8)
        return Source(x, self.data_shape(), fingerprint(x))


@attrs.frozen(kw_only=True)
class Points:
    """Standard normal vectors, without a split."""

    n: int = 1000
    dim: int = 3
    seed: int = 0

    def data_shape(self):
        return DataShape("vector", (self.dim,))

    def load(self, progress=no_progress):
        x = torch.randn(self.n, self.dim, generator=torch.Generator().manual_seed(self.seed))
        return Source(x, self.data_shape(), fingerprint(x))


class Affine(nn.Module):
    """z -> scale z + shift: vectors of N(shift, scale^2 I)."""

    def __init__(self, scale=1.0, shift=0.0):
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, z, y=None):
        return self.scale * z + self.shift


class Uniform(nn.Module):
    """z -> images of the law of Pictures, before they are rounded to 8 bits."""

    def forward(self, z, y=None):
        u = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
        return ((256 * u - 0.5) / 127.5 - 1).view(-1, *SHAPE)


class Copies(nn.Module):
    """z -> items of the data, with the probability `share`, otherwise what `other` makes."""

    def __init__(self, data, share=1.0, other=None):
        super().__init__()
        self.items, self.share, self.other = data.batch(torch.arange(len(data))).x, share, other

    def forward(self, z, y=None):
        u = 0.5 * (1 + torch.erf(z[:, 0] / math.sqrt(2)))
        copied = self.items[(u / self.share * len(self.items)).long().clamp(max=len(self.items) - 1)]
        if self.other is None:
            return copied
        return torch.where((u < self.share).view(-1, *[1] * (copied.dim() - 1)), copied, self.other(z))


class Projection:
    """x -> a fixed random projection of it; remembers what it saw. Meets contracts.Encoder."""

    def __init__(self, part, shape):
        self.name, self.weights, self.resizer, self.dim = part.name, part.weights, "none", part.dim
        generator = torch.Generator().manual_seed(3)
        self.matrix = torch.randn(math.prod(shape.shape), part.dim, generator=generator)
        self.seen = part.seen

    def __call__(self, x):
        self.seen.append(x.clone())
        return self.features(x)

    def features(self, x):
        return x.flatten(1) @ self.matrix

    def maps(self, x):
        return [x, self.features(x)[:, :, None, None]]

    def classify(self, x):
        return 3 * self(x)


@attrs.frozen(kw_only=True, eq=False)
class Encoding:
    """The part of Projection. Meets contracts.EncoderPart."""

    classifies: ClassVar[bool] = True
    smooth: ClassVar[bool] = True

    name: str = "projection"
    weights: str = "abc"
    dim: int = 5
    seen: list = attrs.field(factory=list)

    def check(self, data):
        if data.kind != "image":
            yield f"reads images, the data is {data}"

    def build(self, data, device, progress=no_progress):
        return Projection(self, data)

    def items(self):
        """How many items it saw since the last call."""
        count = sum(map(len, self.seen))
        self.seen.clear()
        return count


class SamplerPart:
    conditional = False

    def __init__(self, dim):
        self.latent = Normal(dim=dim)


def spec(dataset, **tables):
    return Spec(dataset=dataset, sampler=SamplerPart(math.prod(dataset.data_shape().shape)), **tables)


def subject(dataset, sampler, *, seed=1, step=7, progress=no_progress, **tables):
    """A subject on the CPU; `sampler` is a module, or a function from the data to one."""
    data = dataset.load()
    module = sampler if isinstance(sampler, nn.Module) else sampler(data)
    runtime = Runtime(torch.device("cpu"))
    made = spec(dataset, **tables)
    return Subject(made, runtime, Streams(seed), step=step, data=data, sampler=module, progress=progress)


def score(part, dataset, sampler, **options):
    """The part's result on a fresh subject, after its check found nothing wrong."""
    assert list(part.check(spec(dataset))) == []
    return part.build()(subject(dataset, sampler, **options))


@pytest.fixture
def scene() -> SimpleNamespace:
    """The names above: test modules cannot import them."""
    return SimpleNamespace(
        Affine=Affine,
        Copies=Copies,
        Encoding=Encoding,
        Pictures=Pictures,
        Points=Points,
        Uniform=Uniform,
        score=score,
        spec=spec,
        subject=subject,
    )
