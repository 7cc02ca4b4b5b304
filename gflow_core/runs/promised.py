"""What parts build, tried once before a run begins, or watched in its first step; what steps yield, in each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import attrs
import torch
from torch import Generator, Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from gflow_core.errors import PluginError, shown
from gflow_core.files.checkpoint import unsavable
from gflow_core.files.weights import not_finite
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import seeded
from gflow_core.optim.player import evaluating
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.returned import kind_fault, named, refuse, tensor_fault, what
from gflow_core.parts.spec import Spec
from gflow_core.parts.training import Experiment, Metrics, Objective, Phase
from gflow_core.recipes.checks import parts_in
from gflow_core.runs.state import capture, networks

__all__ = [
    "built_objective",
    "check_augmentations",
    "check_network",
    "checked_step",
    "module_fault",
]

_TWO = " for two items"
_TAKEN = ("step", "seconds", "seeds")
"""What else a line of metrics.jsonl holds."""


def module_fault(module: Any) -> str | None:
    """Why it is no network, in words that follow "returns"; None where it is one."""
    if fault := kind_fault(module, nn.Module, "a torch.nn.Module"):
        return fault
    if isinstance(module, torch.jit.ScriptModule):
        return "a scripted module, which takes no hooks; return the module itself, or one that holds it"
    for name, tensor in module.state_dict().items():
        if is_lazy(tensor):
            return f"a network whose {name} has no size before it is used; build layers with the size of their input"
        if isinstance(tensor, Tensor) and tensor.is_meta:
            return f"a network on the meta device: {name} holds no numbers"
    return None


@torch.no_grad()
def check_network(kind: str, module: nn.Module, part: Any, shape: DataShape | None, runtime: Runtime) -> None:
    """Two items through the network, in eval mode: what comes out must be the contract's. Raises PluginError."""
    if kind == "sampler":
        given = part.latent.draw(2, Generator().manual_seed(0))
        refuse("latent", part.latent, "draw", tensor_fault(given, (2, part.latent.dim), _TWO))
    if shape is None:
        shape = part.data_shape() if hasattr(part, "data_shape") else None
    if shape is not None:
        x, y = _two_items(shape)
        expected = tuple(x.shape) if kind == "sampler" else (2,)
        here = [given if kind == "sampler" else x] + ([y] if part.conditional and y is not None else [])
        with evaluating(module), seeded(0):
            out = module(*(tensor.to(runtime.device) for tensor in here))
        refuse(kind, part, "forward", tensor_fault(out, expected, _TWO, finite=False))
    # Weights before what they make: the cause is named.
    if name := not_finite(module.state_dict()):
        refuse(kind, part, "build", f"a network whose {name} is not finite")
    # Of unbounded data nothing says which items there may be: the first step has real ones.
    if shape is not None and (kind == "sampler" or shape.low is not None):
        refuse(kind, part, "forward", tensor_fault(out, expected, _TWO))


def _two_items(shape: DataShape) -> tuple[Tensor, Tensor | None]:
    """Two items in the range of the data, and labels where it has them."""
    generator = Generator().manual_seed(0)
    if shape.low is not None and shape.high is not None:
        x = shape.low + (shape.high - shape.low) * torch.rand(2, *shape.shape, generator=generator)
    else:
        x = torch.randn(2, *shape.shape, generator=generator)
    y = torch.zeros(2, dtype=torch.int64) if shape.classes else x.new_zeros(2, shape.label_size)
    return x, y if shape.label_size else None


@torch.no_grad()
def check_augmentations(spec: Spec, shape: DataShape) -> None:
    """Each augmentation of the recipe changes two items into two items. Raises PluginError."""
    for _, kind, part in parts_in(spec):
        if kind == "augmentation":
            x, _ = _two_items(shape)
            with seeded(0):
                drawn = part.draw(2, shape, Generator().manual_seed(0), 0)
                rows = isinstance(drawn, Tensor) and drawn.dim() > 0 and len(drawn) == 2
                refuse(kind, part, "draw", None if rows else "no tensor of two rows for two items")
                known = shape.low is not None  # else nothing says which items there may be
                refuse(kind, part, "apply", tensor_fault(part.apply(x, drawn), tuple(x.shape), _TWO, finite=known))


def built_objective(part: Any, objective: Any) -> Objective:
    """The objective, if it can be one. Raises PluginError."""
    fault = None
    if not callable(getattr(objective, "step", None)):
        fault = f"{what(objective)}, an object with a method step is expected"
    elif not attrs.has(type(getattr(objective, "state", None))):
        fault = "an objective whose state is no attrs object"
    refuse("objective", part, "build", fault)
    built: Objective = objective
    return built


