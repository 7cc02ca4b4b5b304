"""The particle flow, with velocities that are known: what plugins extend."""

from __future__ import annotations

from contextlib import contextmanager
from typing import ClassVar

import attrs
import pytest
import torch

from gflow_core import ParticleFlow, Phase, VelocityPart, check_objective, kind, option
from gflow_core.errors import GflowError, RecipeError
from gflow_core.methods.pieces import in_batches
from gflow_core.nn.cloud import Cloud
from gflow_core.parts.kinds import kind_of
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build
from gflow_rmt.parts.networks import MlpSampler

RECIPE = """
gflow = 1
[dataset]
use = "ring"
n = 300
[sampler]
use = "vgrow.mlp"
width = 16
[discriminator]
use = "vgrow.mlp"
width = 16
[objective]
use = "vgrow.flow"
pool_size = 48
inner_loops = 3
[optimizer.sampler]
use = "adam"
lr = 1e-3
[optimizer.discriminator]
use = "adam"
lr = 1e-3
[train]
steps = 3
batch_size = 24
"""


class Homewards:
    """Every particle flows to one point: v(x) = -rate x. Counts its moves."""

    observes = ("moves",)
    updates = 1

    def __init__(self, rate: float) -> None:
        self.rate = rate

    @contextmanager
    def at(self, state, done):
        state.sums[0] += 1
        yield lambda rows: self.velocity(state.x[rows])

    def velocity(self, x):
        return -self.rate * x


@attrs.frozen(kw_only=True)
class ToHome:
    """Velocity to one point."""

    players: ClassVar[tuple[str, ...]] = ()

    rate: float = option(1.0, doc="Inverse of the time that it takes.", gt=0)

    def check(self, spec):
        return ()

    def items_a_move(self, batch_size, rules):
        return 0

    def build(self, experiment, rules):
        return Homewards(self.rate)


@attrs.frozen(kw_only=True)
class Home(ParticleFlow):
    """Every particle flows to one point."""

    @property
    def velocity(self):
        return ToHome()

    def passes(self, step):
        return 2


def test_the_kind_of_velocities_is_the_cores():
    assert kind_of(VelocityPart).owner == "core"
    assert plugins().registries["flow.velocity"].entry("mmd").provider.startswith("gflow-core")

    @kind("theirs.thing", members={})
    class Thing:
        pass

    Thing.__module__ = "another_module"
    assert kind_of(Thing).owner == "theirs"


def test_it_keeps_an_objectives_promises():
    check_objective(Home(pool_size=32, inner_loops=2, chunk_size=5), brief=True)


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "flow.toml"
    path.write_text(RECIPE)
    return build(load(path).spec)


def test_particles_go_where_the_velocity_says(experiment):
    part = Home(pool_size=48, inner_loops=3, step_size=0.5, chunk_size=7)
    objective = part.build(experiment)
    events = objective.step(1)
    for moves in (1, 2, 3):
        assert next(events) == Phase("inner loop", moves, 3)
        torch.testing.assert_close(objective.state.x, objective.state.start * 0.5**moves)
    assert next(events) == Phase("projection pass", 1, 2)
    start = objective.state.start
    assert next(events) == Phase("projection pass", 2, 2)
    (metrics,) = events
    assert float(metrics["moves"]) == 1.0, "a mean over the moves"
    speeds = [start.norm(dim=1).mean() * 0.5**move for move in range(3)]
    assert float(metrics["velocity"]) == pytest.approx(float(sum(speeds) / 3), rel=1e-5)
    assert float(metrics["displacement"]) == pytest.approx(float(start.norm(dim=1).mean() * 0.875), rel=1e-5)
    assert objective.state.z is None


def test_chunks_are_halved_where_memory_ends_unless_they_are_named(experiment):
    sizes = []

    def velocity(x):
        sizes.append(len(x))
        if len(x) > 12:
            raise torch.OutOfMemoryError
        return -x

    objective = Home(pool_size=48, inner_loops=2, step_size=0.5).build(experiment)
    objective.velocity.velocity = velocity
    events = objective.step(1)
    assert [next(events).done, next(events).done] == [1, 2]
    assert sizes == [48, 32, 16, *[8] * 6, *[8] * 6]
    start = objective.state.start
    torch.testing.assert_close(objective.state.x, start * 0.25)
    torch.testing.assert_close(objective.state.sums[-2], 1.5 * start.norm(dim=1).mean())
    objective = Home(pool_size=48, chunk_size=16).build(experiment)
    objective.velocity.velocity = velocity
    with pytest.raises(torch.OutOfMemoryError):
        next(objective.step(1))


def test_the_sampler_follows(experiment):
    objective = Home(pool_size=48, inner_loops=10, step_size=0.5).build(experiment)
    z = experiment.spec.sampler.latent.draw(100, torch.Generator().manual_seed(0))

    def size() -> float:
        with torch.no_grad():
            return float(experiment.sampler(z).norm(dim=1).mean())

    before = size()
    for step in range(1, 40):
        for event in objective.step(step):
            last = event
    assert size() < before / 2
    assert float(last["projection_loss"]) < 0.01


def test_a_clamp_that_is_upside_down_is_refused(experiment):
    (message,) = Home(clamp=(1.0, -1.0)).check(experiment.spec)
    assert message == "clamp = [1, -1]: the first number must be the smaller"


