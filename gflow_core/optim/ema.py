"""Exponential moving average of a network's weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gflow_core.parts.contracts import at
from gflow_core.parts.spec import Ema as EmaOptions

__all__ = ["Ema", "decay_at", "estimate_batch_norm", "has_batch_norm"]


def decay_at(options: EmaOptions, step: int, batch_size: int) -> float:
    """Share of the average that is kept at step `step` (from 1), each of `batch_size` items.

    A half-life of h items is a decay of 0.5^(batch / h); h = 0 keeps nothing. With a ramp h is at most that share of
    the items so far (Karras et al. 2020, StyleGAN2's public code: ramp 0.05).
    """
    if options.half_life is None:
        decay = at(options.decay, step - 1)
        if options.ramp is None or decay == 0:
            return decay
        half_life = batch_size * math.log(0.5) / math.log(decay)
    else:
        half_life = at(options.half_life, step - 1)
    if options.ramp is not None:
        half_life = min(half_life, options.ramp * step * batch_size)
    return 0.5 ** (batch_size / half_life) if half_life > 0 else 0.0


class Ema:
    """theta' <- decay theta' + (1 - decay) theta after every step; buffers as `buffers` says.

    Until step `start` the average is a copy of the weights themselves, so that it can always be used.
    """

    def __init__(self, module: nn.Module, options: EmaOptions, batch_size: int = 1) -> None:
        self.options = options
        self.batch_size = batch_size
        with torch.no_grad():  # a scripted module's copy is else part of a graph
            self.module = deepcopy(module).eval()
        for parameter in self.module.parameters():  # and it has no requires_grad_
            parameter.requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights of `module` after `step`."""
        average: list[Tensor] = list(self.module.parameters())
        now: list[Tensor] = list(module.parameters())
        kept = decay_at(self.options, step, self.batch_size) if step > self.options.start else 0.0
        if step <= self.options.start:
            torch._foreach_copy_(average, now)
        else:
            torch._foreach_lerp_(average, now, 1 - kept)
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            if self.options.buffers == "average" and mine.is_floating_point():
                mine.lerp_(theirs, 1 - kept)
            elif self.options.buffers != "reestimate" or step <= self.options.start:
                mine.copy_(theirs)

    @property
    def estimates(self) -> bool:
        """Whether its statistics of batch norm are its own, to be taken by `estimate`."""
        return self.options.buffers == "reestimate" and has_batch_norm(self.module)

    def estimate(self, batches: Iterable[tuple[Tensor, ...]]) -> None:
        """Take the statistics of batch norm over what the averaged network makes of these batches, all alike."""
        estimate_batch_norm(self.module, batches)


def has_batch_norm(module: nn.Module) -> bool:
    """Whether there are statistics to estimate."""
    return any(isinstance(one, _BatchNorm) for one in module.modules())


@torch.no_grad()
def estimate_batch_norm(module: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """The statistics of batch norm of a module in eval mode become the mean over these batches, all alike."""
    norms = [one for one in module.modules() if isinstance(one, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    for batch in batches:
        module(*batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
