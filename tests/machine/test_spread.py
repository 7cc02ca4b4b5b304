"""Work spread over two worker processes: the same numbers as in one, errors, and lost addresses."""

from __future__ import annotations

import os
import re
import sys
import textwrap
import threading
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import attrs
import cloudpickle
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from gflow_core import load_run
from gflow_core.cli import main
from gflow_core.data.parts import Mnist5k
from gflow_core.encoders.network import EncoderNetwork
from gflow_core.errors import Diverged, GflowError
from gflow_core.machine import cluster
from gflow_core.machine.cluster import spread
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.nn.latents import Normal
from gflow_core.nn.portable import Portable, portable
from gflow_core.nn.sampling import draw_from, sample
from gflow_core.nn.spectral import spectral_norm
from gflow_core.parts.analysis import Subject
from gflow_core.parts.spec import Spec, Train
from gflow_core.runs import around
from gflow_core.scores.features import Features

CPU = Runtime(torch.device("cpu"))

RECIPE = """
gflow = 1
[dataset]
use = "ring"
n = 500
[sampler]
use = "vgrow.mlp"
width = 16
[train]
seed = 0
[[analyze]]
use = "frechet"
samples = 600
batch_size = 64
"""


@pytest.fixture(scope="module")
def address():
    """Of a cluster of two processes, which know this module's functions by value."""
    from distributed import LocalCluster

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as found:
        yield found.scheduler_address
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
def client(address):
    with cluster.connected(address) as found:
        yield found


@pytest.fixture(autouse=True)
def _one_thread():
    """As the workers have it: bits of a sum depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def gflow():
    def call(*words, code=0):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result.output

    return call


# ------------------------------------------------------------------ spread


def meet(folder, i):
    """-i, once two processes are at work."""
    (folder / str(os.getpid())).touch()
    end = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2:
        assert time.monotonic() < end, "one process does it all"
        time.sleep(0.01)
    return -i


def test_two_processes_share_the_items_which_are_taken_as_they_are_needed(client, tmp_path):
    taken = []

    def items():
        for i in range(10**9):
            taken.append(i)
            yield i

    found = spread(client, partial(meet, tmp_path), items())
    assert [next(found) for _ in range(20)] == [-i for i in range(20)]
    found.close()
    assert len(taken) < 20 + 2 * 2, "two a thread are under way"
    assert not (tmp_path / str(os.getpid())).exists()


def end_at_five(i):
    if i == 5:
        raise Diverged("item 5 is the end")
    return -i


def test_errors_are_those_of_the_function(client):
    found = spread(client, end_at_five, range(10))
    assert [next(found) for _ in range(5)] == [0, -1, -2, -3, -4]
    with pytest.raises(Diverged, match="item 5 is the end"):
        next(found)
    with pytest.raises(GflowError, match=r"cannot be sent to workers: cannot pickle .*lock"):
        next(spread(client, partial(max, threading.Lock()), range(2)))
    with pytest.raises(GflowError, match="No module named 'nowhere_to_be_found', on a worker"):
        next(spread(client, import_module, ["nowhere_to_be_found"]))


# ------------------------------------------------------------------ networks that travel


class Sampler(nn.Module):
    """z, y -> images [B, 1, 28, 28]: batch norm, a spectral norm, channels-last convolution."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(spectral_norm(nn.Linear(8, 4 * 28 * 28), 1), nn.Unflatten(1, (4, 28, 28)))
        self.outer = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1), nn.Tanh())
        self.labels = nn.Embedding(10, 8)
        self.inner(torch.randn(4, 8))  # one step of the power method
        self.outer(torch.randn(4, 4, 28, 28))
        self.to(memory_format=torch.channels_last)

    def forward(self, z, y):
        return self.outer(self.inner(z + self.labels(y)))


@attrs.frozen
class Encoding:
    """An encoder part: a convolution, whose `prepare` is a closure."""

    def build(self, data, device, progress):
        torch.manual_seed(1)
        network = nn.Sequential(nn.Conv2d(1, 6, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(384, 10))
        return EncoderNetwork("small", network, "3", lambda x: x * 2, "none", device)


@pytest.fixture
def subject(client):
    """Of a conditional sampler of digits in bf16, over the cluster."""
    part = Mnist5k(limit=100)
    return Subject(
        Spec(dataset=part, sampler=SimpleNamespace(latent=Normal(dim=8), conditional=True)),
        Runtime(torch.device("cpu"), bf16=True),
        Streams(3),
        data=part.load(),
        sampler=Sampler().eval(),
        map=partial(spread, client),
    )


def test_samples_and_features_are_bit_for_bit_those_of_one_process(subject):
    def seen(subject):
        features = Features.of(subject, Encoding(), 32)
        drawn = torch.cat(list(draw_from(subject, 100, 32)))
        logits = features.fake(100, "", features.encoder.classify)
        pairs = features.with_images(100, "")
        return drawn, logits, features.fake(100, ""), *map(torch.cat, zip(*pairs, strict=True))

    here = seen(attrs.evolve(subject, map=map, streams=Streams(3)))
    there = seen(attrs.evolve(subject, streams=Streams(3)))
    assert [x.shape for x in there] == [(100, 1, 28, 28), (100, 10), (100, 384), (100, 384), (100, 1, 28, 28)]
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a, b)


