"""What only a GPU can tell: same draws, close weights, bf16, exact resuming, data and draws on the device."""

from __future__ import annotations

import pytest
import torch

from gflow_core import load_run
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]


def after_a_step(path, *overrides):
    experiment = build(load(path, overrides).spec)
    *_, metrics = experiment.objective.step(1)
    return experiment, metrics


def test_the_gpu_agrees_with_the_cpu(plane):
    here, _ = after_a_step(plane, "train.device=cpu")
    there, _ = after_a_step(plane, "train.device=cuda")
    for one, other in zip(here.sampler.parameters(), there.sampler.parameters(), strict=True):
        assert torch.allclose(one, other.cpu(), atol=1e-3)


def test_auto_takes_bf16_for_images(images):
    experiment, metrics = after_a_step(images, "train.device=auto", "train.precision=auto")
    assert experiment.runtime.device.type == "cuda"
    assert experiment.runtime.bf16 == torch.cuda.is_bf16_supported(including_emulation=False)
    assert all(value.isfinite() for value in metrics.values())


@pytest.mark.parametrize("draws", ["host", "device"])
def test_resuming_is_exact_when_deterministic(gflow, images, tmp_path, weights, draws):
    words = ["train.device=cuda", "train.deterministic=true", "train.steps=4", f"train.draws={draws}"]
    gflow("run", images, *words, "--runs", tmp_path / "whole")
    gflow("run", images, *words, "train.steps=2", "--runs", tmp_path / "half")
    run = tmp_path / "half" / "images-s0-001"
    gflow("resume", run, "--steps", 4)
    assert weights(run) == weights(tmp_path / "whole" / "images-s0-001")
    assert load_run(run).manifest["draws"] == {"host": "cpu", "device": "cuda"}[draws]


def test_draws_of_the_device_are_not_the_hosts(plane):
    """A generator a stream, and all that is drawn is made there."""
    experiment = build(load(plane, ["train.device=cuda", "train.draws=device"]).spec)
    seen = [experiment.draw(lambda streams: torch.randn(4, 2, generator=streams["x"])) for _ in range(2)]
    assert all(x.device.type == "cuda" for x in seen)
    assert not seen[0].equal(seen[1])
    state = experiment.streams.state_dict()
    again = experiment.draw(lambda streams: torch.randperm(100, generator=streams["x"]))
    experiment.streams.load_state_dict(state)
    assert experiment.draw(lambda streams: torch.randperm(100, generator=streams["x"])).equal(again)
    experiment.draw(lambda streams: torch.rand(3, generator=streams["y"]))
    experiment.streams.load_state_dict(state)
    assert "cuda.y" not in experiment.streams.state_dict()


def test_data_on_the_device_give_the_same_batches(images):
    batches = []
    for asked in (True, False):
        words = ["train.device=cuda", f"dataset.on_device={str(asked).lower()}"]
        experiment = build(load(images, words).spec)
        assert experiment.feed.on_device is asked
        batches.append([experiment.feed.next(150) for _ in range(2)])  # into the second epoch
    for one, other in zip(*batches, strict=True):
        assert one.x.device.type == "cuda"
        assert one.x.equal(other.x)
        assert one.y.equal(other.y)
