"""torchvision imports, whatever torch stands beside it, for whoever imports it once gflow is there."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import gflow_core
from importlib.util import find_spec
assert find_spec("torchvision") and "torch" not in sys.modules  # nothing is loaded before it is wanted

import torchvision.transforms.v2, torchvision.datasets, torchvision.models, torchvision.utils
import importlib, torch
from gflow_core.nn.torchvision_fix import install
finders = list(sys.meta_path)
install()
assert sys.meta_path == finders
importlib.reload(torchvision)
print(tuple(torchvision.models.resnet18(num_classes=3).eval()(torch.zeros(1, 3, 32, 32)).shape))
"""


def test_in_a_fresh_process():
    out = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert out.stdout.strip() == "(1, 3)", out.stderr
