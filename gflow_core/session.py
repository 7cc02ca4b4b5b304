"""A run from beginning to end: where build, train, record and analyze meet."""

from __future__ import annotations

import errno
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import attrs
import torch
from torch import Tensor, distributed, nn

from gflow_core import cluster, tensorboard
from gflow_core.analyze import analyze, pool
from gflow_core.build import build, single
from gflow_core.checkpoint import Checkpoint, misfit
from gflow_core.contracts import Experiment, Map, Phase, Result
from gflow_core.errors import CheckpointError, DataError, GflowError, Interrupted, did_you_mean
from gflow_core.files import run_name
from gflow_core.from_run import FromRun
from gflow_core.nn.labels import label_rows, parse_label
from gflow_core.nn.player import evaluating
from gflow_core.nn.sampling import by_label, dealt, draw_chunks, label_pool
from gflow_core.pictures import draw_samples
from gflow_core.plugins import plugins
from gflow_core.recipe import Recipe, dumps, load
from gflow_core.record import RunFolder
from gflow_core.rng import Streams, seeded
from gflow_core.runtime import Runtime, choose_device
from gflow_core.signals import listening
from gflow_core.spec import Analysis, Spec
from gflow_core.tensorboard import Curves
from gflow_core.train import train

__all__ = ["Console", "Session", "draw", "reanalyze", "resume", "run", "workers"]

_IMAGES, _POINTS = 64, 2048  # samples in the pictures drawn while training
_COLUMNS = 10  # samples of each label there


