"""Two machines (two launchers, each with an address of its own) compute what one process does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gflow_core import cli
from gflow_core.errors import GflowError, Interrupted
from gflow_core.machine.runtime import Runtime
from gflow_core.runs import session

MACHINES = ("127.0.0.1", "127.0.0.2")


def _addresses() -> bool:
    """Linux answers on all of 127.0.0.0/8, macOS on 127.0.0.1 alone."""
    try:
        for address in MACHINES:
            with socket.socket() as probe:
                probe.bind((address, 0))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _addresses(), reason="a second loopback address is not available here")


def torchrun(rank: int, port: int) -> list[str]:
    where = f"--rdzv_endpoint {MACHINES[0]}:{port} --local_addr {MACHINES[rank]}"
    return f"torch.distributed.run --nnodes 2 --nproc_per_node 1 --rdzv_backend c10d --rdzv_id test {where}".split()


def accelerate(rank: int, port: int) -> list[str]:
    where = f"--machine_rank {rank} --main_process_ip {MACHINES[0]} --main_process_port {port}"
    return f"accelerate.commands.launch --multi_gpu --num_machines 2 --num_processes 2 {where}".split()


def on_both(launcher, folders: tuple[Path, Path], *words: object) -> list[tuple[int, str]]:
    """Exit code and output of `gflow WORDS` started on both machines, each in its folder."""
    with socket.socket() as probe:
        probe.bind((MACHINES[0], 0))
        port = probe.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *launcher(rank, port), "-m", "gflow_core", *(str(word) for word in words)],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank, folder in enumerate(folders)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=180)[0] for process in processes]
    finally:
        for process in processes:
            process.terminate()
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


@pytest.fixture
def folders(tmp_path, plane) -> tuple[Path, Path]:
    """The two machines have no file in common: a folder each, with the recipe."""
    made = tmp_path / "first", tmp_path / "second"
    for folder in made:
        folder.mkdir()
        (folder / "plane.toml").write_text(plane.read_text())
    return made


def test_two_machines_compute_what_one_process_does(folders, gflow, tmp_path):
    """Accelerate starts them by torchrun, which the next test starts by itself."""
    (first, said), (second, silent) = on_both(accelerate, folders, "run", "plane.toml", "train.steps=1")
    assert (first, second) == (0, 0), said + silent
    assert "run folder" in said
    assert "run folder" not in silent, "the first process speaks for all"
    assert [path.name for path in folders[1].iterdir()] == ["plane.toml"], "the first process alone writes"
    together = load_file(folders[0] / "runs/plane-s0-001/checkpoints/000001/sampler.safetensors")
    gflow("run", folders[0] / "plane.toml", "train.steps=1", "--runs", tmp_path)
    alone = load_file(tmp_path / "plane-s0-001/checkpoints/000001/sampler.safetensors")
    assert together.keys() == alone.keys()
    assert max(float((together[name] - alone[name]).abs().max()) for name in alone) < 1e-5


def test_one_that_fails_says_why_and_ends_the_other(folders):
    recipe = folders[1] / "plane.toml"
    recipe.write_text(recipe.read_text().replace("pool_size = 64", "pool_size = 63"))
    (first, left), (second, failed) = on_both(torchrun, folders, "run", "plane.toml", "train.steps=1000000")
    assert first != 0
    assert second != 0
    assert "error: objective.pool_size = 63" in failed
    assert "error: another process of this run has ended" in left
    assert "gflow_core/runs/" not in left + failed, "torchrun's own traceback is enough"


@pytest.fixture
def second(monkeypatch, plane, gflow, tmp_path):
    """What the second process of a machine says of a command in which `raised` is raised, and how often it waited."""
    waits: list[float] = []
    monkeypatch.setattr(cli.time, "sleep", waits.append)
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    def said(raised: Exception, code: int) -> tuple[str, int]:
        def fail(*_, **__):
            raise raised

        monkeypatch.setattr(session, "run", fail)
        return gflow("run", plane, "--runs", tmp_path, code=code).output, len(waits)

    return said


def test_one_of_a_machine_that_fails_alone_is_heard(second):
    """It waits: where all fail alike the first one says so, and the launcher ends the others."""
    assert second(GflowError("no room on its GPU"), 2) == ("error: process 1 of 2: no room on its GPU\n", 1)


def test_one_that_only_hears_of_an_end_is_silent(second):
    assert second(RuntimeError("Connection closed by peer [127.0.0.1]:1"), 2) == ("", 0)
    assert second(Interrupted("stopped after step 3, and saved"), 130) == ("", 0)


def test_what_differs_between_machines_is_named(monkeypatch):
    def gather(found: list[dict[str, str]], mine: dict[str, str]) -> None:
        found[:] = [mine, {**mine, "the data": "other"}, mine]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    runtime = Runtime(torch.device("cpu"), world=3)
    with pytest.raises(GflowError, match="the processes differ in the data: 1 from process 0"):
        runtime.agree({"the recipe": "a", "the data": "b"})


def test_the_run_to_resume_is_not_here(plane, gflow, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "0")
    said = gflow("resume", tmp_path / "runs" / "plane-s0-001", code=2).output
    assert "not on this machine" in said
    assert "copy it to each" in said
