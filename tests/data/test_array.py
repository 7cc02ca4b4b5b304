from __future__ import annotations

import numpy as np
import pytest
import torch

from gflow_core.data.parts import Array
from gflow_core.errors import DataError


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (5, 6, 6, 3), np.uint8)


def test_layouts_of_images(tmp_path, images):
    for name, array in (("last", images), ("first", images.transpose(0, 3, 1, 2))):
        np.save(tmp_path / f"{name}.npy", array)
        source = Array(root=str(tmp_path / f"{name}.npy"), image_size=6).load()
        assert np.array_equal(source.x.numpy(), images.transpose(0, 3, 1, 2))
    np.save(tmp_path / "grey.npy", images[..., 0])
    source = Array(root=str(tmp_path / "grey.npy"), image_size=6, channels=1).load()
    assert np.array_equal(source.x[:, 0].numpy(), images[..., 0])
    padded = Array(root=str(tmp_path / "grey.npy"), image_size=8, channels=3, limit=2).load()
    assert np.array_equal(padded.x[:, 2, 1:7, 1:7].numpy(), images[:2, ..., 0])
    assert Array(root=str(tmp_path / "grey.npy"), image_size=4, channels=1, fit="resize").load().x.shape == (5, 1, 4, 4)


def test_vectors(tmp_path, rng):
    x = rng.normal(size=(7, 3))
    np.save(tmp_path / "x.npy", np.asfortranarray(x))
    source = Array(root=str(tmp_path / "x.npy"), shape=(3,), limit=6).load()
    assert source.x.dtype == torch.float32
    assert np.array_equal(source.x.numpy(), x[:6].astype(np.float32))
    np.savez_compressed(tmp_path / "x.npz", x=x)
    assert Array(root=str(tmp_path / "x.npz"), shape=(3,), limit=6).load().fingerprint == source.fingerprint


def test_labels_from_the_archive_or_a_file_beside_it(tmp_path, rng):
    x, y = rng.normal(size=(7, 2)), np.arange(7, dtype=np.uint8) % 3
    np.savez(tmp_path / "x.npz", points=x, kind=y)
    np.save(tmp_path / "y.npy", y)
    for labels in ("kind", "y.npy", str(tmp_path / "y.npy")):
        part = Array(root=str(tmp_path / "x.npz"), key="points", shape=(2,), labels=labels, classes=3, limit=5)
        assert part.load().y.tolist() == [0, 1, 2, 0, 1]
        assert part.data_shape().classes == 3


def _saved(path, array, **options):
    np.save(path, array, **options)


