"""Tiny runs, through the command line as a user would start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner

from gflow_core.cli import main

# Tests that send Ctrl-C start processes, which would inherit an ignored SIGINT from a test run in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

PLANE = """
gflow = 1
[dataset]
use = "ring"
n = 500
[sampler]
use = "vgrow.mlp"
width = 16
[discriminator]
use = "vgrow.mlp"
width = 16
[objective]
use = "vgrow.flow"
pool_size = 64
inner_loops = 3
projection_passes = 2
[optimizer.sampler]
use = "adam"
lr = 1e-3
[optimizer.discriminator]
use = "adam"
lr = 1e-3
[train]
steps = 6
batch_size = 32
sample_every = 2
checkpoint_every = 2
device = "cpu"
"""

# Batch norm, flips and dither, an average of weights, a schedule, bf16: everything that has a state.
IMAGES = """
gflow = 1
[dataset]
use = "mnist5k"
image_size = 16
fit = "resize"
limit = 200
flip = true
dither = true
[sampler]
use = "vgrow.resnet"
channels = 8
latent = { use = "uniform", dim = 8 }
[discriminator]
use = "vgrow.resnet"
channels = 8
variant = "authors"
[objective]
use = "vgrow.flow"
pool_size = 32
inner_loops = 3
projection_passes = 2
[optimizer.sampler]
use = "rmsprop"
lr = 1e-3
schedule = { use = "multistep", milestones = [3], factor = 0.5 }
[optimizer.discriminator]
use = "rmsprop"
lr = 1e-3
[train]
steps = 6
batch_size = 16
sample_every = 3
checkpoint_every = 2
device = "cpu"
precision = "bf16"
ema = { decay = 0.9, start = 2 }
"""


@pytest.fixture
def plane(tmp_path) -> Path:
    path = tmp_path / "plane.toml"
    path.write_text(PLANE)
    return path


@pytest.fixture
def images(tmp_path) -> Path:
    path = tmp_path / "images.toml"
    path.write_text(IMAGES)
    return path


@pytest.fixture
def gflow(tmp_path):
    """Run a command in this process; returns its result, having checked that no traceback escaped."""

    def call(*words: object, code: int = 0):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture
def start(tmp_path):
    """Start a command as a process of its own."""

    def call(*words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gflow_core", *(str(word) for word in words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return call


@pytest.fixture
def weights():
    """Every file of a run's newest checkpoint, as bytes."""

    def read(run: Path) -> dict[str, bytes]:
        newest = sorted((run / "checkpoints").iterdir())[-1]
        return {path.name: path.read_bytes() for path in newest.iterdir()}

    return read


class Killed(BaseException):
    """As SIGKILL: nothing is tidied up after it."""


def deadly(passed, n, change, *arguments, **options):
    if next(passed) >= n:
        raise Killed
    return change(*arguments, **options)


@pytest.fixture
def kill_at(monkeypatch):
    """From the n-th change of a directory on none is made any more. Returns whether it came to that."""

    def arm(n: int, work) -> bool:
        passed = count(1)
        with monkeypatch.context() as patch:
            for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
                patch.setattr(os, name, partial(deadly, passed, n, getattr(os, name)))
            try:
                work()
            except Killed:
                return True
        return False

    return arm


@pytest.fixture
def tree():
    """What a run folder holds, but for times, who made it when, and what a kill left beside recipe.toml."""

    def read(run: Path) -> dict[str, bytes]:
        found = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}
        lines = [json.loads(line) | {"seconds": 0} for line in found["metrics.jsonl"].splitlines()]
        own = {"recipe.toml", "manifest.json", ".lock"}
        found = {name: data for name, data in found.items() if name not in own and not name.startswith(".gflow-")}
        return found | {"metrics.jsonl": repr(lines).encode()}

    return read