def checked_step(experiment: Experiment, events: Any, *, first: bool) -> Iterator[Phase | Metrics]:
    """What a step yields, and in the first what networks return, if they keep their contracts. Raises PluginError."""
    part = experiment.spec.objective
    refuse("objective", part, "step", kind_fault(events, Iterable, "an iterator that yields its metrics"))
    last = None
    built = _sizes(experiment) if first else {}
    with _watching(experiment) if first else nullcontext():
        for last in events:
            refuse("objective", part, "step", _event_fault(last, len(experiment.spec.seeds)))
            yield last
    refuse("objective", part, "step", None if isinstance(last, Mapping) else "without yielding its metrics last")
    if first:
        built_objective(part, experiment.objective)  # its state may be another than at first
        _check_sizes(experiment, built)
        _check_savable(experiment)


def _sizes(experiment: Experiment) -> dict[str, dict[str, list[int]]]:
    """Network -> name -> size, of what a checkpoint holds of it; of a sampler also of what its average follows."""
    found = {name: dict(module.state_dict()) for name, module in networks(experiment).items()}
    if experiment.sampler is not None and experiment.ema is not None:
        found["sampler"] |= dict(experiment.sampler.named_buffers())
    return {
        network: {name: list(value.shape) for name, value in tensors.items() if isinstance(value, Tensor)}
        for network, tensors in found.items()
    }


def _check_sizes(experiment: Experiment, built: Mapping[str, Mapping[str, list[int]]]) -> None:
    """Networks are made of what they were built of: resuming builds them anew. Raises PluginError."""
    for network, sizes in _sizes(experiment).items():
        for name in dict.fromkeys([*built[network], *sizes]):
            was, now = (one.get(name, "not there") for one in (built[network], sizes))
            if was != now:
                kind = "sampler" if network == "ema" else network
                raise PluginError(
                    f"{named(kind, getattr(experiment.spec, kind))}: training changes what the network is made of, "
                    f"which no checkpoint and no average would fit: {name} was {was}, and is {now}; make it in "
                    "__init__, of the size that it keeps"
                )


def _check_savable(experiment: Experiment) -> None:
    """What the run is to be saved by can be: known here, and not hours later. Raises PluginError."""
    spec = experiment.spec
    owners = {name: (name, getattr(spec, name)) for name in ("sampler", "discriminator", "objective")}
    owners |= {"ema": ("sampler", spec.sampler)}
    owners |= {f"optimizer.{name}": ("optimizer", part) for name, part in spec.optimizer.items()}
    for name, state in capture(experiment).items():
        if name in owners and (found := unsavable(state)):
            raise PluginError(f"{named(*owners[name])}: its state has what a checkpoint cannot hold: {found}")


def _event_fault(event: Any, seeds: int) -> str | None:
    """Why it is neither a Phase nor metrics, in words that follow "returns"."""
    if isinstance(event, Phase):
        return None
    if not isinstance(event, Mapping):
        return f"an iterator that yields {what(event)}; a Phase or the metrics are expected"
    for name, value in event.items():
        if not isinstance(name, str) or name in _TAKEN:
            return f"a metric called {shown(name)}; its name is a word, and none of {', '.join(_TAKEN)}"
        if (
            not isinstance(value, Tensor)
            or value.is_complex()
            or value.is_meta
            or value.is_sparse
            or tuple(value.shape) not in ((), (seeds,))
        ):
            got = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else what(value)
            return f"the metric {name!r} as {got}; a tensor of one real number is expected"
    return None


@contextmanager
def _watching(experiment: Experiment) -> Iterator[None]:
    """The first forward of each network that is trained is looked at within the block. Raises PluginError."""
    spec, data = experiment.spec, experiment.spec.data_shape()
    shapes = {"sampler": data, "discriminator": spec.judged(data)}
    handles: dict[str, RemovableHandle] = {}

    def look(name: str, _module: nn.Module, given: Any, out: Any) -> None:
        handles[name].remove()
        shape = shapes[name]
        if shape is None or not given or not isinstance(given[0], Tensor):
            return
        x = tuple(given[0].shape)
        expected = (*x[:-1], *shape.shape) if name == "sampler" else x[: len(x) - len(shape.shape)]
        try:
            fault = tensor_fault(out, expected, " in training", finite=bool(given[0].isfinite().all()))
        except RuntimeError:  # within torch.func nobody can ask for values
            fault = tensor_fault(out, expected, " in training", finite=False)
        refuse(name, getattr(spec, name), "forward", fault)

    for name, player in experiment.players.items():
        handles[name] = player.module.register_forward_hook(partial(look, name))
    try:
        yield
    finally:
        for handle in handles.values():
            handle.remove()
