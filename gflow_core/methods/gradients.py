"""What gradient penalties on the discriminator are made of.

All are means over the batch of a function of the squared gradient norm |grad_x d(x)|^2, without a factor 1/2:
weight 10 here is gamma = 20 where the penalty is written gamma/2 E|grad d|^2 (Mescheder et al. 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["interpolate", "one_centred", "squared_gradient_norm", "zero_centred"]


def squared_gradient_norm(d: Tensor, x: Tensor, *, on: str = "logit") -> Tensor:
    """|grad_x d(x)|^2 of every item, in the shape of `d` [..., B], differentiable; x [..., B, *shape] requires grad.

    `on` = "probability" takes the gradient of sigmoid(d) instead. Exact where the discriminator treats items
    separately; with batch norm in training mode it is the gradient of the sum over the batch.
    """
    output = torch.sigmoid(d) if on == "probability" else d
    (gradient,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    return gradient.to(d.dtype).flatten(d.dim()).square().sum(-1)


def zero_centred(square: Tensor) -> Tensor:
    """E|g|^2 from squared norms [..., B]: [...]. Its gradient is finite (zero) where g = 0."""
    return square.mean(-1)


def one_centred(square: Tensor) -> Tensor:
    """E(|g| - 1)^2 (Gulrajani et al. 2017, eq. 3) from squared norms [..., B]: [...].

    |g| has no gradient at g = 0; there it is taken as zero, which is finite.
    """
    norm = torch.where(square == 0, torch.ones_like(square), square).sqrt() * (square != 0)
    return (norm - 1).square().mean(-1)


def interpolate(real: Tensor, fake: Tensor, a: Tensor) -> Tensor:
    """a x + (1 - a) y for each pair; real, fake [..., B, *shape], a [..., B] drawn from U(0, 1)."""
    a = a.view(*a.shape, *[1] * (real.dim() - a.dim()))
    return a * real + (1 - a) * fake
