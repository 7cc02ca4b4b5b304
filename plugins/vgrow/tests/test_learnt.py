"""The learnt velocities beside VGrow's: closed forms on Gaussians, and a slow, obvious version of the outer loop."""

from __future__ import annotations

from copy import deepcopy

import attrs
import pytest
import torch
from torch import Tensor

from gflow_core import (
    Adam,
    Batch,
    Hinge,
    LeastSquares,
    Minimax,
    Monoflow,
    Nonsaturating,
    Phase,
    Relativistic,
    Spec,
    Streams,
    Train,
    VelocityPart,
    Wasserstein,
    derive,
)
from gflow_core.data.parts import Ring
from gflow_core.methods.velocities import Flow
from gflow_core.runs.build import build
from gflow_vgrow.divergences import PUBLISHED, Divergence
from gflow_vgrow.flow import factor_of, least_squares, velocity
from gflow_vgrow.parts import MlpDiscriminator, MlpSampler
from gflow_vgrow.velocities import Ept, MonoflowVelocity, Ratio

D = torch.linspace(-6, 6, 49, dtype=torch.float64)
P, Q = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.3, 0.95)
WIDE = torch.distributions.Normal(0.3, 1.2)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class ChiSquared(Divergence):
    """E_p (q/p - 1)^2."""

    def f(self, u: Tensor) -> Tensor:
        return (u - 1) ** 2

    def f2(self, u: Tensor) -> Tensor:
        return u.new_full(u.shape, 2.0)


class Reversed(Divergence):
    """E_q (p/q - 1)^2."""

    def f(self, u: Tensor) -> Tensor:
        return (u - 1) ** 2 / u

    def f2(self, u: Tensor) -> Tensor:
        return 2 * u**-3


CHI2 = {"q/p": ChiSquared(), "p/q": Reversed()}


def log_ratio(x: Tensor, q=Q) -> Tensor:
    """log p/q of points [B, 1]."""
    return (P.log_prob(x) - q.log_prob(x)).squeeze(1)


class Exact(torch.nn.Module):
    """A network that gives a function of the exact log p/q."""

    def __init__(self, of=lambda d: d, q=Q):
        super().__init__()
        self.of, self.q = of, q

    def forward(self, x, y=None):
        return self.of(log_ratio(x, self.q))


# ------------------------------------------------------------------ closed forms


@pytest.mark.parametrize(
    ("loss", "slope"),
    [
        (Monoflow(), torch.ones_like(D)),
        (Monoflow(h="arcsinh"), 1 / (1 + D**2).sqrt()),
        (Monoflow(h="exp"), 1.5 * (1.5 * D).exp()),
        (Monoflow(h="log_sigmoid"), PUBLISHED["logd"].scale(D)),
        (Monoflow(h="saturating"), PUBLISHED["js"].scale(D)),
        (Monoflow(h="saturating", shift=5.0), PUBLISHED["js"].scale(D + 5)),
        (Monoflow(h="chi2"), -2 * (D.exp() - 1) * D.exp()),
        (Nonsaturating(), PUBLISHED["logd"].scale(D)),
        (Minimax(), PUBLISHED["js"].scale(D)),
        (LeastSquares(), 1 - D),
        (Hinge(), torch.ones_like(D)),
    ],
)
def test_the_factor_is_the_slope_of_what_a_sampler_maximises(loss, slope):
    torch.testing.assert_close(factor_of(lambda d: loss.sampler(d))(D), slope)


def test_every_increasing_h_is_an_f_divergence():
    """f'(u) = -h(-log u), up to a constant, of those that are VGrow's too."""
    for h, name in {"logit": "kl", "log_sigmoid": "logd", "saturating": "js"}.items():
        u = (-D).exp()
        of_loss = torch.stack([Monoflow(h=h).sampler(d) for d in D.unsqueeze(1)])
        difference = PUBLISHED[name].f1(u) - of_loss
        torch.testing.assert_close(difference, difference[0].expand_as(difference))


