"""Batch norm by each batch's own statistics, and running statistics taken anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["batch_norms", "batch_statistics", "estimate_batch_norm", "goes_by_batches", "unsynchronised"]


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Its layers of batch norm, in their order."""
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]


def goes_by_batches(module: nn.Module) -> bool:
    """Whether some batch norm of a module in eval mode has no running statistics to go by."""
    return any(norm.running_mean is None for norm in batch_norms(module))


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Within the block batch norm goes by each batch's own statistics, as in training; running ones are kept.

    The module stays in eval mode, so that dropout rests, and norms that are shared by processes wait for none.
    """
    norms = batch_norms(module)
    running = [(norm.running_mean, norm.running_var) for norm in norms]
    try:
        for norm in norms:
            norm.running_mean = norm.running_var = None
        yield
    finally:
        for norm, (mean, var) in zip(norms, running, strict=True):
            norm.running_mean, norm.running_var = mean, var


@torch.no_grad()
def estimate_batch_norm(module: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Set the running statistics of batch norm to their means over the batches, `module(*batch)`, all alike.

    Leaves the module in eval mode. Of a layer that took no part they stay as they are.
    """
    module.eval()
    seen: dict[_BatchNorm, list[Tensor]] = {norm: [] for norm in batch_norms(module) if norm.running_mean is not None}
    if not seen:
        return

    def see(norm: _BatchNorm, given: tuple[Tensor, ...]) -> None:
        x = given[0].to(torch.promote_types(given[0].dtype, torch.float32))
        var, mean = torch.var_mean(x, [0, *range(2, x.dim())])
        seen[norm].append(torch.stack([mean, var]))

    with ExitStack() as stack:
        stack.enter_context(batch_statistics(module))
        for norm in seen:
            stack.callback(norm.register_forward_pre_hook(see).remove)
        for batch in batches:
            module(*batch)
    for norm, moments in seen.items():
        if moments:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            mean, var = torch.stack(moments).mean(0)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)


class _Alone(_BatchNorm):
    """Batch norm of points and pictures alike, as a `SyncBatchNorm` is, within its own process."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


def unsynchronised(module: nn.Module) -> nn.Module:
    """The module, whose batch norm waits for no other process any more when it is in training mode."""
    for layer in module.modules():
        if isinstance(layer, nn.SyncBatchNorm):
            layer.__class__ = _Alone  # type: ignore[assignment]
    return module
