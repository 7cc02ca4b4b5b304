"""One run of a sweep: how far its folder is, and what brings it to its end. Needs no torch: the run is a process.

`look` is the driver's; `work` is what a dask worker does. All that they know of earlier attempts is in the run folders.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from gflow_core.errors import GflowError
from gflow_core.files.inside import check_inside, not_through_a_link, unshare
from gflow_core.files.locks import held
from gflow_core.files.reading import MAX_BYTES, parse_toml, read_bytes
from gflow_core.files.run_folder import WRITTEN, checkpoint_names, lock_of, read_manifest, read_recipe
from gflow_core.files.whole import written_aside
from gflow_core.recipes.changes import trained_by, training
from gflow_core.runs.summary import Summary, summary
from gflow_core.sweeps.grid import Cell, what_trains

if TYPE_CHECKING:
    from distributed import Worker

__all__ = ["Found", "Outcome", "Task", "Todo", "kin", "look", "stop", "task_of", "work"]

FOLDER = ".sweep"
"""In the sweep's folder: each run's recipe, under the name that the run is to have, and its log."""

_PATIENCE = 120.0  # seconds for a lost worker's run to leave in; a file server forgets a dead machine's locks in 90
_LINES = 5  # lines of a log that tell why a run failed, where it does not say so itself

Todo = Literal["nothing", "run", "resume", "analyze", "wait", "mend"]
"""What is left to do for a run: wait while another process is at work on it, mend what cannot be read."""

_FURTHER: tuple[Todo, ...] = ("mend", "run", "resume", "analyze", "wait", "nothing")


@attrs.frozen
class Found:
    """The run folder of a cell; of several, the one that is furthest."""

    summary: Summary
    todo: Todo
    lacking: tuple[str, ...]
    """Analyses that have no result."""

    @property
    def problem(self) -> str:
        """What there is to mend."""
        if self.todo != "mend":
            return ""
        if self.summary.state == "broken":
            fault = self.summary.problem.removeprefix(f"{self.summary.path}/")
            return f"{self.summary.path}: {fault}; mend it, or delete the run"
        rest = ", ".join(self.lacking) or "the rest"
        return (
            f"{self.summary.path}: its checkpoints are gone, without which {rest} cannot be made; put them back, or "
            "delete the run, which then begins again"
        )


@attrs.frozen
class Task:
    """What a worker is told of one run. Its folders are absolute: workers see the same files."""

    index: int
    text: str
    """The resolved recipe."""
    trains: bool
    analyses: tuple[str, ...]
    name: str
    """What the run is called after."""
    runs: Path
    cwd: Path
    """Where relative paths of the recipe count from."""
    devices: int | None
    """GPUs that the run asks of the worker's resource GPU; None where it asks for none."""
    sweep: str
    """Names the sweep: the topic of its events, and what `stop` stops."""
    patient: bool = False
    """Whether it waits for another process that is at work on the run; the sweep asks so when all else is done."""
    hosts: Mapping[str, int] = attrs.field(factory=dict)
    """Host -> runs at once that all its workers together take."""
    threads: int | None = None
    """Threads of the run, where OMP_NUM_THREADS says so for the sweep; None for its share of the cores."""

    @property
    def own(self) -> Path:
        """The folder of the run's recipe and log."""
        return self.runs / FOLDER / sha256(self.text.encode()).hexdigest()[:12]

    @property
    def recipe(self) -> Path:
        """The resolved recipe as a file."""
        return self.own / f"{self.name}.toml"

    @property
    def taken(self) -> Path:
        """Says which sweep took the run in hand last."""
        return self.own / "sweep.txt"

    @property
    def log(self) -> Path:
        """What the run says, one attempt after the other. The worker that has the run in hand holds this file."""
        return self.own / "log.txt"


@attrs.frozen
class Outcome:
    """What became of a run."""

    state: Literal["finished", "failed", "stopped", "busy"]
    """stopped: asked to, and saved; busy: another process is at work on it."""
    seconds: float = 0.0
    problem: str = ""


def task_of(cell: Cell, index: int, name: str, runs: Path, sweep: str) -> Task:
    """What a worker needs to know of a cell."""
    analyses = tuple(analysis.name for analysis in cell.spec.analyze)
    return Task(
        index, cell.text, cell.spec.objective is not None, analyses, name, runs.resolve(), Path.cwd(), None, sweep
    )


# ------------------------------------------------------------------ how far a run is


def look(runs: Path, tasks: Iterable[Task]) -> dict[int, Found]:
    """Index of a task -> its run in the folder `runs`, for those that are there; their recipe.toml tells.

    Where that has steps for a recipe's epochs, their manifest.
    """
    by_text = {task.text: task for task in tasks}
    found: dict[int, Found] = {}
    for path in sorted(runs.iterdir()) if runs.is_dir() else ():
        with suppress(OSError, ValueError, GflowError):  # no run, or one that another process is just making
            text = read_bytes(path / "recipe.toml", MAX_BYTES).decode()
            manifest = read_manifest(path)
            task = by_text.get(text) or by_text.get(manifest.get(WRITTEN, ""))
            if task is not None and _trained_so(parse_toml(text), manifest):
                one = _found(path, task)
                found[task.index] = max(found.get(task.index, one), one, key=_distance)
    return found


