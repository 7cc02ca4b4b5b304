"""All that trains and measures runs on a pretend CUDA device, which finds what a GPU would refuse or wait for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parent


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch has a CUDA of its own")
@pytest.mark.skipif(sys.platform != "linux" or shutil.which("g++") is None, reason="needs Linux and g++")
def test_on_the_device():
    """In a process of its own: the device comes before torch, and stays."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pretend_cuda", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(
        [*command, str(TESTS / "pretend_cuda/on_the_device.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
