"""What a run needs at least in memory: enough to refuse what cannot fit before a run folder is made."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import is_lazy

from gflow_core.errors import GflowError
from gflow_core.machine.runtime import choose_device
from gflow_core.parts.spec import Spec, Train
from gflow_core.recipes.joined import joins
from gflow_core.recipes.words import path_text
from gflow_core.runs.memory import gigabytes

__all__ = ["Need", "check_memory", "growing", "memory_of"]

_FLOAT = 4  # bytes
_TENSORS = 10_000
"""Parameter tensors of a network; one of more takes minutes to build, and is a slip of the keyboard."""


@attrs.frozen
class Need:
    """Something that a run holds."""

    what: str
    why: str
    """The options that it comes from."""
    bytes: int
    on_device: bool = True


def check_memory(spec: Spec, networks: Mapping[str, nn.Module | None] | None = None) -> list[Need]:
    """What the run holds at least, activations left out: by its options, and by its networks once they are built.

    Raises GflowError where the machine has less in all.
    """
    device = choose_device(spec.train.device if spec.train else "auto")
    found = [*_by_options(spec), *_by_networks(spec, networks or {})]
    host = torch.device("cpu")
    for place in dict.fromkeys((device, host)):
        own = [need for need in found if (device if need.on_device else host) == place]
        total, have = sum(need.bytes for need in own), memory_of(place)
        if have is not None and total > have:
            most = max(own, key=lambda need: need.bytes)
            rest = f", {gigabytes(total)} with all else" if len(own) > 1 else ""
            raise GflowError(
                f"{most.why}: {most.what} would take {gigabytes(most.bytes)} at least{rest}, and this machine has "
                f"{gigabytes(have)} of memory{' on its GPU' if place.type == 'cuda' else ''}; make it smaller"
            )
    return found


@contextmanager
def growing(kind: str, times: int = 1) -> Iterator[None]:
    """A network, one of so many, is built in the block; GflowError as soon as all are too large for the machine."""
    have = memory_of(torch.device("cpu"))  # they are moved to a device afterwards
    who = f"train.replicas = {times}, {kind}" if times > 1 else kind
    of = "" if have is None else f" of {gigabytes(have)}"
    large = GflowError(f"{who}: its weights would take more than this machine's memory{of}; make it smaller")
    tensors = size = 0

    def count(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> None:
        nonlocal tensors, size
        if parameter is not None:
            tensors += 1
            size += 0 if is_lazy(parameter) else parameter.numel() * parameter.element_size()
        if tensors > _TENSORS:
            raise GflowError(f"{kind}: it has more than {_TENSORS:,} tensors of weights; make it less deep")
        if have is not None and size * times > have:
            raise large

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise large from error
        raise
    finally:
        handle.remove()


def memory_of(device: torch.device) -> float | None:
    """Bytes of memory in all of a device; None where the system does not tell."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    try:
        have = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # Windows
        return None
    try:  # a container's
        return min(have, float(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return have


def _times(train: Train | None) -> str:
    return f"train.replicas = {train.replicas}, " if train is not None and train.replicas > 1 else ""


def _by_options(spec: Spec) -> Iterator[Need]:
    """Data, batches, particles, samples of analyses: by the options alone."""
    shape, train = spec.data_shape(), spec.train
    item = math.prod(shape.shape) if shape is not None else 0
    for place, part in joins(spec.dataset):
        n = getattr(part, "n", None)
        if isinstance(n, int) and shape is not None:
            size = 1 if shape.kind == "image" else _FLOAT
            yield Need("the data", f"{path_text(place)}.n = {n}", n * item * size, on_device=False)
    if spec.objective is not None and train is not None:
        # Of real and of generated items; of replicas each has its own.
        batch = 2 * train.batch_size * item * _FLOAT * train.replicas // train.devices
        of_image = f" of {shape}" if shape is not None and shape.kind == "image" else ""
        yield Need("a batch", f"train.batch_size = {train.batch_size}{of_image}", batch)
        pool = getattr(spec.objective, "pool_size", None)
        if isinstance(pool, int):
            # z, where particles left and where they are.
            each = (spec.sampler.latent.dim + 2 * item) * _FLOAT
            what = f"{_times(train)}objective.pool_size = {pool}{of_image}"
            yield Need("the pool", what, pool * each * train.replicas)
    for i, analysis in enumerate(spec.analyze):
        samples = getattr(analysis.part, "samples", None)
        if isinstance(samples, int):  # whatever is measured, a number of each
            yield Need(
                f"{analysis.name}'s samples", f"analyze.{i}.samples = {samples}", samples * _FLOAT, on_device=False
            )


def _by_networks(spec: Spec, networks: Mapping[str, nn.Module | None]) -> Iterator[Need]:
    """Weights of all replicas, and what training adds to them."""
    train = spec.train
    times = _times(train)
    for kind, module in networks.items():
        if module is None:
            continue
        size = sum(p.numel() * p.element_size() for p in module.parameters())
        yield Need(f"the {kind}'s weights", f"{times}[{kind}]", size)
        if kind in getattr(spec.objective, "players", ()):
            moments = 2 if hasattr(spec.optimizer[kind], "betas") else 0
            what = f"the {kind}'s gradients" + " and Adam's moments" * (moments > 0)
            yield Need(what, f"{times}[{kind}]", (1 + moments) * size)
        if kind == "sampler" and train is not None and train.ema is not None:
            yield Need("averaged weights", f"{times}train.ema", size)
