"""Analyzers and trackers that do to a run whatever they can: training goes on bit for bit, or stops."""

from __future__ import annotations

import os
import weakref
from contextlib import nullcontext
from pathlib import Path

import attrs
import pytest
import torch
from torch import nn

import gflow_core
from gflow_core import Result
from gflow_core.errors import GflowError, PluginError
from gflow_core.files.checkpoint import read
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.parts import plugins as loading
from gflow_core.parts.spec import Spec
from gflow_core.parts.training import Experiment
from gflow_core.runs.analyze import copied
from gflow_core.runs.trackers import Trackers
from gflow_core.testing.promises import same

RECIPE = """
gflow = 1
[dataset]
use = "ring"
n = 100
[sampler]
use = "vgrow.mlp"
width = 4
[discriminator]
use = "vgrow.mlp"
width = 4
[objective]
use = "adversarial"
[optimizer.sampler]
use = "sgd"
lr = 0.1
[optimizer.discriminator]
use = "sgd"
lr = 0.1
[train]
steps = 4
batch_size = 8
device = "cpu"
[[analyze]]
use = "mine.meddler"
every = 2
"""


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The last checkpoint of a run whose analyzer does this."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_loaded", None)
    Path("tiny.toml").write_text(RECIPE)

    def train(deed):
        @attrs.frozen
        class Meddler:
            """Meddles."""

            needs = frozenset()

            def check(self, spec):
                return ()

            def build(self):
                return lambda subject: (deed(subject), Result(scores={"one": 1.0}))[1]

        gflow_core.register(analyzer={"mine.meddler": Meddler})
        run = gflow_core.run("tiny.toml", quiet=True)
        return read(tmp_path / run.path / "checkpoints" / "000004").parts

    return train


def first(network: nn.Module) -> nn.Linear:
    return next(module for module in network.modules() if isinstance(module, nn.Linear))


DEEDS = {
    "weights": lambda s: s.discriminator.load_state_dict({k: v * 0 for k, v in s.discriminator.state_dict().items()}),
    "gradients": lambda s: s.sampler.requires_grad_(False),
    "mode": lambda s: s.discriminator.apply(lambda module: setattr(module, "training", False)),
    "dtype": lambda s: s.sampler.double(),
    "hooks": lambda s: s.discriminator.register_forward_hook(lambda module, given, out: out * 0),
    "layers": lambda s: nn.utils.parametrizations.spectral_norm(first(s.sampler)),
    "another data set": lambda s: setattr(s.data, "x", s.data.x * 2),
    "gradients for all": lambda s: torch.set_grad_enabled(False),
    "dtype for all": lambda s: torch.set_default_dtype(torch.float64),
    "folder": lambda s: os.chdir("/"),
}


def test_training_goes_on_bit_for_bit(trained):
    expected = trained(lambda subject: None)
    assert [what for what, deed in DEEDS.items() if not same(trained(deed), expected)] == []


def test_data_that_were_changed_in_place_are_not_trained_on(trained):
    said = r"^analyzer mine\.meddler has changed the data in place, .* Then gflow resume runs/tiny-s0-001$"
    with pytest.raises(PluginError, match=said):
        trained(lambda subject: subject.data.x[:10].float().mul_(2))


@pytest.mark.parametrize("fails", [False, True])
def test_the_copies_of_an_analyzer_are_gone_when_it_is_done(trained, fails):
    seen: list[weakref.ref[nn.Module]] = []
    alive: list[int] = []

    def deed(subject):
        alive.append(sum(network() is not None for network in seen))
        seen.extend(map(weakref.ref, (subject.sampler, subject.discriminator)))
        if fails:
            raise LookupError("boom")

    with pytest.raises(GflowError, match="boom") if fails else nullcontext():
        trained(deed)
    assert alive == [0, 0]
    assert len(seen) == 4


def test_a_network_that_cannot_be_copied_is_looked_at_itself():
    network = nn.Linear(1, 1)
    network.kept = network(torch.ones(1, 1))  # a tensor of a graph
    experiment = Experiment(Spec(), Runtime(torch.device("cpu")), Streams(0), sampler=network)
    assert copied(experiment).sampler is network


def test_a_tracker_is_left_out_whatever_it_raises_and_changes(tmp_path, monkeypatch):
    class Bad:
        def log(self, step, line):
            os.chdir("/")
            torch.manual_seed(1)
            raise KeyboardInterrupt  # its own: nobody pressed a key

    class Part:
        def open(self, folder, done):
            return Bad()

    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    followers = Trackers((Part(),), tmp_path, 0, said.append, here=True)
    before = torch.get_rng_state()
    followers.log(1, {"loss": 1.0})
    followers.log(2, {"loss": 1.0})
    assert said == ["tracker part raised KeyboardInterrupt; it is left out, training goes on"]
    assert Path.cwd() == tmp_path
    assert torch.equal(torch.get_rng_state(), before)
