"""Functions of networks that the workers of a cluster call as well: what they hold lands on each worker's device."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gflow_core.machine.runtime import Runtime, choose_device
from gflow_core.parts.analysis import Subject
from gflow_core.parts.spec import Train

__all__ = ["Portable", "folded", "portable"]

X = TypeVar("X")
Y = TypeVar("Y")

_LANDING = threading.Lock()
_RUNNING = threading.Lock()


class Portable(Generic[X, Y]):
    """`function(runtime, item)` as a function of the item, in this process or, pickled, in another.

    In this process it is called as it stands. In another the first call puts every tensor that it holds on the device
    that train.device means there (GflowError if there is none), and takes the precision of this run; what it returns
    comes back on the CPU. Networks must be in eval mode and must not draw from torch's global generators, which nobody
    seeds there.
    """

    def __init__(self, function: Callable[[Runtime, X], Y], runtime: Runtime, train: Train | None) -> None:
        self._here: tuple[Callable[[Runtime, X], Y], Runtime] | None = (function, runtime)
        self._device: str = train.device if train else "auto"
        self._bf16 = runtime.bf16
        self._packed: bytes | None = None

    def __call__(self, item: X) -> Y:
        with _LANDING:
            if self._here is None:
                assert self._packed is not None
                device = choose_device(self._device)
                function = torch.load(io.BytesIO(self._packed), map_location=device, weights_only=False)
                self._here = function, Runtime(device, self._bf16)
        function, runtime = self._here
        if self._packed is None:
            return function(runtime, item)
        # Encoders set flags of cuDNN, which are the whole process's; several threads gain nothing there.
        with nullcontext() if runtime.device.type == "cpu" else _RUNNING:
            found: Y = _on_cpu(function(runtime, item))
        return found

    def __getstate__(self) -> tuple[bytes, str, bool]:
        if self._packed is not None:
            return self._packed, self._device, self._bf16
        assert self._here is not None
        return _packed(self._here[0]), self._device, self._bf16

    def __setstate__(self, state: tuple[bytes, str, bool]) -> None:
        self._here = None
        self._packed, self._device, self._bf16 = state


def portable(function: Callable[[Runtime, X], Y], subject: Subject) -> Portable[X, Y]:
    """`function` of networks in an analyzer's subject, for `subject.map`."""
    return Portable(function, subject.runtime, subject.spec.train)


def _on_cpu(tree: Any) -> Any:
    """Tensors, also those in tuples and lists, on the CPU."""
    if isinstance(tree, Tensor):
        return tree.cpu()
    return type(tree)(map(_on_cpu, tree)) if type(tree) in (tuple, list) else tree


def folded(module: nn.Module) -> nn.Module:
    """A copy whose parametrized weights are the plain ones that they amount to in eval mode."""
    copy: nn.Module = torch.load(io.BytesIO(_packed(module)), weights_only=False)
    return copy


@torch.no_grad()
def _folded(module: nn.Module) -> dict[str, Any]:
    """The attributes of the module that this one would be with its weights as they are now."""
    assert isinstance(module.parametrizations, nn.ModuleDict)
    weights = {name: nn.Parameter(getattr(module, name), requires_grad=False) for name in module.parametrizations}
    children = {name: child for name, child in module._modules.items() if name != "parametrizations"}
    return {**module.__dict__, "_parameters": {**module._parameters, **weights}, "_modules": children}


def _packed(function: Any) -> bytes:
    """By torch.save, whose tensors can be loaded on another device than they were on."""
    from cloudpickle import Pickler

    class Folding(Pickler):  # type: ignore[misc]
        """Parametrized weights, which do not pickle, become the plain weights that they amount to in eval mode."""

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, nn.Module) and parametrize.is_parametrized(obj):
                return object.__new__, (parametrize.type_before_parametrizations(obj),), _folded(obj)
            return super().reducer_override(obj)

    buffer = io.BytesIO()
    torch.save(function, buffer, pickle_module=SimpleNamespace(__name__=__name__, Pickler=Folding))
    return buffer.getvalue()