@pytest.mark.parametrize(
    ("items", "size", "processes", "sizes"),
    [
        (9, 4, 1, [4, 5]),
        (10, 4, 1, [4, 4, 2]),
        (8, 4, 1, [4, 4]),
        (1, 4, 1, [1]),
        (10, 4, 2, [4, 6]),
        (12, 8, 2, [8, 4]),
    ],
)
def test_a_remainder_of_one_joins_the_batch_before(items, size, processes, sizes):
    batches = in_batches(torch.arange(items), size, processes)
    assert [len(batch) for batch in batches] == sizes
    assert torch.equal(torch.cat(batches), torch.arange(items))


def test_batch_norm_never_meets_one_particle(tmp_path):
    """A pool of 9 in batches of 4, and of 7 in pieces of 2: each leaves one."""
    words = ["sampler=rmt.mlp_gan", "sampler.widths=[8]", "sampler.conditional=false", "train.steps=1"]
    (tmp_path / "recipe.toml").write_text(RECIPE)
    for pool, accumulate in ((9, 1), (7, 2)):
        sizes = [f"objective.pool_size={pool}", "train.batch_size=4", f"train.accumulate={accumulate}"]
        experiment = build(load(tmp_path / "recipe.toml", [*words, *sizes]).spec)
        (*_, metrics) = experiment.objective.step(1)
        assert metrics["projection_loss"].isfinite()


def test_batch_norm_on_one_item_is_refused(tmp_path, monkeypatch):
    words = ["sampler=rmt.mlp_gan", "sampler.widths=[8]", "sampler.conditional=false", "train.device=cpu"]
    (tmp_path / "recipe.toml").write_text(RECIPE)

    def refused(*sizes: str) -> str:
        with pytest.raises(GflowError) as error:
            build(load(tmp_path / "recipe.toml", [*words, *sizes]).spec)
        return str(error.value)

    for states in (True, False):  # a part that does not say so is found out when it is built
        assert "train.batch_size = 1" in refused("train.batch_size=1")
        assert "train.batch_size = 4 / 4 (train.accumulate) is 1" in refused("train.batch_size=4", "train.accumulate=4")
        if states:
            both = refused("train.batch_size=4", "train.devices=2", "train.accumulate=2")
            assert "the sampler needs 2 items at once (batch norm)" in both
            assert "train.batch_size = 4 / 2 (processes) / 2 (train.accumulate) is 1; raise it" in both
        monkeypatch.delattr(MlpSampler, "least_batch", raising=False)
    build(load(tmp_path / "recipe.toml", [*words, "train.batch_size=2"]).spec)


# ------------------------------------------------------------------ without a sampler

CLOUD = ("sampler=cloud", "sampler.particles=48", "~optimizer.sampler", "objective.sampler=none")


def test_a_cloud_moves_and_nothing_is_fitted(tmp_path):
    path = tmp_path / "flow.toml"
    path.write_text(RECIPE)
    experiment = build(load(path, [*CLOUD, "sampler.mean=[3, -1]", "sampler.std=0.5"]).spec)
    assert set(experiment.players) == {"discriminator"}
    start = experiment.sampler.particles.clone()
    torch.testing.assert_close(start.mean(0), torch.tensor([3.0, -1.0]), rtol=0, atol=0.3)
    objective = Home(pool_size=48, inner_loops=3, step_size=0.5, sampler="none").build(experiment)
    for step in (1, 2):
        *phases, metrics = objective.step(step)
        assert phases == [Phase("inner loop", moves, 3) for moves in (1, 2, 3)]
        assert set(metrics) == {"moves", "velocity", "displacement"}
        assert objective.state.x is None
        torch.testing.assert_close(experiment.sampler.particles, start * 0.125**step)


def test_samples_are_particles_each_as_likely_as_any_other():
    part = Cloud(particles=50)
    module = part.build(DataShape("vector", (1,)))
    module.particles.copy_(torch.arange(50.0)[:, None])
    x = module(part.latent.draw(20_000, torch.Generator().manual_seed(0)))[:, 0]
    counts = torch.bincount(x.long(), minlength=50)
    assert float(((counts - 400) ** 2 / 400).sum()) < 90  # chi^2 with 49 degrees of freedom
    assert module(torch.tensor([[1.0], [-3.0]])).flatten().tolist() == [49.0, 0.0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (CLOUD[:2], "sampler: vgrow.flow trains a network, and these are particles"),
        (CLOUD[2:], 'objective: sampler = "none" moves particles, and [sampler] makes items of z'),
        (CLOUD[3:], "optimizer.sampler: vgrow.flow trains the discriminator; remove this table"),
        ((*CLOUD[:2], "objective=adversarial"), "sampler: adversarial trains a network, and these are particles"),
        ((*CLOUD, "objective.pool_size=40"), "pool_size = 40, and [sampler] has 48 particles"),
        ((*CLOUD, "sampler.mean=[1, 2, 3]"), "mean has 3 numbers, the data is vector 2"),
        ((*CLOUD, 'analyze=[{ use = "interpolation" }]'), "there is nothing between two particles"),
    ],
)
def test_what_goes_together_only_with_a_cloud_or_never(words, said, tmp_path):
    path = tmp_path / "flow.toml"
    path.write_text(RECIPE)
    with pytest.raises(RecipeError) as error:
        load(path, list(words))
    assert said in str(error.value)
    assert len(error.value.problems) == (1 if len(words) != 1 else 2)
