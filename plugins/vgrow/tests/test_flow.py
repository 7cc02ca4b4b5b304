"""The outer loop against a slow, obvious version of the same algorithm, and its options one by one."""

from __future__ import annotations

from copy import deepcopy

import attrs
import pytest
import torch

from gflow_core import Adam, FlowState, Normal, Phase, RMSprop, Spec, Streams, Train, derive, evaluating, frozen
from gflow_core.data.parts import Mnist5k, Ring
from gflow_core.methods.velocities import Flow as CoreFlow
from gflow_core.runs.build import build
from gflow_vgrow.divergences import PUBLISHED
from gflow_vgrow.flow import projection_passes, velocity
from gflow_vgrow.parts import Flow, MlpDiscriminator, MlpSampler, ResnetDiscriminator, ResnetSampler
from gflow_vgrow.velocities import Ratio


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def plane(**options) -> Spec:
    flow = {"pool_size": 40, "inner_loops": 3, "projection_passes": 2, "chunk_size": 16, **options}
    return Spec(
        dataset=Ring(convention="vgrow", n=200),
        sampler=MlpSampler(width=16, depth=2),
        discriminator=MlpDiscriminator(width=16, depth=2, activation="tanh"),
        objective=Flow(**flow),
        optimizer={"sampler": Adam(lr=1e-3, betas=(0.0, 0.99)), "discriminator": Adam(lr=1e-3, betas=(0.0, 0.99))},
        train=Train(steps=2, batch_size=16, precision="float32", device="cpu"),
    )


def images(variant: str, precision: str = "float32", **options) -> Spec:
    flow = {"pool_size": 24, "inner_loops": 2, "projection_passes": 2, "chunk_size": 10, **options}
    return Spec(
        dataset=Mnist5k(image_size=16, fit="resize", limit=64),
        sampler=ResnetSampler(channels=12, variant=variant, latent=Normal(dim=8)),
        discriminator=ResnetDiscriminator(channels=12, variant=variant),
        objective=Flow(**flow),
        optimizer={"sampler": RMSprop(lr=1e-3), "discriminator": RMSprop(lr=1e-3)},
        train=Train(steps=2, batch_size=8, precision=precision, device="cpu"),
    )


def run_step(experiment, step: int = 1):
    *phases, metrics = experiment.objective.step(step)
    assert all(isinstance(phase, Phase) for phase in phases)
    return metrics


def obvious_outer_loop(spec: Spec, sampler, discriminator) -> None:
    """Algorithm 1, one particle at a time, r = q/p and v = -f''(r) grad r taken literally. Trains both networks."""
    part, batch = spec.objective, spec.train.batch_size
    data = spec.dataset.load()
    streams = Streams(spec.seed)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(derive(spec.seed, "data.0")))
    optimizers = {}
    for name, module in (("sampler", sampler), ("discriminator", discriminator)):
        option = spec.optimizer[name]
        if isinstance(option, Adam):
            optimizers[name] = torch.optim.Adam(module.parameters(), lr=option.lr, betas=option.betas)
        else:
            optimizers[name] = torch.optim.RMSprop(module.parameters(), lr=option.lr)
    f2 = part.divergence.f2

    sampler.eval()
    z = spec.sampler.latent.draw(part.pool_size, streams["vgrow.latent"])
    with torch.no_grad():
        x = [sampler(z[i : i + 1])[0] for i in range(part.pool_size)]

    position = 0
    for _ in range(part.inner_loops):
        discriminator.train()
        real = data.batch(order[position : position + batch]).x
        position += batch
        chosen = torch.randperm(part.pool_size, generator=streams["vgrow.particles"])[:batch]
        d_real = discriminator(real)
        d_fake = discriminator(torch.stack([x[i] for i in chosen.tolist()]))
        loss = -torch.log(torch.sigmoid(d_real)).mean() - torch.log(1 - torch.sigmoid(d_fake)).mean()
        optimizers["discriminator"].zero_grad()
        loss.backward()
        optimizers["discriminator"].step()

        discriminator.eval()
        for i in range(part.pool_size):
            leaf = x[i].clone().requires_grad_()
            ratio = torch.exp(-discriminator(leaf[None])[0])
            (slope,) = torch.autograd.grad(ratio, leaf)
            moved = x[i] - part.step_size * f2(ratio.detach()) * slope
            x[i] = moved.clamp(-1, 1) if data.shape.kind == "image" else moved

    sampler.train()
    target = torch.stack(x)
    for _ in range(part.projection_passes):
        shuffled = torch.randperm(part.pool_size, generator=streams["vgrow.projection"])
        for i in range(0, part.pool_size, batch):
            index = shuffled[i : i + batch]
            loss = ((sampler(z[index]) - target[index]) ** 2).mean()
            optimizers["sampler"].zero_grad()
            loss.backward()
            optimizers["sampler"].step()


