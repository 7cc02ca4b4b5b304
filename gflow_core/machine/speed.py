"""In which precision this processor is the faster at training on images: measured once, and kept in gflow's cache.

No property of a processor tells: with AVX512-BF16 but no AMX, AMD's Zen 4 is up to twice as fast in bfloat16, and
Intel's processors are slower.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from gflow_core.errors import GflowError
from gflow_core.files.cache import cache_folder
from gflow_core.files.locks import held
from gflow_core.files.reading import read_json
from gflow_core.files.sealed import SEAL, changed, digest, sealed
from gflow_core.files.whole import written_aside

__all__ = ["Speed", "kept_in", "measure", "processor", "speed_here"]

_CLEARLY = 1.2  # times the speed of float32: noise does not turn that, and less is not worth the digits
_BATCHES, _ROUNDS = (4, 32), 3
_SECONDS = 0.6  # of the processor's time, that the larger batch may take
_SHAPE = {"processor": str, "able": [str], "torch": str, "float32": float, "bf16": float, "measured": str}

# Windows counts a thread's time in ticks that are longer than what is measured.
_clock = time.perf_counter if sys.platform == "win32" else time.thread_time

logger = logging.getLogger("gflow")


@attrs.frozen
class Speed:
    """What one thread of a processor computes in training, in GFLOP a second of its time."""

    processor: str
    float32: float
    bf16: float
    measured: str
    """When: ISO 8601, UTC."""

    @property
    def takes_bf16(self) -> bool:
        """Whether bf16 is clearly the faster."""
        return self.bf16 > _CLEARLY * self.float32

    def __str__(self) -> str:
        return f"{self.float32:.3g} GFLOP a second in float32, {self.bf16:.3g} in bf16"


_unkept: dict[str, Speed] = {}
"""What could not be written, by the name of its file: measured, and told of, once a process."""


def speed_here(*, renew: bool = False) -> Speed:
    """This processor's, from the cache: measured where it is not there yet, or damaged, and to `renew` it.

    What cannot be kept is told of in a warning.
    """
    import torch

    # MKL keeps to a number of threads once it is stated, as measuring does: the same bits with and without.
    torch.set_num_threads(torch.get_num_threads())
    about = _about()
    if not renew and (found := _unkept.get(_name(about))):
        return found
    try:
        file = cache_folder() / _name(about)
        if not renew and (found := _read(file, about)):
            return found
        file.parent.mkdir(parents=True, exist_ok=True)
        with held(file.with_suffix(".lock"), waiting=lambda: None):
            if not renew and (found := _read(file, about, warn=True)):  # by another process meanwhile
                return found
            found = _measured(about)
            with written_aside(file) as aside:
                aside.write_text(json.dumps(sealed(about | attrs.asdict(found))), encoding="utf-8")
        _unkept.pop(_name(about), None)
    except (OSError, GflowError) as error:
        why = str(error)
        if isinstance(error, OSError):
            why = f"{error.filename}: {error.strerror}; set GFLOW_CACHE to a folder that can be written"
        logger.warning("which precision is the faster cannot be kept, and is measured at every start: %s", why)
        found = _unkept[_name(about)] = _measured(about)
    return found


def processor() -> str:
    """This machine's, by name and by the vector instructions that torch uses, as in "AMD EPYC, AVX2".

    Virtual processors have names that say little, and other instructions round in another way.
    """
    import torch

    found, vectors = torch.cpu.get_capabilities(), torch.backends.cpu.get_cpu_capability()
    name = str(found.get("cpu_name") or found["architecture"])
    return name if vectors in ("DEFAULT", "NO AVX") else f"{name}, {vectors}"


def kept_in() -> Path | None:
    """The file in which it is kept; None where it is not."""
    name = _name(_about())
    try:
        file = cache_folder() / name
    except GflowError:
        return None
    return file if file.is_file() and name not in _unkept else None


def measure() -> tuple[float, float]:
    """GFLOP a second in float32 and in bf16, of a convolution and a product with their gradients, within a second.

    They run as networks do: channels-last, under autocast, with weights in float32. One thread computes, and its own
    time counts, which other work on the machine does not change; several would wait for one another.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        small, large = _BATCHES
        rates, seconds = _rates(small)
        if seconds * large / small < _SECONDS:  # else bf16 is emulated, or the processor slow
            rates, _ = _rates(large)
    finally:
        torch.set_num_threads(threads)
    return rates


def _rates(batch: int) -> tuple[tuple[float, float], float]:
    """GFLOP a second in float32 and in bf16 for so many items, and the seconds of all rounds at that speed."""
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    channels, side, units = 128, 8, 64

    def ones(*size: int) -> Tensor:
        layout = torch.channels_last if len(size) == 4 else torch.contiguous_format
        return torch.ones(size, dtype=torch.float32).to(memory_format=layout).requires_grad_()

    x, kernel = ones(batch, channels, side, side), ones(channels, channels, 3, 3)
    matrix = ones(units, channels * side**2)
    gflop = 3 * 2 * batch * side**2 * channels * (9 * channels + units) / 1e9

    def train(bf16: bool) -> float:
        start = _clock()
        with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = F.linear(F.conv2d(x, kernel, padding=1).flatten(1), matrix)
        torch.autograd.grad(y, (x, kernel, matrix), torch.ones_like(y))
        return _clock() - start

    rounds = [(train(False), train(True)) for _ in range(_ROUNDS)]  # the first prepares, the fastest counts
    float32, bf16 = map(min, zip(*rounds, strict=True))
    return (gflop / float32, gflop / bf16), _ROUNDS * (float32 + bf16)


def _measured(about: Mapping[str, Any]) -> Speed:
    float32, bf16 = (float(f"{rate:.4g}") for rate in measure())
    return Speed(about["processor"], float32, bf16, datetime.now(UTC).isoformat(timespec="seconds"))


def _about() -> dict[str, Any]:
    """What the answer depends on."""
    import torch

    able = sorted(name for name, value in torch.cpu.get_capabilities().items() if value is True)
    return {"processor": processor(), "able": able, "torch": torch.__version__}


def _name(about: Mapping[str, Any]) -> str:
    return f"speed-{digest(about)[:16]}.json"


def _read(file: Path, about: Mapping[str, Any], *, warn: bool = False) -> Speed | None:
    """What is kept there; None where nothing is, or it is damaged or forged."""
    try:
        body = read_json(file, _SHAPE)
        if SEAL not in body or changed(body):
            raise ValueError("its content does not match its sha256")
        if any(body[key] != value for key, value in about.items()):
            raise ValueError("it is of another machine")
        if not all(0 < body[rate] < math.inf for rate in ("float32", "bf16")):
            raise ValueError("no speeds")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if warn:
            logger.warning("%s: damaged (%s); measured anew", file, error)
        return None
    return Speed(*(body[field.name] for field in attrs.fields(Speed)))
