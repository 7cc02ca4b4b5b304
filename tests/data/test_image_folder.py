from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image

from gflow_core.data import cache, image_folder
from gflow_core.data.parts import ImageFolder
from gflow_core.data.store import common_folder, in_numbers, in_turn
from gflow_core.errors import DataError


@pytest.fixture
def photos(rng, make):
    """Three classes with 4, 3 and 2 images, in another order than that of their names."""
    return {
        f"{folder}/{i}.png": make.png(rng.integers(0, 256, (12, 10, 3), np.uint8))
        for folder, n in (("cat", 3), ("ant", 4), ("bee", 2))
        for i in range(n)
    }


@pytest.mark.parametrize(
    "target", ["photos", "photos.zip", "photos.tar", "photos.tar.gz", "photos.tar.bz2", "photos.tar.xz"]
)
@pytest.mark.parametrize("prefix", ["", "deep/inside/"])
def test_every_kind_of_store_gives_the_same(tmp_path, make, photos, target, prefix):
    make.write(photos, tmp_path / "reference")
    reference = ImageFolder(root=str(tmp_path / "reference"), classes=3, image_size=10).load()
    root = make.write({prefix + name: raw for name, raw in photos.items()}, tmp_path / target)
    source = ImageFolder(root=str(root), classes=3, image_size=10).load()
    assert source.fingerprint == reference.fingerprint
    # In turn over the class folders ant, bee, cat.
    assert source.y.tolist() == [0, 1, 2, 0, 1, 2, 0, 2, 0]


def test_centre_crop_without_resizing_keeps_pixels(tmp_path, make, photos):
    root = make.write(photos, tmp_path / "photos")
    x = ImageFolder(root=str(root), image_size=10).load().x
    first = torch.from_numpy(np.asarray(Image.open(root / "ant" / "0.png")).copy()).permute(2, 0, 1)
    assert torch.equal(x[0], first[:, 1:11, :])
    x = ImageFolder(root=str(root), image_size=14, crop=14).load().x
    assert torch.equal(x[0][:, 1:13, 2:12], first)
    assert x[0].sum() == first.sum()


def test_limit_and_classes(tmp_path, make, photos):
    root = make.write(photos, tmp_path / "photos")
    assert ImageFolder(root=str(root), limit=4, image_size=8, classes=3).load().y.tolist() == [0, 1, 2, 0]
    # The label is that of all class folders, also where the limit leaves some out.
    assert ImageFolder(root=str(root), limit=2, image_size=8, classes=3).load().y.tolist() == [0, 1]
    assert ImageFolder(root=str(root), image_size=8).load().y is None


def test_folder_option(tmp_path, make, photos):
    both = {
        f"{split}/{name}": raw
        for split in ("train", "test")
        for name, raw in photos.items()
        if split == "train" or "ant" in name
    }
    root = make.write(both, tmp_path / "set.zip")
    assert len(ImageFolder(root=str(root), folder="train", classes=3, image_size=8).load()) == 9
    test = ImageFolder(root=str(root), folder="test/", image_size=8).load()
    assert len(test) == 4
    deep = make.write({f"top/{name}": raw for name, raw in both.items()}, tmp_path / "deep.tar")
    assert ImageFolder(root=str(deep), folder="test", image_size=8).load().fingerprint == test.fingerprint
    assert ImageFolder(root=str(deep), folder="top/test", image_size=8).load().fingerprint == test.fingerprint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 2}, "3 class folders found (ant, bee, cat); set dataset.classes = 3"),
        ({"folder": "dog"}, "it has the folders ant, bee, cat; set dataset.root or dataset.folder"),
    ],
)
def test_class_folders_are_verified(tmp_path, make, photos, options, words):
    root = make.write(photos, tmp_path / "photos")
    with pytest.raises(DataError) as caught:
        ImageFolder(root=str(root), image_size=8, **options).load()
    assert words in str(caught.value)


