"""Sweeps: a grid of runs, on this machine or on a cluster (dask.distributed), with no books but the run folders.

from gflow_core import sweep

sweep("recipes/vgrow_ring8.toml", "objective.divergence=kl,js", "seeds=0:10").comparison
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, Literal, get_args
from uuid import uuid4

import attrs

from gflow_core.errors import GflowError, Interrupted, did_you_mean, for_people
from gflow_core.files.inside import check_inside
from gflow_core.files.run_folder import making_runs, run_name
from gflow_core.machine import cluster
from gflow_core.machine.signals import listening
from gflow_core.runs.summary import duration, summary
from gflow_core.scores.compare import Comparison, comparable
from gflow_core.sweeps.grid import Cell, alike, cells
from gflow_core.sweeps.work import FOLDER, Outcome, Task, hosts_of, kin, look, number_of_threads, stop, task_of, work

if TYPE_CHECKING:
    from distributed import Client, Future

    from gflow_core.sweeps.progress import SweepConsole

__all__ = ["Member", "Sweep", "plan", "sweep"]

State = Literal["new", "stopped", "trained", "finished", "busy", "failed"]

_COUNTING = 10.0  # seconds between looks at how many workers there are

_STATES: dict[str, State] = {
    "run": "new",
    "resume": "stopped",
    "analyze": "trained",
    "nothing": "finished",
    "wait": "busy",
    "mend": "failed",
}


@attrs.frozen
class Member:
    """One run of a sweep, and how it stands."""

    cell: Cell
    state: State
    """new: not begun; stopped: to be resumed; trained: analyses are lacking; finished: all is there; busy: a process
    that is not of this sweep is at work on it; failed: `problem` says why."""
    step: int = 0
    """Steps that its newest checkpoint holds."""
    path: Path | None = None
    """Its run folder, once there is one."""
    problem: str = ""
    log: Path | None = None
    """What it said, where a sweep has started it."""


@attrs.frozen
class Sweep:
    """The runs of a sweep, and their scores side by side."""

    runs: tuple[Member, ...]
    comparison: Comparison | None = None
    """Over all finished runs; None where their scores do not compare."""
    note: str = ""
    """Which analyses the comparison leaves out, or why there is none."""

    def of(self, state: State) -> list[Member]:
        """The runs in this state. Raises GflowError for a state that is none."""
        if state not in get_args(State):
            known = ", ".join(get_args(State))
            raise GflowError(f"no state {state}{did_you_mean(state, get_args(State))} (there are {known})")
        return [member for member in self.runs if member.state == state]


def plan(recipe: Path | str, *words: str, runs: Path | str | None = None) -> Sweep:
    """The runs that `sweep` would see to, and how they stand. Writes nothing; raises as `sweep` does for its words."""
    driver = _Driver(Path(recipe), words, runs)
    return attrs.evolve(driver.standing(), note="\n".join(driver.notes()))


@for_people
def sweep(
    recipe: Path | str,
    *words: str,
    runs: Path | str | None = None,
    scheduler: str | None = None,
    jobs: int | None = None,
    quiet: bool = False,
    stderr: bool = False,
) -> Sweep:
    """Bring every run of a grid to its end: finished ones are skipped, stopped ones resumed, new ones run.

    `words` are overrides; `path=A,B` is an axis of the grid, `seeds=0:10` another. Run folders lie in `runs`
    ("runs/NAME-sweep" by default). The runs are processes of a dask worker: of this machine, `jobs` at once (by default
    one a GPU, or else one a core), or of the workers of a `scheduler`, an address or a scheduler file. Progress is told
    on standard output, or on standard error. A run that fails is told of and costs the others nothing.

    Raises RecipeError with every problem of every cell, GflowError for words that are no grid and where no scheduler
    answers, and Interrupted where Ctrl-C, SIGTERM or SIGHUP stopped it: the runs are saved, and the same call goes on.
    """
    driver = _Driver(Path(recipe), words, runs)
    if jobs is not None and jobs < 1:
        raise GflowError(f"jobs = {jobs}: one run at once or more")
    if scheduler is not None and jobs is not None:
        raise GflowError(
            "--jobs is for the local cluster; the workers of --scheduler take as many runs as their threads"
        )
    cluster.require()
    from gflow_core.sweeps.progress import SweepConsole

    driver.begin()
    with SweepConsole(len(driver.tasks), len(driver.tasks) - len(driver.waiting), quiet, stderr) as console:
        console.say(driver.summary())
        if driver.waiting:
            with driver.cluster(scheduler, jobs) as client:
                driver.drive(client, console)
    done = driver.standing()
    comparison, note = _compared(done)
    return attrs.evolve(done, comparison=comparison, note=note)


def _compared(done: Sweep) -> tuple[Comparison | None, str]:
    """The finished runs side by side, and which analyses had to be left out, or why there is no comparison.

    An analysis that depends on what the grid varies does not compare; the others still do.
    """
    finished = [member for member in done.runs if member.state == "finished" and member.path is not None]
    paths = [member.path for member in finished if member.path is not None]
    if not paths:
        return None, "no run is finished: there is nothing to compare"
    try:
        found, left_out = comparable(paths)
    except GflowError as error:
        return None, f"no comparison: {str(error).splitlines()[0]}"
    if len(found.groups) == 1 and (cell := finished[0].cell).axes:  # of several settings one is there as yet
        name = "\n".join(f"{axis}={value}" for axis, value in cell.axes.items() if axis != "seed")
        found = attrs.evolve(found, groups=(attrs.evolve(found.groups[0], name=name or found.groups[0].name),))
    return found, f"left out of the comparison: {'; '.join(left_out)}" if left_out else ""


class _Driver:
    """The client's side of a sweep."""

    def __init__(self, recipe: Path, words: Sequence[str], runs: Path | str | None) -> None:
        self.cells = cells(recipe, words)
        name = run_name(recipe)
        self.runs = Path(runs) if runs is not None else Path("runs") / f"{name}-sweep"
        self.id = f"gflow-sweep-{uuid4().hex[:12]}"
        self.tasks = [task_of(cell, i, name, self.runs, self.id) for i, cell in enumerate(self.cells)]
        self.found = look(self.runs, self.tasks)
        self.outcomes: dict[int, Outcome] = {}
        self.waiting: list[Task] = []
        """Runs that there is something to do for."""
        self._working: dict[int, Path | None] = {}
        """Runs that workers are at work on, and their folders once they are seen."""
        self._at: dict[int, str] = {}
        """The workers that they are at."""
        self._asked = 0
        self._again: set[int] = set()
        """Runs that another process had, and that are asked for once more in the end."""

    # -- how the runs stand

    def standing(self) -> Sweep:
        return Sweep(tuple(self._member(task) for task in self.tasks))

    def _member(self, task: Task) -> Member:
        cell, found = self.cells[task.index], self.found.get(task.index)
        outcome = self.outcomes.get(task.index)
        state: State = _STATES[found.todo] if found else "new"
        problem = found.problem if found else ""
        if outcome is not None and outcome.state in ("failed", "busy"):
            state, problem = outcome.state, outcome.problem
        path = found.summary.path if found else None
        log = self.runs / task.log.relative_to(task.runs)
        return Member(cell, state, found.summary.step if found else 0, path, problem, log if log.exists() else None)

    def summary(self) -> str:
        """`6 runs in runs/ring-sweep: 2 finished, 1 to resume, 3 new`."""
        words = {
            "finished": "finished",
            "stopped": "to resume",
            "trained": "to analyze",
            "new": "new",
            "busy": "that other processes are at work on",
            "failed": "that cannot be read",
        }
        states = [member.state for member in self.standing().runs]
        counts = ", ".join(f"{states.count(state)} {words[state]}" for state in words if state in states)
        said = f"{len(states)} run{'s' if len(states) > 1 else ''} in {self.runs}: {counts}"
        return "\n".join([said, *(f"note: {note}" for note in self.notes())])

    def notes(self) -> list[str]:
        """What to know before runs are paid for, a sentence each."""
        new = [task for task in self.tasks if self._member(task).state == "new"]
        there = kin(self.runs, new)
        if not there:
            return alike(self.cells)
        many = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        first = next(iter(there.values()))
        return [
            *alike(self.cells),
            f"{len(there)} of the new runs would train again what {first}{many} did, under another title or with other "
            "analyses; gflow analyze makes analyses of runs that are there",
        ]

    def label(self, task: Task) -> str:
        return self.cells[task.index].label or task.name

    # -- on a cluster

    def begin(self) -> None:
        """What is left to do. Raises GflowError where there is something, and the sweep's folder cannot be written."""
        states = {task.index: self._member(task).state for task in self.tasks}
        self.waiting = [task for task in self.tasks if states[task.index] in ("new", "stopped", "trained")]
        if not self.waiting:
            return
        check_inside(self.runs, FOLDER)
        trial = self.runs / FOLDER / self.id
        with making_runs(self.runs):
            trial.parent.mkdir(parents=True, exist_ok=True)
            try:
                trial.write_text("Can this folder be written?\n", encoding="utf-8")
            finally:
                trial.unlink(missing_ok=True)

    @contextmanager
    def cluster(self, scheduler: str | None, jobs: int | None) -> Iterator[Client]:
        """The cluster that does it, within the block; each run asks for its GPUs where the workers offer some."""
        wanted = {task.index: _gpus(self.cells[task.index]) for task in self.waiting}
        with cluster.connected(scheduler) if scheduler else self._local(jobs, any(wanted.values())) as client:
            workers = client.scheduler_info()["workers"].values()
            offered = max((int(worker["resources"].get("GPU", 0)) for worker in workers), default=0)
            if offered:
                if (most := max(wanted.values())) > offered:
                    raise GflowError(f"train.devices = {most}: no worker offers more GPUs than {offered}")
                self.waiting = [attrs.evolve(task, devices=wanted[task.index] or None) for task in self.waiting]
            hosts, threads = hosts_of(client.nthreads()), number_of_threads(os.environ)
            self.waiting = [attrs.evolve(task, hosts=hosts, threads=threads) for task in self.waiting]
            yield client

    @contextmanager
    def _local(self, jobs: int | None, wants_gpus: bool) -> Iterator[Client]:
        from dask.system import CPU_COUNT

        gpus = 0
        if wants_gpus:
            import torch

            gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        with cluster.local(min(jobs or gpus or CPU_COUNT, len(self.waiting)), gpus) as client:
            yield client

    def drive(self, client: Client, console: SweepConsole) -> None:
        """Have the workers do it, and tell how it goes. Raises Interrupted where it was asked to stop."""
        news: Queue[tuple[int, dict[str, Any] | None]] = Queue()
        client.subscribe_topic(self.id, lambda event: news.put((event[1]["index"], event[1])))
        futures: dict[int, Future[Any]] = {}
        busy: list[Task] = []

        def submit(tasks: Sequence[Task]) -> None:
            for task in tasks:
                resources = {"GPU": task.devices} if task.devices else None
                key = f"{self.id}-{task.index}{'-again' if task.patient else ''}"
                futures[task.index] = client.submit(work, task, key=key, pure=False, resources=resources)
            for task in tasks:
                futures[task.index].add_done_callback(partial(lambda index, _: news.put((index, None)), task.index))

        submit(self.waiting)
        begun: set[int] = set()
        shown = counted = time.monotonic()
        workers = True
        asked: list[int] = []
        with listening(asked.append):
            while futures:
                if len(asked) > self._asked:
                    self._stop(client, console, [future for index, future in futures.items() if index not in begun])
                with suppress(Empty):
                    index, event = news.get(timeout=0.5)
                    if event is not None and index in futures:
                        begun.add(index)
                        self._working[index] = None
                        if self._at.get(index, event["worker"]) != event["worker"]:
                            self._lost(index, console)
                        self._at[index] = event["worker"]
                        console.say(f"{self.label(self.tasks[index])}: {event['how']}")
                    elif event is None:
                        outcome = _outcome(futures.pop(index))
                        if outcome.state == "busy" and index not in self._again:
                            self._again.add(index)
                            busy += [attrs.evolve(task, patient=True) for task in self.waiting if task.index == index]
                        else:
                            self._ended(self.tasks[index], outcome, console)
                if busy and not (futures or asked):  # another sweep's, as a rule, which may have finished them by now
                    submit(busy)
                    busy = []
                if time.monotonic() > counted + _COUNTING and client.status == "running":
                    there = client.nthreads()
                    counted, before, workers = time.monotonic(), workers, bool(there)
                    for index in [index for index, worker in self._at.items() if worker not in there]:
                        self._lost(index, console)
                    if before and not workers:
                        console.say("no worker is left; waiting for another (Ctrl-C stops)")
                if console.live and time.monotonic() > shown + 1.0:
                    shown = time.monotonic()
                    console.show(self._steps(), len(self.tasks) - len(futures) - len(busy))
        self.found = look(self.runs, self.tasks)
        done = len(self.standing().of("finished"))
        how_far = f"{done} of {len(self.tasks)} runs are finished; the same command goes on"
        if self._asked:
            raise Interrupted(f"stopped: {how_far}")
        if done < len(self.tasks) and client.status != "running":
            raise GflowError(f"--scheduler: it does not answer any more; {how_far} with a new one")

    def _lost(self, index: int, console: SweepConsole) -> None:
        del self._at[index]
        if not self._asked:
            console.say(f"{self.label(self.tasks[index])}: its worker is gone; it goes on at another")

    def _ended(self, task: Task, outcome: Outcome, console: SweepConsole) -> None:
        self.outcomes[task.index] = outcome
        if outcome.state == "finished":
            took = f" in {duration(outcome.seconds)}" if task.index in self._working else ""  # else another sweep's
            console.say(f"{self.label(task)}: finished{took}")
        elif outcome.problem:
            console.say(f"{self.label(task)}: {outcome.state}: {outcome.problem}")
        elif task.index in self._working:
            console.say(f"{self.label(task)}: stopped")
        self._working.pop(task.index, None)
        self._at.pop(task.index, None)

    def _stop(self, client: Client, console: SweepConsole, pending: Sequence[Future[Any]]) -> None:
        """Begin nothing more; the runs at work are asked to save and leave, and the second time killed."""
        self._asked += 1
        if self._asked == 1:
            console.say("stopping: the runs at work save and leave; Ctrl-C again kills them")
        if client.status != "running":
            return  # the scheduler is gone, and its workers with it
        client.cancel(pending)
        client.run(stop, self.id, signal.SIGTERM if self._asked == 1 else signal.SIGKILL, on_error="ignore")

    def _steps(self) -> dict[str, tuple[int, int]]:
        """Label -> steps done, steps in all, of the runs at work."""
        unseen = [self.tasks[index] for index, path in self._working.items() if path is None]
        if unseen:
            self._working |= {index: found.summary.path for index, found in look(self.runs, unseen).items()}
        steps = {}
        for index, path in self._working.items():
            about = summary(path) if path is not None else None
            steps[self.label(self.tasks[index])] = (about.step, about.steps) if about else (0, 0)
        return steps


def _outcome(future: Future[Any]) -> Outcome:
    if future.status == "finished":
        outcome: Outcome = future.result()
        return outcome
    if future.status == "error":
        error = future.exception()
        return Outcome("failed", problem=f"{type(error).__name__}: {error}")
    return Outcome("stopped")  # cancelled, or the scheduler is gone


def _gpus(cell: Cell) -> int:
    """GPUs that a run takes where there are some."""
    train = cell.spec.train
    if train is None:
        return 1
    return 0 if train.device not in ("auto", "cuda") else train.devices if cell.spec.objective is not None else 1
