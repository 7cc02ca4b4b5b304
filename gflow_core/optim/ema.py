"""Exponential moving average of a network's weights."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from gflow_core.parts.contracts import at
from gflow_core.parts.spec import Ema as EmaOptions

__all__ = ["Ema"]


class Ema:
    """theta' <- decay theta' + (1 - decay) theta after every step; buffers are copied.

    Until step `start` the average is a copy of the weights themselves, so that it can always be used.
    """

    def __init__(self, module: nn.Module, options: EmaOptions) -> None:
        self.options = options
        self.module = deepcopy(module).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights of `module` after `step`."""
        average: list[Tensor] = list(self.module.parameters())
        now: list[Tensor] = list(module.parameters())
        if step <= self.options.start:
            torch._foreach_copy_(average, now)
        else:
            torch._foreach_lerp_(average, now, 1 - at(self.options.decay, step - 1))
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(theirs)
