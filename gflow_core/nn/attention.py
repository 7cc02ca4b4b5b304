"""Self-attention over the places of feature maps (SAGAN, Zhang et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["SelfAttention"]


class SelfAttention(nn.Module):
    """x -> x + gamma o(x): every place of the maps [B, C, H, W] looks at all of them, H and W even.

        o_j = W_o sum_i softmax_i(q_j . k_i) v_i,   q, k of C/8 channels, v of C/2,   gamma = 0 at first

    q, k, v and o are 1x1 convolutions without bias. Keys and values are max-pooled 2x2, as in the authors' code, so
    that each of H W places looks at H W / 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query = nn.Conv2d(channels, narrow, 1, bias=False)
        self.key = nn.Conv2d(channels, narrow, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.out = nn.Conv2d(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2)  # [B, C/8, HW]
        key, value = _pooled(self.key(x)), _pooled(self.value(x))  # [B, C/8, HW/4], [B, C/2, HW/4]
        scores = query.mT @ key
        # A softmax over a thousand places wants more digits than bfloat16 has.
        weights = scores.softmax(2, torch.promote_types(scores.dtype, torch.float32))  # [B, HW, HW/4]
        seen = (weights.to(value.dtype) @ value.mT).mT.unflatten(2, x.shape[2:])  # [B, C/2, H, W], channels last
        o: Tensor = self.out(seen)
        return x + self.gamma.to(o.dtype) * o


def _pooled(x: Tensor) -> Tensor:
    """2x2 max pooling of [B, C, H, W], places in a row [B, C, HW/4]; unlike max_pool2d's its gradient has one order."""
    windows: Tensor = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    return windows.amax((3, 5)).flatten(2)
