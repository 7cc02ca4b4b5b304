"""Two processes on one machine (gloo) compute what one does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gflow_core.cli.launch import _LOST, _told
from gflow_core.errors import GflowError
from gflow_core.machine.runtime import Runtime

COMPUTER = """
import json, sys
import torch
from safetensors.torch import save_file
from gflow_core.runs.build import build
from gflow_core.recipes.recipe import load

for line in sys.stdin:
    recipe, out, dtype, steps, overrides = json.loads(line)
    torch.set_default_dtype(getattr(torch, dtype))
    experiment = build(load(recipe, overrides).spec)
    for step in range(1, steps + 1):
        for metrics in experiment.objective.step(step):
            pass
    found = {f"sampler.{k}": v for k, v in experiment.sampler.state_dict().items()}
    found |= {f"discriminator.{k}": v for k, v in experiment.discriminator.state_dict().items()}
    found |= {f"metric.{k}": v for k, v in metrics.items()}
    save_file({k: v.contiguous() for k, v in found.items()}, f"{out}.{experiment.runtime.rank}")
    print("done", flush=True)
"""

Weights = list[dict[str, torch.Tensor]]


class Computers:
    """Processes that train together; they import torch once for all tests."""

    def __init__(self, world: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
        size = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", COMPUTER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **address, **size, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(world)
        ]

    def __call__(self, out: Path, recipe: Path, dtype: str, steps: int, *overrides: str) -> Weights:
        """What each process has after so many steps: networks, and what the last step observed."""
        for process in self.processes:
            process.stdin.write(json.dumps([str(recipe), str(out), dtype, steps, overrides]) + "\n")
            process.stdin.flush()
        assert [process.stdout.readline() for process in self.processes] == ["done\n"] * len(self.processes)
        return [load_file(f"{out}.{rank}") for rank in range(len(self.processes))]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def computers():
    """Number of processes -> what computes with so many."""
    started: dict[int, Computers] = {}
    yield lambda world: started.get(world) or started.setdefault(world, Computers(world))
    for one in started.values():
        one.close()


@pytest.fixture
def compute(computers, tmp_path):
    return lambda world, *words: computers(world)(tmp_path / f"out{world}", *words)


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[k] - other[k]).abs().max()) for k in one)


@pytest.mark.parametrize(("dtype", "steps", "tolerance"), [("float64", 3, 1e-10), ("float32", 1, 1e-5)])
def test_the_same_global_batch_gives_the_same_weights(plane, compute, dtype, steps, tolerance):
    (alone,) = compute(1, plane, dtype, steps)
    first, second = compute(2, plane, dtype, steps)
    assert difference(first, second) == 0, "the processes disagree"
    assert difference(alone, first) < tolerance
    (elsewhere,) = compute(1, plane, dtype, steps, "train.batch_size=16")
    assert difference(alone, elsewhere) > 100 * tolerance, "another batch would not be noticed"


@pytest.mark.parametrize(
    "options",
    [
        ["objective=far.fake_as_real", "objective.fake_as_real=6", "objective.candidates=40"],
        ["objective=adversarial", "objective.penalty.use=interpolation"],
        [
            "objective=adversarial",
            "objective.loss=relativistic",
            'objective.penalty=["r1", "r2"]',
            "train.accumulate=2",
        ],
        ["objective=adversarial", "objective.pack=2", "train.clip=0.1"],
    ],
    ids=["far", "interpolation", "relativistic in pieces", "packs"],
)
def test_adversarial_steps_over_processes(plane, compute, options):
    """FAR's lowest logits are chosen over all processes; pairs to interpolate stay pairs."""
    words = (plane, "float64", 3, *options)
    (alone,) = compute(1, *words)
    first, second = compute(2, *words)
    assert difference(first, second) == 0, "the processes disagree"
    assert difference(alone, first) < 1e-10


def test_a_velocity_of_the_whole_pool_over_processes(tmp_path, compute):
    """Every process moves its slice by what all particles and all data of the batch say."""
    path = tmp_path / "flow.toml"
    path.write_text(
        'gflow = 1\n[dataset]\nuse = "ring"\nn = 200\n[sampler]\nuse = "vgrow.mlp"\nwidth = 16\n'
        '[discriminator]\nuse = "vgrow.mlp"\n'  # which nobody trains
        '[objective]\nuse = "flow"\nvelocity = { use = "mmd", noise = 0.5, bandwidth = 5.0 }\n'
        'pool_size = 24\nchunk_size = 5\n[optimizer.sampler]\nuse = "sgd"\nlr = 0.05\n'
        '[train]\nsteps = 3\nbatch_size = 12\nprecision = "float32"\ndevice = "cpu"\n'
    )
    words = (path, "float64", 2)
    (alone,) = compute(1, *words)
    first, second = compute(2, *words)
    assert difference(first, second) == 0, "the processes disagree"
    assert difference(alone, first) < 1e-10


