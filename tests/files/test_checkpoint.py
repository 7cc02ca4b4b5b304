"""Checkpoints: whatever goes in comes out, and a folder is whole or not there."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from gflow_core.errors import CheckpointError
from gflow_core.files import checkpoint, weights
from gflow_core.files.checkpoint import Checkpoint, pack, unpack
from gflow_core.files.run_folder import checkpoint_names, checkpoint_order
from gflow_core.runs.record import RunFolder

dtypes = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
tensors = st.builds(
    lambda shape, dtype: (
        torch.arange(max(torch.Size(shape).numel(), 1))[: torch.Size(shape).numel()].reshape(shape).to(dtype)
    ),
    st.lists(st.integers(0, 3), max_size=4),
    dtypes,
)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5)
trees = st.recursive(
    scalars | tensors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(min_size=1, max_size=5) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(trees)
def test_trees_come_back(tree):
    found: dict[str, torch.Tensor] = {}
    note = pack(tree, found)
    assert same(unpack(note, found), tree)


def test_layouts_come_back(tmp_path):
    images = torch.randn(2, 3, 4, 4)
    tree = {"last": images.to(memory_format=torch.channels_last), "first": images, "sliced": images[:, 1:, ::2]}
    checkpoint.write(tmp_path / "000001", Checkpoint(step=1, parts={"sampler": tree}))
    back = checkpoint.read(tmp_path / "000001").parts["sampler"]
    assert back["last"].is_contiguous(memory_format=torch.channels_last)
    assert not back["last"].is_contiguous()
    assert back["first"].is_contiguous()
    assert all(torch.equal(back[k], tree[k]) for k in tree)


def test_shared_storage_is_no_obstacle(tmp_path):
    x = torch.arange(6.0)
    checkpoint.write(tmp_path / "000001", Checkpoint(step=1, parts={"a": {"x": x, "again": x, "part": x[2:]}}))
    assert torch.equal(checkpoint.read(tmp_path / "000001").parts["a"]["part"], x[2:])


def test_keys_that_are_written_alike_are_two():
    tensors: dict[str, torch.Tensor] = {}
    tree = {1: torch.zeros(1), "1": torch.ones(1), "a": {"b": torch.ones(2)}, "a/b": torch.zeros(2)}
    found = unpack(pack(tree, tensors), tensors)
    assert all(torch.equal(found[key], tree[key]) for key in (1, "1", "a/b"))
    assert torch.equal(found["a"]["b"], tree["a"]["b"])


def test_what_a_checkpoint_cannot_hold():
    with pytest.raises(CheckpointError, match=r"^a checkpoint cannot hold state/thing of type object"):
        pack({"state": {"thing": object()}}, {})
    with pytest.raises(CheckpointError, match=r"^a checkpoint cannot hold the key \(1, 2\) of state"):
        pack({"state": {(1, 2): 3}}, {})  # which JSON would not give back


def test_a_write_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    folder = tmp_path / "000001"
    checkpoint.write(folder, Checkpoint(step=1, parts={"a": {"x": torch.ones(3)}}))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(folder, Checkpoint(step=1, parts={"a": {"x": torch.zeros(3)}}))
    assert torch.equal(checkpoint.read(folder).parts["a"]["x"], torch.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == ["000001"], "half a checkpoint would take room that is wanted"


def test_a_full_disk_is_one_clear_message(tmp_path, monkeypatch):
    run = RunFolder.create(tmp_path, "x", 0, "gflow = 1\n")
    run.save(Checkpoint(step=1, parts={}))

    def full(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(weights, "save_file", full)
    with pytest.raises(
        CheckpointError, match=r"000002: cannot be written: No space left .*; make room, then gflow resume"
    ):
        run.save(Checkpoint(step=2, parts={"a": {"x": torch.zeros(3)}}))
    assert run.checkpoints() == ["000001"]


def test_a_run_folder_that_is_moved_while_it_trains_is_no_full_disk(tmp_path):
    run = RunFolder.create(tmp_path, "x", 0, "gflow = 1\n")
    run.save(Checkpoint(step=1, parts={}))
    run.path.rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match=r"x-s0-001: is not there any more: moved or deleted while it trained"):
        run.save(Checkpoint(step=2, parts={}))
    assert RunFolder(tmp_path / "moved").checkpoints() == ["000001"]


def test_order_and_pruning(tmp_path):
    run = RunFolder.create(tmp_path, "x", 0, "gflow = 1\n")
    for step, part_way in ((9, 0), (10, 0), (10, 7), (10, 12), (999_999, 0), (1_000_000, 0)):
        run.save(Checkpoint(step=step, parts={}), part_way, keep=5)
    assert run.checkpoints() == ["000010", "000010-007", "000010-012", "999999", "1000000"]
    (run.path / "checkpoints" / ".000011.tmp").mkdir()  # a crash in the middle of a write
    run.save(Checkpoint(step=1_000_001, parts={}), keep=1)
    assert [p.name for p in (run.path / "checkpoints").iterdir()] == ["1000001"]


def test_only_some_parts(tmp_path):
    checkpoint.write(tmp_path / "000001", Checkpoint(step=1, parts={"a": {"x": torch.ones(1)}, "b": {}}))
    (tmp_path / "000001" / "b.safetensors").unlink()
    assert set(checkpoint.read(tmp_path / "000001", only=("a",)).parts) == {"a"}
    with pytest.raises(CheckpointError, match=r"b\.safetensors is missing"):
        checkpoint.read(tmp_path / "000001")


def test_names_stand_in_the_order_of_training(tmp_path):
    assert checkpoint_names(tmp_path / "nothing") == []
    for name in ("000010", "1000000", "000009-012", "000009-002", "000009", ".000011.tmp", "000012.old", "12"):
        (tmp_path / name).mkdir()
    assert checkpoint_names(tmp_path) == ["000009", "000009-002", "000009-012", "000010", "1000000"]
    assert [checkpoint_order(name) for name in ("000009-012", "1000000")] == [[9, 12], [1_000_000]]


def test_others_may_read_what_they_may_read_of_any_new_file(tmp_path):
    """safetensors writes for the owner alone; a run on a shared disk is everybody's."""
    before = os.umask(0o027)
    try:
        checkpoint.write(tmp_path / "000001", checkpoint.Checkpoint(1, {"sampler": {"w": torch.ones(2)}}))
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "000001").iterdir()}
    assert modes == {"checkpoint.json": 0o640, "sampler.safetensors": 0o640}
