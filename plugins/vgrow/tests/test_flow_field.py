"""The core's flow_field of velocities that are learnt, over a tiny run in the plane, made by hand."""

import copy
import math

import attrs
import numpy as np
import pytest
import torch

from gflow_core import Adam, DataShape, Normal, Runtime, Source, Spec, Streams, Subject, Train, fingerprint
from gflow_core.methods.velocities import Flow as AnyFlow
from gflow_core.scores.flow_field import FlowField
from gflow_vgrow.divergences import PUBLISHED
from gflow_vgrow.parts import Flow, MlpDiscriminator, MlpSampler
from gflow_vgrow.velocities import Ept, MonoflowVelocity


@attrs.frozen(kw_only=True)
class _Points:
    """400 points of N((2, 1), 0.2^2 I)."""

    bounded: bool = False

    def data_shape(self) -> DataShape:
        return DataShape("vector", (2,), *((-3.0, 3.0) if self.bounded else (None, None)))

    def load(self) -> Source:
        x = torch.randn(400, 2, generator=torch.Generator().manual_seed(1)) * 0.2 + torch.tensor([2.0, 1.0])
        return Source(x, self.data_shape(), fingerprint(x))


FLOW = Flow(pool_size=64, inner_loops=20, discriminator_steps=5)


def make(*, bounded: bool = False, objective=FLOW, **options) -> Subject:
    data = _Points(bounded=bounded)
    adam = Adam(lr=1e-3)
    spec = Spec(
        dataset=data,
        sampler=MlpSampler(width=16, depth=1, latent=Normal(dim=3)),
        discriminator=MlpDiscriminator(width=32, depth=2, activation="leaky_relu"),
        objective=attrs.evolve(objective, **options),
        optimizer={"sampler": adam, "discriminator": adam},
        train=Train(steps=5, batch_size=32),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sampler, discriminator = spec.sampler.build(data.data_shape()), spec.discriminator.build(data.data_shape())
    return Subject(
        spec=spec,
        runtime=Runtime(torch.device("cpu")),
        streams=Streams(0).fork("analyze"),
        step=5,
        data=data.load(),
        sampler=sampler.eval(),
        discriminator=discriminator.eval(),
    )


PART = FlowField(particles=60, arrows=8, resolution=30)


@pytest.mark.parametrize("divergence", ["kl", "js", "logd", "jeffreys"])
def test_scores_and_figure(divergence: str, tmp_path):
    result = PART.build()(make(divergence=PUBLISHED[divergence], ratio_clip=(0.1, 10.0)))
    assert set(result.scores) == {
        "displacement",
        "velocity_start",
        "velocity_end",
        "divergence_start",
        "divergence_end",
    }
    assert all(math.isfinite(value) for value in result.scores.values())
    assert result.scores["displacement"] > 0
    path = tmp_path / "flow_field.png"
    result.figures["flow_field"].savefig(path, dpi=50)
    assert path.stat().st_size > 10_000
    assert result.manifest["inner_loops"] == 20


def test_particles_move_towards_the_data():
    result = PART.build()(make())
    ends = result.figures["flow_field"].axes[1].collections[-1].get_offsets()
    starts = result.figures["flow_field"].axes[0].collections[-1].get_offsets()
    centre = torch.tensor([2.0, 1.0]).numpy()
    assert ((ends - centre) ** 2).sum(1).mean() < 0.5 * ((starts - centre) ** 2).sum(1).mean()


def test_the_run_is_left_as_it_was():
    subject = make()
    before = copy.deepcopy((subject.discriminator.state_dict(), subject.sampler.state_dict()))
    draws = torch.get_rng_state()
    PART.build()(subject)
    for network, state in zip((subject.discriminator, subject.sampler), before, strict=True):
        assert not network.training
        assert all(p.requires_grad and p.grad is None for p in network.parameters())
        for name, value in network.state_dict().items():
            assert torch.equal(value, state[name])
    assert torch.equal(torch.get_rng_state(), draws)


@pytest.mark.parametrize("velocity", [MonoflowVelocity(), Ept(), Ept(ratio="p/q")], ids=["monoflow", "q/p", "p/q"])
def test_red_is_where_particles_come_from(velocity):
    # The heat map descends along every arrow, whatever the discriminator's output stands for.
    figure = PART.build()(make(objective=AnyFlow(pool_size=64, velocity=velocity))).figures["flow_field"]
    axes = figure.axes[0]
    heat = axes.images[0].get_array()
    (quiver,) = (drawn for drawn in axes.collections if hasattr(drawn, "U"))
    up, right = np.gradient(np.asarray(heat, dtype=float))
    rows, columns = ((np.arange(8) + 0.5) / 8 * 30).astype(int), ((np.arange(8) + 0.5) / 8 * 30).astype(int)
    slope = right[np.ix_(rows, columns)].ravel() * quiver.U + up[np.ix_(rows, columns)].ravel() * quiver.V
    assert (slope < 0).mean() > 0.9


def test_the_same_streams_give_the_same_picture():
    first, second = (PART.build()(make()).scores for _ in range(2))
    assert first == second


def test_it_works_under_no_grad_and_with_one_move():
    with torch.no_grad():
        result = FlowField(particles=5, inner_loops=1, arrows=3, resolution=10).build()(make())
    assert result.scores["velocity_start"] == result.scores["velocity_end"]


def test_particles_stay_within_the_data_s_range():
    result = PART.build()(make(bounded=True, step_size=50.0))
    ends = result.figures["flow_field"].axes[1].collections[-1].get_offsets()
    assert abs(ends).max() <= 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda():
    subject = make()
    subject.runtime = Runtime(torch.device("cuda"))
    subject.sampler.cuda()
    subject.discriminator.cuda()
    assert math.isfinite(PART.build()(subject).scores["displacement"])