@pytest.mark.parametrize(
    ("array", "options", "words"),
    [
        (np.zeros((4, 3)), {"shape": (2,)}, r"shape \[N, 2\] expected, found \[4, 3\]; set dataset.shape"),
        (np.zeros(4), {"shape": (2,)}, r"found \[4\]"),
        (np.zeros((0, 2)), {"shape": (2,)}, r"found \[0, 2\]"),
        (np.zeros((4, 2), int), {"shape": (2,)}, "vectors of floats expected, found int64"),
        (np.array([["a", "b"]]), {"shape": (2,)}, "vectors of floats expected, found <U1"),
        (np.array([[1.0, np.nan]]), {"shape": (2,)}, "NaN or infinite"),
        (np.array([[1.0, 1e300]]), {"shape": (2,)}, "beyond float32"),
        (np.zeros((4, 8, 8)), {"image_size": 8}, "images of uint8"),
        (np.zeros((4, 2, 8, 8), np.uint8), {"image_size": 8}, r"C = 1 or 3 expected, found shape \[4, 2, 8, 8\]"),
        (np.zeros((4, 8), np.uint8), {"image_size": 8}, r"vectors \(dataset.shape\) are floats"),
        (np.zeros((4, 9, 8), np.uint8), {"image_size": 8}, "9x8 do not fit dataset.image_size = 8"),
        (np.zeros((4, 9, 8), np.uint8), {"image_size": (8, 12)}, r"9x8 do not fit dataset.image_size = \[8, 12\]"),
        (np.zeros((0, 8, 8), np.uint8), {"image_size": 8}, r"found shape \[0, 8, 8\]"),
        (np.zeros((4, 2)), {"shape": (2,), "key": "x"}, 'leave out dataset.key = "x"'),
        (np.array([[{}, {}]], object), {"shape": (2,)}, "gflow reads no pickle"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_files_that_do_not_agree(tmp_path, array, options, words):
    path = tmp_path / "x.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(DataError, match=words) as caught:
        Array(root=str(path), **options).load()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_archives_and_labels_that_do_not_agree(tmp_path, rng):
    path = tmp_path / "x.npz"
    np.savez(path, a=rng.normal(size=(4, 2)), b=np.arange(4), o=np.array([{}], object))

    def load(**options):
        return Array(root=str(path), shape=(2,), **options).load()

    for options, words in (
        ({}, r"3 arrays \(a, b, o\); name one in dataset.key"),
        ({"key": "c"}, r'no array "c" \(there are a, b, o\); set dataset.key'),
        ({"key": "o"}, "no pickle"),
        ({"key": "a", "labels": "c", "classes": 4}, "set dataset.labels"),
        ({"key": "a", "labels": "a", "classes": 4}, "4 whole numbers"),
        ({"key": "a", "labels": "b", "classes": 3}, r"labels 0 to 2 expected \(dataset.classes = 3\), found 0 to 3"),
        ({"key": "a", "labels": "gone.npy", "classes": 3}, r"dataset.labels not found; looked for .*gone\.npy"),
    ):
        with pytest.raises(DataError, match=words):
            load(**options)


def test_damaged_files(tmp_path, rng):
    np.save(tmp_path / "x.npy", rng.normal(size=(100, 2)))
    np.savez(tmp_path / "x.npz", rng.normal(size=(100, 2)))
    for name in ("x.npy", "x.npz"):
        whole = (tmp_path / name).read_bytes()
        for cut in (0, 3, 20, 100, len(whole) - 100):
            (tmp_path / name).write_bytes(whole[:cut])
            with pytest.raises(DataError, match=name):
                Array(root=str(tmp_path / name), shape=(2,)).load()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    (tmp_path / "x.npz").write_bytes(flipped)
    with pytest.raises(DataError, match="damaged"):
        Array(root=str(tmp_path / "x.npz"), shape=(2,)).load()
    with pytest.raises(DataError, match=r"dataset\.root not found"):
        Array(root=str(tmp_path / "none.npy"), shape=(2,)).load()
    (tmp_path / "p.npy").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(DataError, match=r"not a \.npy or \.npz"):
        Array(root=str(tmp_path / "p.npy"), shape=(2,)).load()


def test_real_labels(tmp_path, rng):
    y = rng.normal(size=(6, 2))
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(6, 3)).astype(np.float32), y=y)
    options = {"root": str(tmp_path / "x.npz"), "key": "x", "shape": (3,), "labels": "y"}
    part = Array(**options, conditions=("angle", "size"), limit=4)
    assert (part.data_shape().conditions, list(part.check())) == (("angle", "size"), [])
    assert np.allclose(part.load().y.numpy(), y[:4])
    with pytest.raises(DataError, match=r"6 rows of 3 numbers expected.*, found float64 \[6, 2\]"):
        Array(**options, conditions=("a", "b", "c")).load()
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(6, 3)).astype(np.float32), y=y * np.nan)
    with pytest.raises(DataError, match="NaN or infinite"):
        part.load()
    assert list(Array(**options, conditions=("a",), classes=2).check()) == [
        "classes and conditions exclude each other: labels are class indices, or real numbers"
    ]
    assert list(Array(**options).check()) == ["labels go together with classes or conditions: set both or neither"]
    assert list(Array(**options, conditions=("a", "a")).check()) == ["conditions = ['a', 'a'] names one twice"]
