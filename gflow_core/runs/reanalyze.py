"""A finished run's analyzers, run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from gflow_core.errors import GflowError, did_you_mean
from gflow_core.parts.analysis import Map
from gflow_core.parts.loading import check_loaded
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.changes import check_recipe
from gflow_core.recipes.files import check_files
from gflow_core.recipes.recipe import load
from gflow_core.runs.analyze import at_each
from gflow_core.runs.around import built, held, reading_again
from gflow_core.runs.drawing import anywhere
from gflow_core.runs.events import Console, Session
from gflow_core.runs.manifest import check_data, check_origins, precision_of
from gflow_core.runs.record import RunFolder
from gflow_core.runs.state import restore
from gflow_core.runs.texts import kept_text

__all__ = ["reanalyze"]


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

    Overrides change their options (analyze.N.OPTION=VALUE, or NAME.OPTION=VALUE), where the data lies, and the device;
    nothing that the run was trained with. While another process is at work on the run, it waits.
    """
    folder = RunFolder(path)
    if checkpoint is not None and every_checkpoint:
        raise GflowError(f"--checkpoint {checkpoint}: --every-checkpoint looks at it as well; leave one of them out")
    with held(folder, "gflow analyze", console):
        at = folder.finished_steps(checkpoint) if checkpoint is not None or every_checkpoint else ()
        _reanalyze(folder, console, names, overrides, map, at)
    return folder


def _numbered(override: str, names: Sequence[str]) -> str:
    """An override of an analysis by name as one by number. Raises GflowError for what the run was trained by."""
    removes = "~" * override.startswith("~")
    path = override.removeprefix("~")
    for i, name in enumerate(names):
        if path.startswith(f"{name}."):
            return f"{removes}analyze.{i}.{path.removeprefix(f'{name}.')}"
    if not path.startswith(("analyze", "dataset.", "train.device", "train.precision")):
        raise GflowError(
            f"override {override}: the run is trained; gflow analyze takes analyze.N.OPTION=VALUE, or "
            f"NAME.OPTION=VALUE of an analysis ({', '.join(names) or 'it has none'})"
        )
    return override


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
    overrides = tuple(_numbered(override, [*before, *added]) for override in overrides)
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
    for override in overrides:
        number = override.removeprefix("~").split(".")[1] if override.removeprefix("~").startswith("analyze.") else ""
        if (
            number.isdecimal()
            and int(number) < len(known)
            and (name := known[int(number)]) not in [one.name for one in chosen]
        ):
            console.say(f"override {override}: {name} is not among those that are run")
    if not chosen:
        raise GflowError(f"{path}: its recipe has no [[analyze]] table; name an analyzer (gflow ls analyzers)")
    recipe = attrs.evolve(recipe, spec=anywhere(recipe.spec))
    manifest = folder.read_manifest()
    check_recipe(manifest, path, overrides)
    looked_at = [f"analyze.{i}" for i, one in enumerate(recipe.spec.analyze) if one in chosen]
    check_files(manifest, path, recipe.spec, overrides, ("sampler", "discriminator", "objective", *looked_at))
    with reading_again(manifest, recipe.spec):
        precision = precision_of(manifest, recipe.spec, overrides)
        begin = recipe.spec.objective is None
        text = kept_text(path, recipe.spec)
        # Nothing is trained.
        experiment = built(recipe.spec, console, begin=begin, precision=precision, compiled=False, text=text)
    check_data(manifest, experiment.data, path)
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
