"""torchvision imports, whatever torch stands beside it."""

from __future__ import annotations

import subprocess
import sys

CODE = """
from gflow_core.nn.torchvision_fix import import_torchvision
torchvision = import_torchvision()
import_torchvision.cache_clear()
assert import_torchvision() is torchvision  # also after somebody else imported it
import torchvision.datasets, torchvision.models, torchvision.transforms.v2, torchvision.utils
import torch
print(tuple(torchvision.models.resnet18(num_classes=3).eval()(torch.zeros(1, 3, 32, 32)).shape))
"""


def test_in_a_fresh_process():
    out = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert out.stdout.strip() == "(1, 3)", out.stderr