class Console(Protocol):
    """Where a session reports to."""

    def say(self, text: str) -> None:
        """A line worth reading."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Long work outside training."""

    def training(self, first: int, steps: int) -> None:
        """Training starts after `first` of `steps` steps."""

    def phase(self, step: int, phase: Phase) -> None:
        """A part of a step is done."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """A line of metrics."""

    def result(self, name: str, result: Result, folder: Path) -> None:
        """An analyzer is done; its files are in `folder`."""

    def stopping(self) -> None:
        """The run was asked to stop. Called from a signal handler: say it later."""

    def close(self) -> None:
        """No more progress is shown."""


# ------------------------------------------------------------------ run, resume


def run(recipe: Recipe, runs: Path, console: Console, map: Map = map) -> RunFolder:
    """Build, train and analyze a recipe in a new folder under `runs`. Raises GflowError for all that goes wrong.

    `map` is what analyzers spread their work with, here and below: see `workers`.
    """
    if recipe.spec.objective is None and not recipe.spec.analyze:
        raise GflowError(f"{recipe.path}: nothing to do: it has neither an [objective] nor an [[analyze]] table")
    _check_extras(recipe.spec)
    experiment = _build(recipe, console)
    experiment.runtime.agree({"the resolved recipe": dumps(recipe.spec), **_surroundings(experiment)})
    _prepare(experiment, console)
    path: list[Path | None] = [None]
    if experiment.runtime.main:
        name = run_name(recipe.path) if recipe.path else "recipe"
        path = [RunFolder.create(runs, name, recipe.spec.seed, dumps(recipe.spec)).path]
    if experiment.runtime.world > 1:
        distributed.broadcast_object_list(path)
    assert path[0] is not None
    folder = RunFolder(path[0], elsewhere=not experiment.runtime.main)
    with _held(folder, experiment):
        if experiment.runtime.main:
            folder.write_manifest(_manifest(recipe, experiment))
        console.say(f"run folder {folder.path}")
        Session(experiment, folder, console, map=map).go(done=0)
    return folder


def resume(
    path: Path, console: Console, checkpoint: str | None = None, steps: int | None = None, map: Map = map
) -> RunFolder:
    """Continue a run from its newest checkpoint, bit for bit as if it had not stopped.

    From the checkpoint named, later ones are dropped, and what was recorded after it. `steps` is a new length.
    """
    folder = RunFolder(path)
    recipe = load(folder.recipe, [f"train.steps={steps}"] if steps else [])
    train_options = recipe.spec.train
    if recipe.spec.objective is None or train_options is None:
        raise GflowError(f"{path}: the recipe trains nothing, there is nothing to resume; use gflow analyze {path}")
    _check_extras(recipe.spec)
    name = folder.checkpoint_name(checkpoint)
    state = folder.load(name)
    if state.step > train_options.steps:
        raise GflowError(f"{path}: {state.step} steps are done already, more than {train_options.steps}")
    if state.threads:
        torch.set_num_threads(state.threads)
    manifest = folder.read_manifest()
    with _data_of(manifest, recipe.spec):
        experiment = _build(recipe, console)
    _check_data(manifest, experiment, path)
    _check_copies(folder, name, experiment)
    _prepare(experiment, console)
    restore(experiment, state, folder.path / "checkpoints" / name)
    with _held(folder, experiment):
        if experiment.runtime.main:
            folder.rewind(name)
            if steps:
                folder.write_recipe(dumps(recipe.spec))
            again = {"time": _now(), "checkpoint": name}
            folder.write_manifest({**manifest, "resumed": [*manifest.get("resumed", []), again]})
        experiment.runtime.barrier()
        if state.step == train_options.steps:
            console.say(f"{path} is trained already, {state.step} steps; --steps N goes on from there")
        else:
            console.say(f"resuming {path} after step {state.step}" + (f", {state.phase}" if state.phase else ""))
        part_way = int(name.partition("-")[2] or 0)
        Session(experiment, folder, console, part_way, map).go(done=state.step)
    return folder


def reanalyze(
    path: Path, console: Console, names: tuple[str, ...] = (), overrides: tuple[str, ...] = (), map: Map = map
) -> RunFolder:
    """Run a finished run's analyzers again, those named or all; a name may also be an analyzer's that it lacks.

    Overrides change their options, where the data lies, and the device; nothing that the run was trained with.
    """
    folder = RunFolder(path)
    for override in overrides:
        if not override.removeprefix("~").startswith(("analyze", "dataset.", "train.device", "train.precision")):
            raise GflowError(f"override {override}: the run is trained; gflow analyze takes analyze.N.OPTION=VALUE")
    before = folder.analyses()
    registered = plugins().registries["analyzer"]
    added = [name for name in dict.fromkeys(names) if name not in before and name in registered]
    tables = [f"analyze.{len(before) + i}.use={name}" for i, name in enumerate(added)]
    recipe = load(folder.recipe, [*tables, *overrides])
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
    recipe = attrs.evolve(recipe, spec=_anywhere(recipe.spec))
    manifest = folder.read_manifest()
    with _data_of(manifest, recipe.spec):
        experiment = _build(recipe, console)
    _check_data(manifest, experiment, path)
    _check_origin(manifest, recipe.spec, path)
    step = 0
    if recipe.spec.objective is not None:
        state = folder.load()
        restore(experiment, state, folder.path)
        step = state.step
    Session(experiment, folder, console, map=map).analyze_all(chosen, step, overrides)
    return folder


@contextmanager
def workers(scheduler: str | None) -> Iterator[Map]:
    """A map over the workers of the dask scheduler at this address or of this file, within the block.

    Python's own without one, and in all processes but the first, which alone runs analyzers. GflowError where no
    scheduler answers, or it has no workers.
    """
    if scheduler is None or os.environ.get("RANK", "0") != "0":
        yield map
        return
    with cluster.connected(scheduler) as client:
        yield partial(cluster.spread, client)


def _check_extras(spec: Spec) -> None:
    """What the recipe wants beyond gflow's own requirements is installed. Raises GflowError if not."""
    if spec.train is not None and spec.train.tensorboard:
        tensorboard.require()


def _build(recipe: Recipe, console: Console) -> Experiment:
    experiment = build(recipe.spec, progress=console.progress)
    console.close()
    return experiment


def _prepare(experiment: Experiment, console: Console) -> None:
    """What analyzers will need later is there now. Raises GflowError if not."""
    if not experiment.runtime.main:
        return
    with seeded(0):
        for analysis in experiment.spec.analyze:
            prepare = getattr(analysis.part, "prepare", None)
            if prepare is not None:
                prepare(experiment.spec, experiment.runtime.device, console.progress)
    console.close()


def _anywhere(spec: Spec) -> Spec:
    """A run trained on a device that this machine lacks can still be looked at."""
    try:
        choose_device(spec.train.device if spec.train else "auto")
    except GflowError:
        assert spec.train is not None
        return attrs.evolve(spec, train=attrs.evolve(spec.train, device="auto"))
    return spec


@contextmanager
def _held(folder: RunFolder, experiment: Experiment) -> Iterator[None]:
    """The run folder is this run's alone; of several processes the first one holds it."""
    with folder.held() if experiment.runtime.main else nullcontext():
        yield


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


