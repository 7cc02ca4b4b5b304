"""Drawing from a sampler, some items at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gflow_core.contracts import DataShape, SamplerPart, Subject
from gflow_core.data import Source
from gflow_core.rng import Streams
from gflow_core.runtime import Runtime

__all__ = ["draw_chunks", "draw_from", "label_pool"]


_DRAWN = 8192
"""Latents drawn at once: numbers depend on how many one call draws, and must not depend on `chunk`."""


@torch.no_grad()
def draw_chunks(
    sampler: nn.Module,
    part: SamplerPart,
    n: int,
    streams: Streams,
    runtime: Runtime,
    *,
    labels: Tensor | None = None,
    chunk: int = 256,
) -> Iterator[Tensor]:
    """n samples in pieces [at most chunk, *shape], on the device; the sampler's mode is the caller's.

    A conditional sampler gets labels drawn with replacement from the pool `labels` [m].
    """
    for start in range(0, n, _DRAWN):
        size = min(_DRAWN, n - start)
        z = part.latent.draw(size, streams["latent"])
        y = None
        if part.conditional:
            assert labels is not None
            y = labels[torch.randint(len(labels), (size,), generator=streams["label"])]
        for first in range(0, size, chunk):
            piece = slice(first, first + chunk)
            with runtime.autocast():
                given = [t[piece].to(runtime.device) for t in (z, y) if t is not None]
                yield sampler(*given).to(z.dtype)


def draw_from(subject: Subject, n: int, chunk: int = 256) -> Iterator[Tensor]:
    """n samples of an analyzer's subject, in pieces on the device, from its own streams; labels as in the data."""
    assert subject.sampler is not None
    shape = subject.spec.dataset.data_shape() if subject.spec.dataset else None
    labels = label_pool(subject.data, shape)
    yield from draw_chunks(
        subject.sampler, subject.spec.sampler, n, subject.streams, subject.runtime, labels=labels, chunk=chunk
    )


def label_pool(data: Source | None, shape: DataShape | None) -> Tensor | None:
    """The labels that conditional samples follow: the data's own; every class alike where the data is not loaded."""
    if data is not None and data.y is not None:
        return data.y
    return torch.arange(shape.classes) if shape is not None and shape.classes else None
