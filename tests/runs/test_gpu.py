"""What only a GPU can tell: same draws, close weights, bf16, exact resuming."""

from __future__ import annotations

import pytest
import torch

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


def test_resuming_is_exact_when_deterministic(gflow, images, tmp_path, weights):
    words = ["train.device=cuda", "train.deterministic=true", "train.steps=4"]
    gflow("run", images, *words, "--runs", tmp_path / "whole")
    gflow("run", images, *words, "train.steps=2", "--runs", tmp_path / "half")
    run = tmp_path / "half" / "images-s0-001"
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("steps = 2", "steps = 4"))
    gflow("resume", run)
    assert weights(run) == weights(tmp_path / "whole" / "images-s0-001")
