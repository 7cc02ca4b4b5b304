"""Decoding once: keyed, resumed, whole or not there."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import active_children
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gflow_core.data import cache, kept, preparing
from gflow_core.data.parts import CelebA, ImageFolder
from gflow_core.data.store import open_store
from gflow_core.errors import DataError
from gflow_core.files.sealed import sealed
from gflow_core.parts.nouns import no_progress
from gflow_core.parts.source import fingerprint


@pytest.fixture
def folder(tmp_path, rng, make):
    """40 images."""
    files = {f"{i:02d}.png": make.png(rng.integers(0, 256, (8, 8, 3), np.uint8)) for i in range(40)}
    return make.write(files, tmp_path / "photos")


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(preparing, "CHUNK", 4)


def part_of(root, **options):
    return ImageFolder(root=str(root), image_size=8, **options)


def test_the_second_load_decodes_nothing(folder, log, monkeypatch):
    first = part_of(folder).load(log)
    assert ("decoding images", 40, 40) in log.calls
    assert "fingerprint" in log
    assert first.cache.parent == folder.parent / "gflow-cache"
    assert sorted(path.suffix for path in first.cache.parent.iterdir()) == [".json", ".npy"]
    monkeypatch.setattr(cache, "_prepare", None)
    monkeypatch.setattr(kept, "fingerprint", None)
    log.calls.clear()
    second = part_of(folder).load(log)
    assert log.calls == []
    assert second.cache == first.cache
    assert second.fingerprint == first.fingerprint == fingerprint(first.x)
    assert torch.equal(first.x, second.x)


def test_options_and_source_make_the_key(folder, make, rng):
    caches = {
        part_of(folder, **options).load().cache
        for options in ({}, {"channels": 1}, {"crop": 6}, {"limit": 5}, {"limit": 6})
    }
    assert len(caches) == 5
    # What changes nothing about the pixels makes no other cache.
    assert part_of(folder, flip=True, dither=True, workers=1, skip_unreadable=True).load().cache in caches
    before = part_of(folder).load()
    (folder / "03.png").write_bytes(make.png(rng.integers(0, 256, (8, 8, 3), np.uint8)))
    os.utime(folder / "03.png", ns=(1, 1))
    after = part_of(folder).load()
    assert after.cache not in caches
    assert (after.x != before.x).flatten(1).any(1).nonzero().flatten().tolist() == [3]


def test_a_square_has_the_key_that_it_had_before_there_were_other_shapes(folder):
    file = part_of(folder).load().cache
    notes = json.loads(file.with_suffix(".json").read_text())
    key = {"crop": None, "size": 8, "channels": 3}
    assert {name: notes["options"][name] for name in key} == key
    stated = json.dumps([open_store(folder).stamp, notes["options"]], sort_keys=True)
    assert file.name == f"photos-8px-3ch-{hashlib.sha256(stated.encode()).hexdigest()[:16]}.npy"
    assert ImageFolder(root=str(folder), image_size=(8, 8)).load().cache == file
    wide = ImageFolder(root=str(folder), image_size=(8, 12)).load()
    assert wide.cache.name.startswith("photos-8x12px-3ch-")
    assert wide.x.shape == (40, 3, 8, 12)


def test_several_processes_give_what_one_gives(folder, make, rng, small_chunks, tmp_path):
    one = part_of(folder, workers=1).load()
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for target in ("copy.zip", "copy.tar.gz"):
        many = part_of(make.write(files, tmp_path / target), workers=2).load()
        assert many.fingerprint == one.fingerprint


class StoppedError(Exception):
    pass


def test_workers_end_where_the_work_is_given_up(folder, small_chunks):
    workers = []

    def interrupt(_what, done, _total):
        if done:
            workers.extend(active_children())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        part_of(folder, workers=2).load(interrupt)
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL] * 2
    assert part_of(folder, workers=1).load().fingerprint == part_of(folder).load().fingerprint


@pytest.mark.parametrize("target", ["photos", "photos.zip", "photos.tar"])
@pytest.mark.parametrize("torn", [False, True])
def test_an_interrupted_preparation_goes_on(folder, tmp_path, make, small_chunks, monkeypatch, target, torn):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "in").mkdir()
    root = make.write(files, tmp_path / "in" / target)
    part = part_of(root, workers=1)

    def stop(what, done, total):
        if done >= 16:
            raise StoppedError

    with pytest.raises(StoppedError):
        part.load(stop)
    place = root.parent / "gflow-cache"
    assert not list(place.glob("*.npy"))
    if torn:  # the line of the last chunk was cut short
        (journal,) = place.glob("*.journal")
        journal.write_bytes(journal.read_bytes()[:-7])
    decoded = []
    original = preparing.decode_chunk
    monkeypatch.setattr(preparing, "decode_chunk", lambda job, chunk: decoded.append(chunk) or original(job, chunk))
    source = part.load()
    assert sum(len(chunk.rows) for chunk in decoded) == (28 if torn else 24)
    assert sorted(path.suffix for path in place.iterdir()) == [".json", ".npy"]
    assert source.fingerprint == part_of(folder, workers=1).load().fingerprint


KILLED = """
import os, signal, sys
from gflow_core.data import preparing
from gflow_core.data.parts import ImageFolder
preparing.CHUNK = 4
def kill(what, done, total):
    if done >= 12:
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    ImageFolder(root=sys.argv[1], image_size=8, workers=1).load(kill)
"""


def test_a_killed_preparation_goes_on(folder, small_chunks, log):
    died = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert died.returncode == -signal.SIGKILL
    source = part_of(folder).load(log)
    assert log.calls[0] == ("decoding images", 12, 40)
    assert len(source) == 40
    assert source.x.flatten(1).any(1).all()


def flip(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def relabel(path):
    notes = json.loads(path.read_text())
    notes["labels"][3] = 1 - notes["labels"][3]
    path.write_text(json.dumps(notes))


def forge(file, **notes):
    """A cache that came with the data, and is sealed."""
    own = file.with_suffix(".json")
    before = {**json.loads(own.read_text()), "pieces": kept._pieces(file, no_progress)}
    own.write_text(json.dumps(sealed({**before, **notes})))


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: os.truncate(file, 1000),
        lambda file: flip(file, -5),  # a pixel
        lambda file: flip(file, 3),  # the header
        lambda file: file.with_suffix(".json").write_text("{"),
        lambda file: relabel(file.with_suffix(".json")),
        lambda file: forge(file, skipped=["a/0.png"]),
        lambda file: forge(file, labels="abc"),
        lambda file: forge(file, images=7),
        lambda file: (file.write_bytes(b"no array"), forge(file)),
    ],
    ids=["short", "pixel", "header", "notes", "label", "no table", "no labels", "fewer", "no array"],
)
def test_a_damaged_cache_is_made_again(tmp_path, make, rng, log, caplog, monkeypatch, damage):
    files = {f"{c}/{i}.png": make.png(rng.integers(0, 256, (8, 8, 3), np.uint8)) for c in "ab" for i in range(3)}
    part = part_of(make.write(files, tmp_path / "set"), classes=2)
    monkeypatch.setattr(kept, "PIECE", 100)
    source = part.load()
    x, y = source.x.clone(), source.y
    damage(source.cache)
    monkeypatch.setattr(kept, "_checked", set())  # another process
    again = part.load(log)
    assert torch.equal(again.x, x)
    assert torch.equal(again.y, y)
    assert again.fingerprint == source.fingerprint
    assert "decoding images" in log
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        f"{source.cache}: the decoded images are damaged"
    ]
    log.calls.clear()
    part.load(log)
    assert log.calls == []


@pytest.mark.parametrize("damage", ["shortened", "a row", "header", "nothing"])
def test_what_was_decoded_of_a_part_is_not_trusted(folder, small_chunks, log, damage):
    part = part_of(folder, workers=1)

    def stop(what, done, total):
        if done >= 16:
            raise StoppedError

    with pytest.raises(StoppedError):
        part.load(stop)
    (made,) = (folder.parent / "gflow-cache").glob("*.part")
    if damage == "shortened":
        os.truncate(made, 1000)
    elif damage != "nothing":
        flip(made, 3 if damage == "header" else 128 + 5 * 192 + 7)
    source = part.load(log)
    first = {"nothing": 16, "a row": 12}.get(damage, 0)
    assert log.calls[0] == ("decoding images", first, 40)
    assert source.fingerprint == part_of(folder, workers=1, limit=40).load().fingerprint


def test_writing_to_the_tensor_leaves_the_cache_alone(folder):
    source = part_of(folder).load()
    before = source.x[0].clone()
    source.x[0] = 0
    assert torch.equal(part_of(folder).load().x[0], before)


# ------------------------------------------------------------------ unreadable images


def test_unreadable_images_are_named_or_skipped(folder, small_chunks, log, caplog):
    (folder / "05.png").write_bytes((folder / "05.png").read_bytes()[:60])
    (folder / "17.png").write_text("no image")
    (folder / "39.png").unlink()
    (folder / "39.png").symlink_to("nowhere")
    with pytest.raises(DataError) as caught:
        part_of(folder).load()
    said = str(caught.value)
    assert "3 of 40 images cannot be read: 05.png (" in said
    assert "not an image" in said
    assert "BytesIO" not in said
    assert "17.png (" in said
    assert "39.png (" in said
    assert "dataset.skip_unreadable = true" in said
    with caplog.at_level(logging.WARNING):
        source = part_of(folder, skip_unreadable=True).load(log)
    assert "17.png" in caplog.text
    # Nothing was decoded twice, and the rest keeps its order.
    assert [call for call in log.calls if call[0] == "decoding images"] == [("decoding images", 40, 40)]
    assert len(source) == 37
    notes = json.loads(source.cache.with_suffix(".json").read_text())
    assert notes["names"] == [f"{i:02d}.png" for i in range(40) if i not in (5, 17, 39)]
    # A whole cache does not silence the error.
    with pytest.raises(DataError, match="skip_unreadable"):
        part_of(folder).load()


def test_labels_are_skipped_with_their_images(tmp_path, make, rng):
    files = {f"{c}/{i}.png": make.png(rng.integers(0, 256, (8, 8, 3), np.uint8)) for c in "ab" for i in range(3)}
    root = make.write({**files, "b/1.png": b"broken"}, tmp_path / "set")
    source = part_of(root, classes=2, skip_unreadable=True).load()
    assert source.y.tolist() == [0, 1, 0, 0, 1]


def test_none_readable(tmp_path, make):
    root = make.write({f"{i}.jpg": b"broken" for i in range(12)}, tmp_path / "broken")
    with pytest.raises(DataError, match=r"12 of 12 images cannot be read.*and 2 more.*none is left"):
        part_of(root, skip_unreadable=True).load()


def test_damage_inside_a_zip_is_named(celeba):
    packed = celeba / "celeba" / "img_align_celeba.zip"
    raw = bytearray(packed.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 50] = b"\0" * 50
    packed.write_bytes(raw)
    with pytest.raises(DataError, match=r"1 of 12 images cannot be read: img_align_celeba/0000\d\d\.jpg \("):
        CelebA(root=str(celeba), image_size=8).load()


# ------------------------------------------------------------------ where the cache is


@pytest.mark.parametrize("name", ["n" * 255, "数" * 85])
def test_the_name_of_the_data_may_be_as_long_as_names_are(folder, name):
    assert len(part_of(folder.rename(folder.with_name(name))).load()) == 40


def test_gflow_cache_says_where(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GFLOW_CACHE", str(tmp_path / "own" / "place"))
    assert part_of(folder).load().cache.parent == tmp_path / "own" / "place"
    assert not (folder.parent / "gflow-cache").exists()


def test_where_the_data_is_read_only(folder, tmp_path, monkeypatch):
    real = os.access
    beside = folder.parent / "gflow-cache"
    monkeypatch.setattr(os, "access", lambda path, mode: path != beside and real(path, mode))
    assert part_of(folder).load().cache.parent == tmp_path / "user-cache" / "gflow"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    # What is there is found also where nothing can be written.
    assert part_of(folder).load().cache.parent == tmp_path / "user-cache" / "gflow"
    with pytest.raises(DataError, match=r"neither in .*gflow-cache nor .*user-cache.*set GFLOW_CACHE"):
        part_of(folder, limit=3).load()


def test_a_full_disk(folder, monkeypatch):
    monkeypatch.setattr(preparing.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(DataError, match=r"0\.00 GiB are free; make room or set GFLOW_CACHE"):
        part_of(folder).load()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.undo()
    monkeypatch.setattr(preparing, "decode_chunk", full)
    with pytest.raises(DataError, match="No space left on device; set GFLOW_CACHE"):
        part_of(folder).load()


def test_two_at_once_decode_once(folder, monkeypatch):
    prepared = []
    original = cache._prepare

    def slow(*arguments):
        prepared.append(arguments)
        time.sleep(0.3)
        original(*arguments)

    monkeypatch.setattr(cache, "_prepare", slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: part_of(folder).load(), range(2))
    assert len(prepared) == 1
    assert first.fingerprint == second.fingerprint


def test_a_script_that_a_decoding_process_runs_again_does_not_wait_for_itself(folder, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(DataError, match='if __name__ == "__main__"'):
        part_of(folder).load()