def kin(runs: Path, tasks: Iterable[Task]) -> dict[int, Path]:
    """Index of a task -> a run in the folder `runs` that was trained as it would be; its analyses or title differ."""
    trained = {what_trains(parse_toml(task.text)): task.index for task in tasks}
    found: dict[int, Path] = {}
    for path in sorted(runs.iterdir()) if trained and runs.is_dir() else ():
        with suppress(OSError, ValueError, GflowError):
            table = read_recipe(path)
            if (index := trained.get(what_trains(table))) is not None and _trained_so(table, read_manifest(path)):
                found.setdefault(index, path)
    return found


def _trained_so(table: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Whether a run was trained by the recipe that it has now, all the way."""
    return trained_by(table, manifest) == training(table)


def _found(path: Path, task: Task) -> Found:
    about = summary(path)
    lacking = tuple(name for name in task.analyses if not (path / "analysis" / name / "result.json").is_file())
    todo = _todo(about, task.trains, lacking)
    if task.trains and todo in ("run", "analyze") and any(path.glob("analysis/*/result.json")) and not _saved(path):
        todo = "mend"  # it was finished once, and is worth more than a new one
    return Found(about, todo, lacking)


def _todo(about: Summary, trains: bool, lacking: tuple[str, ...]) -> Todo:
    if about.state in ("running", "broken"):
        return "wait" if about.state == "running" else "mend"
    if trains and about.state in ("stopped", "diverged"):
        return "resume" if _saved(about.path) else "run"
    return "analyze" if lacking else "nothing"


def _saved(path: Path) -> bool:
    """Whether it has a checkpoint."""
    return bool(checkpoint_names(path / "checkpoints"))


def _distance(found: Found) -> tuple[int, int]:
    return _FURTHER.index(found.todo), found.summary.step


# ------------------------------------------------------------------ on a worker

_lock = threading.Lock()
_processes: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
"""Runs at work here: process id -> sweep, process."""
_stopped: set[str] = set()
"""Sweeps that were asked to stop: what begins later does not."""
_taken: set[str] = set()
"""GPUs in use."""


def work(task: Task) -> Outcome:
    """Bring a run to its end, from wherever its folder is: called again after a lost worker, it resumes.

    Where another sweep has it, or somebody, "busy" at once: there may be other runs to do meanwhile.
    """
    check_inside(task.runs, FOLDER)
    task.own.mkdir(parents=True, exist_ok=True)
    unshare(task.own)
    task.log.touch()
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        with suppress(BlockingIOError), held(task.log):
            found = look(task.runs, [task]).get(task.index)
            if found is None or found.todo != "wait":
                task.taken.write_text(task.sweep, encoding="utf-8")
                return _bring(task, found)
        if task.sweep in _stopped:
            return Outcome("stopped")
        if not (task.patient or _is_ours(task)):
            break
        time.sleep(0.5)
    return Outcome("busy", problem="another process is at work on it")


def _is_ours(task: Task) -> bool:
    """Whether this sweep had the run in hand before, on a worker that is lost: it is about to leave."""
    try:
        return task.taken.read_text(encoding="utf-8") == task.sweep
    except OSError:
        return False


def _bring(task: Task, found: Found | None) -> Outcome:
    from distributed import Reschedule, get_worker
    from distributed.worker import WORKER_ANY_RUNNING

    if found is not None and found.todo == "mend":
        return Outcome("failed", problem=found.problem)
    if found is not None and found.todo == "nothing":
        return Outcome("finished")
    if found is not None and found.todo == "run":
        with held(lock_of(found.summary.path)):
            if _of_a_sweep(found.summary.path):
                shutil.rmtree(found.summary.path)
        found = None
    if found is None:
        with written_aside(task.recipe) as aside:
            aside.write_text(task.text, encoding="utf-8")
        how, words = "started", ["run", str(task.recipe), "--runs", str(task.runs)]
    elif found.todo == "resume":
        how, words = f"resumed after step {found.summary.step}", ["resume", str(found.summary.path)]
    else:
        how, words = f"analyzed: {', '.join(found.lacking)}", ["analyze", str(found.summary.path), *found.lacking]

    worker, begun = get_worker(), time.monotonic()
    with _devices(worker, task) as environment, _started(task, words, environment) as process:
        if process is None:
            return Outcome("stopped")
        worker.log_event(task.sweep, {"index": task.index, "how": how, "worker": worker.address})
        code = _waited(process, worker)
    seconds = time.monotonic() - begun
    if code == 0:
        return Outcome("finished", seconds)
    if task.sweep not in _stopped and worker.status not in WORKER_ANY_RUNNING:
        raise Reschedule  # on another worker, which resumes it
    if task.sweep in _stopped or code in (130, -signal.SIGTERM):
        return Outcome("stopped", seconds)
    return Outcome("failed", seconds, _reason(task.log, code))


def _of_a_sweep(run: Path) -> bool:
    """Whether a sweep began this run, or it did not come as far as to say: without a checkpoint it then makes room."""
    recipe = read_manifest(run).get("recipe")
    return recipe is None or Path(recipe).parent.parent.name == FOLDER


def stop(sweep: str, number: int) -> None:
    """Send a signal to the sweep's runs on this worker, and begin none any more. SIGKILL takes their children, too."""
    with _lock:
        _stopped.add(sweep)
        mine = [process for owner, process in _processes.values() if owner == sweep]
    for process in mine:
        with suppress(OSError):
            if number == signal.SIGKILL:
                os.killpg(process.pid, number)  # each run leads a group of its own
            else:
                process.send_signal(number)


@contextmanager
def _devices(worker: Worker, task: Task) -> Iterator[dict[str, str]]:
    """The environment of a run: its threads, and GPUs of the worker that no other run has."""
    slots, wanted = worker.state.nthreads, task.devices
    mine: list[str] = []
    chosen = {}
    if wanted is not None:
        have = int(worker.state.total_resources["GPU"])
        slots = min(slots, max(have // wanted, 1))
        listed = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = [name.strip() for name in listed.split(",")] if listed else [str(i) for i in range(have)]
        with _lock:
            mine = [name for name in names if name not in _taken][:wanted]
            _taken.update(mine)
        chosen["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    threads = str(_threads(worker, task, slots))
    try:
        yield {**chosen, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)}
    finally:
        with _lock:
            _taken.difference_update(mine)


def _threads(worker: Worker, task: Task, slots: int) -> int:
    """Threads of one of the `slots` runs that a worker takes at once.

    A machine's cores are shared among its workers, a worker's among its runs. OMP_NUM_THREADS of the sweep stands
    above that, and the worker's own is never exceeded.
    """
    from dask.system import CPU_COUNT
    from distributed.comm.addressing import get_address_host

    mine = worker.state.nthreads
    on_host = max(task.hosts.get(get_address_host(worker.address), 0), mine)
    # CPU_COUNT is what this process may use: all, or its own part already, as Slurm gives it.
    cores = min(CPU_COUNT, max(os.cpu_count() or 1, CPU_COUNT) * mine // on_host)
    most = number_of_threads(_environment(worker)) or sys.maxsize
    return min(task.threads or max(cores // slots, 1), most)


def _environment(worker: Worker) -> Mapping[str, str]:
    """What the worker was started with; a nanny sets OMP_NUM_THREADS=1 for its worker, where nothing is set."""
    if worker.nanny is None:
        return os.environ
    import psutil  # distributed needs it

    with suppress(psutil.Error, OSError):
        environment: dict[str, str] = psutil.Process(os.getppid()).environ()  # as at the nanny's start
        return environment
    return {}


def hosts_of(workers: Mapping[str, int]) -> dict[str, int]:
    """Host -> threads of all its workers, of the threads by worker's address."""
    from distributed.comm.addressing import get_address_host

    hosts: dict[str, int] = {}
    for address, threads in workers.items():
        host = get_address_host(address)
        hosts[host] = hosts.get(host, 0) + threads
    return hosts


def number_of_threads(environment: Mapping[str, str]) -> int | None:
    """OMP_NUM_THREADS, its first level; None where it is not set, or is no number."""
    first = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else None


@contextmanager
def _started(task: Task, words: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes] | None]:
    """The run's process within the block, its words in the log; None where the sweep was asked to stop."""
    with open(task.log, "ab", opener=not_through_a_link) as log:
        with _lock:
            if task.sweep in _stopped:
                yield None
                return
            process = subprocess.Popen(
                [sys.executable, "-m", "gflow_core.cli.tethered", *words],
                stdin=subprocess.PIPE,  # held here: the run stops itself when this worker is gone
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=task.cwd,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C in the terminal is for the sweep, which asks its runs to stop
            )
            _processes[process.pid] = (task.sweep, process)
        try:
            yield process
        finally:
            with _lock:
                del _processes[process.pid]
            assert process.stdin is not None
            process.stdin.close()


def _waited(process: subprocess.Popen[bytes], worker: Worker) -> int:
    """The run's exit code. A worker that is closing (at the end of its job's time) asks the run to save and leave."""
    from distributed.worker import WORKER_ANY_RUNNING

    asked = False
    while True:
        try:
            return process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            if not asked and worker.status not in WORKER_ANY_RUNNING:
                process.terminate()
                asked = True


def _reason(log: Path, code: int) -> str:
    """Why a run failed: the error that it named last, or the end of its log."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}" + (", perhaps for want of memory" if code == -9 else "")
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()][-_LINES:]
    while any(line.startswith("error: ") for line in lines[1:]):
        del lines[0]
    return (
        "\n".join(lines).removeprefix("error: ")
        or f"exit code {code}, and its log could not be written (is the disk full?)"
    )
