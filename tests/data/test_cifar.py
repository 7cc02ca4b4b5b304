from __future__ import annotations

import pytest
import torch

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


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "cifar-10-batches-py"])
def test_the_pickled_release_is_refused_by_name(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"pickle.*cifar-10-binary\.tar\.gz"):
        Cifar10(root=str(tmp_path)).load()


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
