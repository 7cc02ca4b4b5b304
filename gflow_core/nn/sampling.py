"""Drawing from a sampler, some items at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn

from gflow_core.contracts import Latent

__all__ = ["draw_chunks"]


@torch.no_grad()
def draw_chunks(
    sampler: nn.Module, latent: Latent, n: int, generator: Generator, device: torch.device, chunk: int = 256
) -> Iterator[Tensor]:
    """n samples in pieces [at most chunk, *shape], on the CPU; the sampler's mode and precision are the caller's."""
    for start in range(0, n, chunk):
        z = latent.draw(min(chunk, n - start), generator).to(device)
        yield sampler(z).to(z.dtype).cpu()
