"""The events of training, recorded; and analyzers, run and written."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import attrs
import torch

from gflow_core.errors import Diverged, GflowError, Interrupted, PluginError, raised, typed
from gflow_core.files.checkpoint import Checkpoint
from gflow_core.files.inside import unshare
from gflow_core.files.run_folder import read_recipe, read_result
from gflow_core.files.whole import is_full
from gflow_core.machine.signals import noted
from gflow_core.machine.streams import derive, seeded
from gflow_core.nn.sampling import dealt
from gflow_core.parts.analysis import Map, Result
from gflow_core.parts.returned import named
from gflow_core.parts.source import Source
from gflow_core.parts.spec import Analysis
from gflow_core.parts.training import Experiment, Phase
from gflow_core.runs.analyze import analyze, copied, faults, pool
from gflow_core.runs.best import goal_of
from gflow_core.runs.blame import blaming, culprit
from gflow_core.runs.build import single
from gflow_core.runs.drawing import COLUMNS, IMAGES, POINTS, chunks, label_grid, some_real
from gflow_core.runs.judge import Judge
from gflow_core.runs.pictures import draw_samples
from gflow_core.runs.record import RunFolder
from gflow_core.runs.state import capture
from gflow_core.runs.stopping import Stop
from gflow_core.runs.trackers import Trackers
from gflow_core.runs.train import look, train

__all__ = ["Console", "Session"]


class Console(Protocol):
    """Where a session reports to."""

    def say(self, text: str) -> None:
        """A line worth reading."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Long work outside training."""

    def looking(self, name: str, turn: int = 1, of: int = 0) -> AbstractContextManager[None]:
        """An analyzer looks within the block, after training the one whose `turn` it is `of` so many."""

    def training(self, first: int, steps: int, items: int = 0) -> None:
        """Training starts after `first` of `steps` steps, of so many items of the data each."""

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
        # Of the recipe as it stands: a best that is there stays where no analysis is to run.
        self.judge = Judge(folder.path, experiment.spec, goal_of(read_recipe(folder.path)) if self.main else None)
        self.trackers = Trackers((), folder.path, 0, console.say, here=False)
        self._failed: dict[str, list[tuple[int, GflowError]]] = {}
        """What failed while training, and at which steps."""
        self._part_way = part_way
        self._step = 0
        # Seconds go on counting where the last line of an earlier stretch stopped.
        earlier = folder.metrics()[-1:] if part_way or folder.checkpoints() else []
        self._start = time.monotonic() - sum(line.get("seconds", 0.0) for line in earlier)

    def go(self, done: int) -> None:
        """Train from `done` to the end, then run the analyzers that wait for it."""
        clock = self.experiment.spec.train
        if clock is not None and (done < clock.steps or not clock.steps or self._lacks(done)):
            here = self.main and self.experiment.objective is not None
            with blaming(self.experiment.spec):
                self.trackers = Trackers(clock.trackers, self.folder.path, done, self.console.say, here=here)
        try:
            with blaming(self.experiment.spec, self.experiment):
                self._go(done)
        finally:
            self.trackers.close()

    def _lacks(self, step: int) -> bool:
        """Whether an analysis has not looked at the end of the run, step `step`, or left nothing that can be read."""
        files = (self.folder.path / "analysis" / one.name / "result.json" for one in self.experiment.spec.analyze)
        try:
            return any(not file.is_file() or read_result(file)["step"] != step for file in files)
        except GflowError:
            return True

    def _go(self, done: int) -> None:
        spec = self.experiment.spec
        step = 0
        if spec.train is not None and self.experiment.objective is not None:
            self._step = done + 1
            with self.stop.listening(self.console.stopping):
                self.console.training(done, spec.train.steps, spec.items_a_step())
                try:
                    over = bool(done) and not self._part_way and look(self.experiment, self, done)
                    step = done if over else train(self.experiment, self, done=done)
                except Interrupted as stop:
                    raise Interrupted(f"{stop}; go on with gflow resume {typed(self.folder.path)}") from None
                except Diverged as error:
                    raise Diverged(self._diverged(error)) from None
                except OSError as error:
                    if not is_full(error):
                        raise
                    where = error.filename or self.folder.path
                    mend = f"make room, then gflow resume {typed(self.folder.path)}"
                    raise GflowError(f"{where}: {error.strerror}; {mend}") from error
                finally:
                    self.console.close()
            if step < spec.train.steps:
                self._ended(step)
        self.analyze_all(spec.analyze, step)

    def _ended(self, step: int) -> None:
        """Say, and keep in the run folder, why training ended before the recipe's end."""
        if self.main:
            why = self.judge.why(step)
            self.folder.write_manifest({**self.folder.read_manifest(), "ended": {"step": step, "why": why}})
            on = shlex.join(["gflow", "resume", str(self.folder.path), "~train.stop_after"])
            self.console.say(f"training ends after step {step}: {why}; {on} goes on")

    def _diverged(self, error: Diverged) -> str:
        """What there is to say about training that diverged; the run folder keeps it."""
        if self.main:
            self.folder.write_manifest({**self.folder.read_manifest(), "diverged": str(error)})
        saved = self.folder.checkpoints()
        good = f"the checkpoint {saved[-1]} is from before" if saved else "no checkpoint was saved before"
        return f"{error}; {good}. A smaller learning rate or step size may help"

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
        means |= self.experiment.spec.scheduled(step - 1)
        line: dict[str, Any] = {**means, "seconds": round(time.monotonic() - self._start, 3)}
        if self.experiment.replicas:
            own = enumerate(self.experiment.spec.seeds)
            line["seeds"] = {str(seed): {name: values[i] for name, values in metrics.items()} for i, seed in own}
        self.trackers.log(step, line)
        self.console.log(step, means)

    def save(self, step: int, phase: Phase | None = None) -> None:
        if self.main:
            self._save(step, phase)
        self.experiment.runtime.barrier()

    def _save(self, step: int, phase: Phase | None = None) -> None:
        """Write a checkpoint; where that of the step is there, only those go that are kept no longer."""
        train_options = self.experiment.spec.train
        assert train_options is not None
        if phase is None and f"{step:06d}" in self.folder.checkpoints():
            self.folder.prune(train_options.keep, self.judge.goal)
            return
        state = Checkpoint(
            step=step,
            phase=f"{phase.name} {phase.done} of {phase.total}" if phase else None,
            threads=torch.get_num_threads(),
            parts=capture(self.experiment),
        )
        self.trackers.flush()  # a run that is killed goes on from here
        self.folder.save(state, self._part_way if phase else 0, train_options.keep, self.judge.goal)

    def sample(self, step: int) -> None:
        if not self.main or (path := self.folder.sample_path(step)).is_file():
            return
        what = "the sample picture"
        with self._costing_nothing(what, step), self._blaming(what):
            with seeded(derive(self.experiment.streams.seed, f"preview.{step}")):
                self._draw(path)
            self.trackers.picture(step, path)
            self.trackers.flush()

    def _draw(self, path: Path) -> None:
        experiment = single(self.experiment, 0)  # of several replicas the first is shown
        shape = experiment.spec.data_shape()
        assert shape is not None
        if shape.kind == "image" and experiment.spec.sampler.conditional:
            draw_samples(path, label_grid(experiment), shape, columns=COLUMNS)
        else:
            n = IMAGES if shape.kind == "image" else POINTS
            classes = torch.arange(shape.classes) if experiment.spec.sampler.conditional and shape.classes else None
            x = torch.cat(list(chunks(experiment, n, "preview", classes)))
            shown = None if classes is None else dealt(classes, n)
            draw_samples(path, x, shape, some_real(experiment), classes=shown)

    def analyze(self, step: int) -> None:
        for analysis in self.experiment.spec.analyze:
            if analysis.due(step):
                looking = self.console.looking(analysis.name)
                with looking, self._same_data(analysis), self._costing_nothing(analysis.name, step):
                    self.run_analyzer(analysis, step, final=False, anew=False)
        if self.experiment.spec.judged_after(step):
            lacking = self.judge.lacking(step) if self.main else None
            if self.main and (lacking or self.judge.wins(step)):
                self._save(step)
            self.experiment.runtime.barrier()
            if lacking:
                raise GflowError(lacking)

    def ends(self, step: int) -> bool:
        return self.main and self.judge.ends(step)

    @contextmanager
    def _costing_nothing(self, what: str, step: int) -> Iterator[None]:
        """Hours of training are worth more than one look: a failure within the block is told now, and at the end."""
        try:
            yield
        except GflowError as error:
            self.console.say(f"{what} failed at step {step}: {error}; training goes on")
            self._failed.setdefault(what, []).append((step, _alone(error)))

    @contextmanager
    def _blaming(self, who: str, mend: str = "", looked_at: Experiment | None = None) -> Iterator[None]:
        """What the block raises becomes a GflowError, be it SystemExit; not what a person's Ctrl-C raises."""
        experiment = looked_at or self.experiment
        with noted() as pressed:
            try:
                yield
            except GflowError:
                raise
            except BaseException as error:
                if pressed:
                    raise KeyboardInterrupt from error
                if os.environ.get("GFLOW_DEBUG") == "1":
                    raise
                found = culprit(error, experiment.spec, experiment)
                kind, part, where = found or ("", None, "(GFLOW_DEBUG=1 shows the traceback)")
                other = f": {named(kind, part)}" if kind not in ("", "analyzer") else ""
                raise GflowError(f"{who}{other} raised {raised(error)} {where}{mend}") from error

    # -- analyzers

    @contextmanager
    def _same_data(self, analysis: Analysis) -> Iterator[None]:
        """The analyzer looks within the block. PluginError where it changed the data: all others would have those."""
        before = _versions(self.experiment.data)
        yield
        if _versions(self.experiment.data) != before:
            again = "resume" if self.experiment.objective is not None else "analyze"
            raise PluginError(
                f"{named('analyzer', analysis.part)} has changed the data in place, which training and other analyses "
                f"go on with; it must clone what it changes. Then gflow {again} {self.folder.path}"
            )

    def analyze_all(
        self, analyses: Sequence[Analysis], step: int, overrides: tuple[str, ...] = (), checkpoint: str | None = None
    ) -> None:
        """Run them one after the other. One that fails costs the others nothing; GflowError names it at the end.

        What they find is the run's result or, of a checkpoint that is named, stands beside it under its step. What
        failed while training is named at the end, too. Raises Interrupted at Ctrl-C, and names the command for those
        that are lacking.
        """
        failed: dict[str, GflowError] = {}
        for i, analysis in enumerate(analyses):
            try:
                with self.console.looking(analysis.name, i + 1, len(analyses)), self._same_data(analysis):
                    try:
                        self.run_analyzer(analysis, step, final=checkpoint is None, overrides=overrides)
                    except GflowError as error:
                        failed[analysis.name] = _alone(error)
            except KeyboardInterrupt:
                self.console.close()
                lacking = [*failed, *(one.name for one in analyses[i:])]
                at = [] if checkpoint is None else ["--checkpoint", checkpoint]
                words = shlex.join(["gflow", "analyze", str(self.folder.path), *lacking, *at, *overrides])
                raise Interrupted(f"stopped in the analysis {analysis.name}; go on with {words}") from None
        self.experiment.runtime.barrier()
        if len(analyses) == 1 and failed and not self._failed:
            raise next(iter(failed.values()))
        said = [f"{len(failed)} of {len(analyses)} analyses failed"] if failed else []
        reasons = [f"{name}: {str(error).removeprefix(f'{name}: ')}" for name, error in failed.items()]
        for name, before in self._failed.items():
            said.append(f"while training {name} failed {len(before)} time{'s' * (len(before) > 1)}")
            reasons.append(f"{name}, step {before[0][0]}: {before[0][1]}")
        if said:
            raise GflowError("\n  ".join([f"{self.folder.path}: {', '.join(said)}; all else is written", *reasons]))

    def run_analyzer(
        self, analysis: Analysis, step: int, *, final: bool, anew: bool = True, overrides: tuple[str, ...] = ()
    ) -> None:
        """Run one analyzer and write what it found. GflowError names one that fails; the run itself is saved.

        Unless it is to look `anew`, what it has found after this step stays: so while training, when a run is resumed.
        """
        try:
            if self.main and (anew or not self.folder.has_result(analysis.name, step)):
                self._run_analyzer(analysis, step, final, overrides)
        finally:
            self.experiment.runtime.barrier()

    def _run_analyzer(self, analysis: Analysis, step: int, final: bool, overrides: tuple[str, ...]) -> None:
        who = f"analyzer {analysis.name}"
        again = f"; repeat it with gflow analyze {typed(self.folder.path)} {analysis.name}" if final else ""
        results = {}
        with self._blaming(who, again):
            for index, seed in enumerate(self.experiment.spec.seeds):
                one = copied(single(self.experiment, index))
                name = f"{analysis.name}/seed{seed}" if self.experiment.replicas else analysis.name
                with self._blaming(who, again, one):
                    results[seed] = result = self._analyze(one, analysis, name, step, overrides)
                where = self._write(name, result, step, final, again)
            if self.experiment.replicas:
                result = pool(results)
                where = self._write(analysis.name, result, step, final, again)
            self.trackers.scores(step, analysis.name, result.scores)
            self.trackers.flush()
            self.console.result(analysis.name, result, where)

    def _analyze(self, one: Experiment, analysis: Analysis, name: str, step: int, overrides: tuple[str, ...]) -> Result:
        """What the analyzer finds in a run of one seed. Raises GflowError where it is nothing that can be written."""
        work = self.folder.path / "analysis" / name / "work"
        unshare(work)
        found = analyze(
            one,
            analysis,
            step,
            progress=self.console.progress,
            folder=self.folder.path,
            earlier=self.folder.earlier_results(name, step),
            work=work,
            map=self.map,
        )
        wrong = "; ".join(faults(found))
        if wrong:
            raise GflowError(f"analyzer {analysis.name}: {wrong}")
        scores: dict[str, Any] = {**found.scores}
        scores |= {name: value.item() for name, value in scores.items() if hasattr(value, "item")}  # numpy's, torch's
        manifest = {**found.manifest, "overrides": list(overrides)} if overrides else found.manifest
        return attrs.evolve(found, scores=scores, manifest=manifest)

    def _write(self, name: str, result: Result, step: int, final: bool, again: str) -> Path:
        """Write what an analyzer found; its folder. Raises GflowError where the disk does not take it."""
        try:
            return self.folder.write_result(name, result, step, final=final)
        except OSError as error:
            room = "; make room" if is_full(error) else ""
            what = f"{self.folder.path}: {name} cannot be written: {error.strerror or error}"
            raise GflowError(f"{what}{room}{again}") from error


def _alone(error: GflowError) -> GflowError:
    """The error, which is kept, without the frames it came through: they hold copies of networks."""
    one: BaseException | None = error
    while one is not None and os.environ.get("GFLOW_DEBUG") != "1":
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


def _versions(data: Source | None) -> list[int]:
    """How often items and labels were written to, as torch counts."""
    tensors = [] if data is None else [x for x in (data.x, data.y) if x is not None and not x.is_inference()]
    return [x._version for x in tensors]
