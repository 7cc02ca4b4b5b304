"""Adversarial losses on logits.

Each takes logits d(real) and d(fake) of shape [..., B] and returns means over the last axis, [...]: leading axes are
replicas. The discriminator minimises `discriminator(d_real, d_fake)`, the sampler `sampler(d_fake, d_real)`. Torch is
imported when a loss is computed: recipes are checked, and reports read the equilibria, without it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.errors import GflowError
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Hinge", "LeastSquares", "Minimax", "Monoflow", "Nonsaturating", "Relativistic", "Wasserstein"]


OfLogit = Literal["logit", "arcsinh", "log_sigmoid", "exp", "saturating", "forward_kl", "chi2", "hellinger", "js"]


def _softplus(d: Tensor) -> Tensor:
    from torch.nn.functional import softplus

    return softplus(d)


@attrs.frozen
class Nonsaturating:
    """-E log D(x) - E log(1 - D(G(z))) with D = sigmoid(d) (Goodfellow et al. 2014, eq. 1); d* = log p/q.

    The sampler maximises log D(G(z)) (section 3: the same fixed point, stronger gradients early).
    """

    cite: ClassVar[tuple[str, ...]] = ("goodfellow2014gan",)
    reads_real: ClassVar[bool] = False
    log_ratio: ClassVar[bool] = True

    def discriminator(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return _softplus(-d_real).mean(-1) + _softplus(d_fake).mean(-1)

    def sampler(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        return _softplus(-d_fake).mean(-1)

    def equilibrium(self) -> tuple[float, float | None]:
        return 2 * math.log(2), math.log(2)


@attrs.frozen
class Minimax(Nonsaturating):
    """The same game as printed in eq. 1: the sampler minimises E log(1 - D(G(z)))."""

    cite: ClassVar[tuple[str, ...]] = ("goodfellow2014gan",)

    def sampler(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        return -_softplus(d_fake).mean(-1)

    def equilibrium(self) -> tuple[float, float | None]:
        return 2 * math.log(2), -math.log(2)


@attrs.frozen(kw_only=True)
class Monoflow(Nonsaturating):
    """The sampler maximises E h(d(G(z))), d the logit of logistic regression (Yi, Zhu and Liu 2023).

    Samples move along h'(d) grad d. For any h that increases that is the flow of an f-divergence, f'(u) = -h(-log u).
    `forward_kl`, `chi2`, `hellinger` and `js` are h = -f(r) of r = exp(d), estimates of E f(p/q). They turn at r = 1
    (`forward_kl` at 1/e), so that samples leave the data where p > q: they fail, as published.
    """

    cite: ClassVar[tuple[str, ...]] = ("yi2023monoflow",)

    h: OfLogit = option(
        "logit",
        doc="d, arcsinh(d), log sigmoid(d), exp(1.5 d) or -log(1 - sigmoid(d)), which increase; or -f(r), f = r log r, "
        "(r - 1)^2, (sqrt(r) - 1)^2 or r log r - (r + 1) log((r + 1) / 2).",
    )
    shift: float = option(0.0, doc="C of h(d + C); 5 keeps saturating from it where samples are far from data.")

    def sampler(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        return -self._h(d_fake + self.shift).mean(-1)

    def equilibrium(self) -> tuple[float, float | None]:
        at_0 = {"log_sigmoid": math.log(2), "exp": -1.0, "saturating": -math.log(2)}.get(self.h, 0.0)
        return 2 * math.log(2), at_0 if self.shift == 0 else None

    def _h(self, d: Tensor) -> Tensor:
        match self.h:
            case "logit":
                return d
            case "arcsinh":
                return d.arcsinh()
            case "log_sigmoid":
                return -_softplus(-d)
            case "exp":
                return (1.5 * d).exp()
            case "saturating":
                return _softplus(d)
            case "forward_kl":
                return -d * d.exp()
            case "chi2":
                return -d.expm1().square()
            case "hellinger":
                return -(d / 2).expm1().square()
            case "js":
                return d.exp() * (_softplus(-d) - math.log(2)) + _softplus(d) - math.log(2)


@attrs.frozen
class Hinge:
    """E max(0, 1 - d(x)) + E max(0, 1 + d(G(z))), and -E d(G(z)) (Lim and Ye 2017; Miyato et al. 2018, eqs. 16, 17)."""

    cite: ClassVar[tuple[str, ...]] = ("lim2017geometric", "miyato2018spectral")
    reads_real: ClassVar[bool] = False

    def discriminator(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return (1 - d_real).relu().mean(-1) + (1 + d_fake).relu().mean(-1)

    def sampler(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        return -d_fake.mean(-1)

    def equilibrium(self) -> tuple[float, float | None]:
        return 2.0, None  # with one law every d in [-1, 1] is optimal


@attrs.frozen
class LeastSquares:
    """E (d(x) - 1)^2 / 2 + E d(G(z))^2 / 2, and E (d(G(z)) - 1)^2 / 2 (Mao et al. 2017, eq. 2 with a = 0, b = c = 1).

    On the logit itself; d* = p / (p + q).
    """

    cite: ClassVar[tuple[str, ...]] = ("mao2017least",)
    reads_real: ClassVar[bool] = False

    def discriminator(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return (d_real - 1).square().mean(-1) / 2 + d_fake.square().mean(-1) / 2

    def sampler(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        return (d_fake - 1).square().mean(-1) / 2

    def equilibrium(self) -> tuple[float, float | None]:
        return 1 / 4, 1 / 8


@attrs.frozen
class Wasserstein:
    """E d(G(z)) - E d(x), and -E d(G(z)) (Arjovsky et al. 2017, eq. 2): -loss estimates the distance.

    The critic is bounded by a penalty only.
    """

    cite: ClassVar[tuple[str, ...]] = ("arjovsky2017wasserstein",)
    reads_real: ClassVar[bool] = False
    bounded: ClassVar[bool] = False

    def discriminator(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return d_fake.mean(-1) - d_real.mean(-1)

    def sampler(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        return -d_fake.mean(-1)

    def equilibrium(self) -> tuple[float, float | None]:
        return 0.0, None


@attrs.frozen
class Relativistic:
    """Pairs (x, y) of a real and a generated item: E softplus(-(d(x) - d(y))), and E softplus(-(d(y) - d(x))).

    Jolicoeur-Martineau 2019, as R3GAN takes it (Huang et al. 2024, eq. 2), which adds the penalties r1 and r2. Only
    differences of logits matter; at equilibrium they are 0.
    """

    cite: ClassVar[tuple[str, ...]] = ("jolicoeur2019relativistic", "huang2024r3gan")
    reads_real: ClassVar[bool] = True

    def discriminator(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return _softplus(d_fake - d_real).mean(-1)

    def sampler(self, d_fake: Tensor, d_real: Tensor | None = None) -> Tensor:
        if d_real is None:
            raise GflowError(
                "relativistic: the sampler's loss reads the logits of real items, too: sampler(d_fake, d_real)"
            )
        return _softplus(d_real - d_fake).mean(-1)

    def equilibrium(self) -> tuple[float, float | None]:
        return math.log(2), math.log(2)
