"""Adversarial losses on logits.

Each takes logits d(real) and d(fake) of shape [..., B] and returns means over the last axis, [...]: leading axes are
replicas. The discriminator minimises `discriminator(d_real, d_fake)`, the sampler `sampler(d_fake)`. Torch is imported
when a loss is computed: reports read the equilibria without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LOSSES", "Loss"]


@attrs.frozen
class Loss:
    """A pair of losses, and what they come to where samples and data are one law and the discriminator is optimal."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    sampler: Callable[[Tensor], Tensor]
    equilibrium: tuple[float, float | None]
    """(discriminator, sampler); None where the optimal discriminator leaves the sampler's value open."""


def _softplus(d: Tensor) -> Tensor:
    from torch.nn.functional import softplus

    return softplus(d)


def _logistic(d_real: Tensor, d_fake: Tensor) -> Tensor:
    return _softplus(-d_real).mean(-1) + _softplus(d_fake).mean(-1)


LOSSES: Mapping[str, Loss] = {
    # Goodfellow et al. 2014, eq. 1: -E log D(x) - E log(1 - D(G(z))), D = sigmoid(d); d* = log p/q, here 0.
    # The sampler maximises log D(G(z)) (section 3: the same fixed point, stronger gradients early).
    "nonsaturating": Loss(_logistic, lambda d: _softplus(-d).mean(-1), (2 * math.log(2), math.log(2))),
    # The same game as printed in eq. 1: the sampler minimises log(1 - D(G(z))).
    "minimax": Loss(_logistic, lambda d: -_softplus(d).mean(-1), (2 * math.log(2), -math.log(2))),
    # Lim and Ye 2017; Miyato et al. 2018, eqs. 16 and 17. With one law every d in [-1, 1] is optimal.
    "hinge": Loss(
        lambda d_real, d_fake: (1 - d_real).relu().mean(-1) + (1 + d_fake).relu().mean(-1),
        lambda d: -d.mean(-1),
        (2.0, None),
    ),
    # Mao et al. 2017, eq. 2 with a = 0, b = c = 1, on the logit itself; d* = p / (p + q), here 1/2.
    "least_squares": Loss(
        lambda d_real, d_fake: (d_real - 1).square().mean(-1) / 2 + d_fake.square().mean(-1) / 2,
        lambda d: (d - 1).square().mean(-1) / 2,
        (1 / 4, 1 / 8),
    ),
    # Arjovsky et al. 2017, eq. 2; the critic is bounded by a penalty only. -loss estimates the distance.
    "wasserstein": Loss(
        lambda d_real, d_fake: d_fake.mean(-1) - d_real.mean(-1),
        lambda d: -d.mean(-1),
        (0.0, None),
    ),
}
