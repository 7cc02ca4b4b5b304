"""rmt.simulations and features over two worker processes: the numbers of one process, also when a worker is killed."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import ClassVar

import attrs
import cloudpickle
import pytest
import torch
from torch import nn

from gflow_core import Diverged, Streams, no_progress
from gflow_core.machine.cluster import connected, spread
from gflow_rmt.parts.comparisons import Simulations
from gflow_rmt.representation import Representation


class Sampler(nn.Module):
    """z, y -> images [B, 1, 4, 4] of noise about a grey of their own."""

    def __init__(self, scale=0.3):
        super().__init__()
        self.scale = scale
        self.register_buffer("matrix", torch.randn(3, 16, generator=torch.Generator().manual_seed(1)))

    def forward(self, z, y=None):
        grey = 0 if y is None else 0.2 * y[:, None].float() - 0.3
        return torch.tanh(grey + self.scale * z @ self.matrix).view(-1, 1, 4, 4)


class Encoder:
    """x -> 24 features; its class is the brightest of the mean and three pixels. Meets contracts.Encoder."""

    name, weights, resizer, dim = "small", "abc", "none", 24

    def __init__(self):
        self.matrix = torch.randn(16, 24, generator=torch.Generator().manual_seed(2))

    def __call__(self, x):
        return torch.relu(x.flatten(1) @ self.matrix + 0.1)

    def classify(self, x):
        return torch.stack([x.mean((1, 2, 3)), x[:, 0, 0, 0], x[:, 0, 1, 1], x[:, 0, 2, 2]], 1)


@attrs.frozen
class Encoding:
    """The part of Encoder."""

    classifies: ClassVar[bool] = True

    def check(self, data):
        return []

    def build(self, data, device, progress=no_progress):
        return Encoder()


@pytest.fixture(scope="module")
def workers():
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as found:
        yield found


@pytest.fixture
def client(workers, scene):
    """Whose workers know the scene's classes by value."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as workers have it: bits of a sum depend on it
    known = [sys.modules[name] for name in (__name__, scene.Part.__module__)]
    for module in known:
        cloudpickle.register_pickle_by_value(module)
    with connected(workers.scheduler_address) as found:
        yield found
    for module in known:
        cloudpickle.unregister_pickle_by_value(module)
    torch.set_num_threads(before)


@pytest.fixture
def analyze(scene):
    def run(map, *, work=None, progress=no_progress, **options):
        part = Simulations(encoder=Encoding(), K=2, N=10, m=6, S=12, eigenvalues=(1, 2), batch_size=7, **options)
        subject = attrs.evolve(scene.subject(sampler=Sampler(), progress=progress), map=map, work=work)
        assert list(part.check(subject.spec)) == []
        return part.build()(subject)

    return run


@pytest.mark.parametrize("sorted_by", ["labels", "a classifier"])
def test_features_are_bit_for_bit_those_of_one_process(scene, client, sorted_by):
    options = {"classifier": Encoding()} if sorted_by == "a classifier" else {}
    part = Simulations(encoder=Encoding(), K=3, N=20, m=10, batch_size=8, eigenvalues=(1,), **options)
    subject = scene.subject(sampler=Sampler(), part=scene.Part(conditional=not options))
    assert list(part.check(subject.spec)) == []
    other = Sampler(scale=0.1)
    for sampler in (None, other):
        found = [
            Representation.of(attrs.evolve(subject, map=one), part).draw(20, Streams(5), sampler=sampler)
            for one in (map, partial(spread, client))
        ]
        assert found[0].shape == (3, 20, 24)
        assert torch.equal(*found)


def test_a_sampler_that_diverged_is_named_from_afar(scene, client):
    class Nowhere(nn.Module):
        def forward(self, z, y=None):
            return z.new_full((len(z), 1, 4, 4), torch.nan)

    part = Simulations(encoder=Encoding(), K=2, N=10, m=6, S=8, eigenvalues=(1,))
    with pytest.raises(Diverged, match="step 7: features of samples are NaN"):
        part.build()(attrs.evolve(scene.subject(sampler=Nowhere()), map=partial(spread, client)))


@pytest.mark.parametrize("refit", [False, True])  # the last test leaves one worker
def test_repeats_are_bit_for_bit_those_of_one_process_though_a_worker_is_killed(
    analyze, workers, client, tmp_path, refit
):
    here = analyze(map, work=tmp_path / "here", refit=refit)

    def kill(what, done, total):
        if refit and what == "repeats" and done == 2:
            nanny = next(iter(workers.workers.values()))
            nanny.close_gracefully()  # it starts no other, which would take seconds to import what it needs
            os.kill(nanny.pid, signal.SIGKILL)

    there = analyze(partial(spread, client), work=tmp_path / "there", refit=refit, progress=kill)
    assert there.scores == here.scores
    assert there.tables == here.tables
    (file,) = (tmp_path / "here").iterdir()
    assert (tmp_path / "there" / file.name).read_bytes() == file.read_bytes()
