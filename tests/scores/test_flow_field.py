"""flow_field over velocities of the core and another, on tiny runs; the plugin vgrow tries it with learnt ones."""

from __future__ import annotations

from contextlib import contextmanager
from typing import ClassVar

import attrs
import pytest
import torch

from gflow_core import Adam, Everywhere, Spec, TinySampler, Train
from gflow_core.data.parts import Ring
from gflow_core.methods.adversarial import Adversarial
from gflow_core.methods.velocities import Flow, Mmd, Sinkhorn, SlicedWasserstein, Svgd
from gflow_core.nn.cloud import Cloud
from gflow_core.parts.spec import Analysis
from gflow_core.runs.analyze import analyze
from gflow_core.runs.build import build
from gflow_core.scores.flow_field import FlowField
from gflow_core.testing import TINY

PART = FlowField(particles=20, arrows=4, resolution=10)


@attrs.frozen(kw_only=True)
class Home:
    """A velocity that is known everywhere and goes down nothing: to the origin."""

    players: ClassVar[tuple[str, ...]] = ()
    observes: ClassVar[tuple[str, ...]] = ()
    updates: ClassVar[int] = 1

    def check(self, spec):
        return ()

    def items_a_move(self, batch_size, rules):
        return 0

    def build(self, experiment, rules):
        return self

    @contextmanager
    def at(self, state, done):
        yield Everywhere(lambda rows: -state.x[rows], torch.neg)


def look(velocity, part=PART, *, cloud=False, step_size=0.1):
    """What the analyzer finds, and the experiment."""
    analysis = Analysis(name="flow_field", every=0, part=part)
    spec = Spec(
        dataset=Ring(n=200, std=0.5),
        sampler=Cloud(particles=32) if cloud else TinySampler(),
        objective=Flow(
            velocity=velocity, pool_size=32, inner_loops=3, step_size=step_size, sampler="none" if cloud else "fit"
        ),
        optimizer={} if cloud else {"sampler": Adam(lr=1e-3)},
        train=Train(steps=5, batch_size=16),
        analyze=(analysis,),
    )
    experiment = build(spec)
    return analyze(experiment, analysis, 2), experiment


def arrows(result, panel=0):
    (quiver,) = (drawn for drawn in result.figures["flow_field"].axes[panel].collections if hasattr(drawn, "U"))
    return quiver


@pytest.mark.parametrize(
    "velocity", [Mmd(), Sinkhorn(epsilon=0.5), Svgd(), Home()], ids=["mmd", "sinkhorn", "svgd", "home"]
)
def test_a_field_known_everywhere_is_drawn_on_a_grid_over_a_heat_map(velocity):
    result, _ = look(velocity)
    assert arrows(result).N == 16
    first, second, bar = result.figures["flow_field"].axes
    assert first.images[0].get_array().shape == second.images[0].get_array().shape == (10, 10)
    known = "Vert v" if isinstance(velocity, Home | Svgd) else "potential"
    assert known in bar.get_ylabel()
    assert result.scores["displacement"] > 0


def test_a_field_known_at_particles_is_drawn_there():
    result, _ = look(SlicedWasserstein())
    assert arrows(result).N == 20
    first, second = result.figures["flow_field"].axes
    assert not first.images
    assert not second.images
    assert set(result.scores) == {"displacement", "velocity_start", "velocity_end"}


def test_particles_move_by_the_step_size_along_the_velocity():
    result, _ = look(Home(), FlowField(particles=20, inner_loops=1, arrows=4, resolution=10), step_size=0.25)
    assert result.scores["displacement"] == pytest.approx(0.25 * result.scores["velocity_start"])
    assert result.scores["velocity_start"] == result.scores["velocity_end"]


def test_a_cloud_goes_on_from_where_it_is_all_of_it():
    result, experiment = look(Svgd(), cloud=True)
    before = experiment.sampler.particles
    assert result.manifest["particles"] == 32
    shown = result.figures["flow_field"].axes[0].collections[-1].get_offsets()
    assert torch.equal(torch.tensor(shown.data, dtype=torch.float32), before[:20])


def test_a_velocity_s_options_are_on_record():
    result, _ = look(Mmd(bandwidth=3.0))
    assert "bandwidth=3.0" in result.manifest["velocity"]


def test_what_moves_no_particles_in_the_plane_is_refused():
    spec = Spec(dataset=Ring(), sampler=TinySampler(), objective=Flow())
    assert not list(PART.check(spec))
    (fault,) = PART.check(attrs.evolve(spec, objective=Adversarial()))
    assert "moves none" in fault
    (fault,) = PART.check(attrs.evolve(spec, dataset=TINY["grey"]))
    assert "draws the plane" in fault