def largest_difference(one, other) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(one.parameters(), other.parameters(), strict=True))


CASES = {
    "plane": plane(),
    "plane, jeffreys": plane(divergence=PUBLISHED["jeffreys"], step_size=0.05),
    "images, seed": images("seed", divergence=PUBLISHED["js"]),
    "images, authors": images("authors", divergence=PUBLISHED["logd"]),
}


@pytest.mark.parametrize("spec", CASES.values(), ids=CASES.keys())
def test_equals_the_obvious_version_in_float64(spec, float64):
    experiment = build(spec)
    sampler, discriminator = deepcopy(experiment.sampler), deepcopy(experiment.discriminator)
    metrics = run_step(experiment)
    assert metrics["displacement"] > 1e-3, "a discriminator of dead ReLUs would make this test empty"
    obvious_outer_loop(spec, sampler, discriminator)
    assert largest_difference(experiment.discriminator, discriminator) < 1e-10
    assert largest_difference(experiment.sampler, sampler) < 1e-10


def test_equals_the_obvious_version_in_float32():
    spec = plane()
    experiment = build(spec)
    sampler, discriminator = deepcopy(experiment.sampler), deepcopy(experiment.discriminator)
    run_step(experiment)
    obvious_outer_loop(spec, sampler, discriminator)
    assert largest_difference(experiment.discriminator, discriminator) < 1e-5
    assert largest_difference(experiment.sampler, sampler) < 1e-4


def test_the_obvious_version_would_notice_another_step_size(float64):
    spec = plane()
    experiment = build(spec)
    sampler, discriminator = deepcopy(experiment.sampler), deepcopy(experiment.discriminator)
    run_step(experiment)
    obvious_outer_loop(
        attrs.evolve(spec, objective=attrs.evolve(spec.objective, step_size=0.51)), sampler, discriminator
    )
    assert largest_difference(experiment.sampler, sampler) > 1e-6


@pytest.mark.parametrize("chunk_size", [1, 7, 40])
def test_chunk_size_changes_nothing(chunk_size, float64):
    one, other = build(plane()), build(plane(chunk_size=chunk_size))
    run_step(one)
    run_step(other)
    assert largest_difference(one.sampler, other.sampler) < 1e-12


