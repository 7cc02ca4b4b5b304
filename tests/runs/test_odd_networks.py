"""Networks that are unlike others, and work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import gflow_core
from gflow_core.files.checkpoint import read
from gflow_core.parts import plugins as loading
from gflow_core.testing.tiny import TinyData, TinySampler


class Empty(nn.ModuleList):
    """Without modules in it, so that it counts as False."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 2))

    def forward(self, z):
        return z @ self.weight


NETWORKS = {
    "scripted inside": lambda: nn.Sequential(torch.jit.script(nn.Linear(4, 2))),
    "of length 0": Empty,
}


@pytest.mark.parametrize("what", NETWORKS)
def test_it_is_trained_averaged_and_saved(tmp_path, monkeypatch, what):
    part = type("Odd", (TinySampler,), {"build": lambda self, data: NETWORKS[what](), "__doc__": "Odd."})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_loaded", None)
    gflow_core.register(sampler={"odd.sampler": part}, dataset={"odd.data": TinyData})
    Path("odd.toml").write_text(
        """
        gflow = 1
        dataset = { use = "odd.data", kind = "vector" }
        sampler = { use = "odd.sampler" }
        discriminator = { use = "vgrow.mlp", width = 4 }
        objective = { use = "adversarial" }
        optimizer.sampler = { use = "sgd", lr = 0.1 }
        optimizer.discriminator = { use = "sgd", lr = 0.1 }
        train = { steps = 1, batch_size = 4, device = "cpu", ema = { decay = 0.5 } }
        """
    )
    run = gflow_core.run("odd.toml", quiet=True)
    parts = read(run.path / "checkpoints" / "000001").parts
    assert parts["ema"].keys() == parts["sampler"].keys()
    assert all(torch.isfinite(x).all() for x in parts["ema"].values())
