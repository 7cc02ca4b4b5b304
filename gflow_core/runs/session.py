"""A run from beginning to end: where build, train, record and analyze meet."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import distributed

from gflow_core.errors import GflowError, typed
from gflow_core.files.run_folder import WRITTEN, check_free, read_recipe, run_name
from gflow_core.machine.streams import seeded
from gflow_core.machine.untouched import untouched
from gflow_core.methods.compiled import compiles
from gflow_core.parts.analysis import Map
from gflow_core.parts.loading import check_loaded, copies
from gflow_core.parts.spec import Spec
from gflow_core.parts.training import Experiment
from gflow_core.recipes.changes import BEGAN, check_recipe, stated
from gflow_core.recipes.files import FILES, check_files, files_of
from gflow_core.recipes.recipe import Recipe, load
from gflow_core.recipes.writing import dumps
from gflow_core.runs.around import built, held, is_first, reading_again
from gflow_core.runs.best import goal_of
from gflow_core.runs.blame import blaming
from gflow_core.runs.clock import in_steps
from gflow_core.runs.estimates import check_memory
from gflow_core.runs.events import Console, Session
from gflow_core.runs.manifest import (
    asked_of,
    check_data,
    check_draws,
    computed_on,
    manifest_of,
    now,
    precision_of,
    surroundings,
)
from gflow_core.runs.record import RunFolder
from gflow_core.runs.state import restore
from gflow_core.runs.texts import keep_text, kept_text

__all__ = ["resume", "run"]


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
    if name is not None and is_first():
        check_free(runs, name)
    if recipe.spec.objective is None and not recipe.spec.analyze:
        raise GflowError(f"{recipe.source}: nothing to do: it has neither an [objective] nor an [[analyze]] table")
    if recipe.spec.objective is None and not analyze:
        raise GflowError(f"{recipe.source}: it trains nothing, so without its analyses there is nothing to do")
    _check_default()
    _check_extras(recipe.spec)
    check_memory(recipe.spec if analyze else attrs.evolve(recipe.spec, analyze=()))
    written = recipe
    recipe, data, clock = in_steps(recipe, console.progress)
    looking = recipe.spec if analyze else attrs.evolve(recipe.spec, analyze=())
    experiment = built(looking, console, data=data)
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
    with held(folder, "gflow run"):
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
    with held(folder, "gflow resume"):
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
    with reading_again(manifest, recipe.spec):
        recipe, data, clock = in_steps(recipe, console.progress, begun=True)  # only overrides have other than steps
    check_recipe(manifest, path, overrides)
    check_files(manifest, path, recipe.spec, overrides)
    train_options = recipe.spec.train
    if recipe.spec.objective is None or train_options is None:
        raise GflowError(
            f"{path}: the recipe trains nothing, there is nothing to resume; use gflow analyze {typed(path)}"
        )
    if stated("train.seed", overrides):
        anew = f"gflow run {typed(folder.recipe)} train.seed=N"
        raise GflowError(f"{path}: a run keeps the seed that it began with; {anew} begins another")
    _check_default()
    _check_extras(recipe.spec)
    name = folder.checkpoint_name(checkpoint)
    state = folder.load(name)
    if state.step > train_options.steps:
        raise GflowError(f"{path}: {state.step} steps are done already, more than {train_options.steps}")
    if state.threads:
        torch.set_num_threads(state.threads)
    with reading_again(manifest, recipe.spec):
        precision = precision_of(manifest, recipe.spec, overrides)
        compiled = compiles(recipe.spec, None if stated("train.compile", overrides) else manifest.get("compiled"))
        text = kept_text(path, recipe.spec)
        looking = recipe.spec if analyze else attrs.evolve(recipe.spec, analyze=())
        experiment = built(looking, console, begin=False, precision=precision, compiled=compiled, data=data, text=text)
    check_data(manifest, experiment.data, path)
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


def _check_default() -> None:
    """Networks are float32, whatever the caller's own tensors are. Raises GflowError where torch's default is not."""
    if (default := torch.get_default_dtype()) != torch.float32:
        raise GflowError(
            f"torch.set_default_dtype({default}) is in force, and runs train in float32 (train.precision); set it back"
        )


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
        console.say(f"trained; gflow analyze {typed(folder.path)} makes its analyses")


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