def _check_data(manifest: Mapping[str, Any], experiment: Experiment, path: Path) -> None:
    before = manifest.get("data", {}).get("fingerprint")
    if before and experiment.data and experiment.data.fingerprint != before:
        raise GflowError(
            f"{path}: the data has changed since the run began (fingerprint {experiment.data.fingerprint[:12]}, was "
            f"{before[:12]}); put the old data back or start a new run"
        )


def _check_copies(folder: RunFolder, name: str, experiment: Experiment) -> None:
    """Machines without a common file system have a copy of the run each: the same one. Raises GflowError if not."""
    saved = folder.path / "checkpoints" / name / "checkpoint.json"  # it holds the sha256 of all the others
    experiment.runtime.agree(
        {
            str(folder.recipe): folder.recipe.read_text(encoding="utf-8"),
            f"the newest checkpoint of {folder.path}": name + saved.read_text(encoding="utf-8"),
            **_surroundings(experiment),
        }
    )


def _surroundings(experiment: Experiment) -> dict[str, str]:
    """What all machines of a run need the same of, by name."""
    return {
        "the versions of gflow, its plugins and torch": str(_versions()),
        "the data": experiment.data.fingerprint if experiment.data else "",
    }


def _check_origin(manifest: Mapping[str, Any], spec: Spec, path: Path) -> None:
    """A run that trains nothing has its sampler's weights elsewhere: they must be those it began with."""
    before = manifest.get("from_run", {})
    if before and spec.objective is None and spec.sampler.origin()["sha256"] != before["sha256"]:
        raise GflowError(
            f"{path}: the sampler of {before['run']} has changed since this run took it; start a new run with gflow "
            f"run {path / 'recipe.toml'}"
        )