def test_a_sampler_that_diverged_is_named_from_afar(subject):
    with torch.no_grad():
        subject.sampler.labels.weight.fill_(torch.nan)
    with pytest.raises(Diverged, match=r"features of samples are NaN or infinite \(small\)"):
        Features.of(subject, Encoding(), 32).fake(100, "")


def journey(function):
    """As a worker has it."""
    return cloudpickle.loads(cloudpickle.dumps(function))


def test_a_function_lands_on_the_device_that_the_run_asks_for():
    class Where(nn.Module):
        def forward(self, z):
            return z + 1

    for name in ("cpu", "auto"):
        found = journey(Portable(partial(sample, Where()), CPU, Train(device=name)))((torch.zeros(2, 3), None))
        assert found.device.type == "cpu"
        assert torch.equal(found, torch.ones(2, 3))
    if not torch.cuda.is_available():
        with pytest.raises(GflowError, match=r'train\.device = "cuda": this machine has no cuda device'):
            journey(Portable(partial(sample, Where()), CPU, Train(device="cuda")))((torch.zeros(2, 3), None))


def test_precision_and_a_second_journey(subject):
    function = portable(partial(sample, subject.sampler), subject)
    given = torch.randn(4, 8), torch.arange(4)
    once = journey(function)
    assert torch.equal(once(given), function(given))
    assert torch.equal(journey(once)(given), function(given)), "from worker to worker"
    full = Portable(partial(sample, subject.sampler), CPU, None)
    assert not torch.equal(journey(full)(given), function(given)), "bf16 is the run's"


def test_the_guides_function_of_networks(client):
    guide = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    section = guide.partition("### Work that a cluster shares")[2]
    block = re.search(r"^    .*\n(?:    .*\n|\n)*", section, re.MULTILINE)
    namespace = {}
    exec(textwrap.dedent(block[0]), namespace)

    def found(map):
        spec = Spec(sampler=SimpleNamespace(latent=Normal(dim=8)))
        subject = Subject(spec, CPU, Streams(3), sampler=nn.Sequential(nn.Identity(), nn.Tanh()), map=map)
        return namespace["brightness"](subject, 1024)

    assert found(partial(spread, client)) == found(map) != 0


# ------------------------------------------------------------------ commands


def test_commands_find_the_same_over_workers(gflow, address, tmp_path):
    recipe = tmp_path / "ring.toml"
    recipe.write_text(RECIPE)
    gflow("run", recipe, "--runs", tmp_path / "runs", "--scheduler", address)
    (folder,) = (tmp_path / "runs").iterdir()
    there = load_run(folder).results()["frechet"]
    gflow("analyze", folder)
    assert load_run(folder).results()["frechet"]["scores"] == there["scores"]
    gflow("analyze", folder, "--scheduler", address)
    assert load_run(folder).results()["frechet"]["scores"] == there["scores"]
    for name, words in (("here", ()), ("there", ("--scheduler", address))):
        gflow("sample", folder, "--n", 9000, "--out", tmp_path / f"{name}.npy", *words)
    assert np.array_equal(np.load(tmp_path / "there.npy"), np.load(tmp_path / "here.npy"))
    assert torch.equal(load_run(folder).sample(300, scheduler=address), load_run(folder).sample(300))


def test_a_wrong_address_is_told_before_anything_is_done(gflow, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    recipe = tmp_path / "ring.toml"
    recipe.write_text(RECIPE)
    said = gflow("run", recipe, "--runs", tmp_path / "runs", "--scheduler", "tcp://127.0.0.1:1", code=2)
    assert "no dask scheduler answers there" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ("nofile.json", "No such file or directory"),
        ("localhost", "No such file or directory"),
        ("empty.json", "not a dask scheduler's file"),
        ("tcp://127.0.0.1", "not the address of a dask scheduler"),
    ],
)
def test_what_is_no_scheduler_is_told_at_once(scheduler, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty.json").write_text("{}")
    with pytest.raises(GflowError, match=rf"^--scheduler {scheduler}: {said}; name a scheduler's address"):
        cluster.connected(scheduler).__enter__()


def test_workers_of_another_version_are_told_before_anything_is_done(address, monkeypatch):
    from distributed import versions

    told = versions._version_cached
    monkeypatch.setattr(versions, "_version_cached", lambda name: "0.0.9" if name == "gflow-core" else told(name))
    with pytest.raises(GflowError, match=r"the worker tcp.* has gflow-core .*, here it is 0\.0\.9"):
        around.workers(address).__enter__()


def test_of_several_processes_the_first_one_connects(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with around.workers("tcp://127.0.0.1:1") as found:
        assert found is map
