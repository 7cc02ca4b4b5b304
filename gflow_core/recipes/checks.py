"""Checks across tables: parts by themselves, against the data, and against one another."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from gflow_core.errors import PluginError, did_you_mean
from gflow_core.parts.foreign import own
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import out_of_bounds
from gflow_core.parts.plugins import Plugins
from gflow_core.parts.spans import Span
from gflow_core.parts.spec import NETWORKS, Analysis, Spec, Train
from gflow_core.recipes.asking import ask, judged_by, known_shape, no_number, rates, shape_of
from gflow_core.recipes.describe import has_option, kinds_of
from gflow_core.recipes.from_run import FromRun
from gflow_core.recipes.joined import joins, unlike
from gflow_core.recipes.tables import PARTS
from gflow_core.recipes.words import Place

__all__ = ["check_analyses", "check_parts", "check_starts", "check_training"]


_LABELS = (
    "choose a data set with labels, or set its option for them (image_folder: dataset.classes, array: dataset.labels, "
    "celeba: dataset.attributes)"
)


def parts_in(spec: Spec) -> Iterator[tuple[Place, str, Any]]:
    """Every part of a recipe, also those inside others: its place, its kind, and the part."""
    for kind in PARTS:
        held = getattr(spec, kind)
        for place, part in () if held is None else joins(held) if kind == "dataset" else [((kind,), held)]:
            yield place, kind, part
            yield from _parts_below(place, part)
    for name, optimizer in spec.optimizer.items():
        if optimizer is not None:
            yield ("optimizer", name), "optimizer", optimizer
            yield from _parts_below(("optimizer", name), optimizer)
    if spec.train is not None:
        yield from _parts_below(("train",), spec.train)
    for i, analysis in enumerate(spec.analyze):
        yield ("analyze", i), "analyzer", analysis.part
        yield from _parts_below(("analyze", i), analysis.part)


def _parts_below(place: Place, part: Any) -> Iterator[tuple[Place, str, Any]]:
    for field in attrs.fields(type(part)):
        held = getattr(part, field.name) if field.init else None
        kinds = kinds_of(field.type)
        for i, value in enumerate(held if isinstance(held, tuple) else (held,)):
            if not attrs.has(type(value)):
                continue
            here = (*place, field.name, i) if isinstance(held, tuple) and len(held) > 1 else (*place, field.name)
            if kinds:
                yield here, next(iter(kinds)), value
            yield from _parts_below(here, value)


def check_parts(spec: Spec, known_data: bool) -> Iterator[tuple[Place, str]]:
    """Each part by itself, and networks against the shape of the data."""
    shape: DataShape | None = None
    if spec.dataset is not None:
        shape = yield from _check_data(spec.dataset)
        known_data = known_data and shape is not None
    elif hasattr(spec.sampler, "data_shape"):
        try:
            shape_of(spec.sampler)
        except PluginError as error:
            yield ("sampler",), str(error)
    for kind in NETWORKS:
        part = getattr(spec, kind)
        if part is not None and known_data:
            try:
                given = judged_by(spec, shape) if kind == "discriminator" else shape
            except PluginError as error:
                yield ("objective",), str(error)
                continue
            yield from (((kind,), message) for message in ask(part, given))
            if part.conditional and shape is not None and not shape.label_size:
                without = f", or set {kind}.conditional = false" if has_option(type(part), "conditional") else ""
                yield (kind,), f"reads labels, and the data has none ({shape}); {_LABELS}{without}"
    for place, kind, part in parts_in(spec):
        if kind in _ASKED_ELSEWHERE:
            continue
        data = (shape,) if kind == "augmentation" else ()
        if data != (None,):
            yield from ((place, message) for message in ask(part, *data))


def _check_data(dataset: Any) -> Generator[tuple[Place, str], None, DataShape | None]:
    """Each data set of a recipe by itself, and those that are joined against the first; gives back its shape."""
    first: DataShape | None = None
    for place, part in joins(dataset):
        wrong = ask(part)
        yield from ((place, message) for message in wrong)
        try:
            shape = shape_of(part)
        except PluginError as error:
            if not wrong:
                yield place, str(error)
            continue
        if place == ("dataset",):
            first = shape
        elif first is not None:
            yield from (((*place, *key), message) for key, message in unlike(dataset.first, first, part, shape))
    return first


_ASKED_ELSEWHERE = {*PARTS, "analyzer", "encoder", "flow.velocity"}
"""Kinds whose `check` sees the recipe, or the data: an encoder's is its analyzer's to call, a velocity's its flow's."""


def check_training(
    spec: Spec, table: Mapping[str, Any], plugins: Plugins, spans: Sequence[Span] = ()
) -> Iterator[tuple[Place, str]]:
    """[objective], [train] and [optimizer] against each other.

    With `spans`, in epochs or items, nobody knows the steps yet: what follows them is looked at where they begin.
    """
    train = spec.train
    if any(span.epochs for span in spans) and "dataset" not in table:
        mend = 'write steps, or items as in "1e6 items"'
        yield ("dataset",), f"epochs count the items of a [dataset], and there is none; {mend}"
    if train is not None and train.batch_size % train.devices:
        yield (
            ("train", "batch_size"),
            f"must be a multiple of train.devices = {train.devices}, got {train.batch_size}",
        )
    elif train is not None and train.batch_size // train.devices % train.accumulate:
        each = "of each process " if train.devices > 1 else ""
        yield (
            ("train", "accumulate"),
            f"{train.batch_size // train.devices} items {each}do not divide into {train.accumulate} equal pieces",
        )
    for augmentation in train.augment if train is not None else ():
        if hasattr(augmentation, "adapted"):
            name = plugins.registries["augmentation"].name_of(type(augmentation))
            yield ("train", "augment"), f"{name} follows the discriminator; move it to objective.augment"
    if train is not None and train.ema is not None and train.ema.half_life is not None and train.ema.decay != 0.999:
        yield ("train", "ema"), "decay and half_life say the same in two ways; remove one"
    if "objective" not in table:
        for name in spec.optimizer:
            yield ("optimizer", name), "nothing trains without an [objective]; remove this table"
        if train is not None and train.steps:
            yield ("train", "steps"), "nothing trains without an [objective]; remove it, or add an [objective]"
        if train is not None and train.replicas > 1:
            yield ("train", "replicas"), "nothing trains without an [objective]; remove it, or add an [objective]"
        return
    if "train" not in table:
        yield ("train",), "required with an [objective]: add a [train] table with steps = N"
    elif train is not None and "steps" not in table["train"]:
        yield (
            ("train", "steps"),
            "required with an [objective]: how many steps to train (0: look at the networks as they begin)",
        )
    if spec.objective is None:
        return
    name = plugins.registries["objective"].name_of(type(spec.objective))
    if train is not None and train.accumulate > 1 and not getattr(spec.objective, "accumulates", False):
        yield ("train", "accumulate"), f"{name} computes its batches whole; remove it"
    if train is not None and train.replicas > 1:
        yield from ((("train", "replicas"), message) for message in _cannot_replicate(spec, train, name))
    if train is not None and train.compile is True:
        yield from ((("train", "compile"), message) for message in cannot_compile(spec, train, name))
    players = tuple(getattr(spec.objective, "players", ()))
    for player in players:
        if player not in table:
            yield ("objective",), f"needs a [{player}]"
        if player == "sampler" and spec.particles is not None:
            yield (
                ("sampler",),
                f"{name} trains a network, and these are particles: only a flow moves them, with objective.sampler = "
                '"none"',
            )
            continue
        if player not in spec.optimizer and isinstance(table.get("optimizer", {}), Mapping):
            yield (
                ("optimizer", player),
                f"required: {name} trains the {player}; add [optimizer.{player}] with use and lr, "
                'as in use = "adam", lr = 1e-4',
            )
    yield from _check_batches(spec, players)
    length = 0 if spans or train is None else train.steps
    scheduled = list(_check_schedules(spec, length))
    yield from scheduled
    for player, optimizer in spec.optimizer.items():
        if optimizer is not None and train is not None:
            try:
                # A schedule that is registered here is highest at one of its ends.
                highest = max(rates(optimizer, done).get("momentum", 0.0) for done in (0, max(length - 1, 0)))
            except PluginError as error:
                highest = 0.0
                if not scheduled:  # which would be said twice
                    yield ("optimizer", player), str(error)
            if highest >= 1:
                yield (
                    ("optimizer", player, "momentum_schedule"),
                    f"takes momentum to {highest:g} within train.steps = {train.steps}; it must stay below 1",
                )
        if player not in players:
            trained = " and ".join(f"the {p}" for p in players) or "nothing"
            yield ("optimizer", player), f"{name} trains {trained}{did_you_mean(player, players)}; remove this table"


def _check_batches(spec: Spec, players: Iterable[str]) -> Iterator[tuple[Place, str]]:
    """Networks whose items need others beside them get those."""
    for kind in players:
        least = getattr(getattr(spec, kind, None), "least_batch", 1)
        if spec.train is None or not isinstance(least, int):
            continue
        # On GPUs batch norm goes over all processes.
        size, why = spec.smallest_batch(kind, spec.train.devices if spec.train.device == "cpu" else 1)
        if size < least:
            yield ("train", "batch_size"), f"the {kind} needs {least} items at once (batch norm), and {why}; raise it"


_MOMENTS = 257
"""Steps of a run at which a schedule is looked at, the first and the last among them."""


def _check_schedules(spec: Spec, length: int) -> Iterator[tuple[Place, str]]:
    """Numbers that follow the steps stay within the bounds of their options, in a run of that length."""
    if spec.train is None or None in spec.optimizer.values():
        return
    last = max(length - 1, 0)
    moments = sorted({round(i * last / (_MOMENTS - 1)) for i in range(_MOMENTS)})
    for place, field, schedule in spec.schedules():
        done, message = 0, None
        try:
            with own("at", schedule):
                for done in moments:
                    value = schedule.at(done)
                    if message := out_of_bounds(field, value) or no_number(value):
                        break
        except PluginError as error:
            message = str(error)
        if message:
            yield place, f"at step {done + 1}: {message}"


def _cannot_replicate(spec: Spec, train: Train, objective: str) -> Iterator[str]:
    if train.devices > 1:
        yield "replicas share one process; set train.devices = 1, or remove it"
    elif (shape := known_shape(spec.dataset)) is not None and shape.kind != "vector":
        yield f"works on vectors, the data is {shape}; remove it"
    elif any(getattr(part, "conditional", False) for part in (spec.sampler, spec.discriminator)):
        yield "works on networks that read no labels; remove it"
    elif not getattr(spec.objective, "replicable", False):
        yield f"{objective}, as its options are, trains one run at a time; remove it"


def cannot_compile(spec: Spec, train: Train, objective: str = "it") -> Iterator[str]:
    """Why this recipe's steps are not compiled (`train.compile`), if they are not."""
    if not getattr(spec.objective, "compiles", False):
        yield f"{objective} has no steps that are compiled; remove it"
    elif train.devices > 1 or train.accumulate > 1:
        yield "one process computes a batch whole; set train.devices = 1 and train.accumulate = 1, or remove it"
    elif (shape := known_shape(spec.dataset)) is not None and shape.kind != "vector":
        yield f"works on vectors, the data is {shape}; remove it"


