from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from gflow_core.data.parts import ImageNet32, ImageNet64
from gflow_core.errors import DataError


def arrays(files, names):
    """All images and labels of the named files."""
    held = [np.load(io.BytesIO(files[name])) for name in names]
    return np.concatenate([one["data"] for one in held]), np.concatenate([one["labels"] for one in held])


@pytest.mark.parametrize(("part", "size"), [(ImageNet32, 32), (ImageNet64, 64)])
def test_items_and_labels_come_in_the_order_of_the_files(tmp_path, rng, make, log, part, size):
    files = make.imagenet_files(rng, size)
    make.write(files, tmp_path)
    train = [f"imagenet{size}/train_data_batch_{i}.npz" for i in range(1, 11)]
    for split, names in (("train", train), ("test", [f"imagenet{size}/val_data.npz"])):
        x, y = arrays(files, names)
        source = part(root=str(tmp_path), split=split).load(log)
        assert (source.x.numpy().reshape(len(x), -1) == x).all()
        assert source.y.tolist() == (y - 1).tolist()
        assert "copying images" in log
    log.calls.clear()
    again = part(root=str(tmp_path / f"imagenet{size}"), split="test").load(log)
    assert again.fingerprint == source.fingerprint
    assert "copying images" not in log  # mapped from the copy
    few = part(root=str(tmp_path), limit=5).load()
    assert few.y.tolist() == (arrays(files, train)[1][:5] - 1).tolist()


def test_a_limit_reads_no_file_beyond_it(tmp_path, rng, make):
    make.write(make.imagenet_files(rng, 32), tmp_path)
    (tmp_path / "imagenet32/train_data_batch_3.npz").write_bytes(b"not read")
    assert len(ImageNet32(root=str(tmp_path), limit=6).load()) == 6
    with pytest.raises(DataError, match=r"train_data_batch_3\.npz"):
        ImageNet32(root=str(tmp_path), limit=7).load()


def test_a_changed_file_is_copied_again(tmp_path, rng, make):
    make.write(make.imagenet_files(rng, 32), tmp_path)
    first = ImageNet32(root=str(tmp_path), split="test").load()
    make.write(make.imagenet_files(rng, 32, count=4), tmp_path)
    assert len(ImageNet32(root=str(tmp_path), split="test").load()) == 4 != len(first)


def test_missing_names_the_places_and_the_page(tmp_path, rng, make):
    with pytest.raises(DataError) as caught:
        ImageNet64(root=str(tmp_path)).load()
    for words in (str(tmp_path / "imagenet64"), "train_data_batch_1.npz", "npz format", "https://image-net.org/"):
        assert words in str(caught.value)
    make.write(make.imagenet_files(rng, 64), tmp_path)
    (tmp_path / "imagenet64/train_data_batch_7.npz").unlink()
    with pytest.raises(DataError, match=r"lacks train_data_batch_7\.npz; unpack the whole release"):
        ImageNet64(root=str(tmp_path)).load()


DATA, LABELS = np.zeros((2, 3072), np.uint8), np.array([1, 1000])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": np.zeros((2, 12288), np.uint8)}, r"bytes \[N, 3072\] expected, found uint8 \[2, 12288\]"),
        ({"data": np.zeros((2, 3072), np.float32)}, "found float32"),
        ({"data": np.asfortranarray(rows := np.zeros((2, 3072), np.uint8))}, r"bytes \[N, 3072\] expected"),
        ({"labels": np.array([0, 5])}, "whole numbers from 1 to 1000"),
        ({"labels": np.array([1, 1001])}, "whole numbers from 1 to 1000"),
        ({"labels": np.array([1.0, 2.0])}, "whole numbers from 1 to 1000"),
        ({"labels": np.array([1])}, "labels: 2 whole numbers"),
        ({"labels": np.array([1, "x"], object)}, "allow_pickle=False"),
        ({"labels": None}, "holds no array labels"),
    ],
)
def test_arrays_that_are_not_imagenet(tmp_path, change, words):
    held = {name: array for name, array in ({"data": DATA, "labels": LABELS} | change).items() if array is not None}
    folder = tmp_path / "imagenet32"
    folder.mkdir()
    np.savez(folder / "val_data.npz", **held)
    with pytest.raises(DataError, match=words) as caught:
        ImageNet32(root=str(tmp_path), split="test").load()
    assert "val_data.npz" in str(caught.value)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_file_never_loads(tmp_path, rng, packed):
    data = rng.integers(0, 256, (40, 3072), np.uint8)
    path = tmp_path / "val_data.npz"
    (np.savez_compressed if packed else np.savez)(path, data=data, labels=np.ones(40, int))
    whole = path.read_bytes()
    for cut in (0, 9, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"val_data\.npz"):
            ImageNet32(root=str(tmp_path), split="test").load()
    path.write_bytes(whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:])  # a bit of the pixels
    with pytest.raises(DataError, match=r"val_data\.npz"):
        ImageNet32(root=str(tmp_path), split="test").load()


def test_a_shape_beyond_what_is_there_costs_a_message_and_no_room(tmp_path):
    path = tmp_path / "val_data.npz"
    header, labels = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 3072)})
    np.save(labels, LABELS)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", header.getvalue())
        archive.writestr("labels.npy", labels.getvalue())
    with pytest.raises(DataError, match="states the shape"):
        ImageNet32(root=str(tmp_path), split="test").load()
    # The zip says that it holds more than it does: 1,000 images.
    np.savez(path, data=np.zeros((2, 3072), np.uint8), labels=np.ones(1000, int))
    raw = path.read_bytes().replace(b"'shape': (2, 3072), }   ", b"'shape': (1000, 3072), }")
    size = 128 + 2 * 3072
    assert raw.count(struct.pack("<I", size)) >= 2
    path.write_bytes(raw.replace(struct.pack("<I", size), struct.pack("<I", 128 + 1000 * 3072)))
    with pytest.raises(DataError, match=r"val_data\.npz"):
        ImageNet32(root=str(tmp_path), split="test").load()
