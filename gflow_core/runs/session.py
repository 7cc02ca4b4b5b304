"""A run from beginning to end: where build, train, record and analyze meet."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import distributed

from gflow_core.errors import DataError, GflowError, did_you_mean
from gflow_core.files.run_folder import WRITTEN, check_free, read_recipe, run_name
from gflow_core.machine import cluster
from gflow_core.machine.streams import seeded
from gflow_core.machine.untouched import untouched
from gflow_core.methods.compiled import compiles
from gflow_core.parts.analysis import Map
from gflow_core.parts.loading import check_loaded, copies
from gflow_core.parts.nouns import TextEncoder
from gflow_core.parts.plugins import plugins
from gflow_core.parts.source import Source
from gflow_core.parts.spec import Spec
from gflow_core.parts.training import Experiment
from gflow_core.recipes.changes import BEGAN, check_recipe, stated
from gflow_core.recipes.files import FILES, check_files, files_of
from gflow_core.recipes.recipe import Recipe, load
from gflow_core.recipes.writing import dumps
from gflow_core.runs.analyze import at_each
from gflow_core.runs.best import goal_of
from gflow_core.runs.blame import blaming
from gflow_core.runs.build import build
from gflow_core.runs.clock import in_steps
from gflow_core.runs.drawing import anywhere
from gflow_core.runs.estimates import check_memory
from gflow_core.runs.events import Console, Session
from gflow_core.runs.manifest import (
    asked_of,
    check_data,
    check_draws,
    check_origins,
    computed_on,
    manifest_of,
    now,
    precision_of,
    surroundings,
)
from gflow_core.runs.record import RunFolder
from gflow_core.runs.state import restore
from gflow_core.runs.texts import keep_text, kept_text

__all__ = ["reanalyze", "resume", "run", "workers"]


def run(
    recipe: Recipe,
    runs: Path,
    console: Console,
    map: Map = map,
    analyze: bool = True,
    name: str | None = None,
    note: str = "",
) -> RunFolder:
    """Build, train and analyze a recipe in a new folder under `runs`. Raises GflowError for all that goes wrong.

    `map` is what analyzers spread their work with, here and below: see `workers`. Without `analyze` none runs, which
    the manifest states. The folder has the `name` given, or one of recipe and seed; a `note` goes into the manifest.
    """
    if name is not None and _first():
        check_free(runs, name)
    if recipe.spec.objective is None and not recipe.spec.analyze:
        raise GflowError(f"{recipe.path}: nothing to do: it has neither an [objective] nor an [[analyze]] table")
    if recipe.spec.objective is None and not analyze:
        raise GflowError(f"{recipe.path}: it trains nothing, so without its analyses there is nothing to do")
    _check_extras(recipe.spec)
    check_memory(recipe.spec if analyze else attrs.evolve(recipe.spec, analyze=()))
    written = recipe
    recipe, data, clock = in_steps(recipe, console.progress)
    looking = recipe.spec if analyze else attrs.evolve(recipe.spec, analyze=())
    experiment = _build(looking, console, data=data)
    check_memory(looking, {"sampler": experiment.sampler, "discriminator": experiment.discriminator})
    experiment.runtime.agree({"the resolved recipe": dumps(recipe.spec), **surroundings(experiment)})
    _prepare(experiment, console)
    path: list[Path | None] = [None]
    if experiment.runtime.main:
        stem = run_name(recipe.path) if recipe.path else "recipe"
        path = [RunFolder.create(runs, stem, recipe.spec.seed, dumps(recipe.spec), name).path]
    if experiment.runtime.world > 1:
        distributed.broadcast_object_list(path)
    assert path[0] is not None
    folder = RunFolder(path[0], elsewhere=not experiment.runtime.main)
    with _held(folder, "gflow run"):
        if experiment.runtime.main:
            keep_text(folder.path, experiment.data)
            noted = {**({"note": note} if note else {}), **({WRITTEN: written.dumps()} if clock else {})}
            folder.write_manifest({**manifest_of(recipe, experiment), **noted, **_unanalyzed(analyze)})
            copies(folder.path)
        console.say(f"run folder {folder.path}")
        _say_steps(clock, console)
        Session(experiment, folder, console, map=map).go(done=0)
        _say_unanalyzed(recipe.spec, folder, console, analyze)
    return folder


def resume(
    path: Path,
    console: Console,
    checkpoint: str | None = None,
    steps: int | None = None,
    overrides: tuple[str, ...] = (),
    map: Map = map,
    analyze: bool = True,
) -> RunFolder:
    """Continue a run from its newest checkpoint, bit for bit as if it had not stopped.

    From the checkpoint named, later ones are dropped, and what was recorded after it. `steps` is a new length, and
    overrides change the recipe from here on; both are recorded. Without `analyze` no analyzer runs from here on. Raises
    GflowError where another process is at work on the run.
    """
    folder = RunFolder(path)
    with _held(folder, "gflow resume"):
        _resume(
            folder,
            console,
            checkpoint,
            (*overrides, *([] if steps is None else [f"train.steps={steps}"])),
            map,
            analyze,
        )
    return folder


def _resume(
    folder: RunFolder, console: Console, checkpoint: str | None, overrides: tuple[str, ...], map: Map, analyze: bool
) -> None:
    path = folder.path
    recipe = load(folder.recipe, overrides, begun=True)
    manifest = folder.read_manifest()
    with _data_of(manifest, recipe.spec):
        recipe, data, clock = in_steps(recipe, console.progress, begun=True)  # only overrides have other than steps
    check_recipe(manifest, path, overrides)
    check_files(manifest, path, recipe.spec, overrides)
    train_options = recipe.spec.train
    if recipe.spec.objective is None or train_options is None:
        raise GflowError(f"{path}: the recipe trains nothing, there is nothing to resume; use gflow analyze {path}")
    if stated("train.seed", overrides):
        anew = f"gflow run {folder.recipe} train.seed=N"
        raise GflowError(f"{path}: a run keeps the seed that it began with; {anew} begins another")
    _check_extras(recipe.spec)
    name = folder.checkpoint_name(checkpoint)
    state = folder.load(name)
    if state.step > train_options.steps:
        raise GflowError(f"{path}: {state.step} steps are done already, more than {train_options.steps}")
    if state.threads:
        torch.set_num_threads(state.threads)
    with _data_of(manifest, recipe.spec):
        precision = precision_of(manifest, recipe.spec, overrides)
        compiled = compiles(recipe.spec, None if stated("train.compile", overrides) else manifest.get("compiled"))
        text = kept_text(path, recipe.spec)
        looking = recipe.spec if analyze else attrs.evolve(recipe.spec, analyze=())
        experiment = _build(looking, console, begin=False, precision=precision, compiled=compiled, data=data, text=text)
    check_data(manifest, experiment, path)
    check_draws(manifest, experiment, path, overrides)
    for said in check_loaded(manifest, path):
        console.say(said)
    _check_copies(folder, name, experiment)
    _prepare(experiment, console)
    restore(experiment, state, folder.path / "checkpoints" / name)
    if experiment.runtime.main:
        folder.rewind(name, goal_of(read_recipe(path)))
        again: dict[str, Any] = {"time": now(), "checkpoint": name, **_unanalyzed(analyze)}
        for how in ("diverged", "ended", *((WRITTEN,) if overrides else ())):  # it may not, this time
            manifest.pop(how, None)
        manifest["resumed"] = [*manifest.get("resumed", []), again]
        if overrides:
            again["overrides"] = list(overrides)
            manifest |= {BEGAN: tomllib.loads(recipe.dumps()), FILES: files_of(recipe.spec), **asked_of(experiment)}
            if precision == "auto":  # what the manifest says is over
                manifest |= computed_on(experiment.runtime)
            folder.change(recipe.dumps(), manifest)
        else:
            folder.write_manifest(manifest)
        folder.prune(train_options.keep, recipe.spec.goal)  # by what the recipe is now
    experiment.runtime.barrier()
    if state.step == train_options.steps:
        console.say(f"{path} is trained already, {state.step} steps; --steps N goes on from there")
    else:
        console.say(f"resuming {path} after step {state.step}" + (f", {state.phase}" if state.phase else ""))
    _say_steps(clock, console)
    part_way = int(name.partition("-")[2] or 0)
    Session(experiment, folder, console, part_way, map).go(done=state.step)
    _say_unanalyzed(recipe.spec, folder, console, analyze)


def reanalyze(
    path: Path,
    console: Console,
    names: tuple[str, ...] = (),
    overrides: tuple[str, ...] = (),
    map: Map = map,
    *,
    checkpoint: str | None = None,
    every_checkpoint: bool = False,
) -> RunFolder:
    """Run a finished run's analyzers again, those named or all; a name may also be an analyzer's that it lacks.

    They look at the newest checkpoint, whose scores are the run's. Of the one named, or of every one that is kept, what
    they find stands beside those, under the checkpoint's step, as if they had looked while training.

    Overrides change their options, where the data lies, and the device; nothing that the run was trained with.
    While another process is at work on the run, it waits.
    """
    folder = RunFolder(path)
    for override in overrides:
        if not override.removeprefix("~").startswith(("analyze", "dataset.", "train.device", "train.precision")):
            raise GflowError(f"override {override}: the run is trained; gflow analyze takes analyze.N.OPTION=VALUE")
    if checkpoint is not None and every_checkpoint:
        raise GflowError(f"--checkpoint {checkpoint}: --every-checkpoint looks at it as well; leave one of them out")
    with _held(folder, "gflow analyze", console):
        at = folder.finished_steps(checkpoint) if checkpoint is not None or every_checkpoint else ()
        _reanalyze(folder, console, names, overrides, map, at)
    return folder


def _reanalyze(
    folder: RunFolder,
    console: Console,
    names: tuple[str, ...],
    overrides: tuple[str, ...],
    map: Map,
    checkpoints: Sequence[str],
) -> None:
    path = folder.path
    before = folder.analyses()
    registered = plugins().registries["analyzer"]
    added = [name for name in dict.fromkeys(names) if name not in before and name in registered]
    tables = [f"analyze.{len(before) + i}.use={name}" for i, name in enumerate(added)]
    recipe = load(folder.recipe, [*tables, *overrides], begun=True)
    for i, name in enumerate(added, start=len(before)):
        console.say(f"{name} is analyze.{i} here")
    chosen = [a for a in recipe.spec.analyze if not names or a.name in names]
    known = [a.name for a in recipe.spec.analyze]
    for name in names:
        if name not in known:
            raise GflowError(
                f"{path}: no analysis {name} in its recipe (it has {', '.join(known) or 'none'}), nor an analyzer so "
                f"called{did_you_mean(name, [*known, *registered])} (gflow ls analyzers)"
            )
    if not chosen:
        raise GflowError(f"{path}: its recipe has no [[analyze]] table; name an analyzer (gflow ls analyzers)")
    recipe = attrs.evolve(recipe, spec=anywhere(recipe.spec))
    manifest = folder.read_manifest()
    check_recipe(manifest, path, overrides)
    looked_at = [f"analyze.{i}" for i, one in enumerate(recipe.spec.analyze) if one in chosen]
    check_files(manifest, path, recipe.spec, overrides, ("sampler", "discriminator", "objective", *looked_at))
    with _data_of(manifest, recipe.spec):
        precision = precision_of(manifest, recipe.spec, overrides)
        begin = recipe.spec.objective is None
        text = kept_text(path, recipe.spec)
        # Nothing is trained.
        experiment = _build(recipe.spec, console, begin=begin, precision=precision, compiled=False, text=text)
    check_data(manifest, experiment, path)
    for said in check_loaded(manifest, path):
        console.say(said)
    check_origins(manifest, experiment, path)
    session = Session(experiment, folder, console, map=map)

    def look(name: str | None) -> None:
        step = 0
        if recipe.spec.objective is not None:
            state = folder.load(name)
            restore(experiment, state, folder.path)
            step = state.step
        session.analyze_all(chosen, step, overrides, name)

    if checkpoints:
        at_each(checkpoints, look)
    else:
        look(None)


@contextmanager
def workers(scheduler: str | None) -> Iterator[Map]:
    """A map over the workers of the dask scheduler at this address or of this file, within the block.

    Python's own without one, and in all processes but the first, which alone runs analyzers. GflowError where no
    scheduler answers, or it has no workers.
    """
    if scheduler is None or not _first():
        yield map
        return
    with cluster.connected(scheduler) as client:
        yield partial(cluster.spread, client)


def _check_extras(spec: Spec) -> None:
    """What trackers want beyond gflow's own requirements is there. Raises GflowError if not."""
    for part in spec.train.trackers if spec.train is not None else ():
        prepare = getattr(part, "prepare", None)
        if prepare is not None:
            with blaming(spec):
                prepare()


