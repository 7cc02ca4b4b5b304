"""Drawing from a sampler, some items at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn

from gflow_core.errors import GflowError
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.nn.portable import Portable, portable
from gflow_core.parts.analysis import Map, Subject
from gflow_core.parts.contracts import SamplerPart
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Source
from gflow_core.parts.spec import Train

__all__ = [
    "CHUNK",
    "Given",
    "by_label",
    "dealt",
    "draw_chunks",
    "draw_from",
    "draw_given",
    "draw_labels",
    "draw_through",
    "label_pool",
    "made_of",
    "pieces",
    "push",
    "sample",
]

Y = TypeVar("Y")


CHUNK = 256
"""Items that a sampler makes at once; a divisor of what is drawn at once."""

_DRAWN = 8192
"""Latents drawn at once: numbers depend on how many one call draws, and must not depend on `chunk`."""


Given = tuple[Tensor, Tensor | None]
"""Latents z [B, d] on the CPU and the labels [B] or [B, k] of a conditional sampler."""


@torch.no_grad()
def sample(sampler: nn.Module, runtime: Runtime, given: Given) -> Tensor:
    """The sampler's items [B, *shape] at one piece, on the device, in z's type. Its mode is the caller's."""
    here = [runtime.to_device(t) for t in given if t is not None]
    with runtime.products(), runtime.autocast():
        x: Tensor = sampler(*here)
    return x.to(given[0].dtype)


def push(sampler: nn.Module, z: Tensor, y: Tensor | None, runtime: Runtime, *, chunk: int = CHUNK) -> Iterator[Tensor]:
    """The sampler's items at latents z [n, d], in pieces [at most chunk, *shape] on the device, in z's type.

    Labels y [n] or [n, k] go with a conditional sampler, None with any other. Its mode is the caller's.
    """
    return (sample(sampler, runtime, given) for given in pieces(z, y, chunk))


def pieces(z: Tensor, y: Tensor | None, chunk: int) -> Iterator[Given]:
    """Latents z [n, d] and labels y [n] or [n, k], at most `chunk` of them at a time."""
    for start in range(0, len(z), chunk):
        stop = start + chunk
        # Copies: a view would travel to a worker with all that it is a view of.
        yield z[start:stop].clone(), None if y is None else y[start:stop].clone()


def draw_given(
    part: SamplerPart,
    n: int,
    streams: Streams,
    *,
    labels: Tensor | None = None,
    in_turn: bool = False,
    chunk: int,
    prefix: bool = False,
    done: int = 0,
) -> Iterator[Given]:
    """What n samples are made of, at most `chunk` at a time.

    A conditional sampler gets labels drawn with replacement from the pool `labels` [m] or [m, k], or dealt from it in
    turn. With `prefix` the latents are the first n of those that any larger n gets, and the stream moves farther.
    Pieces that the first `done` samples fill are left out.
    """
    for start in range(0, n, _DRAWN):
        size = min(_DRAWN, n - start)
        z = part.latent.draw(_DRAWN if prefix else size, streams["latent"])[:size]
        y = None
        if part.conditional:
            assert labels is not None
            y = dealt(labels, size, start) if in_turn else draw_labels(labels, size, streams["label"])
        yield from islice(pieces(z, y, chunk), max(done - start, 0) // chunk, None)


def draw_chunks(
    sampler: nn.Module,
    part: SamplerPart,
    n: int,
    streams: Streams,
    runtime: Runtime,
    *,
    labels: Tensor | None = None,
    in_turn: bool = False,
    chunk: int = CHUNK,
    prefix: bool = False,
    done: int = 0,
    spread: Map = map,
    train: Train | None = None,
) -> Iterator[Tensor]:
    """n samples in pieces [at most chunk, *shape], on the device; the sampler's mode is the caller's.

    Labels, `prefix` and `done` as `draw_given` has them. `spread` may be the workers of a cluster, which choose a
    device as `train` asks.
    """
    given = draw_given(part, n, streams, labels=labels, in_turn=in_turn, chunk=chunk, prefix=prefix, done=done)
    return made_of(given, sampler, runtime, spread, train)


def made_of(
    given: Iterable[Given], sampler: nn.Module, runtime: Runtime, spread: Map = map, train: Train | None = None
) -> Iterator[Tensor]:
    """What the sampler makes of each piece, on the device; its mode is the caller's. `spread` and `train` as above."""
    for x in spread(Portable(partial(sample, sampler), runtime, train), given):
        yield x.to(runtime.device)


def dealt(pool: Tensor, n: int, start: int = 0) -> Tensor:
    """n labels from the pool [m] or [m, k] in turn, from number `start` on."""
    return pool[torch.arange(start, start + n) % len(pool)]


def draw_labels(pool: Tensor, n: int, generator: Generator) -> Tensor:
    """n labels with replacement from the pool [m] or [m, k], which lies where the generator draws."""
    return pool[torch.randint(len(pool), (n,), generator=generator, device=generator.device)]


def by_label(
    sampler: nn.Module, part: SamplerPart, labels: Tensor, columns: int, streams: Streams, runtime: Runtime
) -> Tensor:
    """A row of samples for each of the labels [r] or [r, k], one z a column: [r * columns, *shape], on the CPU."""
    z = part.latent.draw(columns, streams["latent"]).repeat(len(labels), 1)
    return torch.cat([x.cpu() for x in push(sampler, z, labels.repeat_interleave(columns, 0), runtime)])


def draw_from(subject: Subject, n: int, chunk: int = CHUNK) -> Iterator[Tensor]:
    """n samples of an analyzer's subject, in pieces on the device, from its own streams; labels as in the data."""
    assert subject.sampler is not None
    for x in draw_through(subject, partial(sample, subject.sampler), n, chunk):
        yield x.to(subject.runtime.device)


def draw_through(
    subject: Subject, function: Callable[[Runtime, Given], Y], n: int, chunk: int, what: str = "samples"
) -> Iterator[Y]:
    """function(runtime, given) of what n samples are made of, a piece at a time and in order, over `subject.map`.

    The subject's `progress` is told of `what`, from the beginning on. From workers tensors come on the CPU, otherwise
    on the device. What is one piece is not worth a journey.
    """
    part = subject.spec.sampler
    labels = label_pool(subject.data, subject.spec.data_shape()) if part.conditional else None
    given = draw_given(part, n, subject.streams, labels=labels, chunk=chunk)
    spread: Map = subject.map if n > chunk else map
    subject.progress(what, 0, n)
    done = 0
    for found in spread(portable(function, subject), given):
        yield found
        done = min(done + chunk, n)
        subject.progress(what, done, n)


def label_pool(data: Source | None, shape: DataShape | None) -> Tensor:
    """The labels that conditional samples follow: those training sees; every class alike where no data is loaded.

    Raises GflowError where neither is known: real labels without the data.
    """
    if data is not None and (labels := data.labels) is not None:
        return labels
    if shape is not None and shape.classes:
        return torch.arange(shape.classes)
    given = "--text" if shape is not None and shape.text else "--label"
    raise GflowError(
        f"the sampler reads real labels ({shape}), which only the data would tell; give one (gflow sample {given})"
    )
