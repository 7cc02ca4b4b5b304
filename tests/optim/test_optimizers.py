"""Optimizers and schedules against torch's own."""

from __future__ import annotations

import inspect

import attrs
import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR, LinearLR, LRScheduler, MultiStepLR

from gflow_core.machine.runtime import Runtime
from gflow_core.optim.optimizers import SGD, AdamW, RMSprop
from gflow_core.optim.player import Player
from gflow_core.optim.schedules import Chain, Constant, Cosine, Exponential, Linear, Multistep, Warmup
from gflow_core.parts.contracts import OptimizerPart, Schedule
from gflow_core.parts.plugins import plugins

TORCH = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}

OPTIMIZERS, SCHEDULES = (plugins().registries[kind] for kind in ("optimizer", "schedule"))


def test_every_optimizer_has_its_counterpart_here():
    assert set(OPTIMIZERS) == set(TORCH)


@pytest.mark.parametrize("name", sorted(TORCH))
def test_option_names_and_defaults_are_torchs(name):
    signature = inspect.signature(TORCH[name]).parameters
    for field in attrs.fields(OPTIMIZERS.get(name)):
        if field.name == "lr":
            assert field.default is attrs.NOTHING, "a learning rate is chosen, never inherited"
        elif not field.name.endswith("schedule"):
            assert field.default == signature[field.name].default, field.name


@pytest.mark.parametrize("name", sorted(TORCH))
def test_an_optimizer_is_torchs_and_steps_like_it(name):
    part = OPTIMIZERS.get(name)(lr=0.01)
    assert isinstance(part, OptimizerPart)
    ours, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    optimizers = (part.build(ours), TORCH[name](theirs.parameters(), lr=0.01))
    assert type(optimizers[0]) is TORCH[name]
    x = torch.randn(5, 3)
    for _ in range(3):
        for module, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            module(x).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-6, atol=1e-7)  # fused kernels round differently


def test_options_reach_the_optimizer():
    (group,) = SGD(lr=0.3, momentum=0.5, nesterov=True).build(torch.nn.Linear(1, 1)).param_groups
    assert (group["lr"], group["momentum"], group["nesterov"]) == (0.3, 0.5, True)
    assert list(SGD(lr=0.1, nesterov=True).check()) == ["nesterov needs momentum > 0 and dampening = 0"]
    assert not list(SGD(lr=0.1, momentum=0.9, nesterov=True).check())


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        (Constant(), lambda o: MultiStepLR(o, [])),
        (Multistep(milestones=(3, 10, 30), factor=0.5), lambda o: MultiStepLR(o, [3, 10, 30], gamma=0.5)),
        (Exponential(factor=0.97), lambda o: ExponentialLR(o, 0.97)),
        (Linear(start=1.0, end=0.1, steps=20), lambda o: LinearLR(o, 1.0, 0.1, total_iters=20)),
        (Linear(start=0.2, end=1.0, steps=35), lambda o: LinearLR(o, 0.2, 1.0, total_iters=35)),
    ],
)
def test_schedules_are_torchs_over_fifty_steps(schedule, theirs):
    assert isinstance(schedule, Schedule)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler: LRScheduler = theirs(optimizer)
    for done in range(50):
        assert 0.4 * schedule.at(done) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9, abs=1e-12)
        optimizer.step()
        scheduler.step()


def test_an_exponential_stops_at_its_floor():
    assert Exponential(factor=0.5, floor=0.1).at(3) == 0.125
    assert Exponential(factor=0.5, floor=0.1).at(4) == 0.1


def test_all_schedules_start_and_are_registered():
    assert set(SCHEDULES) == {"chain", "constant", "cosine", "exponential", "linear", "multistep", "warmup"}
    assert Linear(steps=10).at(0) == 1.0
    assert Linear(steps=10).at(10) == Linear(steps=10).at(1000) == 0.0


