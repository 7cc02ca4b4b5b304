from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch

from gflow_core.data import cifar, pickled
from gflow_core.data.cifar import Release
from gflow_core.data.parts import Cifar10, Cifar100
from gflow_core.errors import DataError


@pytest.mark.parametrize(
    ("part", "fine", "archive"),
    [(Cifar10, False, "cifar-10-binary.tar.gz"), (Cifar100, True, "cifar-100-binary.tar.gz")],
)
def test_folder_and_archive_agree(tmp_path, rng, make, part, fine, archive):
    files = make.cifar_files(rng, fine)
    make.write(files, tmp_path / "folder")
    (tmp_path / "packed").mkdir()
    packed = make.write(files, tmp_path / "packed" / archive)
    for split in ("train", "test"):
        sources = [
            part(root=str(root), split=split).load() for root in (tmp_path / "folder", tmp_path / "packed", packed)
        ]
        assert len({source.fingerprint for source in sources}) == 1
    record = files[sorted(name for name in files if "test" in name)[0]]
    start = 2 if fine else 1
    assert sources[0].x[0].numpy().tobytes() == record[start : start + 3072]
    assert sources[0].y.tolist() == ([90, 91, 92] if fine else [5, 6, 7])


def test_train_is_the_batches_in_order(tmp_path, rng, make):
    make.write(make.cifar_files(rng), tmp_path)
    source = Cifar10(root=str(tmp_path)).load()
    assert source.y.tolist() == [i + k for i in range(5) for k in range(3)]
    assert torch.equal(Cifar10(root=str(tmp_path / "cifar-10-batches-bin"), limit=4).load().x, source.x[:4])


def test_missing_names_the_places_and_the_file(tmp_path):
    with pytest.raises(DataError) as caught:
        Cifar10(root=str(tmp_path)).load()
    for words in (str(tmp_path / "cifar-10-batches-bin"), "cifar-10-binary.tar.gz", "dataset.download = true"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("part", "fine", "archive"),
    [(Cifar10, False, "cifar-10-python.tar.gz"), (Cifar100, True, "cifar-100-python.tar.gz")],
)
@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_the_python_release_holds_the_same(tmp_path, rng, make, part, fine, archive, protocol):
    binary = make.cifar_files(rng, fine)
    pickles = make.cifar_pickles(binary, protocol)
    make.write(binary, tmp_path / "binary")
    folder = make.write(pickles, tmp_path / "folder")
    (tmp_path / "packed").mkdir()
    packed = make.write(pickles, tmp_path / "packed" / archive)
    renamed = make.write(pickles, tmp_path / "images.tar")
    roots = (folder, next(folder.iterdir()), packed.parent, packed, renamed)
    for split in ("train", "test"):
        wanted = part(root=str(tmp_path / "binary"), split=split).load().fingerprint
        assert {part(root=str(root), split=split).load().fingerprint for root in roots} == {wanted}


class Evil:
    def __init__(self, called, *arguments):
        self.said = called, arguments

    def __reduce__(self):
        return self.said