class Session:
    """The events of training, recorded; only the first process writes."""

    def __init__(
        self, experiment: Experiment, folder: RunFolder, console: Console, part_way: int = 0, map: Map = map
    ) -> None:
        self.experiment = experiment
        self.folder = folder
        self.console = console
        self.map = map
        self.stop = Stop()
        self.main = experiment.runtime.main
        self.curves: Curves | None = None
        self._part_way = part_way
        self._step = 0
        # Seconds go on counting where the last line of an earlier stretch stopped.
        earlier = folder.metrics()[-1:] if part_way or folder.checkpoints() else []
        self._start = time.monotonic() - sum(line.get("seconds", 0.0) for line in earlier)

    def go(self, done: int) -> None:
        """Train from `done` to the end, then run the analyzers that wait for it."""
        clock = self.experiment.spec.train
        wanted = self.main and clock is not None and clock.tensorboard and done < clock.steps
        with Curves(self.folder.path / "tensorboard", done) if wanted else nullcontext() as self.curves:
            self._go(done)

    def _go(self, done: int) -> None:
        spec = self.experiment.spec
        step = 0
        if spec.train is not None and self.experiment.objective is not None:
            step = spec.train.steps
            self._step = done + 1
            with self.stop.listening(self.console):
                self.console.training(done, step)
                try:
                    train(self.experiment, self, done=done)
                except Interrupted as stop:
                    raise Interrupted(f"{stop}; go on with gflow resume {self.folder.path}") from None
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    where = error.filename or self.folder.path
                    mend = f"make room, then gflow resume {self.folder.path}"
                    raise GflowError(f"{where}: {error.strerror}; {mend}") from error
                finally:
                    self.console.close()
        self.analyze_all(spec.analyze, step)

    # -- train.Events

    def stopping(self) -> bool:
        return self.stop.requested

    def phase(self, step: int, phase: Phase) -> None:
        if step != self._step:
            self._step, self._part_way = step, 0
        self._part_way += 1
        self.console.phase(step, phase)

    def log(self, step: int, metrics: Mapping[str, Sequence[float]]) -> None:
        means = {name: sum(values) / len(values) for name, values in metrics.items()}
        line: dict[str, Any] = {**means, "seconds": round(time.monotonic() - self._start, 3)}
        if self.experiment.replicas:
            own = enumerate(self.experiment.spec.seeds)
            line["seeds"] = {str(seed): {name: values[i] for name, values in metrics.items()} for i, seed in own}
        if self.main:
            self.folder.log(step, line)
        if self.curves is not None:
            self.curves.scalars(step, means, "train")
            for seed, own_metrics in line.get("seeds", {}).items():
                self.curves.scalars(step, own_metrics, f"train, seed {seed}")
        self.console.log(step, means)

    def sample(self, step: int) -> None:
        if not self.main:
            return
        experiment = single(self.experiment, 0)  # of several replicas the first is shown
        shape = experiment.spec.data_shape()
        assert shape is not None
        path = self.folder.sample_path(step)
        if shape.kind == "image" and experiment.spec.sampler.conditional:
            draw_samples(path, _label_grid(experiment), shape, columns=_COLUMNS)
        else:
            n = _IMAGES if shape.kind == "image" else _POINTS
            classes = torch.arange(shape.classes) if experiment.spec.sampler.conditional and shape.classes else None
            x = torch.cat(list(_chunks(experiment, n, "preview", classes)))
            shown = None if classes is None else dealt(classes, n)
            draw_samples(path, x, shape, _some_real(experiment), classes=shown)
        if self.curves is not None:
            self.curves.picture(step, path)

    def analyze(self, step: int) -> None:
        for analysis in self.experiment.spec.analyze:
            if analysis.every and step % analysis.every == 0:
                try:
                    self.run_analyzer(analysis, step, final=False)
                except GflowError as error:  # hours of training are worth more than one look
                    self.console.say(f"{analysis.name} failed at step {step}: {error}; training goes on")

    def save(self, step: int, phase: Phase | None = None) -> None:
        if self.main:
            state = Checkpoint(
                step=step,
                phase=f"{phase.name} {phase.done} of {phase.total}" if phase else None,
                threads=torch.get_num_threads(),
                parts=capture(self.experiment),
            )
            train_options = self.experiment.spec.train
            assert train_options is not None
            self.folder.save(state, self._part_way if phase else 0, keep=train_options.keep)
            if self.curves is not None:  # a run that is killed goes on from here
                self.curves.flush()
        self.experiment.runtime.barrier()

    # -- analyzers

    def analyze_all(self, analyses: Sequence[Analysis], step: int, overrides: tuple[str, ...] = ()) -> None:
        """Run them one after the other. One that fails costs the others nothing; GflowError names it at the end.

        Raises Interrupted at Ctrl-C, and names the command for those that are lacking.
        """
        failed: dict[str, GflowError] = {}
        for i, analysis in enumerate(analyses):
            try:
                self.run_analyzer(analysis, step, final=True, overrides=overrides)
            except GflowError as error:
                failed[analysis.name] = error
            except KeyboardInterrupt:
                self.console.close()
                lacking = [*failed, *(one.name for one in analyses[i:])]
                words = shlex.join(["gflow", "analyze", str(self.folder.path), *lacking, *overrides])
                raise Interrupted(f"stopped in the analysis {analysis.name}; go on with {words}") from None
        self.experiment.runtime.barrier()
        if len(analyses) == 1 and failed:
            raise next(iter(failed.values()))
        if failed:
            said = {name: str(error).removeprefix(f"{name}: ") for name, error in failed.items()}
            reasons = "".join(f"\n  {name}: {reason}" for name, reason in said.items())
            raise GflowError(
                f"{self.folder.path}: {len(failed)} of {len(analyses)} analyses failed; all else is written{reasons}"
            )

    def run_analyzer(self, analysis: Analysis, step: int, *, final: bool, overrides: tuple[str, ...] = ()) -> None:
        """Run one analyzer and write what it found. GflowError names one that fails; the run itself is saved."""
        try:
            if self.main:
                self._run_analyzer(analysis, step, final, overrides)
        finally:
            self.experiment.runtime.barrier()

    def _run_analyzer(self, analysis: Analysis, step: int, final: bool, overrides: tuple[str, ...]) -> None:
        try:
            self._look(analysis, step, final, overrides)
        except OSError as error:
            raise GflowError(
                f"{self.folder.path}: {analysis.name} cannot be written: {error.strerror or error}; make room, and "
                f"repeat it with gflow analyze {self.folder.path} {analysis.name}"
            ) from error

    def _look(self, analysis: Analysis, step: int, final: bool, overrides: tuple[str, ...]) -> None:
        results = {}
        for index, seed in enumerate(self.experiment.spec.seeds):
            one = single(self.experiment, index)
            name = f"{analysis.name}/seed{seed}" if self.experiment.replicas else analysis.name
            results[seed] = result = self._analyze(one, analysis, name, step)
            if overrides:
                result.manifest["overrides"] = list(overrides)
            where = self.folder.write_result(name, result, step, final=final)
        if self.experiment.replicas:
            result = pool(results)
            where = self.folder.write_result(analysis.name, result, step, final=final)
        if self.curves is not None:
            self.curves.scalars(step, result.scores, analysis.name)
        self.console.result(analysis.name, result, where)

    def _analyze(self, one: Experiment, analysis: Analysis, name: str, step: int) -> Result:
        """What the analyzer finds in a run of one seed. Raises GflowError, also for what the analyzer itself raises."""
        earlier = self.folder.earlier_results(name)
        try:
            return analyze(
                one,
                analysis,
                step,
                progress=self.console.progress,
                folder=self.folder.path,
                earlier=earlier,
                work=self.folder.path / "analysis" / name / "work",
                map=self.map,
            )
        except GflowError:
            raise
        except Exception as error:
            if os.environ.get("GFLOW_DEBUG") == "1":
                raise
            again = f"gflow analyze {self.folder.path} {analysis.name}"
            raise GflowError(
                f"analyzer {analysis.name} raised {type(error).__name__}: {error} (GFLOW_DEBUG=1 shows where); "
                f"repeat it with {again}"
            ) from error


