"""The statements at one moment of time, one function each."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from gflow_vgrow.divergences import PUBLISHED, Divergence
from gflow_vgrow.flow import velocity
from gflow_vgrow.theory.calculus import f1, slope
from gflow_vgrow.theory.checks import OfDivergence, check
from gflow_vgrow.theory.laws import Pair

__all__ = [
    "closed_forms",
    "continuity",
    "dissipation",
    "first_variation",
    "functional_gradient",
    "logd",
    "logistic",
    "svgd",
]


def first_variation(pair: Pair, name: str, divergence: Divergence) -> Iterator[OfDivergence]:
    """Lemma 1.1: d/ds D_f(q + s w || p) at 0 = integral f'(r) w, for w of zero mass."""
    wave = (pair.x.sum(1) + 0.5).sin()
    wave = wave - pair.mean_q(wave)  # w = q wave
    r = pair.r
    measured = slope(lambda s: pair.mean_p(divergence.f(r * (1 + s * wave))))
    predicted = pair.mean_q(f1(divergence, r) * wave)
    yield check("Lemma 1.1", name, pair.dim, "dD_f(q + s w)/ds = int f'(r) w", predicted, measured)


def dissipation(pair: Pair, name: str, divergence: Divergence) -> Iterator[OfDivergence]:
    """Lemma 1.2: dF/dt = -E_q ||v||^2, from dF/dt = int f'(r) dq/dt, and from the density moved along v."""
    x, r = pair.x, pair.r
    v, jacobian = pair.v(divergence, x), pair.jacobian_v(divergence, x)
    predicted = -pair.mean_q(v.square().sum(1))
    growth = -(jacobian.diagonal(dim1=1, dim2=2).sum(1) + (v * pair.q.score(x)).sum(1))  # dq/dt = q growth
    measured = pair.mean_q(f1(divergence, r) * growth)
    yield check("Lemma 1.2", name, pair.dim, "int f'(r) dq/dt = -E||v||^2", predicted, measured)
    moved = slope(lambda s: pair.pushed(divergence, s, v, jacobian))
    yield check("Lemma 1.2", name, pair.dim, "dF/dt of moved density = -E||v||^2", predicted, moved)


def functional_gradient(pair: Pair, name: str, divergence: Divergence) -> Iterator[OfDivergence]:
    """Theorem 1.1: d/ds D_f(T# q || p) at 0 = <f''(r) grad r, g>_{L2(q)} for T(x) = x + s g(x); the flow's own v."""
    rows = torch.arange(1.0, pair.dim**2 + 1, dtype=torch.float64).view(pair.dim, pair.dim) / pair.dim
    phase = pair.x @ rows.T + 0.3
    g, jacobian = phase.sin(), phase.cos()[:, :, None] * rows
    gradient = divergence.f2(pair.r)[:, None] * pair.grad_r()
    predicted = pair.mean_q((gradient * g).sum(1))
    measured = slope(lambda s: pair.pushed(divergence, s, g, jacobian))
    yield check("Theorem 1.1", name, pair.dim, "dD_f(pushforward)/ds = <f''(r) grad r, g>", predicted, measured)
    weight = (pair.q.log(pair.x) / 2).exp()[:, None]
    code = velocity(_Logit(pair), pair.x, divergence.scale)
    yield check("Theorem 1.1", name, pair.dim, "gflow's velocity = -f''(r) grad r", -gradient * weight, code * weight)


