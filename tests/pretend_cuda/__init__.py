"""A CUDA device for machines without one: its tensors say cuda:0, hold the CPU's numbers, and are misused at a price.

Importing this gives the process the device for good, and comes before torch: a script's first line, or

    PYTHONPATH=tests python -m pytest -p pretend_cuda FILES

Where two devices meet, a CPU generator draws on the device, or a tensor becomes an array without `.cpu()`, it raises
what CUDA raises and names the line. `record()` counts launches, casts, copies and waits, by line. What it cannot tell:
what kernels round, and how long anything takes.
"""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory


def _guard() -> None:
    """Build and load what C++ asks of the device. Torch looks for it once, when it is imported."""
    if "torch" in sys.modules:
        raise ImportError("import pretend_cuda before torch")
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    torch = Path(spec.origin).parent
    includes = [f"-I{torch / 'include' / more}" for more in ("", "torch/csrc/api/include")]
    libraries = [f"-L{torch / 'lib'}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{torch / 'lib'}"]
    with TemporaryDirectory() as folder:
        built = Path(folder) / "guard.so"
        source = Path(__file__).with_name("guard.cpp")
        command = ["g++", "-std=c++20", "-shared", "-fPIC", *includes, str(source), "-o", str(built), *libraries]
        subprocess.run(command, check=True)
        ctypes.CDLL(str(built))


_guard()

from pretend_cuda.device import install  # noqa: E402
from pretend_cuda.record import Record, record  # noqa: E402

__all__ = ["Record", "pytest_configure", "record"]

install()


def pytest_configure() -> None:
    """Checks of objectives and analyzers train on the device. What modules import is asked on the host alone."""
    from gflow_core.testing import objectives, promises

    objectives.DEVICE = "cuda"
    promises.imports_torch = lambda _: ""  # type: ignore[assignment]
