"""Velocities against slow programs, closed forms, and where the particles' law is the data's."""

from __future__ import annotations

import math
from pathlib import Path

import attrs
import pytest
import torch

from gflow_core import TINY, Adam, BatchVelocity, Experiment, Phase, Spec, TinySampler, Train
from gflow_core.data.parts import Mixture, Ring, Swissroll
from gflow_core.encoders.parts import Inception, MnistCnn
from gflow_core.methods import featured
from gflow_core.methods.velocities import Flow, Mmd, Sinkhorn, SlicedWasserstein, Svgd
from gflow_core.nn.cloud import Cloud
from gflow_core.optim.schedules import Cosine, Linear
from gflow_core.recipes.recipe import Recipe, load
from gflow_core.runs.build import build
from gflow_core.runs.manifest import manifest_of

TRIED = [
    Mmd(bandwidth=1.3),
    Mmd(bandwidth=1.3, noise=0.4),
    SlicedWasserstein(projections=7),
    Sinkhorn(epsilon=1.0, iterations=40),
]
ids = ["mmd", "mmd, noise", "sliced_wasserstein", "sinkhorn"]
every_velocity = pytest.mark.parametrize("velocity", TRIED, ids=ids)


def cloud(n: int, seed: int, d: int = 3) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normals(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return lambda n, d: torch.randn(n, d, generator=generator, dtype=torch.float64)


def of(velocity, x, y, seed=0):
    return velocity.of(x, y, normals(seed), 0)


def of_float(velocity, x, y):
    draw = normals(0)
    return velocity.of(x, y, lambda n, d: draw(n, d).float(), 0)


# ------------------------------------------------------------------ potentials


@pytest.mark.parametrize(
    "velocity", [Mmd(bandwidth=1.3), Sinkhorn(epsilon=1.0, iterations=200)], ids=["mmd", "sinkhorn"]
)
def test_particles_go_down_the_potential(velocity):
    x, y = cloud(9, 0), cloud(12, 1) + 0.5
    points = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(velocity.potential(x, y, 0)(points).sum(), points)
    v = of(velocity, x, y)
    if isinstance(velocity, Mmd):  # a particle is not among the others, whose mean is over n - 1
        far = of(velocity, x, y + 1e3)
        v = v - far / len(x)
    assert torch.allclose(-slope, v, atol=1e-6)


# ------------------------------------------------------------------ slow programs


def slow_mmd(part, x, y):
    """The witness, differentiated by autograd, one particle at a time."""
    draws = normals(0)(*x.shape) if part.noise else torch.zeros_like(x)
    v = torch.zeros_like(x)
    for i in range(len(x)):
        at = (x[i] + part.noise * draws[i]).requires_grad_()

        def k(z, at=at):
            return part.bandwidth**2 * torch.exp(-((at - z) ** 2).sum() / (2 * part.bandwidth**2))

        others = [x[j] for j in range(len(x)) if j != i]
        witness = sum(map(k, others)) / len(others) - sum(map(k, y)) / len(y)
        v[i] = -torch.autograd.grad(witness, at)[0]
    return v


def slow_sliced_wasserstein(part, x, y):
    """Ranks by counting."""
    directions = normals(0)(part.projections, x.shape[1])
    v = torch.zeros_like(x)
    for u in directions:
        u = u / u.norm()
        sorted_y = sorted(float(u @ point) for point in y)
        for i in range(len(x)):
            rank = sum(float(u @ other) < float(u @ x[i]) for other in x)
            target = sorted_y[int((rank + 0.5) / len(x) * len(y))]
            v[i] += u * (target - float(u @ x[i])) / part.projections
    return v


def slow_sinkhorn(part, x, y):
    """The gradient of the divergence by finite differences, with potentials of plain alternating scaling."""

    def ot(a, b):
        cost = ((a[:, None] - b[None]) ** 2).sum(2) / 2
        kernel = torch.exp(-cost / part.epsilon) / (len(a) * len(b))
        u, w = torch.ones(len(a), dtype=a.dtype), torch.ones(len(b), dtype=a.dtype)
        for _ in range(200):
            u = 1 / (len(a) * (kernel @ w))
            w = 1 / (len(b) * (kernel.T @ u))
        return part.epsilon * (u.log().mean() + w.log().mean())

    def divergence(a):
        return ot(a, y) - ot(a, a) / 2 - ot(y, y) / 2

    v, h = torch.zeros_like(x), 1e-4
    for i in range(len(x)):
        for j in range(x.shape[1]):
            step = torch.zeros_like(x)
            step[i, j] = h
            v[i, j] = -len(x) * (divergence(x + step) - divergence(x - step)) / (2 * h)
    return v


SLOW = {
    Mmd: slow_mmd,
    SlicedWasserstein: slow_sliced_wasserstein,
    Sinkhorn: slow_sinkhorn,
}


@every_velocity
@pytest.mark.parametrize("m", [8, 5])
def test_equals_a_slow_program(velocity, m):
    x, y = cloud(6, 1), 0.7 * cloud(m, 2) + 0.5
    slow = SLOW[type(velocity)](velocity, x, y)
    assert slow.norm() > 0.1
    torch.testing.assert_close(of(velocity, x, y), slow, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------ one law


@every_velocity
def test_vanishes_in_expectation_where_particles_follow_the_datas_law(velocity):
    """Mean outward velocity x'v(x) over independent pools: 0 within its standard error, and not for other data."""

    def outward(scale):
        found = []
        for seed in range(20):
            x, y = cloud(120, 2 * seed, 2), scale * cloud(120, 2 * seed + 1, 2)
            found.append((x * of(velocity, x, y, seed)).sum(1).mean())
        mean = torch.stack(found)
        return float(mean.mean()), float(mean.std() / math.sqrt(len(found)))

    mean, error = outward(1.0)
    assert abs(mean) < 4 * error
    wide, error = outward(2.0)
    assert wide > 8 * error
    narrow, error = outward(0.5)
    assert narrow < -8 * error


# ------------------------------------------------------------------ closed forms


def test_mmds_gradient_between_gaussians():
    """E exp(-|x - Y|^2 / 2 s^2) with Y ~ N(a, t^2 I) is a Gaussian in x again, of variance s^2 + t^2."""
    s, n, d = 1.2, 4000, 2
    x = cloud(n, 0, d)
    data, other = 0.5 * cloud(n, 1, d) + 1.0, x[:50].clone().requires_grad_()

    def smoothed(mean, t):
        variance = s**2 + t**2
        return s**2 * (s**2 / variance) ** (d / 2) * torch.exp(-((other - mean) ** 2).sum(1) / (2 * variance))

    witness = smoothed(0.0, 1.0) - smoothed(1.0, 0.5)
    (gradient,) = torch.autograd.grad(witness.sum(), other)
    found = of(Mmd(bandwidth=s), x, data)[:50]
    assert float((found + gradient).abs().max()) < 5 / math.sqrt(n)
    assert float(gradient.abs().max()) > 0.2


def test_sliced_maps_of_scaled_and_shifted_particles_are_known():
    """Along every direction the map is u'x -> u'(a + 3 x), so v = mean(u u') (a + 2 x)."""
    x, a = cloud(50, 0), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    y = (a + 3 * x)[torch.randperm(50, generator=torch.Generator().manual_seed(5))]
    u = torch.nn.functional.normalize(normals(0)(9, 3), dim=1)
    torch.testing.assert_close(of(SlicedWasserstein(projections=9), x, y), (a + 2 * x) @ (u.T @ u) / 9)


def test_entropy_costs_a_shift_nothing():
    """Of data that are the particles, shifted by a, every particle's velocity is a; of the particles themselves, 0."""
    x, a = cloud(40, 0), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    part = Sinkhorn(epsilon=1.0, iterations=400)
    torch.testing.assert_close(of(part, x, x + a), a.expand(40, 3), rtol=0, atol=1e-6)
    torch.testing.assert_close(of(part, x, x), torch.zeros_like(x), rtol=0, atol=1e-6)


@every_velocity
def test_particles_flow_to_a_gaussian(velocity):
    """From N(0, 1) towards N((2, -1), 1/4): the mean goes there."""
    mean = torch.tensor([2.0, -1.0], dtype=torch.float64)
    x, y = cloud(100, 0, 2), 0.5 * cloud(100, 1, 2) + mean
    v = of(velocity, x, y).mean(0)
    assert float(v @ mean / (v.norm() * mean.norm())) > 0.95
    assert all(of(velocity, x + 1e3, y).isfinite().flatten()), "particles far from all data"


@every_velocity
def test_float32_is_float64_within_rounding(velocity):
    x, y = cloud(60, 0, 2) + 7, 0.5 * cloud(60, 1, 2) + 8
    found = of_float(velocity, x.float(), y.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), of(velocity, x, y), rtol=1e-2, atol=1e-3)


# ------------------------------------------------------------------ by the data's score


@pytest.mark.parametrize("part", [Svgd(bandwidth=0.8), Svgd()], ids=["fixed", "median"])
def test_svgd_equals_a_slow_program(part):
    x, score = cloud(7, 1) + 5, cloud(7, 2)
    s = part.bandwidth
    if s == "median":
        every = sorted(float((a - b).norm()) for a in x for b in x)
        s = every[(len(every) - 1) // 2] / math.sqrt(2 * math.log(len(x) + 1))
    slow = torch.zeros_like(x)
    for i in range(len(x)):
        for j in range(len(x)):
            other = x[j].clone().requires_grad_()
            k = torch.exp(-((other - x[i]) ** 2).sum() / (2 * s**2))
            slow[i] += (k.detach() * score[j] + torch.autograd.grad(k, other)[0]) / len(x)
    torch.testing.assert_close(part.of(x, score, 0), slow)
    torch.testing.assert_close(part.of(x.float(), score.float(), 0).double(), slow, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", [Svgd(bandwidth=0.8), Svgd()], ids=["fixed", "median"])
def test_svgd_between_particles_is_what_it_is_at_them(part):
    x, score = cloud(7, 1) + 5, cloud(7, 2)
    torch.testing.assert_close(part.of(x, score, 0, x[2:4]), part.of(x, score, 0)[2:4])


def test_svgds_velocity_between_gaussians():
    """Of particles N(a, t^2 I) and p = N(0, I): k times N(a, t^2 I) is a Gaussian in y again, of mean m, times w."""
    s, t, n, d = 1.2, 0.6, 4000, 2
    x, a = t * cloud(n, 0, d) + 1.0, 1.0
    found, at = Svgd(bandwidth=s).of(x, -x, 0)[:50], x[:50]
    variance = s**2 + t**2
    w = (s**2 / variance) ** (d / 2) * torch.exp(-(at - a).square().sum(1, keepdim=True) / (2 * variance))
    m = (t**2 * at + s**2 * a) / variance
    wanted = w * (-m + (at - m) / s**2)
    assert float((found - wanted).abs().max()) < 5 / math.sqrt(n)
    assert float(wanted.abs().max()) > 0.5


def test_svgd_vanishes_in_expectation_where_particles_follow_the_datas_law():
    """Stein's identity: another particle's part of x'v(x) is 0 on average, its own x'grad log p(x) / n is -d / n."""
    n, found = 120, []
    for seed in range(40):
        x = cloud(n, seed, 2)
        found.append((x * Svgd(bandwidth=1.0).of(x, -x, 0)).sum(1).mean() + 2 / n)
    mean = torch.stack(found)
    error = float(mean.std()) / math.sqrt(len(found))
    assert abs(float(mean.mean())) < 4 * error
    assert error < 0.01
    wide = 2 * cloud(n, 0, 2)
    assert float((wide * Svgd(bandwidth=1.0).of(wide, -wide, 0)).sum(1).mean()) < -0.2


def test_svgd_takes_a_cloud_to_a_gaussian():
    covariance = ((1.0, 0.8), (0.8, 0.89))
    spec = attrs.evolve(
        recipe(Svgd(), sampler="none", pool_size=100, inner_loops=400, step_size=0.5, chunk_size=100),
        dataset=Mixture(n=10, means=((2.0, -1.0),), covariances=(covariance,)),
        sampler=Cloud(particles=100),
        optimizer={},
    )
    assert not list(spec.objective.check(spec))
    experiment = build(spec)
    whole_step(experiment)
    assert experiment.feed.position == 0
    x = experiment.sampler.particles
    torch.testing.assert_close(x.mean(0), torch.tensor([2.0, -1.0]), rtol=0, atol=0.02)
    torch.testing.assert_close(x.T.cov(), torch.tensor(covariance), rtol=0, atol=0.08)


def test_a_bandwidths_rule_is_a_word_and_no_schedule():
    recipe = Path(__file__).parents[2] / "recipes" / "svgd_ring8.toml"
    for word, found in (("median", "median"), ("3", 3.0)):
        assert load(recipe, [f"objective.velocity.bandwidth={word}"]).spec.objective.velocity.bandwidth == found
    words = [f"objective.velocity.bandwidth{end}" for end in ("=cosine", ".end=1", ".steps=9")]
    assert isinstance(load(recipe, words).spec.objective.velocity.bandwidth, Cosine)


def test_one_particle_climbs_and_no_density_is_refused():
    x, score = cloud(1, 0), cloud(1, 1)
    torch.testing.assert_close(Svgd().of(x, score, 0), score)
    spec = attrs.evolve(recipe(Svgd()), dataset=Swissroll(n=10))
    (message,) = spec.objective.check(spec)
    assert "the data set states no density" in message


# ------------------------------------------------------------------ in the flow


def recipe(velocity, **options) -> Spec:
    return Spec(
        dataset=Ring(n=100),
        sampler=TinySampler(),
        objective=Flow(velocity=velocity, **{"pool_size": 40, "inner_loops": 3, "chunk_size": 16, **options}),
        optimizer={"sampler": Adam(lr=1e-3)},
        train=Train(steps=2, batch_size=20, device="cpu"),
    )


def whole_step(experiment: Experiment):
    *phases, metrics = experiment.objective.step(1)
    assert all(isinstance(phase, Phase) for phase in phases)
    return metrics


def test_every_move_reads_its_own_batch_of_data():
    for velocity, size in ((Mmd(), 40), (Mmd(data_size=12), 12)):
        experiment = build(recipe(velocity))
        metrics = whole_step(experiment)
        assert experiment.feed.position == experiment.spec.items_a_step() == 3 * size
        assert set(metrics) == {"velocity", "displacement", "projection_loss"}
        assert metrics["velocity"] > 0


def test_particles_move_by_the_velocity_of_the_whole_pool():
    part = SlicedWasserstein(projections=5)
    experiment = build(recipe(part, step_size=0.5, inner_loops=1))
    next(experiment.objective.step(1))
    state = experiment.objective.state
    y = experiment.feed.source.batch(experiment.feed._order[:40]).x
    generator = build(recipe(part)).streams["flow.velocity"]
    v = part.of(state.start, y, lambda n, d: torch.randn(n, d, generator=generator), 0)
    torch.testing.assert_close(state.x, state.start + 0.5 * v)


def test_numbers_of_a_velocity_follow_schedules():
    x, y = cloud(20, 0), cloud(20, 1)
    falling = Mmd(bandwidth=Linear(start=2.0, end=1.0, steps=10))
    torch.testing.assert_close(falling.of(x, y, normals(0), 10), of(Mmd(bandwidth=1.0), x, y))
    places = [place for place, *_ in recipe(falling).schedules()]
    assert places[:1] == [("objective", "velocity", "bandwidth")]


def test_what_cannot_flow_is_refused():
    spec = recipe(Mmd(), pool_size=1)
    assert [message.partition(";")[0] for message in spec.objective.check(spec)] == [
        "pool_size = 1 is smaller than train.batch_size = 20",
        "velocity: a particle is compared with others",
    ]
    labelled = attrs.evolve(recipe(Mmd()), sampler=TinySampler(conditional=True), dataset=TINY["vector-classes"])
    (message,) = labelled.objective.check(labelled)
    assert "so many classes at a time as objective.classes says" in message
    for classes, sampler, fault in (
        (4, True, "classes = 4 of a pool, and the data has 3"),
        (3, True, "pool_size = 40 does not divide into classes = 3"),
        (2, False, "classes = 2 is of samplers that read labels"),
    ):
        spec = attrs.evolve(
            labelled,
            sampler=TinySampler(conditional=sampler),
            objective=attrs.evolve(labelled.objective, classes=classes),
        )
        assert fault in " ".join(spec.objective.check(spec))
    spec = attrs.evolve(labelled, objective=Flow(velocity=Mmd(data_size=3), pool_size=40, classes=2))
    assert "data_size = 3 does not divide into classes = 2" in " ".join(spec.objective.check(spec))
    for each, fault in (
        (1, ["velocity: a particle is compared with others; pool_size must be 2 at least, for each"]),
        (2, []),
    ):
        rules = Flow(velocity=Mmd(), pool_size=3 * each, classes=3)
        spec = attrs.evolve(labelled, objective=rules, train=Train(batch_size=3))
        assert [message.partition(" of classes")[0] for message in rules.check(spec)] == fault
    spec = attrs.evolve(recipe(Mmd(encoder=Inception())), dataset=TINY["rgb"])
    assert "the encoder inception has no gradient" in " ".join(spec.objective.check(spec))


# ------------------------------------------------------------------ class by class


@attrs.frozen(kw_only=True)
class Home(BatchVelocity):
    """Every particle goes to the mean of the data."""

    def of(self, x, y, normal, done):
        return y.mean(0) - x


def test_the_particles_of_a_class_move_towards_its_data():
    data = TINY["vector-classes"]
    spec = attrs.evolve(
        recipe(Home(data_size=60), classes=2, inner_loops=1, step_size=1.0, projection_passes=2),
        dataset=data,
        sampler=TinySampler(conditional=True),
    )
    experiment = build(spec)
    seen, at = [], experiment.feed.at
    experiment.feed.at = lambda index: (seen.append(index), at(index))[1]
    next(experiment.objective.step(1))
    state, source = experiment.objective.state, experiment.feed.source
    first, second = state.y[0], state.y[-1]
    assert first != second
    assert state.y.tolist() == [first] * 20 + [second] * 20
    (index,) = seen
    assert source.y[index].tolist() == [first] * 30 + [second] * 30
    assert experiment.feed.position == experiment.spec.items_a_step() == 60
    means = source.batch(index).x.view(2, 30, -1).mean(1)
    torch.testing.assert_close(state.x, means.repeat_interleave(20, 0))


# ------------------------------------------------------------------ in an encoder's features


class Linear3:
    """x [n, 2] -> one map of three numbers at one position, and one of two numbers at two."""

    weight = torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])

    def maps(self, x):
        return [(x @ self.weight.T)[:, :, None, None], (x * torch.tensor([2.0, 5.0])).view(-1, 1, 2, 1)]


class Seen(Home):
    def maps(self, experiment):
        return Linear3().maps


@pytest.mark.parametrize("kept", [0, 2**20], ids=["read anew", "kept"])
def test_a_velocity_of_features_is_pulled_back(kept, monkeypatch):
    monkeypatch.setattr(featured, "KEPT", kept)
    experiment = build(attrs.evolve(recipe(Seen(), inner_loops=1, step_size=1.0), dataset=TINY["vector"]))
    next(experiment.objective.step(1))
    state, feed = experiment.objective.state, experiment.feed
    y = feed.source.batch(feed._order[:40]).x
    found = torch.zeros_like(state.x)
    scale = torch.tensor([2.0, 5.0])
    # The mean over channels of one position is that map; of two positions both the mean and the map are compared.
    for jacobian in (Linear3.weight, scale[None] / 2, scale.diag()):
        ours, theirs = state.start @ jacobian.T, y @ jacobian.T
        unit = (2 * theirs.var(0, correction=0).mean()).sqrt()
        found += 2 / len(jacobian) * ((theirs.mean(0) - ours) / unit**2) @ jacobian
    torch.testing.assert_close(state.x, state.start + found)


def test_a_network_sees_as_much_of_fine_maps_as_the_grid_says():
    experiment = build(attrs.evolve(recipe(Mmd(encoder=MnistCnn(weights="random"), grid=3)), dataset=TINY["grey"]))
    features = experiment.objective.velocity.features
    x = experiment.data.batch(torch.arange(5)).x
    assert [one.shape for one in features(x)] == [(5, 32), (5, 64), (5, 32 * 9), (5, 64 * 9)]
    index = torch.tensor([7, 2])
    for one, other in zip(features.of_data(index), features(experiment.data.batch(index).x), strict=True):
        torch.testing.assert_close(one, other)
    metrics = whole_step(experiment)
    assert metrics["velocity"] > 0


def test_the_manifest_states_the_network_as_scores_do():
    spec = attrs.evolve(recipe(Mmd(encoder=MnistCnn(weights="random"))), dataset=TINY["grey"])
    experiment = build(spec)
    network = MnistCnn(weights="random").build(experiment.data.shape, experiment.runtime.device)
    stated = manifest_of(Recipe(Path("x.toml"), {}, {}, spec), experiment)["encoders"]
    assert stated == {"objective.velocity": {"encoder": network.name, "weights": network.weights}}