DATA = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (Evil(os.system, "touch owned"), r"asks for posix\.system, which plain data do not; do not open it"),
        ({"data": Evil(eval, "1"), "labels": [1, 2]}, r"asks for __builtin__\.eval"),
        ({"data": Evil(np.zeros, 1 << 40), "labels": []}, r"asks for numpy\.zeros"),
        ({"data": Evil(np.ndarray, (1 << 40,)), "labels": []}, r"calls numpy\.ndarray"),
        ({"data": DATA.astype(object), "labels": [1, 2]}, "shape, type and bytes do not fit together"),
        ({"data": DATA.astype("f4"), "labels": [1, 2]}, 'an array "data" of bytes'),
        ({"data": DATA[:, :-1].copy(), "labels": [1, 2]}, 'an array "data" of bytes'),
        ({"data": DATA.tolist(), "labels": [1, 2]}, 'an array "data" of bytes'),
        ({"data": DATA, "labels": [1]}, 'a list "labels" of 2 whole numbers'),
        ({"data": DATA, "labels": [1, "x"]}, 'a list "labels" of 2 whole numbers'),
        ({"data": DATA, "labels": [1, 1 << 80]}, "labels of 10 classes expected"),
        ({"data": DATA, "labels": [1, -3]}, "labels of 10 classes expected"),
        ({"data": DATA}, 'a list "labels"'),
        ([1, 2], 'an array "data" of bytes'),
        (Release("a", "b", (), (), 1, 2), "plain data do not"),
    ],
)
def test_pickles_of_anything_else_cost_one_message_and_run_nothing(tmp_path, monkeypatch, held, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_batch").write_bytes(pickle.dumps(held, 2))
    with pytest.raises(DataError, match=words) as caught:
        Cifar10(root=str(tmp_path), split="test").load()
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned").exists()


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "exhausted before seeing STOP"),
        (b"\x80\x02}", "exhausted before seeing STOP"),
        (b"\xff.", "unknown"),
        (b".", "damaged or made up"),
        (b"h\x05.", "damaged or made up"),
        (b"t.", "damaged or made up"),
        (b"]K\x01s.", "damaged or made up"),
        (b"\x82\x01.", "takes the instruction EXT1"),
        (b"Pname\n.", "takes the instruction PERSID"),
        (b"(inumpy\nndarray\n.", "takes the instruction INST"),
        (b"]r\xff\xff\xff\xff.", 'an array "data"'),  # a place in the memo far off
        (b"\x8e" + b"\xff" * 7 + b"\x0f.", "expected"),  # a text of 2^60 bytes
        (
            b"}S'data'\n" + ARRAY + b"(I1\n(L9999999999999L\ntcnumpy\ndtype\n(S'u1'\ntRI00\nS''\ntbs.",
            "do not fit together",
        ),
        (
            b"}S'data'\n" + ARRAY + b"(I1\n(L9999999L\nL-1L\ntcnumpy\ndtype\n(S'u1'\ntRI00\nS''\ntbs.",
            "do not fit together",
        ),
        (b"}S'data'\n" + ARRAY + b"(I1\n(I1\ntcnumpy\ndtype\n(S'V999999999'\ntRI00\nS''\ntbs.", "do not fit together"),
        (b"}S'data'\n" + ARRAY + b"s.", "do not fit together"),
        (b"}(" + b")q\x00" + b"h\x002q\x00" * 80 + b"NK\x01u.", "DUP"),
        (b"})q\x00" + b"h\x00h\x00\x86q\x00" * 90 + b"K\x01s.", "damaged or made up"),  # a key that hashes for ever
        (b"N0" * 40 + b".", "instruction POP"),
        (b"]" * 1200 + b".", "more than 1,000 instructions"),
    ],
)
def test_made_up_pickles(tmp_path, monkeypatch, raw, words):
    import tracemalloc

    monkeypatch.setattr(pickled, "INSTRUCTIONS", 1000)
    tracemalloc.start()
    with pytest.raises(ValueError, match=words):
        cifar._pickled("test_batch", raw, "labels")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_damaged_archive_never_loads(tmp_path, rng, make):
    path = make.write(make.cifar_files(rng), tmp_path / "cifar-10-binary.tar.gz")
    whole = path.read_bytes()
    for cut in (0, 5, 100, len(whole) // 3, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz"):
            Cifar10(root=str(tmp_path)).load()


def test_damaged_records(tmp_path, rng, make):
    files = make.cifar_files(rng)
    make.write({**files, "cifar-10-batches-bin/data_batch_2.bin": b"x" * 3072}, tmp_path / "short")
    with pytest.raises(DataError, match=r"data_batch_2\.bin: a whole number of 3073-byte records"):
        Cifar10(root=str(tmp_path / "short")).load()
    make.write({**files, "cifar-10-batches-bin/test_batch.bin": b"\x0b" * 3073}, tmp_path / "labels")
    with pytest.raises(DataError, match="labels of 10 classes expected, found 11"):
        Cifar10(root=str(tmp_path / "labels"), split="test").load()
    folder = make.write(files, tmp_path / "gone")
    (folder / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin"):
        Cifar10(root=str(folder)).load()
    other = make.write({"readme.txt": b"hello"}, tmp_path / "other.tar.gz")
    with pytest.raises(DataError, match=r"lacks data_batch_1\.bin"):
        Cifar10(root=str(other)).load()


def test_a_failed_download_says_how_to_do_it_by_hand(tmp_path, monkeypatch):
    from torchvision.datasets import utils

    asked = []

    def offline(url, root, filename, md5):
        asked.append((url, filename, md5))
        raise OSError("no network")

    monkeypatch.setattr(utils, "download_url", offline)
    with pytest.raises(DataError, match=r"failed \(no network\); fetch https://.*cifar-100-binary\.tar\.gz yourself"):
        Cifar100(root=str(tmp_path), download=True).load()
    assert asked[0][1:] == ("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8")
