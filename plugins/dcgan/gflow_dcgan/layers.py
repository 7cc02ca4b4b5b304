"""A network's convolutions, in the order in which it uses them, and what it can be tried with to see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gflow_core import DataShape

__all__ = ["convolutions", "example_labels"]


def convolutions(
    network: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...], run: Callable[[], object]
) -> list[nn.Module]:
    """The convolutions of these kinds (and their subclasses) that `run()` passes, first to last.

    Convolutions that the network computes without their module's forward are not seen.
    """
    order: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, given, out: order.append(module))
        for module in network.modules()
        if isinstance(module, kinds)
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return order


def example_labels(part: Any, shape: DataShape) -> Tensor | None:
    """Labels of two items, [2] or [2, k], all zero; None where the part's network reads none."""
    if not part.conditional:
        return None
    return torch.zeros(2, dtype=torch.int64) if shape.classes else torch.zeros(2, shape.label_size)
