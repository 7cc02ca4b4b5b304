"""The events of training, recorded; and analyzers, run and written."""

from __future__ import annotations

import errno
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from gflow_core.errors import Diverged, GflowError, Interrupted
from gflow_core.files.checkpoint import Checkpoint
from gflow_core.files.inside import unshare
from gflow_core.nn.sampling import dealt
from gflow_core.parts.analysis import Map, Result
from gflow_core.parts.spec import Analysis
from gflow_core.parts.training import Experiment, Phase
from gflow_core.runs.analyze import analyze, pool
from gflow_core.runs.build import single
from gflow_core.runs.drawing import COLUMNS, IMAGES, POINTS, chunks, label_grid, some_real
from gflow_core.runs.pictures import draw_samples
from gflow_core.runs.record import RunFolder
from gflow_core.runs.state import capture
from gflow_core.runs.stopping import Stop
from gflow_core.runs.trackers import Trackers
from gflow_core.runs.train import train

__all__ = ["Console", "Session"]


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
        self.trackers = Trackers((), folder.path, 0, console.say, here=False)
        self._part_way = part_way
        self._step = 0
        # Seconds go on counting where the last line of an earlier stretch stopped.
        earlier = folder.metrics()[-1:] if part_way or folder.checkpoints() else []
        self._start = time.monotonic() - sum(line.get("seconds", 0.0) for line in earlier)

    def go(self, done: int) -> None:
        """Train from `done` to the end, then run the analyzers that wait for it."""
        clock = self.experiment.spec.train
        if clock is not None and done < clock.steps:
            here = self.main and self.experiment.objective is not None
            self.trackers = Trackers(clock.trackers, self.folder.path, done, self.console.say, here=here)
        try:
            self._go(done)
        finally:
            self.trackers.close()

    def _go(self, done: int) -> None:
        spec = self.experiment.spec
        step = 0
        if spec.train is not None and self.experiment.objective is not None:
            step = spec.train.steps
            self._step = done + 1
            with self.stop.listening(self.console.stopping):
                self.console.training(done, step)
                try:
                    train(self.experiment, self, done=done)
                except Interrupted as stop:
                    raise Interrupted(f"{stop}; go on with gflow resume {self.folder.path}") from None
                except Diverged as error:
                    raise Diverged(self._diverged(error)) from None
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    where = error.filename or self.folder.path
                    mend = f"make room, then gflow resume {self.folder.path}"
                    raise GflowError(f"{where}: {error.strerror}; {mend}") from error
                finally:
                    self.console.close()
        self.analyze_all(spec.analyze, step)

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

    def sample(self, step: int) -> None:
        if not self.main:
            return
        experiment = single(self.experiment, 0)  # of several replicas the first is shown
        shape = experiment.spec.data_shape()
        assert shape is not None
        path = self.folder.sample_path(step)
        if shape.kind == "image" and experiment.spec.sampler.conditional:
            draw_samples(path, label_grid(experiment), shape, columns=COLUMNS)
        else:
            n = IMAGES if shape.kind == "image" else POINTS
            classes = torch.arange(shape.classes) if experiment.spec.sampler.conditional and shape.classes else None
            x = torch.cat(list(chunks(experiment, n, "preview", classes)))
            shown = None if classes is None else dealt(classes, n)
            draw_samples(path, x, shape, some_real(experiment), classes=shown)
        self.trackers.picture(step, path)

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
            self.trackers.flush()  # a run that is killed goes on from here
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
        self.trackers.scores(step, analysis.name, result.scores)
        self.console.result(analysis.name, result, where)

    def _analyze(self, one: Experiment, analysis: Analysis, name: str, step: int) -> Result:
        """What the analyzer finds in a run of one seed. Raises GflowError, also for what the analyzer itself raises."""
        earlier = self.folder.earlier_results(name)
        work = self.folder.path / "analysis" / name / "work"
        try:
            unshare(work)
            return analyze(
                one,
                analysis,
                step,
                progress=self.console.progress,
                folder=self.folder.path,
                earlier=earlier,
                work=work,
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