def _say_steps(clock: Mapping[str, str], console: Console) -> None:
    for place, text in clock.items():
        console.say(f"{place}: {text}")


def _unanalyzed(analyze: bool) -> dict[str, Any]:
    """What a manifest says where `--no-analyze` was."""
    return {} if analyze else {"analyze": False}


def _say_unanalyzed(spec: Spec, folder: RunFolder, console: Console, analyze: bool) -> None:
    if spec.analyze and not analyze:
        console.say(f"trained; gflow analyze {folder.path} makes its analyses")


def _build(
    spec: Spec,
    console: Console,
    *,
    begin: bool = True,
    precision: str = "auto",
    compiled: bool | None = None,
    data: Source | None = None,
    text: TextEncoder | None = None,
) -> Experiment:
    experiment = build(
        spec, progress=console.progress, begin=begin, precision=precision, compiled=compiled, data=data, text=text
    )
    console.close()
    return experiment


def _prepare(experiment: Experiment, console: Console) -> None:
    """What analyzers will need later is there now. Raises GflowError if not."""
    if not experiment.runtime.main:
        return
    with seeded(0), untouched(), blaming(experiment.spec):
        for analysis in experiment.spec.analyze:
            prepare = getattr(analysis.part, "prepare", None)
            if prepare is not None:
                prepare(experiment.spec, experiment.runtime.device, console.progress)
    console.close()