class Stop:
    """Ctrl-C, SIGTERM and SIGHUP as a request: finish what is in hand, save, leave.

    A second Ctrl-C leaves without saving, as soon as Python is back from the operation it is in.
    """

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self, console: Console) -> Iterator[None]:
        """Take the signals within the block."""

        def ask(number: int) -> None:
            if self.requested and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.requested = True
            console.stopping()

        with listening(ask):
            yield


# ------------------------------------------------------------------ state


def capture(experiment: Experiment) -> dict[str, Any]:
    """All that the next step needs, as trees of tensors and numbers."""
    assert experiment.objective is not None
    parts: dict[str, Any] = {name: streams.state_dict() for name, streams in _streams(experiment).items()}
    for name, module in _networks(experiment).items():
        parts[name] = dict(module.state_dict())
    for name, player in experiment.players.items():
        parts[f"optimizer.{name}"] = player.optimizer.state_dict()
    state = experiment.objective.state
    parts["objective"] = {f.name: getattr(state, f.name) for f in attrs.fields(type(state))}
    if experiment.feed is not None:
        parts["feed"] = {"position": experiment.feed.position}
    return parts


def restore(experiment: Experiment, state: Checkpoint, where: Path) -> None:
    """Put `capture`'s parts back. Raises CheckpointError if they are of another experiment."""
    with _fitting(where):
        for name, module in _networks(experiment).items():
            module.load_state_dict(state.parts[name])
        for name, player in experiment.players.items():
            player.optimizer.load_state_dict(state.parts[f"optimizer.{name}"])
        if experiment.objective is not None:
            fields = _to(state.parts["objective"], experiment.runtime.device)
            experiment.objective.state = type(experiment.objective.state)(**fields)
        if experiment.feed is not None:
            experiment.feed.position = state.parts["feed"]["position"]
        for name, streams in _streams(experiment).items():
            streams.load_state_dict(state.parts[name])


@contextmanager
def _fitting(where: Path) -> Iterator[None]:
    """Loading state into networks within the block; CheckpointError where it does not fit."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
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


def _streams(experiment: Experiment) -> dict[str, Streams]:
    own = {f"streams.{index}": streams for index, streams in enumerate(experiment.replicas)}
    return {"streams": experiment.streams, **own}


def _networks(experiment: Experiment) -> dict[str, nn.Module]:
    found = {
        "sampler": experiment.sampler,
        "discriminator": experiment.discriminator,
        "ema": experiment.ema.module if experiment.ema else None,
    }
    return {name: module for name, module in found.items() if module is not None}


# ------------------------------------------------------------------ samples


class Drawing:
    """A run's sampler, ready to be drawn from; the data itself is not needed.

    Averaged weights where the run keeps them, of the newest checkpoint or the named one. `seed` chooses other
    latents than the run's own seed would, `replica` one of several (from 0), and `label` what a conditional sampler
    is asked for: a class, or numbers (`nn.labels.parse_label`); every class in turn without it.
    """

    def __init__(
        self,
        path: Path,
        checkpoint: str | None = None,
        seed: int | None = None,
        replica: int = 0,
        label: str | None = None,
    ) -> None:
        folder = RunFolder(path)
        self.recipe = load(folder.recipe)
        spec = _anywhere(self.recipe.spec)
        if spec.sampler is None:
            raise GflowError(f"{path}: its recipe has no [sampler]")
        self.labels = _wanted(spec, label)
        self.experiment = build(spec, load_data=False)
        _check_origin(folder.read_manifest(), spec, path)
        if spec.objective is not None:
            state = folder.load(checkpoint, only=("sampler", "ema"))
            module = self.experiment.final_sampler
            assert module is not None
            with _fitting(folder.path):
                module.load_state_dict(state.parts["ema" if self.experiment.ema else "sampler"])
        if replica >= len(spec.seeds):
            raise GflowError(f"{path}: no replica {replica}; it has {len(spec.seeds)}, numbered from 0")
        self.experiment = single(self.experiment, replica)
        if seed is not None:
            self.experiment.streams = Streams(seed)

    def chunks(self, n: int, map: Map = map) -> Iterator[Tensor]:
        """n samples [., *shape] on the CPU, some at a time; the same ones at every call."""
        return _chunks(self.experiment, n, "sample", self.labels, map)


def draw(
    path: Path,
    n: int,
    checkpoint: str | None = None,
    seed: int | None = None,
    replica: int = 0,
    label: str | None = None,
    map: Map = map,
) -> tuple[Tensor, Recipe]:
    """n samples [n, *shape] of a run's sampler, and its recipe; see Drawing."""
    drawing = Drawing(path, checkpoint, seed, replica, label)
    return torch.cat(list(drawing.chunks(n, map))), drawing.recipe