@pytest.fixture
def labelled(tmp_path, rng) -> Path:
    """A recipe whose networks read labels of two real numbers; no batch norm, no dropout."""
    x = rng.integers(0, 256, (60, 16, 16), np.uint8)
    np.savez(tmp_path / "x.npz", x=x, y=rng.choice([-1.0, 1.0], (60, 2)))
    networks = "".join(
        f'[{kind}]\nuse = "cgan.conv"\nwidth = 4\nuse_batch_norm = false\n[optimizer.{kind}]\nuse = "sgd"\nlr = 0.05\n'
        for kind in ("sampler", "discriminator")
    )
    path = tmp_path / "labelled.toml"
    path.write_text(
        f'gflow = 1\n[dataset]\nuse = "array"\nroot = "{tmp_path}/x.npz"\nkey = "x"\nimage_size = 16\nchannels = 1\n'
        f'labels = "y"\nconditions = ["angle", "size"]\n{networks}[objective]\nuse = "adversarial"\n'
        '[train]\nsteps = 3\nbatch_size = 12\nprecision = "float32"\ndevice = "cpu"\n'
    )
    return path


@pytest.mark.parametrize(
    "objective",
    [
        "{ use = 'vgrow.flow', pool_size = 24, inner_loops = 2, projection_passes = 1, chunk_size = 5 }",
        "{ use = 'far.fake_as_real', fake_as_real = 4, candidates = 20 }",
    ],
    ids=["flow", "far"],
)
def test_labels_stay_with_their_items_over_processes(labelled, compute, objective):
    words = (labelled, "float64", 2, f"objective={objective}")
    (alone,) = compute(1, *words)
    first, second = compute(2, *words)
    assert difference(first, second) == 0, "the processes disagree"
    assert difference(alone, first) < 1e-8


def test_dropout_over_processes_resumes_exactly(labelled, tmp_path, start):
    words = ["sampler=cgan.mlp", "discriminator=cgan.mlp", "train.devices=2"]
    words += ["train.steps=3", "train.checkpoint_every=1", "train.keep=3"]
    process = start("run", labelled, *words, "--runs", tmp_path / "runs")
    out = process.communicate(timeout=180)[0]
    assert process.returncode == 0, out
    run = tmp_path / "runs" / "labelled-s0-001"
    saved = run / "checkpoints/000003/sampler.safetensors"
    whole = saved.read_bytes()
    process = start("resume", run, "--checkpoint", "000001")
    out = process.communicate(timeout=180)[0]
    assert process.returncode == 0, out
    assert "after step 1" in out
    assert saved.read_bytes() == whole


def test_batch_norm_keeps_its_own_statistics_and_averages_its_buffers(images, gflow, tmp_path, start):
    process = start("run", images, "--runs", tmp_path / "runs", "train.devices=2", "train.steps=2")
    out = process.communicate(timeout=180)[0]
    assert process.returncode == 0, out
    assert out.count("run folder") == 1, "only one process speaks"
    gflow("sample", tmp_path / "runs" / "images-s0-001", "--out", tmp_path / "x.png")


def test_devices_from_the_command_line(plane, gflow, start, tmp_path):
    """And the processes agree on which checkpoint is the best, the first of equals, and on the end."""
    words = ["train.keep_best=min:mode_coverage.modes_total", "train.stop_after=2", "train.keep=1"]
    words += ["analyze.0=mode_coverage", "analyze.0.every=1"]
    process = start("run", plane, "--runs", tmp_path / "two", "train.devices=2", *words)
    out = process.communicate(timeout=180)[0]
    assert process.returncode == 0, out
    assert {path.name for path in (tmp_path / "two/plane-s0-001/checkpoints").iterdir()} == {"000001", "000003"}
    gflow("run", plane, "--runs", tmp_path / "one", "train.steps=1")
    saved = [tmp_path / runs / "plane-s0-001/checkpoints/000001/sampler.safetensors" for runs in ("one", "two")]
    assert difference(load_file(saved[0]), load_file(saved[1])) < 1e-5


