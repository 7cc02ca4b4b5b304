"""How small classifiers learn."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["learn"]


def learn(
    network: nn.Module,
    batch: Callable[[Tensor], tuple[Tensor, Tensor]],
    n: int,
    *,
    epochs: int,
    batch_size: int,
    rate: float,
    progress: Callable[[int, int], None],
) -> None:
    """Train the network in place: cross-entropy by AdamW, on n items in a new order each epoch, whole batches only.

    `batch(index)` are items and their classes. The rate rises to `rate` over the first fifth and falls to 0 over the
    rest. Orders come from torch's global generator; mode and precision are the caller's.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, fused=True)
    epoch = n // batch_size
    steps = epochs * epoch
    for step in range(steps):
        if step % epoch == 0:
            batches = torch.randperm(n).split(batch_size)
        x, y = batch(batches[step % epoch])
        for group in optimizer.param_groups:
            group["lr"] = rate * min((step + 1) / (0.2 * steps), (steps - step) / (0.8 * steps))
        loss = F.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress(step + 1, steps)