class _Logit(nn.Module):
    """The optimal discriminator of a pair."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, x: Tensor) -> Tensor:
        return self.pair.d(x)


def continuity(pair: Pair, name: str, divergence: Divergence) -> Iterator[OfDivergence]:
    """Theorem 1.2: under T(x) = x + s v(x) the density changes at each point as -div(q v); det DT^-1 = 1 - s div v."""
    y = pair.x
    eye = torch.eye(pair.dim, dtype=torch.float64)

    def density(s: float) -> Tensor:
        x = y
        for _ in range(14):  # solves x + s v(x) = y; each turn gains a factor of about 1 / (s |Dv|) > 20
            x = y - s * pair.v(divergence, x)
        found: Tensor = pair.q.log(x).exp() / torch.linalg.det(eye + s * pair.jacobian_v(divergence, x))
        return found

    v = pair.v(divergence, y)
    div = pair.jacobian_v(divergence, y).diagonal(dim1=1, dim2=2).sum(1)
    q = pair.q.log(y).exp()
    predicted = -q * (div + (v * pair.q.score(y)).sum(1))
    yield check("Theorem 1.2", name, pair.dim, "dq/dt = -div(q v)", predicted, slope(density))

    def determinant(s: float) -> Tensor:
        found: Tensor = q / torch.linalg.det(eye + s * pair.jacobian_v(divergence, y))
        return found

    yield check("Theorem 1.2", name, pair.dim, "d det(DT^-1)/ds = -div v", -q * div, slope(determinant))


def logistic(pair: Pair, samples: int, generator: Generator) -> Iterator[OfDivergence]:
    """Lemma 1.3: logistic regression of p (real) against q (generated) finds d = log p/q, that is r = exp(-d).

    log p/q of two Gaussians is a quadratic, so regression on quadratic features can be exact. The sample's
    tolerance is four times the root-mean-square error that maximum likelihood theory gives for its size.
    """
    features = _quadratic(pair.x)
    weight_p, weight_q = (law.log(pair.x).exp() * pair.cell for law in (pair.p, pair.q))
    both = (weight_p + weight_q) / 2
    exact = pair.d(pair.x)
    beta, _ = _newton(features, features, weight_p, weight_q)
    root = both.sqrt()
    quantity = "population minimiser d = -log r"
    yield check("Lemma 1.3", "logistic", pair.dim, quantity, exact * root, features @ beta * root)

    real, fake = _quadratic(pair.p.draw(samples, generator)), _quadratic(pair.q.draw(samples, generator))
    ones = torch.ones(samples, dtype=torch.float64)
    beta, hessian = _newton(real, fake, ones, ones)
    d = features @ beta
    moment = features.T @ (features * both[:, None])
    size = float((both * exact**2).sum())
    tolerance = 4 * math.sqrt(float((torch.linalg.inv(hessian) @ moment).trace()) / size)
    quantity = f"d from {samples} + {samples} samples"
    yield check("Lemma 1.3", "logistic", pair.dim, quantity, exact * root, d * root, tolerance)
    slope = float((both * d * exact).sum()) / size
    yield check("Lemma 1.3", "logistic", pair.dim, "slope of d on -log r (sign)", 1.0, slope, tolerance)


def _quadratic(x: Tensor) -> Tensor:
    """1, x_i and x_i x_j (i <= j) of x [n, D]: [n, (D+1)(D+2)/2]."""
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    return torch.cat([torch.ones_like(x[:, :1]), x, x[:, i] * x[:, j]], dim=1)


def _newton(real: Tensor, fake: Tensor, weight_real: Tensor, weight_fake: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise sum w softplus(-d(real)) + sum w softplus(d(fake)), d = features @ beta; (beta [k], Hessian [k, k])."""
    beta = real.new_zeros(real.shape[1])
    hessian = beta
    for _ in range(25):
        up, down = torch.sigmoid(-(real @ beta)), torch.sigmoid(fake @ beta)
        gradient = fake.T @ (weight_fake * down) - real.T @ (weight_real * up)
        hessian = real.T @ (real * (weight_real * up * (1 - up))[:, None])
        hessian = hessian + fake.T @ (fake * (weight_fake * down * (1 - down))[:, None])
        beta = beta - torch.linalg.solve(hessian, gradient)
    return beta, hessian


