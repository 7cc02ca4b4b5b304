"""Which precision is the faster: measured once, kept, and told of."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.files.sealed import sealed
from gflow_core.machine import speed
from gflow_core.machine.runtime import Runtime, computes_bf16
from gflow_core.machine.speed import kept_in, processor, speed_here

READ, MEASURE = speed._read, speed.measure  # before fixtures put fixed answers in their place


@pytest.fixture(autouse=True)
def counted(monkeypatch) -> list[tuple[float, float]]:
    """What each measurement finds: another at every time, with bf16 the faster."""
    found: list[tuple[float, float]] = []

    def measure() -> tuple[float, float]:
        found.append((10.0 + len(found), 20.0 + len(found)))
        return found[-1]

    monkeypatch.setattr(speed, "_read", READ)
    monkeypatch.setattr(speed, "measure", measure)
    monkeypatch.setattr(speed, "_unkept", {})
    return found


def test_measuring_takes_a_second_and_leaves_no_trace():
    random, threads, start = torch.get_rng_state(), torch.get_num_threads(), time.thread_time()
    float32, bf16 = MEASURE()
    assert time.thread_time() - start < 2, "of the processor's time; twice as long as it may take"
    assert 0.1 < float32 < 1e4
    assert 0.1 < bf16 < 1e5
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)


def test_it_is_measured_once(counted):
    first = speed_here()
    assert (first.float32, first.bf16) == counted[0]
    assert speed_here() == first
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert speed_here() == first, "one thread was measured"
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert len(counted) == 1
    again = speed_here(renew=True)
    assert (again.float32, again.bf16) == counted[1]
    assert speed_here() == again


@pytest.mark.parametrize(("what", "value"), [("__version__", "2.0"), ("cpu", {"cpu_name": "Z80", "avx": True})])
def test_another_torch_and_another_processor_have_their_own(counted, monkeypatch, what, value):
    first = speed_here()
    with monkeypatch.context() as other:
        if what == "cpu":
            other.setattr(torch.cpu, "get_capabilities", lambda: value)
        else:
            other.setattr(torch, what, value)
        assert speed_here() != first
    assert speed_here() == first
    assert len(counted) == 2


@pytest.mark.parametrize(
    ("found", "vectors", "name"),
    [
        ({"cpu_name": "AMD EPYC", "architecture": "x86_64"}, "AVX512", "AMD EPYC, AVX512"),
        ({"cpu_name": "", "architecture": "aarch64"}, "SVE256", "aarch64, SVE256"),
        ({"architecture": "aarch64"}, "DEFAULT", "aarch64"),
    ],
)
def test_a_processor_is_named_by_the_vectors_that_decide_how_it_rounds(monkeypatch, found, vectors, name):
    with monkeypatch.context() as other:
        other.setattr(torch.cpu, "get_capabilities", lambda: found)
        other.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
        assert processor() == name


def forged(body: dict[str, object]) -> str:
    return json.dumps({**body, "bf16": 1.0})


@pytest.mark.parametrize(
    "damage",
    [
        forged,
        lambda body: json.dumps({key: value for key, value in body.items() if key != "sha256"}),
        lambda body: json.dumps(sealed({**body, "bf16": -1.0})),
        lambda body: json.dumps(sealed({**body, "float32": float("nan")})),
        lambda body: json.dumps(sealed({**body, "able": ["all"]})),
        lambda body: json.dumps(sealed({**body, "measured": 3})),
        lambda body: json.dumps(body)[:40],
        lambda _: "",
    ],
    ids=["forged", "unsealed", "negative", "nan", "another machine's", "a number", "cut", "empty"],
)
def test_a_damaged_file_is_measured_anew(counted, damage, caplog):
    speed_here()
    file = kept_in()
    assert file is not None
    file.write_text(damage(json.loads(file.read_text())))
    assert speed_here().bf16 == 21
    assert f"{file}: damaged (" in caplog.text
    assert "measured anew" in caplog.text
    assert speed_here().bf16 == 21
    assert len(counted) == 2


def test_a_pipe_in_its_place_is_not_waited_for(counted):
    speed_here()
    file = kept_in()
    assert file is not None
    file.unlink()
    os.mkfifo(file)
    assert speed_here() == speed_here()
    assert file.is_file()


@pytest.mark.parametrize("where", ["a file", "nobody's"])
def test_what_cannot_be_kept_is_said_once(counted, where, tmp_path, monkeypatch, caplog):
    if where == "a file":
        (tmp_path / "taken").write_text("")
        monkeypatch.setenv("GFLOW_CACHE", str(tmp_path / "taken"))
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "expanduser", lambda _: (_ for _ in ()).throw(RuntimeError("no home")))
    with caplog.at_level(logging.WARNING):
        assert speed_here() == speed_here()
    assert len(counted) == len(caplog.records) == 1
    assert "GFLOW_CACHE" in caplog.text
    assert kept_in() is None


def test_auto_is_bf16_for_images_where_it_is_clearly_the_faster(monkeypatch):
    for rates, bf16 in (((10.0, 19.0), True), ((10.0, 11.5), False), ((22.0, 16.0), False)):
        monkeypatch.setattr(speed, "measure", lambda rates=rates: rates)
        speed_here(renew=True)
        runtime = Runtime.of("cpu", images=True)
        assert runtime.bf16 is computes_bf16(torch.device("cpu")) is bf16
        assert runtime.speed == speed_here()


def test_nothing_is_measured_that_decides_nothing(counted):
    assert not Runtime.of("cpu", "auto").bf16, "vectors"
    assert Runtime.of("cpu", "bf16", images=True).bf16
    assert Runtime.of("cpu", "float32", images=True).speed is None
    assert not counted


def test_of_several_processes_the_first_decides(counted, monkeypatch):
    class State:
        device, process_index = torch.device("cpu"), 1

    class Group:
        class WORLD:
            set_timeout = staticmethod(lambda _: None)

    def broadcast(found: list[object]) -> None:
        assert found == [(False, None)], "this one has not measured"
        found[0] = (True, "the first one's")

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("accelerate.PartialState", lambda **_: State)
    monkeypatch.setattr(torch.distributed, "group", Group)
    monkeypatch.setattr(torch.distributed, "broadcast_object_list", broadcast)
    runtime = Runtime.of("cpu", images=True, batch_size=2)
    assert (runtime.rank, runtime.bf16, runtime.speed) == (1, True, "the first one's")
    assert not counted


# ------------------------------------------------------------------ gflow machine


def gflow(*words: str) -> str:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_shows_it_and_renews_it(counted):
    found = json.loads(gflow("machine", "--json"))
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["devices"][-1] == {"device": "cpu", "name": found["processor"], "precision": "bf16"}
    assert (found["speed"]["float32"], found["speed"]["bf16"]) == counted[0]
    assert found["kept"] == str(kept_in())
    text = gflow("machine")
    for word in (found["processor"], "bf16 for images", "10 GFLOP", "20 in bf16", found["speed"]["measured"]):
        assert word in text
    assert len(counted) == 1
    assert "21 in bf16" in gflow("machine", "--renew")
    assert "21 in bf16" in gflow("machine")