def check_starts(spec: Spec, table: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """What networks begin from, and what of them is not trained, against the rest of the recipe."""
    players = tuple(getattr(spec.objective, "players", ()))
    for kind in NETWORKS:
        if spec.networks[kind].freeze and "objective" not in table:
            yield (kind, "freeze"), "nothing trains without an [objective]; remove it"
        elif spec.networks[kind].freeze and spec.objective is not None and kind not in players:
            yield (kind, "freeze"), f"the objective does not train the {kind}; remove it"
    train = spec.train
    if train is None or train.from_run is None:
        return
    place = ("train", "from_run")
    if "objective" not in table:
        yield place, "nothing trains without an [objective]; remove it"
    if train.replicas > 1:
        yield place, "starts one run; set train.replicas = 1, or remove it"
    for kind in NETWORKS:
        taken = "from_run" if isinstance(getattr(spec, kind), FromRun) else "weights"
        if taken == "from_run" or spec.networks[kind].weights:
            yield place, f"both networks begin as that run's do; remove it, or {kind}.{taken}"


def check_analyses(
    analyses: list[Analysis | None], spec: Spec, table: Mapping[str, Any], whole: bool
) -> Iterator[tuple[Place, str]]:
    """[[analyze]] against the rest of the recipe."""
    first: dict[str, int] = {}
    for i, analysis in enumerate(analyses):
        if analysis is None:
            continue
        path: Place = ("analyze", i)
        if analysis.name in first:
            yield (
                (*path, "name"),
                f'analyze.{first[analysis.name]} is called "{analysis.name}" too; set `name` to tell them apart',
            )
        first.setdefault(analysis.name, i)
        if analysis.every and "objective" not in table:
            yield (*path, "every"), "nothing trains without an [objective], so there are no steps to count; remove it"
        missing = [need for need in sorted(getattr(analysis.part, "needs", ())) if need not in table]
        yield from ((path, f"needs {'an' if need == 'objective' else 'a'} [{need}]") for need in missing)
        if "discriminator" in getattr(analysis.part, "needs", ()) and getattr(spec.objective, "pack", 1) > 1:
            yield (
                path,
                f"judges items one by one, and the discriminator takes packs: objective.pack = {spec.objective.pack}",
            )
        elif getattr(analysis.part, "walks", False) and spec.particles is not None:
            yield path, "goes from one z to another, and there is nothing between two particles of [sampler]; remove it"
        elif whole and not missing:
            yield from ((path, message) for message in ask(analysis.part, spec))
