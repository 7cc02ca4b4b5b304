"""The check of objectives: they train, and what they save is all that the next step needs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

from gflow_core.errors import CheckpointError
from gflow_core.files.checkpoint import Checkpoint, pack, unpack
from gflow_core.machine.streams import seeded
from gflow_core.optim.optimizers import Adam
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.spec import NETWORKS, Spec, Train
from gflow_core.parts.training import Experiment, Phase
from gflow_core.recipes.defects import undeclared
from gflow_core.runs.build import build
from gflow_core.runs.state import capture, restore
from gflow_core.testing.promises import SIZES, Broken, Promises, Untried, same, weights
from gflow_core.testing.tiny import TINY, TinyDiscriminator, TinySampler

__all__ = ["check_objective", "recipes"]

STEPS = 3
BATCH = 32
DEVICE: Literal["cpu", "cuda"] = "cpu"
"""Where checks train; not every device gives the same bits twice."""
_RECIPES = (
    (TINY["vector"], False),
    (TINY["grey"], False),
    (TINY["vector-classes"], True),
    (TINY["rgb-conditions"], True),
    (TINY["grey-classes"], False),
    (TINY["grey-classes"], True),
)
"""Data, and whether the networks read its labels."""


def check_objective(
    part: Any,
    *,
    dataset: Any = None,
    sampler: Any = None,
    discriminator: Any = None,
    brief: bool = False,
) -> None:
    """Train three steps on each kind of tiny data that the objective accepts, with tiny networks or those given.

    Every player's weights move, and nobody else's; a step ends in its metrics; the state is tensors, numbers, strings
    and None; resuming from a safe point ends bit for bit where the uninterrupted run does; random numbers come from
    the experiment's streams. What it refuses is refused by messages. Resuming is tried on the first and the last kind;
    `brief = True` trains on the first alone.
    """
    promises = Promises("objective", part)
    promises.common()
    wrong = undeclared("objective", part)
    promises.require(not wrong, "; ".join(wrong))
    accepted, said = [], "no tiny data has both labels and networks for it"
    tried = list(recipes(part, dataset, sampler, discriminator))
    if not tried:
        raise Untried(f"{promises.who}: the networks given refuse all data that they are tried on; pass dataset=, too")
    for spec in tried:
        faults = promises.asked(spec, about=f"a recipe on {spec.data_shape()}")
        said = "; ".join(faults) or said
        accepted += [] if faults else [spec]
    whole = tried[0]
    for kind in ("dataset", *NETWORKS):
        # A recipe that lacks a table is refused, or not; it must not break the check.
        lacking: Any = {kind: None}
        promises.asked(attrs.evolve(whole, **lacking), about=f"a recipe without [{kind}]")
    promises.asked(Spec(objective=part), about="a recipe of nothing else")
    if not accepted:
        raise Untried(
            f"{promises.who}: refuses every recipe it is tried on ({said}); pass what it accepts: dataset=, sampler=, "
            "discriminator="
        )
    own_networks = sampler is not None or discriminator is not None
    with seeded(0):  # build seeds torch's global random state; the caller's stays
        for spec in accepted[:1] if brief else accepted:
            resumed = spec in (accepted[0], accepted[-1])
            _trains(promises, spec, resumed=resumed, own_networks=own_networks)
        vectors = [spec for spec in accepted if spec.data_shape().kind == "vector" and not spec.sampler.conditional]  # type: ignore[union-attr]
        if getattr(part, "replicable", False) and vectors and not own_networks:
            _trains_replicas(promises, vectors[0])


def recipes(
    part: Any,
    dataset: Any = None,
    sampler: Any = None,
    discriminator: Any = None,
) -> Iterator[Spec]:
    """Recipes that train by `part`, on the data given or on each kind of tiny data, images as large as networks need.

    Networks that are not given read labels, where there are any, in one recipe and leave them in another; data that
    those given refuse are left out.
    """
    adam: Any = Adam(lr=1e-3)
    choices = _RECIPES if dataset is None else ((dataset, False), (dataset, True))
    for data, conditional in choices:
        own = sampler if sampler is not None else TinySampler(conditional=conditional)
        judge = discriminator if discriminator is not None else TinyDiscriminator(conditional=own.conditional)
        labels = conditional or own.conditional or judge.conditional
        if labels and not data.data_shape().label_size:
            continue
        sizes = SIZES if dataset is None and data.kind != "vector" else ()
        grown = [attrs.evolve(data, image_size=size) for size in sizes] or [data]
        suiting = next((one for one in grown if _suits(one.data_shape(), part, own, judge)), None)
        if suiting is None:
            continue
        yield Spec(
            dataset=suiting,
            sampler=own,
            discriminator=judge,
            objective=part,
            optimizer=dict.fromkeys(getattr(part, "players", ()), adam),
            train=Train(steps=STEPS, batch_size=BATCH, device=DEVICE, precision="float32"),
        )


def _suits(shape: DataShape, part: Any, sampler: Any, discriminator: Any) -> bool:
    """Whether both networks take such data, the discriminator as the objective packs them."""
    judged = Spec(objective=part).judged(shape)
    asked = (getattr(sampler, "check", None), shape), (getattr(discriminator, "check", None), judged)
    return not any(list(check(data)) for check, data in asked if check is not None)


# ------------------------------------------------------------------ a run and its shadow


def _trains(promises: Promises, spec: Spec, *, resumed: bool, own_networks: bool) -> None:
    """One run without interruption; then one from each of a few of its safe points, and one of other global state."""
    experiment = _built(promises, spec)
    before = {name: weights(module) for name, module in _modules(experiment).items()}
    saved: dict[str, tuple[int, Any]] = {}
    for step in range(1, STEPS + 1):
        first = True
        for event in _step(promises, experiment, step):
            if step == STEPS - 1 and isinstance(event, Phase):
                saved["first" if first else "last"] = (step, _saved(promises, experiment, event))
                first = False
        saved.setdefault("end", (step + 1, _saved(promises, experiment)))
    if experiment.feed is not None and experiment.feed.position:
        read = experiment.feed.position
        said = f"{STEPS} steps read {read} items of the data, and items_a_step({BATCH}) is {spec.items_a_step()}"
        promises.require(read == STEPS * spec.items_a_step(), said)
    for name, module in _modules(experiment).items():
        moved = not same(before[name], weights(module))
        if name in promises.part.players:
            promises.require(moved, f"players names the {name}, and three steps leave its weights as they are")
            still = [key for key, p in module.named_parameters() if not p.requires_grad]
            promises.require(not still, f"leaves parameters of the {name} frozen after a step: {', '.join(still[:3])}")
        elif name != "sampler" or spec.particles is None:  # which move without an optimizer
            promises.require(not moved, f"trains the {name}, which players does not name")
    if not resumed:
        return
    final = _saved(promises, experiment)
    for where, (step, state) in saved.items():
        again = _built(promises, spec)
        restore(again, Checkpoint(step=step - 1, parts=state), Path("tiny"))
        for following in range(step, STEPS + 1):
            for _ in _step(promises, again, following):
                pass
        promises.require(
            same(_saved(promises, again), final),
            f"resuming from {_POINTS[where]} ends elsewhere than the run that was not stopped: keep in state all that "
            "the next step needs, and leave it whole at every yield",
        )
    if not own_networks:  # others may have dropout, which draws from torch's global state, as it may
        again = _built(promises, spec)
        torch.manual_seed(987)
        for step in range(1, STEPS + 1):
            for _ in _step(promises, again, step):
                pass
        alike = same(_without_global(_saved(promises, again)), _without_global(final))
        promises.require(alike, "draws from torch's global random state; draw from experiment.streams")


_POINTS = {
    "first": "the first safe point inside a step",
    "last": "the last safe point inside a step",
    "end": "the end of a step",
}


def _trains_replicas(promises: Promises, spec: Spec) -> None:
    """Two runs stacked: it says that it can."""
    assert spec.train is not None
    experiment = _built(promises, attrs.evolve(spec, train=attrs.evolve(spec.train, replicas=2)))
    for _ in _step(promises, experiment, 1):
        pass


def _built(promises: Promises, spec: Spec) -> Experiment:
    with promises.calling(f"build on {spec.data_shape()}"):
        experiment = build(spec)
        state = getattr(experiment.objective, "state", None)
    right = attrs.has(type(state)) and not _is_frozen(type(state))
    promises.require(right, f"the built objective's state is a mutable attrs object, got {type(state).__name__}")
    return experiment


def _is_frozen(cls: type[Any]) -> bool:
    return cls.__setattr__ is attrs.frozen(type("Empty", (), {})).__setattr__


def _modules(experiment: Experiment) -> dict[str, torch.nn.Module]:
    found = {"sampler": experiment.sampler, "discriminator": experiment.discriminator}
    return {name: module for name, module in found.items() if module is not None}


def _step(promises: Promises, experiment: Experiment, step: int) -> Iterator[Phase]:
    """Do one step as the core does, passing its safe points on; its metrics are looked at here."""
    assert experiment.objective is not None
    for player in experiment.players.values():
        player.module.train()
        player.set_rates(step - 1)
    metrics: Mapping[str, Tensor] | None = None
    with promises.calling(f"step {step} on {experiment.spec.data_shape()}"):
        for event in experiment.objective.step(step):
            promises.require(metrics is None, "step yields its metrics last; something follows them")
            if isinstance(event, Phase):
                promises.require(
                    0 <= event.done <= event.total, f"{event.name} {event.done} of {event.total} is no phase"
                )
                yield event
                continue
            promises.require(isinstance(event, Mapping), f"step yields a Phase or metrics, not {type(event).__name__}")
            metrics = event
        promises.require(metrics is not None, "step ends without its metrics; yield them last")
        assert metrics is not None
    replicas = len(experiment.replicas)
    shape = (replicas,) if replicas else ()
    for name, value in metrics.items():
        is_tensor = isinstance(value, Tensor) and isinstance(name, str)
        promises.require(is_tensor, f"metrics are tensors by name, {name!r} is {type(value).__name__}")
        wanted = f"[{replicas}], one number a replica" if replicas else "0-dimensional"
        promises.require(value.shape == shape, f"the metric {name} is {wanted}, got {list(value.shape)}")
        promises.require(not value.requires_grad, f"the metric {name} carries a gradient; detach it")
        promises.require(bool(value.isfinite().all()), f"the metric {name} is not finite on tiny data")
    equilibrium = getattr(promises.part, "equilibrium", dict)
    with promises.calling("equilibrium"):
        values: Mapping[str, float] = equilibrium()
        odd = [name for name, value in values.items() if name not in metrics or not math.isfinite(value)]
    promises.require(not odd, f"equilibrium names {', '.join(map(str, odd))}, which no step's metrics have")


def _saved(promises: Promises, experiment: Experiment, phase: Phase | None = None) -> dict[str, Any]:
    """The experiment's state through what a checkpoint makes of it: tensors, and JSON."""
    parts = capture(experiment)
    tensors: dict[str, Tensor] = {}
    where = f" at {phase.name} {phase.done} of {phase.total}" if phase else ""
    try:
        text = json.dumps(pack(parts, tensors))
    except CheckpointError as error:
        raise Broken(f"{promises.who}: state{where} cannot be saved: {error}") from error
    back: dict[str, Any] = unpack(json.loads(text), tensors)
    promises.require(
        same(back["objective"], parts["objective"]), f"state{where} is not what comes back from a checkpoint"
    )
    return back


def _without_global(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {key: value for key, value in tree.items() if not str(key).startswith("global.")}
        if name.startswith("streams")
        else tree
        for name, tree in parts.items()
    }