def test_bf16_velocities_are_float32s_within_rounding():
    spec = images("seed")
    experiment = build(attrs.evolve(spec, discriminator=attrs.evolve(spec.discriminator, channels=64)))
    x = torch.randn(32, 1, 16, 16, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    module = experiment.discriminator
    with frozen(module), evaluating(module):
        exact = velocity(module, x, PUBLISHED["js"].scale)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = velocity(module, x, PUBLISHED["js"].scale)
    assert rounded.dtype == torch.float32
    error = (rounded - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    # bf16 keeps 8 bits, 0.4 % a layer; a ReLU that flips adds to it.
    assert error.median() < 0.05
    assert error.min() > 0, "it was not computed in bf16"


def test_moving_leaves_the_discriminator_as_it_is():
    experiment = build(images("authors"))
    objective = experiment.objective
    objective._begin()
    before = {k: v.clone() for k, v in experiment.discriminator.state_dict().items()}
    with objective.velocity.standing(objective.state) as field:
        assert field(slice(0, 24)).abs().max() > 0
    assert all(torch.equal(v, before[k]) for k, v in experiment.discriminator.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in experiment.discriminator.parameters())
    assert experiment.discriminator.training


def test_clamping_defaults_to_the_data():
    for options, limit in (({}, 1.0), ({"clamp": (-0.25, 0.5)}, 0.5), ({"clamp": "none"}, None)):
        experiment = build(images("seed", step_size=1000.0, **options))
        objective = experiment.objective
        objective._begin()
        objective._move(0)
        top = objective.state.x.max().item()
        assert top == limit if limit is not None else top > 1
    objective = build(plane(step_size=1000.0)).objective
    objective._begin()
    objective._move(0)
    assert objective.state.x.abs().max() > 1, "unbounded data is not clamped"


def test_ratio_clip_bounds_the_factor():
    class Slope(torch.nn.Module):
        def forward(self, x, y=None):
            return 3 * x[:, 0]

    x = torch.tensor([[-4.0], [0.0], [4.0]])
    free = velocity(Slope(), x, PUBLISHED["jeffreys"].scale)
    clipped = velocity(Slope(), x, Ratio(divergence=PUBLISHED["jeffreys"], ratio_clip=(1.5, 100.0)).factor)
    assert torch.allclose(free[:, 0], 3 * (1 + torch.exp(3 * x[:, 0])))
    assert torch.allclose(clipped[:, 0], 3 * torch.tensor([1.5, 2.0, 100.0]))


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        (7, [7, 7, 7, 7, 7, 7]),
        ("authors", [5, 5, 10, 10, 15, 20]),
        ("authors_cifar10", [5, 5, 5, 5, 10, 10]),
    ],
)
def test_projection_passes(passes, expected):
    assert [projection_passes(passes, step) for step in (1, 200, 201, 600, 1001, 1501)] == expected


def test_the_schedules_change_where_facts_say():
    assert [projection_passes("authors_cifar10", step) for step in (600, 601, 2000, 2001, 3000, 3001)] == [
        5,
        10,
        10,
        15,
        15,
        20,
    ]


def test_continuing_inside_a_step_is_the_same_step(float64):
    whole, parts = build(plane()), build(plane())
    run_step(whole)
    for stop in range(1, 6):  # leave at every safe point, and come back
        for count, event in enumerate(parts.objective.step(1), 1):
            if not isinstance(event, Phase):
                break
            if count == 1:
                assert stop <= 5
                break
    run_step(parts)
    assert largest_difference(whole.sampler, parts.sampler) == 0
    assert isinstance(parts.objective.state, FlowState)
    assert parts.objective.state.z is None


def test_an_outer_loop_that_chose_no_particles_ahead_goes_on():
    """As in a checkpoint from before they were chosen at once: the stream stands where the updates made left it."""
    whole, earlier = (build(plane(discriminator_steps=2)) for _ in range(2))
    run_step(whole)
    next(earlier.objective.step(1))
    stream = earlier.streams["vgrow.particles"]
    stream.manual_seed(derive(0, "vgrow.particles"))
    for _ in range(2):
        torch.randperm(40, generator=stream)
    earlier.objective.state.choices = None
    run_step(earlier)
    assert largest_difference(whole.sampler, earlier.sampler) == 0


def test_its_velocity_is_one_that_flow_takes(float64):
    """The same loop but for the names of streams, and so for what is drawn."""
    spec = plane()
    ratio = spec.objective.velocity
    experiment = build(attrs.evolve(spec, objective=CoreFlow(velocity=ratio, pool_size=40, inner_loops=3)))
    metrics = run_step(experiment)
    assert set(metrics) == set(run_step(build(spec)))
    assert experiment.feed.position == experiment.spec.items_a_step() == 3 * 16


def test_metrics_say_what_happened():
    experiment = build(plane())
    metrics = run_step(experiment)
    assert set(metrics) == {"discriminator_loss", "divergence", "velocity", "displacement", "projection_loss"}
    assert all(v.dim() == 0 and torch.isfinite(v) for v in metrics.values())
    # Each particle's displacement is at most the length of its path.
    assert 0 < metrics["displacement"] <= 0.5 * 3 * metrics["velocity"] * 1.0001


def test_a_memory_of_one_chunk(monkeypatch):
    """No forward sees more than chunk_size particles."""
    experiment = build(plane(chunk_size=8))
    seen = []
    experiment.discriminator.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    experiment.objective._begin()
    experiment.objective._move(0)
    assert seen == [16, 16, *[8] * 5], "the update's two batches, then the pool"
