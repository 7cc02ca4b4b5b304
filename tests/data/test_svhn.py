from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from gflow_core.data import mat
from gflow_core.data.mat import read_mat
from gflow_core.data.parts import Svhn
from gflow_core.errors import DataError


@pytest.mark.parametrize("folder", ["svhn", "SVHN", ""])
def test_items_and_labels(tmp_path, rng, make, folder):
    files = make.svhn_files(rng)
    make.write(files, tmp_path / folder)
    for split in ("train", "test", "extra"):
        source = Svhn(root=str(tmp_path), split=split).load()
        x = scipy.io.loadmat(io.BytesIO(files[f"{split}_32x32.mat"]))["X"]
        assert (source.x.numpy() == x.transpose(3, 2, 0, 1)).all()
        assert source.y.tolist() == [i % 10 for i in range(12)]  # 10 is the digit 0


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "f4", "f8"])
def test_what_scipy_writes_is_read_whatever_stands_beside_it(tmp_path, rng, packed, kind):
    arrays = {"a": rng.integers(0, 99, (3, 4, 5)).astype(kind), "b": np.array([[7]], kind)}
    path = tmp_path / "x.mat"
    others = {"text": "words", "cell": np.array([1, "x"], object), "struct": {"f": 1}, "empty": np.zeros((0, 3))}
    scipy.io.savemat(path, {**others, **arrays}, do_compression=packed)
    found = read_mat(path, ("a", "b", "empty", "gone"))
    assert found.keys() == {"a", "b", "empty"}
    assert all((found[name] == array).all() and found[name].shape == array.shape for name, array in arrays.items())


def test_missing_names_the_places_and_the_page(tmp_path):
    with pytest.raises(DataError) as caught:
        Svhn(root=str(tmp_path), split="extra").load()
    for words in (str(tmp_path / "svhn"), "extra_32x32.mat", "ufldl.stanford.edu", "dataset.download = true"):
        assert words in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_file_never_loads(tmp_path, rng, make, packed):
    raw = make.svhn_files(rng, packed=packed)["train_32x32.mat"]
    path = tmp_path / "train_32x32.mat"
    for cut in (0, 5, 127, 130, 140, 190, len(raw) // 2, len(raw) - 3):
        path.write_bytes(raw[:cut])
        with pytest.raises(DataError, match=r"train_32x32\.mat"):
            Svhn(root=str(tmp_path)).load()
    if packed:  # one bit of the pixels: the checksum of the stream says so
        path.write_bytes(raw[:9000] + bytes([raw[9000] ^ 1]) + raw[9001:])
        with pytest.raises(DataError, match=r"train_32x32\.mat"):
            Svhn(root=str(tmp_path)).load()


def written(path, arrays):
    scipy.io.savemat(path / "train_32x32.mat", arrays)
    return Svhn(root=str(path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": None}, "holds no array y"),
        ({"X": np.zeros((32, 32, 3, 4))}, r"bytes \[32, 32, 3, N\] expected"),
        ({"X": np.zeros((32, 32, 4), np.uint8)}, r"found uint8 \[32, 32, 4\]"),
        ({"y": np.ones((3, 1))}, "4 images and 3 labels"),
        ({"y": np.zeros((4, 1))}, "labels 1 to 10 expected"),
        ({"y": np.array([1, 2, np.nan, 3])}, "labels 1 to 10 expected"),
        ({"y": np.array([1, 2, 3j, 4])}, "y is no array of real numbers"),
        ({"y": "text"}, "y is no array of real numbers"),
    ],
)
def test_arrays_that_are_not_svhn(tmp_path, change, words):
    arrays = {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((4, 1))} | change
    part = written(tmp_path, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=words):
        part.load()


# ------------------------------------------------------------------ from anybody

HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"


def element(kind: int, content: bytes, size: int | None = None) -> bytes:
    return struct.pack("<II", kind, len(content) if size is None else size) + content + b"\0" * (-len(content) % 8)


def array(name: str, dims: list[int], content: bytes, size: int | None = None) -> bytes:
    flags, shape = struct.pack("<II", 9, 0), struct.pack(f"<{len(dims)}i", *dims)
    parts = element(6, flags) + element(5, shape) + element(1, name.encode()) + element(2, content, size)
    return element(14, parts)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (array("X", [32, 32, 3, 1 << 30], b"", 0), "states the shape"),
        (array("X", [32, 32, 3, 1000], b"\0" * 9, 3_072_000), "ends within an array"),
        (array("X", [3, -1], b"\0" * 8), "no array of real numbers"),
        (array("X" * 70, [1, 1], b"\0"), "an array's header has 70 bytes"),
        (array("X", [1] * 40, b"\0"), "an array's header has 160 bytes"),
        (array("X", [1, 1], b"\0") * 2, "holds the array X twice"),
        (element(9, b"12345678"), "an element of type 0x9"),
        (element(15, zlib.compress(b"\x0e")), "ends within an array"),
        (element(15, zlib.compress(element(9, b"12345678"))), "a compressed element that is no array"),
        (element(15, zlib.compress(array("X", [1, 1], b"\0") + b"more")), "longer than it states"),
        (element(15, b"not zlib at all."), "incorrect header check"),
    ],
)
def test_made_up_files_cost_one_message(tmp_path, body, words):
    path = tmp_path / "x.mat"
    path.write_bytes(HEADER + body)
    with pytest.raises(DataError, match=words) as caught:
        read_mat(path, ("X",))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(tmp_path, monkeypatch):
    import tracemalloc

    monkeypatch.setattr(mat, "LARGEST", 1 << 20)
    path = tmp_path / "x.mat"
    content = bytes(64 << 20)
    path.write_bytes(HEADER + element(15, zlib.compress(array("X", [64 << 20, 1], content))))
    name = element(1, b"", 64 << 20) + content  # a name of 64 MB
    flags, dims = element(6, struct.pack("<II", 9, 0)), element(5, struct.pack("<ii", 1, 1))
    (tmp_path / "name.mat").write_bytes(HEADER + element(15, zlib.compress(element(14, flags + dims + name))))
    for file, words in ((path, "more than the 1 MB"), (tmp_path / "name.mat", "header has 67,108,864 bytes")):
        tracemalloc.start()
        with pytest.raises(DataError, match=words):
            read_mat(file, ("X",))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20


def test_format_7_3_says_how_to_save_it(tmp_path):
    path = tmp_path / "x.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF")
    with pytest.raises(DataError, match="save it with -v7"):
        read_mat(path, ("X",))