def test_ctrl_c_stops_all_and_a_resume_goes_on(plane, tmp_path):
    command, environment = [sys.executable, "-m", "gflow_core"], {**os.environ, "OMP_NUM_THREADS": "1"}
    words = ["train.devices=2", "objective.inner_loops=250", "train.steps=2", "train.checkpoint_every=1"]
    process = subprocess.Popen(
        [*command, "run", str(plane), *words, "--runs", str(tmp_path / "runs")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, env=environment,
    )  # fmt: skip
    saved = tmp_path / "runs" / "plane-s0-001" / "checkpoints"
    end = time.monotonic() + 120
    while not (saved / "000001").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out = process.communicate(timeout=90)[0]
    assert process.returncode == 130, out
    assert out.count("and saved") == 1
    assert "Traceback" not in out
    assert not (saved / "000002").exists()
    done = subprocess.run(
        [*command, "resume", str(saved.parent)], capture_output=True, text=True, timeout=180, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (saved / "000002").is_dir()


def told(*codes: int, said: str | None = None) -> int:
    return _told([SimpleNamespace(exitcode=code) for code in codes], codes[0], said)


def test_what_another_process_than_the_first_says_is_told_once():
    for first in (_LOST, 130, -signal.SIGTERM):
        with pytest.raises(GflowError, match=r"^no room on its GPU$"):
            told(first, 2, said="no room on its GPU")
    assert told(2, 2, said="what the first has said, too") == 2
    with pytest.raises(GflowError, match=r"^process 1 of 2 left with exit code 3 and did not say why; gflow resume"):
        told(_LOST, 3)


def test_a_killed_process_is_named():
    """The others are ended by torch, with SIGTERM, or find the killed one gone."""
    with pytest.raises(GflowError, match=r"process 1 of 3 was killed by SIGKILL, .*; gflow resume"):
        told(_LOST, -signal.SIGKILL, -signal.SIGTERM)
    assert told(_LOST, 2) == told(2, _LOST) == 2
    assert told(130, 130) == 130
    assert told(-signal.SIGTERM, 0) == 128 + signal.SIGTERM


def test_what_does_not_divide(plane, start, gflow, tmp_path, monkeypatch):
    assert "multiple of train.devices" in gflow("run", plane, "train.devices=3", code=2).output
    process = start("run", plane, "--runs", tmp_path / "runs", "train.devices=2", "objective.pool_size=63")
    out = process.communicate(timeout=120)[0]
    assert process.returncode == 2, out
    assert "pool_size = 63" in out
    assert "Traceback" not in out
    # What follows is refused before processes talk: the first one of two tells as well.
    monkeypatch.setattr("gflow_core.runs.build.Runtime.of", lambda *_, **__: Runtime(torch.device("cpu"), world=2))
    words = ["objective=far.fake_as_real", "objective.fake_as_real=5"]
    out = gflow("run", plane, "--runs", tmp_path / "runs", *words, code=2).output
    assert "objective.fake_as_real = 5 does not divide among 2 processes" in out
    words = ["objective=far.fake_as_real", "objective.penalty.use=interpolation"]
    out = gflow("run", plane, "--runs", tmp_path / "runs", *words, code=2).output
    assert "train in one process" in out


def test_a_launcher_with_a_count_that_does_not_divide(plane, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=3", "-m", "gflow_core"]
    done = subprocess.run(
        [*torchrun, "run", str(plane), "objective.pool_size=96", "--runs", str(tmp_path / "runs")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("error: train.batch_size = 32 does not divide among 3 processes") == 1


@pytest.mark.parametrize("value", ["abc", "-1"])
def test_a_broken_launcher(gflow, plane, tmp_path, monkeypatch, value):
    monkeypatch.setenv("WORLD_SIZE", value)
    assert f'WORLD_SIZE is "{value}"' in gflow("run", plane, "--runs", tmp_path / "runs", code=2).output


def test_sigterm_while_starting_leaves_no_orphans(plane, start, tmp_path):
    process = start("run", plane, "--runs", tmp_path / "runs", "train.devices=2", "train.steps=100000")
    time.sleep(5)  # imports, or the start of training: either must end all
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=90)
    assert process.returncode != 0
    end = time.monotonic() + 30
    while left := [pid for pid in children if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end, left
        time.sleep(0.1)