def _wanted(spec: Spec, label: str | None) -> Tensor | None:
    """The labels to draw [m] or [m, k]: the one that is asked for, or every class; None for a sampler without."""
    shape = spec.data_shape()
    if not spec.sampler.conditional:
        if label is not None:
            raise GflowError(f"--label {label}: the run's sampler reads no labels; leave it out")
        return None
    if label is None or shape is None:
        return label_pool(None, shape)
    try:
        return parse_label(label, shape)[None]
    except ValueError as error:
        raise GflowError(f"--label {label}: {error}") from None


def _chunks(
    experiment: Experiment, n: int, stream: str, labels: Tensor | None = None, map: Map = map
) -> Iterator[Tensor]:
    """n samples on the CPU, in eval mode, from a stream that starts afresh: sample i has the same latent at every call.

    A conditional sampler's labels are dealt from `labels` in turn, or drawn as in the data.
    """
    module = experiment.final_sampler
    assert module is not None
    spec, streams = experiment.spec, experiment.streams.fork(stream)
    in_turn = labels is not None
    if labels is None and spec.sampler.conditional:
        labels = label_pool(experiment.data, spec.data_shape())
    with evaluating(module):
        for x in draw_chunks(
            module,
            spec.sampler,
            n,
            streams,
            experiment.runtime,
            labels=labels,
            in_turn=in_turn,
            prefix=True,
            spread=map,
            train=spec.train,
        ):
            yield x.cpu()


def _label_grid(experiment: Experiment) -> Tensor:
    """A row of images for every label that is shown, one z a column; the same latents at every call."""
    module = experiment.final_sampler
    assert module is not None
    spec, streams = experiment.spec, experiment.streams.fork("preview")
    shape = spec.data_shape()
    assert shape is not None
    rows = label_rows(label_pool(experiment.data, shape), shape)
    with evaluating(module):
        return by_label(module, spec.sampler, rows, _COLUMNS, streams, experiment.runtime)


def _some_real(experiment: Experiment) -> Tensor | None:
    if experiment.data is None or experiment.data.shape.kind == "image":
        return None
    return experiment.data.x[:_POINTS]


# ------------------------------------------------------------------ manifest


def _manifest(recipe: Recipe, experiment: Experiment) -> dict[str, Any]:
    runtime: Runtime = experiment.runtime
    data = experiment.data
    return {
        "created": _now(),
        "command": sys.argv,
        "folder": str(Path.cwd()),
        "recipe": str(recipe.path) if recipe.path else None,
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
        "device": str(runtime.device),
        "device_name": torch.cuda.get_device_name(runtime.device)
        if runtime.device.type == "cuda"
        else platform.machine(),
        "precision": runtime.precision,
        "processes": runtime.world,
        "threads": torch.get_num_threads(),
        "git": _git(),
        "data": {"items": len(data), "shape": str(data.shape), "fingerprint": data.fingerprint} if data else {},
        **({"from_run": recipe.spec.sampler.origin()} if isinstance(recipe.spec.sampler, FromRun) else {}),
        "parameters": {
            name: sum(p.numel() for p in module.parameters()) for name, module in _networks(experiment).items()
        },
    }


def _versions() -> dict[str, str]:
    return {"torch": torch.__version__, **{record.dist: record.version for record in plugins().records}}


def _git() -> dict[str, Any] | None:
    """Commit of the working folder, and whether files differ from it; None outside a repository."""

    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
