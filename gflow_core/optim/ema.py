"""Exponential moving average of a network's weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn

from gflow_core.nn.batch_norm import batch_norms, estimate_batch_norm
from gflow_core.parts.contracts import at
from gflow_core.parts.spec import Ema as EmaOptions

__all__ = ["Ema", "decay_at"]


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
    """theta' <- decay theta' + (1 - decay) theta after every step; statistics of batch norm as `buffers` says.

    Other buffers, such as the vectors of spectral norm, belong to the weights of the step, and are copied. Until step
    `start` the average is a copy of the weights themselves, so that it can always be used.
    """

    def __init__(self, module: nn.Module, options: EmaOptions, batch_size: int = 1) -> None:
        self.options = options
        self.batch_size = batch_size
        with torch.no_grad():  # a scripted module's copy is else part of a graph
            self.module = deepcopy(module).eval()
        for parameter in self.module.parameters():  # and it has no requires_grad_
            parameter.requires_grad_(False)
        norms = batch_norms(self.module)
        self._statistics = {
            name
            for name, buffer in self.module.named_buffers()
            if any(buffer is running for norm in norms for running in (norm.running_mean, norm.running_var))
        }

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
        own = set() if step <= self.options.start else self._statistics
        for (name, mine), theirs in zip(self.module.named_buffers(), module.buffers(), strict=True):
            if name not in own or self.options.buffers == "copy":
                mine.copy_(theirs)
            elif self.options.buffers == "average":
                mine.lerp_(theirs, 1 - kept)

    @property
    def estimates(self) -> bool:
        """Whether its statistics of batch norm are its own, to be taken by `estimate`."""
        return self.options.buffers == "reestimate" and bool(self._statistics)

    def estimate(self, batches: Iterable[tuple[Tensor, ...]]) -> None:
        """Take the statistics of batch norm over what the averaged network makes of these batches, all alike."""
        estimate_batch_norm(self.module, batches)
