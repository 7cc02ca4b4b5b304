"""The f-divergences a flow can decrease, written in the logit d of the classifier.

The optimal logistic classifier of real (p) against generated (q) has the density ratio r = q/p = exp(-d)
(seed: Gao et al. 2019, Lemma 1.3). The velocity of a particle is v(x) = -f''(r) grad r = s(x) grad d(x) with
s = r f''(r) (Theorem 1.1). Only tensor methods are used, so that this module needs no torch to be imported.

Another f-divergence is one small part of the kind `vgrow.divergence`:

    @attrs.frozen
    class ReverseKl(Divergence):
        def f(self, u): return -u.log()
        def f2(self, u): return u**-2

    @hookimpl
    def register_parts(add):
        add("vgrow.divergence", "mine.reverse_kl", ReverseKl)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from gflow_core import kind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["JS", "KL", "PUBLISHED", "Divergence", "Jeffreys", "LogD"]


def _softplus(d: Tensor) -> Tensor:
    return d.clamp(min=0) + (-d.abs()).exp().log1p()


@kind("vgrow.divergence", members={"f": "the method f", "f2": "the method f2"})
class Divergence:
    """D_f(q || p) = E_p f(q/p). Subclasses give f and its second derivative; the rest follows."""

    if TYPE_CHECKING:

        def f(self, u: Tensor) -> Tensor:
            """f at ratios u > 0."""

        def f2(self, u: Tensor) -> Tensor:
            """f'' at ratios u > 0."""

    def f1(self, u: Tensor) -> Tensor:
        """f', the first variation of D_f at q (Lemma 1.1); only the theory's checks ask for it."""
        raise NotImplementedError

    def scale(self, d: Tensor) -> Tensor:
        """s = r f''(r) at r = exp(-d): the velocity's factor on grad d. Same shape as d."""
        r = (-d.clamp(-80, 80)).exp()  # beyond, float32 has r = 0 or infinity
        return r * self.f2(r)

    def estimate(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        """The divergence [...] estimated from logits on real and generated samples [..., B]."""
        return self.f((-d_real).exp()).mean(-1)


@attrs.frozen
class KL(Divergence):
    """f(u) = u log u: KL(q || p). s = 1."""

    def f(self, u: Tensor) -> Tensor:
        return u * u.log()

    def f1(self, u: Tensor) -> Tensor:
        return u.log() + 1

    def f2(self, u: Tensor) -> Tensor:
        return 1 / u

    def scale(self, d: Tensor) -> Tensor:
        return d.new_ones(d.shape)

    def estimate(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return -d_fake.mean(-1)


@attrs.frozen
class JS(Divergence):
    """f(u) = u log u - (u+1) log((u+1)/2): twice the usual Jensen-Shannon divergence. s = sigmoid(d)."""

    def f(self, u: Tensor) -> Tensor:
        return u * u.log() - (u + 1) * ((u + 1) / 2).log()

    def f1(self, u: Tensor) -> Tensor:
        return (2 * u / (u + 1)).log()

    def f2(self, u: Tensor) -> Tensor:
        return 1 / (u * (u + 1))

    def scale(self, d: Tensor) -> Tensor:
        return d.sigmoid()

    def estimate(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return 2 * math.log(2) - _softplus(-d_real).mean(-1) - _softplus(d_fake).mean(-1)


@attrs.frozen
class LogD(Divergence):
    """f(u) = (u+1) log(u+1) - 2 log 2: 2 KL((p+q)/2 || p), what the logD-trick GAN minimises. s = sigmoid(-d)."""

    def f(self, u: Tensor) -> Tensor:
        return (u + 1) * (u + 1).log() - 2 * math.log(2)

    def f1(self, u: Tensor) -> Tensor:
        return (u + 1).log() + 1

    def f2(self, u: Tensor) -> Tensor:
        return 1 / (u + 1)

    def scale(self, d: Tensor) -> Tensor:
        return (-d).sigmoid()

    def estimate(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return _softplus(-d_real).mean(-1) + _softplus(-d_fake).mean(-1) - 2 * math.log(2)


@attrs.frozen
class Jeffreys(Divergence):
    """f(u) = (u-1) log u: KL(p || q) + KL(q || p). s = 1 + exp(d), which explodes where p >> q (clip it)."""

    def f(self, u: Tensor) -> Tensor:
        return (u - 1) * u.log()

    def f1(self, u: Tensor) -> Tensor:
        return u.log() + 1 - 1 / u

    def f2(self, u: Tensor) -> Tensor:
        return (u + 1) / u**2

    def scale(self, d: Tensor) -> Tensor:
        return 1 + d.exp()

    def estimate(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return d_real.mean(-1) - d_fake.mean(-1)


PUBLISHED: Mapping[str, Divergence] = MappingProxyType({"kl": KL(), "js": JS(), "logd": LogD(), "jeffreys": Jeffreys()})
"""The paper's, by name: those whose closed forms the theory is checked with."""
