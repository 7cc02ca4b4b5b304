"""The drifting field against a slow program, closed statements, and where the particles' law is the data's."""

from __future__ import annotations

import math

import attrs
import pytest
import torch

from gflow_core import Adam, Spec, TinySampler, Train
from gflow_core.data.parts import Ring
from gflow_core.methods.velocities import Flow
from gflow_drift.parts import Field

TRIED = {
    "laplace": Field(temperatures=(0.7,), scaled=False),
    "gaussian": Field(temperatures=(0.7, 2.0), kernel="gaussian", scaled=False),
    "scaled": Field(temperatures=(0.2, 0.5)),
    "scaled, gaussian": Field(temperatures=(0.2, 0.5), kernel="gaussian"),
}
every_field = pytest.mark.parametrize("part", TRIED.values(), ids=TRIED.keys())


def cloud(n: int, seed: int, d: int = 3) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of(part, x, y):
    return part.of(x, y, lambda n, d: torch.randn(n, d), 0)


def slow(part, x, y):
    """As the paper's formulas read, one pair at a time."""
    targets = [*y, *x]
    n, m = len(x), len(y)
    pairs = {(i, j): float((x[i] - targets[j]).norm()) for i in range(n) for j in range(n + m) if j != m + i}
    scale = sum(pairs.values()) / len(pairs) if part.scaled else 1.0
    total = torch.zeros_like(x)
    for tau in part.temperatures:
        width = tau * scale
        if part.kernel == "laplace":
            k = {pair: math.exp(-r / width) for pair, r in pairs.items()}
        else:
            k = {pair: math.exp(-(r**2) / (2 * width**2)) for pair, r in pairs.items()}
        rows = [sum(k.get((i, j), 0.0) for j in range(n + m)) for i in range(n)]
        columns = [sum(k.get((i, j), 0.0) for i in range(n)) for j in range(n + m)]
        v = torch.zeros_like(x)
        for i in range(n):
            a = [k.get((i, j), 0.0) / math.sqrt(rows[i] * columns[j]) for j in range(n + m)]
            p, q = sum(a[:m]), sum(a[m:])
            v[i] = q * sum(a[j] * y[j] for j in range(m)) - p * sum(a[m + j] * x[j] for j in range(n))
        if part.scaled:  # in coordinates where the mean distance is sqrt(d), then back
            unit = scale / math.sqrt(x.shape[1])
            v = v / unit
            v = v / v.square().mean().sqrt() * unit
        total += v
    return total


@every_field
@pytest.mark.parametrize("m", [8, 5])
def test_equals_a_slow_program(part, m):
    x, y = cloud(6, 1), 0.7 * cloud(m, 2) + 0.5
    expected = slow(part, x, y)
    assert expected.norm() > 0.1
    torch.testing.assert_close(of(part, x, y), expected, rtol=1e-5, atol=1e-6)


@every_field
def test_vanishes_in_expectation_where_particles_follow_the_datas_law(part):
    """Mean outward velocity x'v(x) over independent pools: 0 within its standard error, and not for other data."""

    def outward(scale):
        found = []
        for seed in range(20):
            x, y = cloud(120, 2 * seed, 2), scale * cloud(120, 2 * seed + 1, 2)
            found.append((x * of(part, x, y)).sum(1).mean())
        mean = torch.stack(found)
        return float(mean.mean()), float(mean.std() / math.sqrt(len(found)))

    mean, error = outward(1.0)
    assert abs(mean) < 4 * error
    wide, error = outward(2.0)
    assert wide > 8 * error
    narrow, error = outward(0.5)
    assert narrow < -8 * error


@every_field
def test_particles_drift_to_a_gaussian(part):
    """From N(0, 1) towards N((2, -1), 1/4): the mean goes there."""
    mean = torch.tensor([2.0, -1.0], dtype=torch.float64)
    x, y = cloud(100, 0, 2), 0.5 * cloud(100, 1, 2) + mean
    v = of(part, x, y).mean(0)
    assert float(v @ mean / (v.norm() * mean.norm())) > 0.95
    assert all(of(part, x + 1e3, y).isfinite().flatten()), "particles far from all data"