@contextmanager
def _held(folder: RunFolder, doing: str, waits: Console | None = None) -> Iterator[None]:
    """The run folder is this command's alone within the block; of several processes the first one holds it.

    Where another process is at work on it: GflowError, or with `waits` told there and waited for.
    """
    with folder.held(doing, waits.say if waits else None) if _first() else nullcontext():
        yield


def _first() -> bool:
    """Whether this is the first of the processes that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _data_of(manifest: Mapping[str, Any], spec: Spec) -> Iterator[None]:
    """Reading a run's data again within the block; DataError says where a relative path to them counts from."""
    try:
        yield
    except DataError as error:
        root = getattr(spec.dataset, "root", None)
        if root is None or Path(root).is_absolute() or not manifest.get("folder"):
            raise
        raise DataError(
            f'{error}\nthe run began in {manifest["folder"]}, where its dataset.root = "{root}" counts from; go there'
        ) from error


def _check_copies(folder: RunFolder, name: str, experiment: Experiment) -> None:
    """Machines without a common file system have a copy of the run each: the same one. Raises GflowError if not."""
    saved = folder.path / "checkpoints" / name / "checkpoint.json"  # it holds the sha256 of all the others
    experiment.runtime.agree(
        {
            str(folder.recipe): folder.recipe.read_text(encoding="utf-8"),
            f"the newest checkpoint of {folder.path}": name + saved.read_text(encoding="utf-8"),
            **surroundings(experiment),
        }
    )
