"""Batch norm by each batch's own statistics, and running statistics taken anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gflow_core import Batch

__all__ = ["batch_statistics", "calibrate", "goes_by_batches"]


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]


def goes_by_batches(network: nn.Module) -> bool:
    """Whether some batch norm of a network in eval mode has no running statistics to go by."""
    return any(norm.running_mean is None for norm in _norms(network))


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Within the block batch norm goes by each batch's own statistics, as in training; running ones are kept.

    The network stays in eval mode, so that dropout rests, and norms that are shared by processes wait for none.
    """
    norms = _norms(network)
    running = [(norm.running_mean, norm.running_var) for norm in norms]
    try:
        for norm in norms:
            norm.running_mean = norm.running_var = None
        yield
    finally:
        for norm, (mean, var) in zip(norms, running, strict=True):
            norm.running_mean, norm.running_var = mean, var


@torch.no_grad()
def calibrate(network: nn.Module, batches: Iterable[Batch]) -> None:
    """Set the running statistics of batch norm to their means over the batches; leave the network in eval mode.

    In a fresh network they are 0 and 1, and its layers would shrink what they are given from one to the next.
    """
    network.eval()
    seen: dict[_BatchNorm, list[Tensor]] = {norm: [] for norm in _norms(network) if norm.running_mean is not None}
    if not seen:
        return

    def see(norm: _BatchNorm, given: tuple[Tensor, ...]) -> None:
        x = given[0].float()
        var, mean = torch.var_mean(x, [0, *range(2, x.dim())])
        seen[norm].append(torch.stack([mean, var]))

    with ExitStack() as stack:
        stack.enter_context(batch_statistics(network))
        for norm in seen:
            stack.callback(norm.register_forward_pre_hook(see).remove)
        for batch in batches:
            network(batch.x) if batch.y is None else network(batch.x, batch.y)
    for norm, moments in seen.items():
        if moments:  # of a layer that took part
            assert norm.running_mean is not None
            assert norm.running_var is not None
            mean, var = torch.stack(moments).mean(0)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