@every_field
def test_float32_is_float64_within_rounding(part):
    x, y = cloud(60, 0, 2) + 7, 0.5 * cloud(60, 1, 2) + 8
    found = of(part, x.float(), y.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), of(part, x, y), rtol=1e-2, atol=1e-3)


def test_reaches_data_from_afar():
    """Where the kernel comes to exp(-100), below all of float32, its direction is still a direction."""
    x, y = cloud(30, 0, 256).float() / 1000, cloud(30, 1, 256).float() / 1000 + 1
    v = of(Field(temperatures=(0.02,)), x, y)
    distance = torch.cdist(x, torch.cat([x, y])).sum() / (30 * 59)
    assert float(v.square().mean().sqrt()) == pytest.approx(float(distance) / 16, rel=1e-3)
    assert float((v / v.norm(dim=1, keepdim=True)).sum(1).mean()) / 16 > 0.9


def test_what_cannot_drift_is_refused():
    spec = Spec(
        dataset=Ring(n=100),
        sampler=TinySampler(),
        objective=Flow(velocity=Field(temperatures=()), pool_size=1),
        optimizer={"sampler": Adam(lr=1e-3)},
        train=Train(steps=2, batch_size=1, device="cpu"),
    )
    assert [message.partition(";")[0] for message in spec.objective.check(spec)] == [
        "velocity: a particle is compared with others",
        "velocity: temperatures is empty",
    ]


@pytest.mark.parametrize("kernel", ["laplace", "gaussian"])
def test_guidance_has_data_of_all_classes_push(kernel):
    """With weights that are whole numbers as if each stood so often among the particles' negatives."""
    x, y, others = cloud(7, 0), cloud(5, 1), cloud(3, 2) + 1
    tau, often = 0.8, 4
    part = Field(temperatures=(tau,), kernel=kernel, scaled=False, guidance=1 + often * 3 / 6)
    negatives = torch.cat([x, others.repeat(often, 1)])
    targets = torch.cat([y, negatives])
    r = torch.cdist(x, targets) / tau
    k = (-r if kernel == "laplace" else -r.square() / 2).exp()
    k[:, 5:12].fill_diagonal_(0.0)
    a = k / (k.sum(1, keepdim=True) * k.sum(0)).sqrt()
    p, q = a[:, :5].sum(1, keepdim=True), a[:, 5:].sum(1, keepdim=True)
    torch.testing.assert_close(part.of(x, y, None, 0, others), q * (a[:, :5] @ y) - p * (a[:, 5:] @ negatives))
    plain = Field(temperatures=(tau,), kernel=kernel, scaled=False)
    assert torch.equal(plain.of(x, y, None, 0, others), plain.of(x, y, None, 0))
    scaled = Field(guidance=2.0).of(x.float(), y.float(), None, 0, others.float())
    assert bool(scaled.isfinite().all())


@every_field
def test_a_point_between_particles_is_drawn_where_a_slow_program_takes_it(part):
    """A point feels all targets by its own row, and is in no column."""
    x, y, point = cloud(6, 0), cloud(5, 1) + 0.5, cloud(1, 2)
    targets = torch.cat([y, x])
    r, own = (targets - point).norm(dim=1), torch.cdist(x, targets)
    own[:, 5:].fill_diagonal_(math.inf)
    unit = own[own.isfinite()].mean() if part.scaled else 1.0
    wanted = torch.zeros(3, dtype=torch.float64)
    for tau in part.temperatures:
        width = tau * unit
        k, columns = (
            (-d / width).exp() if part.kernel == "laplace" else (-d.square() / (2 * width**2)).exp() for d in (r, own)
        )
        a = k / (k.sum() * columns.sum(0)).sqrt()
        v = a[5:].sum() * (a[:5] @ y) - a[:5].sum() * (a[5:] @ x)
        if part.scaled:  # as the particles' own velocities of this temperature are
            alone = attrs.evolve(part, temperatures=(width,), scaled=False)
            v = v / of(alone, x, y).square().mean().sqrt() * unit / math.sqrt(3)
        wanted += v
    torch.testing.assert_close(part.between(x, y, 0)(point)[0], wanted)
