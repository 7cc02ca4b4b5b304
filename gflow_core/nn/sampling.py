"""Drawing from a sampler, some items at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn

from gflow_core.contracts import DataShape, SamplerPart, Subject
from gflow_core.data import Source
from gflow_core.errors import GflowError
from gflow_core.rng import Streams
from gflow_core.runtime import Runtime

__all__ = ["by_label", "draw_chunks", "draw_from", "draw_labels", "label_pool", "push"]


_DRAWN = 8192
"""Latents drawn at once: numbers depend on how many one call draws, and must not depend on `chunk`."""


@torch.no_grad()
def push(sampler: nn.Module, z: Tensor, y: Tensor | None, runtime: Runtime, *, chunk: int = 256) -> Iterator[Tensor]:
    """The sampler's items at latents z [n, d], in pieces [at most chunk, *shape] on the device, in z's type.

    Labels y [n] or [n, k] go with a conditional sampler, None with any other. Its mode is the caller's.
    """
    for piece in range(0, len(z), chunk):
        given = [t[piece : piece + chunk].to(runtime.device) for t in (z, y) if t is not None]
        with runtime.autocast():
            x = sampler(*given)
        yield x.to(z.dtype)


def draw_chunks(
    sampler: nn.Module,
    part: SamplerPart,
    n: int,
    streams: Streams,
    runtime: Runtime,
    *,
    labels: Tensor | None = None,
    in_turn: bool = False,
    chunk: int = 256,
) -> Iterator[Tensor]:
    """n samples in pieces [at most chunk, *shape], on the device; the sampler's mode is the caller's.

    A conditional sampler gets labels drawn with replacement from the pool `labels` [m] or [m, k], or dealt from it in
    turn.
    """
    for start in range(0, n, _DRAWN):
        size = min(_DRAWN, n - start)
        z = part.latent.draw(size, streams["latent"])
        y = None
        if part.conditional:
            assert labels is not None
            turn = torch.arange(start, start + size) % len(labels)
            y = labels[turn] if in_turn else draw_labels(labels, size, streams["label"])
        yield from push(sampler, z, y, runtime, chunk=chunk)


def draw_labels(pool: Tensor, n: int, generator: Generator) -> Tensor:
    """n labels with replacement from the pool [m] or [m, k]."""
    return pool[torch.randint(len(pool), (n,), generator=generator)]


def by_label(
    sampler: nn.Module, part: SamplerPart, labels: Tensor, columns: int, streams: Streams, runtime: Runtime
) -> Tensor:
    """A row of samples for each of the labels [r] or [r, k], one z a column: [r * columns, *shape], on the CPU."""
    z = part.latent.draw(columns, streams["latent"]).repeat(len(labels), 1)
    return torch.cat([x.cpu() for x in push(sampler, z, labels.repeat_interleave(columns, 0), runtime)])


def draw_from(subject: Subject, n: int, chunk: int = 256) -> Iterator[Tensor]:
    """n samples of an analyzer's subject, in pieces on the device, from its own streams; labels as in the data."""
    assert subject.sampler is not None
    labels = label_pool(subject.data, subject.spec.data_shape()) if subject.spec.sampler.conditional else None
    yield from draw_chunks(
        subject.sampler, subject.spec.sampler, n, subject.streams, subject.runtime, labels=labels, chunk=chunk
    )


def label_pool(data: Source | None, shape: DataShape | None) -> Tensor:
    """The labels that conditional samples follow: the data's own; every class alike where the data is not loaded.

    Raises GflowError where neither is known: real labels without the data.
    """
    if data is not None and data.y is not None:
        return data.y
    if shape is not None and shape.classes:
        return torch.arange(shape.classes)
    raise GflowError(
        f"the sampler reads real labels ({shape}), which only the data would tell; give one (gflow sample --label)"
    )