def test_numbers_sort_as_numbers_and_names_are_kept(tmp_path, make, rng):
    files = {f"{i}/a.png": make.png(np.full((8, 8, 3), 20 * i, np.uint8)) for i in range(12)}
    for target in ("set", "set.zip"):
        part = ImageFolder(root=str(make.write(files, tmp_path / target)), image_size=8, classes=12)
        for source in (part.load(), part.load()):  # decoded, and from the cache
            assert (source.x[:, 0, 0, 0] // 20).tolist() == source.y.tolist()
            assert source.class_names == tuple(map(str, range(12)))
    assert part_without_labels(tmp_path / "set").class_names == ()
    assert sorted(["img10", "img9", "b", "10", "9", "09", ""], key=in_numbers) == [
        "",
        "09",
        "9",
        "10",
        "b",
        "img9",
        "img10",
    ]


def part_without_labels(root):
    return ImageFolder(root=str(root), image_size=8).load()


def test_labels_in_the_order_of_text_are_not_taken_from_an_old_cache(tmp_path, make, rng, monkeypatch):
    files = {f"{i}/a.png": make.png(np.full((8, 8, 3), 20 * i, np.uint8)) for i in range(12)}
    part = ImageFolder(root=str(make.write(files, tmp_path / "set")), image_size=8, classes=12)
    with monkeypatch.context() as before:
        before.setattr(cache, "FORMAT", 2)
        before.setattr(image_folder, "in_numbers", str)
        old = part.load()
    assert old.class_names[:3] == ("0", "1", "10")
    assert (old.x[:, 0, 0, 0] // 20).tolist() != old.y.tolist()
    new = part.load()
    assert new.cache != old.cache
    assert (new.x[:, 0, 0, 0] // 20).tolist() == new.y.tolist()


@pytest.mark.parametrize("target", ["photos", "photos.zip", "photos.tar"])
def test_an_empty_class_folder_is_named(tmp_path, make, photos, target, caplog):
    root = make.write(photos | {"dog/readme.txt": b"none yet", ".cache/x.txt": b""}, tmp_path / target)
    if target == "photos":
        (root / "eel").mkdir()
    empty = "dog, eel" if target == "photos" else "dog"
    with pytest.raises(DataError, match=rf"3 class folders found \(ant, bee, cat\), and {empty} without images; put"):
        ImageFolder(root=str(root), image_size=8, classes=4).load()
    part = ImageFolder(root=str(root), image_size=8, classes=3)
    for _ in range(2):
        caplog.clear()
        assert part.load().class_names == ("ant", "bee", "cat")
        assert caplog.messages == [f"{root}: no images in the class folders {empty}; no class"]
    if target == "photos":
        for i in range(20):
            (root / f"none{i}").mkdir()
        (root / "ant" / "another.png").write_bytes(next(iter(photos.values())))  # another state of the folder
        caplog.clear()
        part.load()
        assert caplog.messages[0].endswith("none6, none7 and 12 more; no class")
    alone = {name: raw for name, raw in photos.items() if "bee" in name} | {"dog/readme.txt": b""}
    root = make.write(alone, tmp_path / f"alone-{target}")
    with pytest.raises(DataError, match=r"1 class folders found \(bee\), and dog without images"):
        ImageFolder(root=str(root), image_size=8, classes=2).load()


def test_loose_images_among_classes(tmp_path, make, photos):
    root = make.write({**photos, "stray.png": next(iter(photos.values()))}, tmp_path / "photos")
    with pytest.raises(DataError, match=r"stray\.png lies in no class folder"):
        ImageFolder(root=str(root), image_size=8, classes=3).load()


def test_files_that_are_no_images_are_left_alone(tmp_path, make, photos):
    noise = {"readme.txt": b"hello", ".hidden.png": b"x", "__MACOSX/ant/._0.png": b"x", "ant/Thumbs.db": b"x"}
    root = make.write({**photos, **noise}, tmp_path / "photos")
    assert len(ImageFolder(root=str(root), image_size=8, classes=3).load()) == 9


def test_names_need_not_be_text(tmp_path, make, photos):
    root = make.write(photos, tmp_path / "photos")
    (root / "ant" / "0.png").rename(root / "ant" / os.fsdecode(b"0\xff.png"))
    for _ in range(2):
        assert len(ImageFolder(root=str(root), image_size=8, classes=3).load()) == 9


def test_links_may_form_a_circle(tmp_path, make, photos):
    root = make.write(photos, tmp_path / "photos")
    (root / "loop").symlink_to(root, target_is_directory=True)
    assert len(ImageFolder(root=str(root), image_size=8).load()) == 9


def test_missing_empty_and_damaged_stores(tmp_path, make, photos):
    with pytest.raises(DataError, match=r"dataset\.root not found; looked for .*nowhere"):
        ImageFolder(root=str(tmp_path / "nowhere")).load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no images .*set dataset\.root"):
        ImageFolder(root=str(tmp_path / "empty")).load()
    text = tmp_path / "text.zip"
    text.write_text("not a zip")
    with pytest.raises(DataError, match="no folder, zip or tar of images, or damaged"):
        ImageFolder(root=str(text)).load()
    for name in ("cut.zip", "cut.tar.gz", "cut.tar.xz"):
        path = make.write(photos, tmp_path / name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match="damaged") as caught:
            ImageFolder(root=str(path)).load()
        assert str(path) in str(caught.value)


def test_in_turn_and_common_folder():
    assert in_turn(["b/2", "a/1", "b/1", "a/2", "a/3", "0"]) == ["0", "a/1", "b/1", "a/2", "b/2", "a/3"]
    assert common_folder(["top/a/1", "top/b/2"]) == "top/"
    assert common_folder(["tap/a/1", "top/b/2"]) == ""
    assert common_folder(["x/1", "x/2"]) == "x/"
    assert common_folder(["1"]) == ""
    assert common_folder([]) == ""