def test_the_published_schedule_of_conditional_nets():
    """lr 0.1, falling by 1.00004 a step to 1e-6 at step 287,829; momentum from 0.5 to 0.7 (Mirza and Osindero 2014)."""
    part = SGD(
        lr=0.1,
        momentum=0.5,
        schedule=Exponential(factor=1 / 1.00004, floor=1e-5),
        momentum_schedule=Linear(start=1.0, end=1.4, steps=1000),
    )
    assert not list(part.check())
    assert part.at(0) == {"lr": 0.1, "momentum": 0.5}
    assert part.at(500)["momentum"] == pytest.approx(0.6)
    assert part.at(287_828)["lr"] > 1e-6
    assert part.at(287_829) == {"lr": pytest.approx(1e-6, rel=1e-12), "momentum": pytest.approx(0.7)}


@pytest.mark.parametrize(("start", "end"), [(1.0, 0.0), (0.5, 1.5)], ids=["falling", "rising"])
@pytest.mark.parametrize("use", [SGD, RMSprop])
def test_a_scheduled_momentum_reaches_torchs_optimizer(use, start, end):
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    schedule = Linear(start=start, end=end, steps=2)
    player = Player(module, use(lr=1.0, momentum=0.5, momentum_schedule=schedule), Runtime(torch.device("cpu")))
    weight, velocity, square = 0.0, 0.0, 0.0
    for done in range(4):
        player.set_rates(done)
        player.minimize(module.weight.sum())  # a gradient of 1
        square = 0.99 * square + 0.01
        push = 1.0 if use is SGD else 1 / (square**0.5 + 1e-8)
        velocity = 0.5 * schedule.at(done) * velocity + push
        weight -= velocity
        assert module.weight.item() == pytest.approx(weight, rel=1e-5)


def test_momentum_schedules_that_cannot_be():
    assert list(RMSprop(lr=1, momentum=0.5, momentum_schedule=Linear(start=0.0, end=1.0, steps=3)).check()) == [
        "momentum_schedule starts at 0; start above it, as in start = 0.001"
    ]
    assert list(RMSprop(lr=1, momentum_schedule=Linear(steps=3)).check()) == [
        "momentum_schedule multiplies momentum, which is 0; set momentum"
    ]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Cosine(steps=8, end=0.1), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 8, eta_min=0.1)),
        (Warmup(steps=5, start=0.25), lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.25, 1.0, 5)),
        (
            Chain(schedules=(Warmup(steps=3, start=0.1), Exponential(factor=0.8)), milestones=(3,)),
            lambda o: torch.optim.lr_scheduler.SequentialLR(
                o,
                [
                    torch.optim.lr_scheduler.LinearLR(o, 0.1, 1.0, 3),
                    torch.optim.lr_scheduler.ExponentialLR(o, 0.8),
                ],
                [3],
            ),
        ),
    ],
    ids=["cosine", "warmup", "chain"],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_schedules_are_torchs(ours, theirs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = theirs(optimizer)
    for done in range(8):
        assert ours.at(done) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        scheduler.step()


def test_schedules_stay_where_they_end():
    assert Cosine(start=2.0, end=0.5, steps=3).at(3) == Cosine(start=2.0, end=0.5, steps=3).at(1000) == 0.5
    assert Warmup(steps=3).at(0) == 0
    assert Warmup(steps=3).at(3) == Warmup(steps=3).at(99) == 1


def test_chains_that_cannot_be():
    two = (Constant(), Constant())
    assert list(Chain(schedules=two, milestones=(3, 5)).check()) == [
        "2 schedules change 1 times; give as many milestones"
    ]
    assert list(Chain(schedules=(*two, *two), milestones=(3, 3, 5)).check()) == ["milestones = [3, 3, 5] must ascend"]


def test_any_number_of_an_optimizer_may_follow_the_steps():
    part = AdamW(lr=Linear(start=1.0, end=0.0, steps=10), weight_decay=Linear(start=0.1, end=0.0, steps=10))
    assert part.at(0) == {"lr": 1.0, "weight_decay": 0.1}
    assert part.at(5) == {"lr": 0.5, "weight_decay": 0.05}
    group = part.build(torch.nn.Linear(1, 1)).param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (1.0, 0.1)