def logd(pair: Pair, name: str, divergence: Divergence) -> Iterator[OfDivergence]:
    """Theorem 1.3: D_logd = 2 KL((p+q)/2 || p), and the generator's criterion at D* is D_logd + 2 log 2."""
    r, d = pair.r, pair.d(pair.x)
    found = pair.mean_p(divergence.f(r))
    middle = (1 + r) / 2
    yield check(
        "Theorem 1.3", name, pair.dim, "D_f = 2 KL((p+q)/2 || p)", 2 * pair.mean_p(middle * middle.log()), found
    )
    criterion = pair.mean_p(F.softplus(-d)) + pair.mean_q(F.softplus(-d))
    yield check(
        "Theorem 1.3", name, pair.dim, "-E_p log D* - E_q log D* = D_f + 2 log 2", found + 2 * math.log(2), criterion
    )


def closed_forms(pair: Pair) -> Iterator[OfDivergence]:
    """The divergences as they are known: KL and Jeffreys of Gaussians, JS by its two KL terms."""
    p, q, r = pair.p, pair.q, pair.r
    middle = 2 / (1 + r)  # p over (p+q)/2
    known = {
        "kl": ("KL(q || p)", q.kl(p)),
        "jeffreys": ("KL(q || p) + KL(p || q)", q.kl(p) + p.kl(q)),
        "js": ("KL(p || m) + KL(q || m)", pair.mean_p(middle.log()) + pair.mean_q((r * middle).log())),
    }
    for name, (quantity, predicted) in known.items():
        if name in PUBLISHED:
            yield check("Definition", name, pair.dim, quantity, predicted, pair.mean_p(PUBLISHED[name].f(r)))


def svgd(pair: Pair, name: str, divergence: Divergence, samples: int, generator: Generator) -> Iterator[OfDivergence]:
    """SVGD is the KL flow seen through a kernel k (Gaussian, width 1).

    For g in its space: -<f''(r) grad r, g>_{L2(q)} = E_q[g . grad log p + div g]. SVGD's step,
    phi(y) = E_{x~q}[k(x, y) grad log p(x) + grad_x k(x, y)], is the integral of k(x, y) v(x) q(x).
    """
    centres = pair.q.mean + torch.linspace(-1.5, 1.5, 5, dtype=torch.float64)[:, None] * torch.ones(pair.dim)
    if pair.dim == 2:
        centres = torch.cat([centres, centres * torch.tensor([1.0, -1.0])])
    weights = torch.cos(torch.arange(float(centres.numel()), dtype=torch.float64)).view_as(centres)

    def stein(x: Tensor) -> Tensor:
        """k(x, y) grad log p(x) + grad_x k(x, y) for y = centres: [n, m, D]."""
        k = _kernel(x, centres)[:, :, None]
        return k * (pair.p.score(x)[:, None, :] - (x[:, None, :] - centres))

    q = pair.q.log(pair.x).exp()
    k = _kernel(pair.x, centres)
    step = torch.einsum("n,nmd->md", q, stein(pair.x)) * pair.cell
    projected = torch.einsum("n,nm,nd->md", q, k, pair.v(divergence, pair.x)) * pair.cell
    # g(x) = sum_m weights_m k(x, centre_m): the Stein operator of g is linear in stein(x).
    gradient = divergence.f2(pair.r)[:, None] * pair.grad_r()
    inner = -pair.mean_q((gradient * (k @ weights)).sum(1))
    yield check("SVGD", name, pair.dim, "-<f''(r) grad r, g> = E_q[T_p g]", (weights * step).sum(), inner)
    yield check("SVGD", name, pair.dim, "SVGD's step = kernel projection of v", projected, step)
    if pair.dim == 2:
        terms = stein(pair.q.draw(samples, generator))
        spread = terms.var(0).sum() / samples
        tolerance = 4 * float(spread.sqrt() / projected.norm())
        quantity = f"step of {samples} particles = projection of v"
        yield check("SVGD", name, pair.dim, quantity, projected, terms.mean(0), tolerance)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """exp(-||x - y||^2 / 2) for x [n, D], y [m, D]: [n, m]."""
    return (-0.5 * (x[:, None, :] - y).square().sum(2)).exp()
