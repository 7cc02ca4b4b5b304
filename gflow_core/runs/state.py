"""All that the next step needs: taken from an experiment, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gflow_core.errors import CheckpointError
from gflow_core.files.checkpoint import Checkpoint, misfit
from gflow_core.files.weights import not_finite
from gflow_core.machine.streams import Streams
from gflow_core.parts.training import Experiment

__all__ = ["capture", "load_network", "networks", "restore"]

_CLASS = "class"  # beside an optimizer's state


def capture(experiment: Experiment) -> dict[str, Any]:
    """All that the next step needs, as trees of tensors and numbers."""
    assert experiment.objective is not None
    parts: dict[str, Any] = {name: streams.state_dict() for name, streams in streams_of(experiment).items()}
    for name, module in networks(experiment).items():
        parts[name] = dict(module.state_dict())
    for name, player in experiment.players.items():
        parts[f"optimizer.{name}"] = {_CLASS: type(player.optimizer).__name__, **player.optimizer.state_dict()}
    state = experiment.objective.state
    parts["objective"] = {f.name: getattr(state, f.name) for f in attrs.fields(type(state))}
    if experiment.feed is not None:
        parts["feed"] = {"position": experiment.feed.position}
    return parts


def restore(experiment: Experiment, state: Checkpoint, where: Path) -> None:
    """Put `capture`'s parts back. Raises CheckpointError if they are of another experiment."""
    with _fitting(where):
        for name, module in networks(experiment).items():
            load_network(name, module, state, where)
        for name, player in experiment.players.items():
            part, saved = experiment.spec.optimizer[name], state.parts[f"optimizer.{name}"]
            _restore_optimizer(player.optimizer, part, saved)
            had = {key for values in saved["state"].values() for key in values}
            if had and (lacking := _kept(player.module, part) - had):
                raise CheckpointError(
                    f"{where}: optimizer.{name} now needs {', '.join(sorted(lacking))} from the first step on, which "
                    "the run did not keep; leave out the option that does, or begin another run from these weights "
                    "(train.from_run)"
                )
        if experiment.objective is not None:
            fields = _to(state.parts["objective"], experiment.runtime.device)
            experiment.objective.state = type(experiment.objective.state)(**fields)
        if experiment.feed is not None:
            position = state.parts["feed"]["position"]
            if not (isinstance(position, int) and position >= 0):
                raise ValueError(f"it has read {position!r} items of the data")
            experiment.feed.position = position
        for name, streams in streams_of(experiment).items():
            streams.load_state_dict(state.parts[name])


def _restore_optimizer(optimizer: Optimizer, part: Any, saved: dict[str, Any]) -> None:
    """Its state; its options are the recipe's, which an override may have changed since."""
    groups, kind = optimizer.param_groups, type(optimizer).__name__
    # Some differ in a flag alone, as AdamW from Adam, which would be loaded with the state.
    unlike = saved.get(_CLASS, kind) != kind
    if unlike or any(set(before) - set(group) for before, group in zip(saved["param_groups"], groups, strict=False)):
        raise ValueError("its optimizer state is of another optimizer")
    options = [{key: group[key] for key in attrs.fields_dict(type(part)) if key in group} for group in groups]
    optimizer.load_state_dict({key: value for key, value in saved.items() if key != _CLASS})
    for group, own in zip(optimizer.param_groups, options, strict=True):
        group.update(own)
    if any(group.get("fused") for group in groups):  # one kernel reads and writes them all, and asks no shapes
        for parameter, values in optimizer.state.items():
            for key, value in values.items():
                if isinstance(value, Tensor) and value.shape != (() if key == "step" else parameter.shape):
                    raise ValueError(f"its optimizer state is of other weights ({key} {list(value.shape)})")


def _kept(module: nn.Module, part: Any) -> set[str]:
    """What such an optimizer keeps of a parameter: tried on small ones of as many dimensions as the module's."""
    sizes = {tuple([1] * parameter.dim()): parameter.dtype for parameter in module.parameters()}
    small = nn.ParameterList(torch.zeros(size, dtype=dtype) for size, dtype in sizes.items())
    try:
        optimizer: Optimizer = part.build(small)
        for parameter in small:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    except Exception:  # somebody's, which wants the network itself
        return set()
    return {key for values in optimizer.state.values() for key in values}


def load_network(name: str, module: nn.Module, state: Checkpoint, where: Path) -> None:
    """Put one network of the checkpoint back. Raises CheckpointError where it does not fit, or is not finite."""
    with _fitting(where):
        tensors = state.parts[name]
        if damaged := not_finite(tensors):
            raise CheckpointError(
                f"{where}: {name} {damaged} holds NaN or infinite values; go back to an earlier checkpoint with "
                "--checkpoint"
            )
        module.load_state_dict(tensors)


@contextmanager
def _fitting(where: Path) -> Iterator[None]:
    """Loading state into networks within the block; CheckpointError where it does not fit."""
    try:
        yield
    except (LookupError, AttributeError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{where}: the checkpoint does not fit the recipe: {misfit(error)}; put the recipe back as it was "
            "when the run began"
        ) from error


def _to(tree: Any, device: torch.device) -> Any:
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, dict):
        return {key: _to(value, device) for key, value in tree.items()}
    return type(tree)(_to(value, device) for value in tree) if isinstance(tree, list | tuple) else tree


def streams_of(experiment: Experiment) -> dict[str, Streams]:
    own = {f"streams.{index}": streams for index, streams in enumerate(experiment.replicas)}
    return {"streams": experiment.streams, **own}


def networks(experiment: Experiment) -> dict[str, nn.Module]:
    found = {
        "sampler": experiment.sampler,
        "discriminator": experiment.discriminator,
        "ema": experiment.ema.module if experiment.ema else None,
    }
    return {name: module for name, module in found.items() if module is not None}
