"""gflow sweep: the grid, which runs are skipped, resumed and left alone, and a cluster that loses a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import psutil
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gflow_core import run as run_recipe
from gflow_core import sweeps
from gflow_core.cli import main
from gflow_core.errors import GflowError, RecipeError
from gflow_core.files.locks import held
from gflow_core.files.run_folder import lock_of, run_name
from gflow_core.machine import cluster as workers_of
from gflow_core.runs.summary import summary
from gflow_core.scores.compare import compare
from gflow_core.sweeps import Sweep, plan, sweep
from gflow_core.sweeps.grid import cells, split
from gflow_core.sweeps.work import Outcome, _devices, _reason, hosts_of, look, task_of, work

PLANE = """
gflow = 1
dataset = { use = "ring", n = 200 }
sampler = { use = "vgrow.mlp", width = 8 }
discriminator = { use = "vgrow.mlp", width = 8 }
objective = { use = "adversarial" }
optimizer = { sampler = { use = "adam", lr = 1e-3 }, discriminator = { use = "adam", lr = 1e-3 } }
[train]
steps = 30
batch_size = 16
sample_every = 0
checkpoint_every = 1
[[analyze]]
use = "mode_coverage"
samples = 100
"""

LR = "optimizer.sampler.lr"
BOTH = "train.device=auto,cuda"  # started with no CUDA to be seen: the second fails


@pytest.fixture
def plane(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("plane.toml")
    path.write_text(PLANE)
    return path


# ------------------------------------------------------------------ the grid


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("kl,js", ["kl", "js"]),
        ("[1, 2],[3, 4]", ["[1, 2]", "[3, 4]"]),
        ('{ use = "normal", dim = 2 },{ use = "uniform" }', ['{ use = "normal", dim = 2 }', '{ use = "uniform" }']),
        ("\"a,b\",'c,d'", ['"a,b"', "'c,d'"]),
        (r'"a\",b",c', [r'"a\",b"', "c"]),
        ("don't,won't", ["don't", "won't"]),
        ("[a", ["[a"]),
        ("", [""]),
    ],
)
def test_values_part_at_top_level_commas(text, pieces):
    assert split(text) == pieces


VALUES = st.recursive(
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_any_values_written_as_toml_part_where_they_were_joined(values):
    texts = [json.dumps(value) for value in values]  # JSON's numbers, strings and lists are TOML's
    assert split(",".join(texts)) == texts


def test_a_grid_in_the_order_of_the_words_seeds_last(plane):
    found = cells(plane, [f"{LR}=1e-3,1e-4", "train.steps=3", "seeds=0:2,7"])
    assert [cell.label for cell in found[:3]] == [f"{LR}=1e-3 seed=0", f"{LR}=1e-3 seed=1", f"{LR}=1e-3 seed=7"]
    assert [cell.spec.seed for cell in found] == [0, 1, 7, 0, 1, 7]
    assert {cell.spec.train.steps for cell in found} == {3}
    assert len({cell.text for cell in found}) == 6
    assert [cell.spec.seed for cell in cells(plane, ["seeds=0:10:4"])] == [0, 4, 8]
    (only,) = cells(plane, ["~analyze", "sampler=far.mlp"])
    assert only.label == ""
    assert not only.spec.analyze


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=0:2"], "did you mean seeds=0:2?"),
        (["seeds=1:1"], "the end is not part of a range"),
        (["seeds=0:4:0"], "a step of 0"),
        (["seeds=0,1,0"], "0 is there twice"),
        (["seeds=a"], "expected whole numbers"),
        (["seeds=0:99999999999"], "at most 10,000"),
        (["seeds=0", "seeds=1"], "given twice"),
        (["seeds=0:2", "train.seed=3"], "both name the seed"),
        (["train.seed=1,2"], "are written seeds="),
        ([f"{LR}=1,2", f"{LR}=3"], "named twice"),
        ([f"{LR}=1,1"], "1 is there twice"),
        ([f"{LR}=1,,2"], "an empty value"),
        ([f"{LR}=[1,2"], "expected ]"),
        ([f"{LR}=0.1,1e-1"], "are the same run"),
        (["train.replicas=3", "seeds=0:4"], "as in seeds=0:6:3"),
        (["~objective", "~optimizer", "~discriminator", "~train", "~analyze"], "nothing to do"),
    ],
)
def test_what_is_no_grid_is_told_in_one_message(words, said, plane):
    plane.write_text(PLANE.replace("[train]", '[train]\ndevice = "cpu"'))
    with pytest.raises(GflowError) as error:
        cells(plane, words)
    assert said in str(error.value)


def test_an_axis_of_parts_is_called_as_in_a_comparison(plane):
    found = cells(plane, ["sampler=vgrow.mlp,'far.mlp'", "train.steps=1,2"])
    assert list(found[0].axes) == list(found[3].axes) == ["sampler.use", "train.steps"]


def test_replicas_that_do_not_overlap_are_a_sweep(plane):
    assert [list(cell.spec.seeds) for cell in cells(plane, ["train.replicas=2", "seeds=0:4:2"])] == [[0, 1], [2, 3]]


def test_every_problem_of_every_cell_is_told_once(plane):
    with pytest.raises(RecipeError) as error:
        cells(plane, ["sampler.width=8,-1,x", "train.stepz=3", "seeds=0:3"])
    assert len(error.value.problems) == 3
    assert ["train.stepz" in str(error.value), "sampler.width=-1" in str(error.value)] == [True, True]


# ------------------------------------------------------------------ how runs stand


def made(cell_text: str, path: Path, step: int, analyzed: bool = False) -> Path:
    """A run folder after some steps, without the weights."""
    path.mkdir(parents=True)
    (path / "recipe.toml").write_text(cell_text)
    if step:
        (path / "checkpoints" / f"{step:06d}").mkdir(parents=True)
        (path / "checkpoints" / f"{step:06d}" / "checkpoint.json").write_text("{}")
    if analyzed:
        (path / "analysis" / "mode_coverage").mkdir(parents=True)
        (path / "analysis" / "mode_coverage" / "result.json").write_text(
            '{"step": 30, "scores": {"modes": 8}, "manifest": {}}'
        )
    return path


def test_a_run_is_known_by_its_recipe_and_the_further_folder_counts(plane):
    texts = [cell.text for cell in cells(plane, ["seeds=0:6"])]
    runs = Path("runs/plane-sweep")
    made(texts[0], runs / "any-name", 30, analyzed=True)
    repeated = made(texts[0], runs / "plane-s0-001", 7)
    made(texts[1], runs / "plane-s1-001", 7)
    made(texts[1], runs / "plane-s1-002", 5)
    made(texts[2], runs / "plane-s2-001", 0)
    made(texts[3], runs / "plane-s3-001", 30)
    busy = made(texts[4], runs / "plane-s4-001", 7)
    with held(lock_of(busy)), held(lock_of(repeated)):
        found = plan(plane, "seeds=0:6")
        json_lines = CliRunner().invoke(main, ["sweep", "plane.toml", "seeds=0:6", "--dry-run", "--json"]).output
    assert [m.state for m in found.runs] == ["finished", "stopped", "new", "trained", "busy", "new"]
    assert found.runs[1].path == runs / "plane-s1-001"
    assert found.runs[1].step == 7
    assert [run["state"] for run in json.loads(json_lines)["runs"]] == [m.state for m in found.runs]
    assert not (runs / ".sweep").exists()


def test_a_finished_run_stays_without_its_checkpoints(plane):
    """They are deleted where disks are full; what it found is worth more than a new run."""
    done, lacking = (cell.text for cell in cells(plane, ["seeds=0:2", "analyze.1.use=losses"]))
    runs = Path("runs/plane-sweep")
    run = made(done, runs / "plane-s0-001", 0, analyzed=True)
    (run / "analysis" / "losses").mkdir()
    (run / "analysis" / "losses" / "result.json").write_text('{"step": 30, "scores": {}, "manifest": {}}')
    made(lacking, runs / "plane-s1-001", 0, analyzed=True)
    found = plan(plane, "seeds=0:2", "analyze.1.use=losses")
    assert [member.state for member in found.runs] == ["finished", "failed"]
    assert "its checkpoints are gone, without which losses cannot be made" in found.runs[1].problem
    assert summary(run).state == "analyzed"
    assert summary(run).step == 30
    (cell,) = cells(plane, ["train.steps=0", "analyze.1.use=losses"])  # what trains nothing has none to lose
    looked = made(cell.text, runs / "looked", 0, analyzed=True)
    task = attrs.evolve(task_of(cell, 0, "plane", runs, "x"), trains=False)
    assert look(runs, [task])[0].summary.path == looked
    assert look(runs, [task])[0].todo == "analyze"


def test_a_run_that_changed_on_the_way_is_none_of_either_recipe(plane):
    """Eight steps of one rate and the rest of another are no run of the other, whatever recipe.toml says now."""
    runs = Path("runs/plane-sweep")
    for seed, cell in enumerate(cells(plane, ["seeds=0:4", f"{LR}=0.5"])):
        run = made(cell.text, runs / f"plane-s{seed}-001", 30, analyzed=True)
        resumed = [
            [],
            [{"checkpoint": "000008", "overrides": [f"{LR}=0.5"]}],
            [{"checkpoint": "000008", "overrides": ["train.steps=30", "train.log_every=5", "analyze.0.samples=100"]}],
            [{"checkpoint": "000000", "overrides": [f"{LR}=0.5"]}],
        ][seed]
        manifest = {"began_with": tomllib.loads(cell.text), "resumed": resumed}
        (run / "manifest.json").write_text(json.dumps(manifest))
    assert [run.state for run in plan(plane, "seeds=0:4", f"{LR}=0.5").runs] == ["finished", "new", *["finished"] * 2]
    groups = compare([runs]).groups
    assert [group.seeds for group in groups] == [(0, 2, 3), (1,)]
    assert groups[1].options == {"changed": f"{LR}=0.5 from step 8"}
    recipe = runs / "plane-s0-001" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("lr = 0.5", "lr = 0.25"))
    assert compare([runs]).groups[0].seeds == (0, 2, 3), "it was trained by what it began with"
    assert [run.state for run in plan(plane, f"{LR}=0.25").runs] == ["new"]


def test_axes_that_train_the_same_are_told(plane):
    assert plan(plane, f"{LR}=1e-3,1e-4", "seeds=0:2").note == ""
    note = plan(plane, "train.trackers=csv,tensorboard", f"{LR}=1e-3,1e-4", "seeds=0:2").note
    assert note.startswith("train.trackers trains the same whatever it is")
    assert """'train.trackers=["csv", ...]'""" in note
    shown = CliRunner().invoke(main, ["sweep", "plane.toml", "train.log_every=5,10", "--dry-run"])
    assert "note: train.log_every trains the same" in shown.stderr


def test_runs_that_are_there_but_for_their_analyses_are_told(plane):
    for seed, cell in enumerate(cells(plane, ["seeds=0:2"])):
        made(cell.text, Path("runs/plane-sweep") / f"plane-s{seed}-001", 30, analyzed=True)
    assert plan(plane, "seeds=0:2").note == ""
    note = plan(plane, "seeds=0:3", "analyze.1.use=losses").note
    assert note.startswith("2 of the new runs would train again what runs/plane-sweep/plane-s0-001 (and 1 more) did")
    assert plan(plane, "seeds=0:2", f"{LR}=0.5").note == ""


def test_a_run_that_another_sweep_has_is_left_for_the_end(plane, monkeypatch):
    """The sweep's own worker that is lost leaves soon, and is waited for; another's need not be."""
    monkeypatch.setattr(sys.modules["gflow_core.sweeps.work"], "_PATIENCE", 1.5)
    (cell,) = cells(plane, ["train.steps=3"])
    task = task_of(cell, 0, "plane", Path("runs"), "ours")
    task.own.mkdir(parents=True)

    def waited(task) -> float:
        began = time.monotonic()
        with held(task.log):
            assert work(task).state == "busy"
        return time.monotonic() - began

    assert waited(task) < 1
    assert waited(attrs.evolve(task, patient=True)) > 1.4
    task.taken.write_text("theirs")
    assert waited(task) < 1
    task.taken.write_text("ours")
    assert waited(task) > 1.4


def test_a_run_in_epochs_is_known_by_its_manifest(plane):
    """Its recipe.toml has the steps; once they are changed, it is another run."""
    cell = cells(plane, ["train.steps=30 epochs", "seeds=0:1"])[0]
    in_steps = cells(plane, ["train.steps=30", "seeds=0:1"])[0]
    run = made(in_steps.text, Path("runs/plane-sweep/plane-s0-001"), 30, analyzed=True)
    states = []
    for manifest in ({"written": cell.text}, {}):
        (run / "manifest.json").write_text(json.dumps(manifest))
        states.append(plan(plane, "train.steps=30 epochs", "seeds=0:1").runs[0].state)
    assert states == ["finished", "new"]


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/ring.toml", "ring"), ("a/ring-s0-001/recipe.toml", "ring"), ("my-sweep/recipe.toml", "recipe")],
)
def test_runs_are_called_after_their_recipe(path, name):
    assert run_name(Path(path)) == name


def test_finished_runs_need_no_cluster_and_no_torch(plane):
    for seed, cell in enumerate(cells(plane, ["seeds=0:2"])):
        made(cell.text, Path("runs/plane-sweep") / f"plane-s{seed}-001", 30, analyzed=True)
    code = (
        "import sys; from gflow_core.cli import main; "
        "[main(['sweep', 'plane.toml', 'seeds=0:2', *words], standalone_mode=False) for words in ([], ['--dry-run'])]; "
        "sys.exit(3 * bool({'torch', 'distributed'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs in runs/plane-sweep: 2 finished" in done.stdout
    assert "plane-s1-001" in done.stdout
    assert sweep(plane, "seeds=0:2", quiet=True).comparison is not None
    made(cells(plane, [f"{LR}=1e-4"])[0].text, Path("runs/plane-sweep/plane-s0-002"), 30, analyzed=True)
    (group,) = sweeps._compared(plan(plane, f"{LR}=1e-4,1e-2"))[0].groups
    assert group.name == f"{LR}=1e-4", "of several settings one is finished"


def test_jobs_and_an_existing_cluster_exclude_each_other(plane):
    with pytest.raises(GflowError, match="--jobs is for the local cluster"):
        sweep(plane, jobs=2, scheduler="tcp://127.0.0.1:1")


def test_a_folder_that_cannot_be_written_is_told_before_anything_starts(plane):
    Path("runs").write_text("no folder")
    with pytest.raises(GflowError, match=r"^runs/x: cannot make a run folder there: .*; choose another with --runs$"):
        sweep(plane, runs="runs/x", quiet=True)


# ------------------------------------------------------------------ on a worker


def worker_of(nthreads: int, resources: dict[str, float]) -> Any:
    state = SimpleNamespace(nthreads=nthreads, total_resources=resources)
    return SimpleNamespace(state=state, address="tcp://10.0.0.1:1", nanny=None)


@pytest.mark.parametrize("place", [".sweep", ".sweep/log.txt"])
def test_a_sweeps_folder_that_leads_elsewhere_is_refused_before_anything_starts(plane, tmp_path, place):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "sent" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(GflowError, match=f"sent: contains a link that leads out of it, {place} -> .*; remove it"):
        sweep(plane, "seeds=0,1", runs=tmp_path / "sent")
    assert list(elsewhere.iterdir()) == []


def test_a_run_gets_gpus_that_no_other_has_and_its_share_of_the_cores(plane, monkeypatch):
    monkeypatch.setattr("dask.system.CPU_COUNT", 12)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    worker, task = worker_of(12, {"GPU": 3.0}), task_of(cells(plane, [])[0], 0, "plane", Path("runs"), "sweep")
    one, two = attrs.evolve(task, devices=1), attrs.evolve(task, devices=2)
    with _devices(worker, one) as first, _devices(worker, two) as second:
        assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("4", "5,6")
        assert (first["OMP_NUM_THREADS"], second["OMP_NUM_THREADS"]) == ("4", "12")
    with _devices(worker, one) as again:
        assert again["CUDA_VISIBLE_DEVICES"] == "4"
    with _devices(worker, task) as none:
        assert "CUDA_VISIBLE_DEVICES" not in none
        assert none["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("on_host", "usable", "own", "sweeps", "threads"),
    [
        (1, 8, "", None, "8"),
        (4, 8, "", None, "2"),  # three more workers like this one
        (4, 2, "", None, "2"),  # pinned to two of the eight cores
        (4, 8, "1", None, "1"),
        (4, 8, "", 5, "5"),
        (4, 8, "3", 5, "3"),
    ],
)
def test_workers_share_a_machine_and_omp_num_threads_is_heeded(
    plane, monkeypatch, on_host, usable, own, sweeps, threads
):
    monkeypatch.setattr("dask.system.CPU_COUNT", usable)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", own)
    task = task_of(cells(plane, [])[0], 0, "plane", Path("runs"), "sweep")
    hosts = hosts_of({f"tcp://10.0.0.1:{port}": 1 for port in range(1, on_host + 1)})
    with _devices(worker_of(1, {}), attrs.evolve(task, hosts=hosts, threads=sweeps)) as chosen:
        assert chosen["OMP_NUM_THREADS"] == threads


TAKEN, LOCK = [], threading.Lock()


def recorded(task):
    """A run that only looks how many GPUs are asked for at once."""
    with LOCK:
        TAKEN.append(task.devices)
        assert sum(TAKEN) <= 2, TAKEN
    time.sleep(0.02)
    with LOCK:
        TAKEN.remove(task.devices)
    return Outcome("finished")


def test_runs_wait_for_the_gpus_that_they_ask_for(plane, monkeypatch):
    monkeypatch.setattr(workers_of, "connected", lambda _: workers_of.local(threads=4, gpus=2))
    monkeypatch.setattr(sweeps, "work", recorded)
    found = sweep(plane, "train.devices=1,2", "seeds=0:4", scheduler="any", quiet=True)
    assert len(found.runs) == 8
    assert not [member.problem for member in found.runs if member.problem]
    with pytest.raises(GflowError, match=r"train\.devices = 3: no worker offers more GPUs than 2"):
        sweep(plane, "train.devices=3", "train.batch_size=15", scheduler="any", quiet=True)


def test_the_reason_of_a_failure(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("step 1\nerror: first\nstep 2\nwarning\nerror: the loss is nan;\n  mend it\n")
    assert _reason(log, 2) == "the loss is nan;\n  mend it"
    log.write_text("Traceback\n  here\nValueError: no\n")
    assert _reason(log, 1).endswith("ValueError: no")
    log.write_text("")
    assert _reason(log, 1) == "exit code 1, and its log could not be written (is the disk full?)"
    assert _reason(log, -9) == "killed by SIGKILL, perhaps for want of memory"


# ------------------------------------------------------------------ whole sweeps


def until(condition: Callable[[], object], driver: subprocess.Popen[str] | None = None) -> object:
    """What the condition comes to, once it is true, while the process that brings it about lives."""
    end = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        assert driver is None or driver.poll() is None, driver.communicate()[0]
        time.sleep(0.01)
    return found


def started(*words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.Popen(
        [sys.executable, "-m", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


@pytest.fixture
def cluster(plane) -> Iterator[list[subprocess.Popen[str]]]:
    """Two workers of a scheduler that scheduler.json leads to; each offers one GPU, and threads for two runs."""
    scheduler = started(
        "dask", "scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard", "--scheduler-file=scheduler.json"
    )
    until(Path("scheduler.json").exists)
    words = ("--no-nanny", "--nthreads=2", "--resources=GPU=1", "--scheduler-file=scheduler.json", "--no-dashboard")
    workers = [started("dask", "worker", *words) for _ in range(2)]
    yield workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()


def checkpoint_of(run: Path) -> dict[str, bytes]:
    """The files of the last checkpoint."""
    (*_, last) = sorted((run / "checkpoints").iterdir())
    return {file.name: file.read_bytes() for file in last.iterdir()}


def test_a_sweep_outlives_a_worker_and_what_fails(plane, cluster):
    driver = started("gflow_core", "sweep", "plane.toml", BOTH, "--scheduler", "scheduler.json")
    runs = Path("runs/plane-sweep")
    good = {cell.text for cell in cells(plane, ["train.device=auto"])}

    def in_the_middle() -> tuple[Path, psutil.Process] | None:
        """A worker with a run that has a checkpoint and steps to go, and the run."""
        for recipe in runs.glob("*/recipe.toml"):
            if recipe.read_text() not in good or not list(recipe.parent.glob("checkpoints/[0-9]*")):
                continue
            for worker in cluster:
                for child in psutil.Process(worker.pid).children():
                    if any(file.path == str(lock_of(recipe.parent.resolve())) for file in child.open_files()):
                        child.suspend()  # it does nothing while the worker dies
                        return recipe.parent, worker, child
        return None

    run, worker, child = until(in_the_middle, driver)
    assert len(list(run.glob("checkpoints/000030"))) == 0
    worker.kill()
    worker.wait()
    child.resume()
    output, _ = driver.communicate(timeout=300)

    assert driver.returncode == 2, output
    lines = output.splitlines()
    assert "2 runs in runs/plane-sweep: 2 new" in lines[0]
    assert sum(": resumed after step" in line for line in lines) == 1
    assert output.count(": its worker is gone; it goes on at another") == 1
    assert "1 of 2 runs are not finished" in output
    assert "log.txt" in lines[-1]
    assert "mode_coverage" in output  # the table, over those that are finished

    good_one, bad_one = plan(plane, BOTH).runs
    assert (good_one.state, bad_one.state) == ("finished", "new")
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["resumed"]

    # What nobody interrupted has the same bits.
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(manifest["threads"])
    whole = run_recipe(plane, "train.device=cpu", runs="whole", quiet=True)
    torch.set_num_threads(before)
    assert checkpoint_of(whole.path) == checkpoint_of(run)


def test_ctrl_c_saves_and_the_same_command_goes_on(plane):
    words = ["sweep", "plane.toml", "seeds=0:2", "train.steps=1000000", "--jobs", "1"]
    first = cells(plane, words[2:4])[0]
    mine = made(first.text, Path("runs/plane-sweep/mine-s0-001"), step=0)  # nothing to go on from, but no sweep's
    (mine / "manifest.json").write_text('{"recipe": "mine.toml"}')
    driver = started("gflow_core", *words)
    until(lambda: list(Path("runs").glob("*/*/checkpoints/[0-9]*")), driver)
    children = psutil.Process(driver.pid).children()
    driver.send_signal(signal.SIGINT)
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 130, output
    assert "0 of 2 runs are finished; the same command goes on" in output
    assert not any(child.is_running() for child in children)
    assert [m.state for m in plan(plane, *words[2:4]).runs] == ["stopped", "new"]
    assert mine.is_dir()


def test_a_state_that_is_none_is_told():
    with pytest.raises(GflowError, match=r'^no state finishd; did you mean "finished"\? \(there are new, stopped, '):
        Sweep(runs=()).of("finishd")  # type: ignore[arg-type]