@pytest.mark.parametrize("ratio", CHI2)
def test_with_the_exact_ratio_ept_is_the_flow_of_chi_squared(ratio):
    """The velocity from R, and from d by VGrow's formula; the estimate and the closed form of E_b (n/b)^2 - 1."""
    part = Ept(ratio=ratio)
    of = torch.exp if ratio == "p/q" else lambda d: (-d).exp()
    x = torch.linspace(-2, 3, 41, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(velocity(Exact(of), x, part.factor), velocity(Exact(), x, CHI2[ratio].scale))
    levels = ((torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000).unsqueeze(1)
    found = part.estimate(*(of(log_ratio(law.icdf(levels))) for law in (P, Q)))
    grid = torch.linspace(-12, 12, 40_001, dtype=torch.float64)
    upper, lower = (P, Q) if ratio == "p/q" else (Q, P)
    squares = (2 * upper.log_prob(grid) - lower.log_prob(grid)).exp()
    assert float(found) == pytest.approx(float(torch.trapezoid(squares, grid)) - 1, rel=2e-3)


@pytest.mark.parametrize(
    ("part", "of", "divergence", "law"),
    [
        (Ept(ratio="q/p"), lambda d: (-d).exp(), CHI2["q/p"], Q),
        (Ept(ratio="p/q"), torch.exp, CHI2["p/q"], WIDE),
        (Monoflow(h="log_sigmoid"), lambda d: d, PUBLISHED["logd"], Q),
    ],
    ids=["q/p", "p/q", "log_sigmoid"],
)
def test_particles_decrease_the_divergence_as_fast_as_they_move(part, of, divergence, law):
    """dF/dt = -E_q|v|^2, F by quadrature over the density of q pushed by x + t v."""
    factor = part.factor if isinstance(part, Ept) else factor_of(part.sampler)
    x = torch.linspace(-7, 8, 60_001, dtype=torch.float64).unsqueeze(1)
    v = velocity(Exact(of, law), x, factor).squeeze(1)
    (slope,) = torch.gradient(v, spacing=float(x[1, 0] - x[0, 0]))
    x, q = x.squeeze(1), law.log_prob(x.squeeze(1))

    def after(t: float) -> Tensor:
        y, stretch = x + t * v, 1 + t * slope
        p = P.log_prob(y)
        return torch.trapezoid(p.exp() * divergence.f((q - p).exp() / stretch) * stretch, x)

    decay = (after(1e-5) - after(-1e-5)) / 2e-5
    assert float(decay) == pytest.approx(-float(torch.trapezoid(q.exp() * v**2, x)), rel=1e-4)
    assert decay < 0


@pytest.mark.parametrize("over", ["real", "generated"])
def test_least_squares_are_their_formula(over):
    real, fake = (torch.randn(9, 3, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    weight = torch.tensor([0.5, -2.0, 1.0])
    loss, d_real, d_fake = least_squares(over, 0.7)(lambda batch: batch.x @ weight + 1, Batch(real), Batch(fake))
    below, above = (real, fake) if over == "real" else (fake, real)
    expected = ((below @ weight + 1) ** 2).mean() - 2 * (above @ weight + 1).mean() + 0.7 * (weight**2).sum()
    torch.testing.assert_close(loss, expected)
    assert torch.equal(d_real, real @ weight + 1)
    assert torch.equal(d_fake.detach(), fake @ weight + 1)


# ------------------------------------------------------------------ the outer loop


def plane(velocity: VelocityPart, *, accumulate: int = 1, **options) -> Spec:
    flow = {"pool_size": 24, "inner_loops": 3, "step_size": 0.05, "chunk_size": 10, **options}
    return Spec(
        dataset=Ring(convention="vgrow", radius=2.0, n=200),
        sampler=MlpSampler(width=12, depth=2),
        discriminator=MlpDiscriminator(width=12, depth=2, activation="tanh"),
        objective=Flow(velocity=velocity, **flow),
        optimizer={"sampler": Adam(lr=1e-3), "discriminator": Adam(lr=1e-2)},
        train=Train(steps=2, batch_size=8, accumulate=accumulate, precision="float32", device="cpu"),
    )


def run_step(experiment):
    *phases, metrics = experiment.objective.step(1)
    assert all(isinstance(phase, Phase) for phase in phases)
    return metrics


def logistic(d, real, fake):
    return -torch.log(torch.sigmoid(d(real))).mean() - torch.log(1 - torch.sigmoid(d(fake))).mean()


def regression(d, below, above):
    """E R^2 - 2 E R + E|grad R|^2 / 2, a point at a time."""
    total = 0.0
    for point in below:
        leaf = point.clone().requires_grad_()
        r = d(leaf[None])[0]
        (slope,) = torch.autograd.grad(r, leaf, create_graph=True)
        total = total + (r**2 + (slope**2).sum() / 2) / len(below)
    return total - 2 * d(above).mean()


OBVIOUS = {
    "ept, q/p": (Ept(), regression, lambda r: -2 * r),
    "ept, p/q": (Ept(ratio="p/q"), lambda d, real, fake: regression(d, fake, real), lambda r: r**2),
    "arcsinh": (MonoflowVelocity(loss=Monoflow(h="arcsinh"), discriminator_steps=2), logistic, torch.asinh),
    "exp": (MonoflowVelocity(loss=Monoflow(h="exp")), logistic, lambda d: torch.exp(1.5 * d)),
    "shifted": (
        MonoflowVelocity(loss=Monoflow(h="saturating", shift=5.0)),
        logistic,
        lambda d: -torch.log(1 - torch.sigmoid(d + 5)),
    ),
}
"""The velocity; what its discriminator minimises; the potential that particles climb, of the network's output."""


def obvious_outer_loop(spec: Spec, sampler, discriminator, loss, potential) -> None:
    part, batch, data = spec.objective, spec.train.batch_size, spec.dataset.load()
    streams = Streams(spec.seed)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(derive(spec.seed, "data.0")))
    optimizers = [torch.optim.Adam(m.parameters(), lr=lr) for m, lr in ((sampler, 1e-3), (discriminator, 1e-2))]
    z = spec.sampler.latent.draw(part.pool_size, streams["flow.latent"])
    with torch.no_grad():
        x = [sampler(one[None])[0] for one in z]
    position = 0
    for _ in range(part.inner_loops):
        for _ in range(part.velocity.discriminator_steps):
            real = data.batch(order[position : position + batch]).x.double()
            position += batch
            chosen = torch.randperm(part.pool_size, generator=streams["vgrow.particles"])[:batch]
            optimizers[1].zero_grad()
            loss(discriminator, real, torch.stack([x[i] for i in chosen.tolist()])).backward()
            optimizers[1].step()
        for i, particle in enumerate(x):
            leaf = particle.clone().requires_grad_()
            (slope,) = torch.autograd.grad(potential(discriminator(leaf[None])[0]), leaf)
            x[i] = particle + part.step_size * slope
    shuffled = torch.randperm(part.pool_size, generator=streams["flow.projection"])
    for i in range(0, part.pool_size, batch):
        index = shuffled[i : i + batch]
        optimizers[0].zero_grad()
        ((sampler(z[index]) - torch.stack(x)[index]) ** 2).mean().backward()
        optimizers[0].step()


def largest_difference(one, other) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("case", OBVIOUS)
def test_equals_the_obvious_version(case, float64):
    part, loss, potential = OBVIOUS[case]
    experiment = build(plane(part))
    sampler, discriminator = deepcopy(experiment.sampler), deepcopy(experiment.discriminator)
    assert run_step(experiment)["displacement"] > 1e-4
    obvious_outer_loop(experiment.spec, sampler, discriminator, loss, potential)
    assert largest_difference(experiment.discriminator, discriminator) < 1e-10
    assert largest_difference(experiment.sampler, sampler) < 1e-10


def test_with_the_logit_itself_monoflow_is_the_flow_of_kl(float64):
    monoflow, ratio = build(plane(MonoflowVelocity())), build(plane(Ratio()))
    ours, theirs = run_step(monoflow), run_step(ratio)
    assert largest_difference(monoflow.sampler, ratio.sampler) < 1e-12
    assert largest_difference(monoflow.discriminator, ratio.discriminator) < 1e-12
    # -E d over particles is the estimate of KL(q || p), and the loss of the sampler in the game.
    torch.testing.assert_close(ours.pop("sampler_loss"), theirs.pop("divergence"))
    assert ours.keys() == theirs.keys()


@pytest.mark.parametrize("part", [Ept(), Ept(ratio="p/q"), MonoflowVelocity()])
def test_a_batch_in_pieces_is_the_same_step(part, float64):
    whole, pieces = build(plane(part)), build(plane(part, accumulate=4))
    ours, theirs = run_step(whole), run_step(pieces)
    assert largest_difference(whole.discriminator, pieces.discriminator) < 1e-12
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name])


def test_losses_that_no_flow_goes_along_are_refused():
    spec = plane(MonoflowVelocity())
    assert not list(spec.objective.check(spec))
    for loss, reason in ((Relativistic(), "compares pairs"), (Wasserstein(), "has no minimum")):
        objective = attrs.evolve(spec.objective, velocity=MonoflowVelocity(loss=loss))
        assert [fault for fault in objective.check(spec) if reason in fault]
