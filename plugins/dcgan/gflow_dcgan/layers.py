"""A network's convolutions, in the order in which it uses them."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

__all__ = ["convolutions"]


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
