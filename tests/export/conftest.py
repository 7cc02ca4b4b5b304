"""Tiny runs to take samples and samplers from, each made once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gflow_core.cli import main

TRAIN = """
gflow = 1
[dataset]
{dataset}
[sampler]
{sampler}
[discriminator]
{discriminator}
[objective]
use = "adversarial"
[optimizer.sampler]
use = "sgd"
lr = 0.01
[optimizer.discriminator]
use = "sgd"
lr = 0.01
[train]
steps = {steps}
batch_size = 8
precision = "float32"
device = "cpu"
"""
ARRAY = 'use = "array"\nroot = "{root}"\nkey = "x"\nimage_size = 16\n'
RECIPES = {
    # RGB images with classes, batch norm; vectors; grey images with two real numbers each, spectral norm.
    "classes": (ARRAY + "labels = 'y'\nclasses = 3", 'use = "cgan.conv"\nwidth = 4', 'use = "cgan.conv"\nwidth = 4'),
    "plane": ('use = "ring"\nn = 100', 'use = "vgrow.mlp"\nwidth = 8', 'use = "vgrow.mlp"\nwidth = 8'),
    "real": (
        ARRAY + "channels = 1\nlabels = 'r'\nconditions = ['angle', 'size']",
        'use = "cgan.conv"\nwidth = 4\nspectral_norm = 1',
        'use = "cgan.conv"\nwidth = 4\nspectral_norm = 1',
    ),
}


def invoke(*words: object, code: int = 0) -> str:
    """Run a command in this process; its output, having checked that no traceback escaped."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def gflow():
    return invoke


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """The folder of all that is made once for these tests: data in x.npz, runs under runs/."""
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 16, 16, 3), np.uint8)
    np.savez(folder / "x.npz", x=x, y=np.arange(40) % 3, r=rng.choice([-1.0, 1.0], (40, 2)))
    return folder


@pytest.fixture(scope="session")
def run(made):
    """A run of RECIPES by its name, two steps long, or another number of them."""

    def make(name: str, steps: int = 2) -> Path:
        path = made / "runs" / f"{name}{steps}-s0-001"
        if not path.exists():
            dataset, sampler, discriminator = RECIPES[name]
            dataset = dataset.replace("{root}", str(made / "x.npz"))
            text = TRAIN.format(dataset=dataset, sampler=sampler, discriminator=discriminator, steps=steps)
            (made / f"{name}{steps}.toml").write_text(text)
            before = os.environ.get("XDG_CACHE_HOME")
            os.environ["XDG_CACHE_HOME"] = str(made / "cache")
            try:
                invoke("run", made / f"{name}{steps}.toml", "--runs", made / "runs")
            finally:
                os.environ.pop("XDG_CACHE_HOME") if before is None else os.environ.update(XDG_CACHE_HOME=before)
        return path

    return make
