from __future__ import annotations

import csv
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from gflow_core.data import cache, folder
from gflow_core.data.parts import CelebA, ImageFolder
from gflow_core.data.store import common_folder, in_numbers, in_turn
from gflow_core.errors import DataError

# ------------------------------------------------------------------ image_folder


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
        before.setattr(folder, "in_numbers", str)
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
    with pytest.raises(DataError, match="not a folder, a zip or a tar, or damaged"):
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


# ------------------------------------------------------------------ celeba


def pixels(root, name):
    import io
    import zipfile

    with zipfile.ZipFile(root / "celeba" / "img_align_celeba.zip") as archive:
        return Image.open(io.BytesIO(archive.read(f"img_align_celeba/{name}"))).convert("RGB")


def test_crop_then_resize(celeba):
    source = CelebA(root=str(celeba)).load()
    assert source.x.shape == (12, 3, 64, 64)
    face = pixels(celeba, "000003.jpg").crop((15, 35, 163, 183)).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(source.x[2].numpy(), np.asarray(face).transpose(2, 0, 1))
    plain = CelebA(root=str(celeba), image_size=148).load()
    assert np.array_equal(
        plain.x[0].numpy(), np.asarray(pixels(celeba, "000001.jpg"))[35:183, 15:163].transpose(2, 0, 1)
    )


def test_splits_are_those_of_the_partition_file(celeba):
    whole, train, valid, test = (
        CelebA(root=str(celeba), image_size=8, split=split).load() for split in ("all", "train", "valid", "test")
    )
    assert (len(train), len(valid), len(test)) == (6, 2, 4)
    assert torch.equal(whole.x, torch.cat([train.x, valid.x, test.x]))
    assert torch.equal(CelebA(root=str(celeba), image_size=8, split="test", limit=2).load().x, test.x[:2])


@pytest.mark.parametrize("layout", ["folder", "zip", "official", "twice", "itself", "zip itself"])
def test_layouts_that_people_have(tmp_path, rng, make, celeba, layout):
    wanted = CelebA(root=str(celeba), image_size=8, split="test").load().fingerprint
    packed, text = celeba / "celeba" / "img_align_celeba.zip", make.partition()
    root = tmp_path / "other"
    root.mkdir()
    match layout:
        case "folder":
            shutil.unpack_archive(packed, root)
            with open(root / "list_eval_partition.csv", "w", newline="") as file:
                csv.writer(file).writerows([("image_id", "partition"), *(line.split() for line in text.splitlines())])
        case "zip":
            shutil.copy(packed, root)
            (root / "list_eval_partition.txt").write_text(text)
        case "official":
            (root / "CelebA" / "Img").mkdir(parents=True)
            (root / "CelebA" / "Eval").mkdir()
            shutil.copy(packed, root / "CelebA" / "Img")
            (root / "CelebA" / "Eval" / "list_eval_partition.txt").write_text(text)
        case "twice":
            shutil.unpack_archive(packed, root / "img_align_celeba")
            (root / "list_eval_partition.txt").write_text(text)
        case "itself":
            shutil.unpack_archive(packed, root)
            (root / "list_eval_partition.txt").write_text(text)
            root = root / "img_align_celeba"
        case "zip itself":
            root = packed
    assert CelebA(root=str(root), image_size=8, split="test").load().fingerprint == wanted


def test_celeba_needs_no_partition_for_all(celeba):
    (celeba / "celeba" / "list_eval_partition.txt").unlink()
    assert len(CelebA(root=str(celeba), image_size=8).load()) == 12
    with pytest.raises(DataError, match=r'split = "train" needs the partition file.*Eval.*dataset\.split = "all"'):
        CelebA(root=str(celeba), image_size=8, split="train").load()


def test_celebas_attributes_are_real_labels(celeba, make):
    plain = CelebA(root=str(celeba), image_size=8, split="test").load()
    labelled = CelebA(root=str(celeba), image_size=8, split="test", attributes=("Smiling", "Eyeglasses"))
    assert (labelled.data_shape().conditions, labelled.data_shape().label_size) == (("Smiling", "Eyeglasses"), 2)
    source = labelled.load()
    assert source.y.tolist() == [[-1, -1], [-1, 1], [-1, -1], [-1, -1]]  # faces 9 to 12
    assert source.batch(torch.tensor([1])).y.tolist() == [[-1, 1]]
    assert (plain.y, source.cache) == (None, plain.cache)
    assert source.fingerprint != plain.fingerprint
    # The same as a .csv
    (celeba / "celeba" / "list_attr_celeba.txt").unlink()
    rows = [line.split() for line in make.attributes().splitlines()[1:]]
    text = "\n".join(",".join(row if i else ["image_id", *row]) for i, row in enumerate(rows))
    (celeba / "celeba" / "list_attr_celeba.csv").write_text(text)
    assert labelled.load().fingerprint == source.fingerprint


def test_celebas_attributes_that_are_not_there(celeba, make):
    part = CelebA(root=str(celeba), image_size=8, attributes=("Smilling",))
    with pytest.raises(DataError, match=r"no attribute 'Smilling'; did you mean \"Smiling\"\?.*there are Eyeglasses"):
        part.load()
    part, file = (
        CelebA(root=str(celeba), image_size=8, attributes=("Male",)),
        celeba / "celeba" / "list_attr_celeba.txt",
    )
    lines = make.attributes().splitlines()
    for text, words in (
        ("\n".join(lines[:-1]), r"lacks 1 of the 12 images, 000012\.jpg first"),
        ("\n".join([*lines[:-1], "000012.jpg 1 0 1"]), r"line 14: expected NAME\.jpg and 3 of 1 or -1"),
        ("", r"there are none"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=words):
            part.load()
    file.unlink()
    with pytest.raises(DataError, match=r"attributes needs the list of attributes.*Anno"):
        part.load()
    assert list(CelebA(attributes=("Male", "Male")).check()) == ["attributes = ['Male', 'Male'] names one twice"]


def test_celeba_errors(tmp_path, celeba, make):
    with pytest.raises(DataError) as caught:
        CelebA(root=str(tmp_path / "none")).load()
    for words in ("img_align_celeba.zip or img_align_celeba in", "CelebA/Img", "dataset.download = true"):
        assert words in str(caught.value)
    partition = celeba / "celeba" / "list_eval_partition.txt"
    for text, words in (
        ("000001.jpg 7\n", 'line 1: expected "NAME.jpg 0", 1 or 2'),
        ("000001.jpg 1\n", "no image of the train split"),
        (make.partition() + "000013.jpg 0\n", "lacks 000013.jpg of the train split"),
    ):
        partition.write_text(text)
        with pytest.raises(DataError) as caught:
            CelebA(root=str(celeba), image_size=8, split="train").load()
        assert words in str(caught.value)
    (celeba / "celeba" / "img_align_celeba.zip").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError, match=r"img_align_celeba\.zip: .*damaged"):
        CelebA(root=str(celeba), image_size=8).load()


def test_a_failed_celeba_download_says_how_to_do_it_by_hand(tmp_path, monkeypatch):
    from torchvision.datasets import celeba

    def offline(*_):
        raise RuntimeError("To download files from GDrive, 'gdown' is required.")

    monkeypatch.setattr(celeba, "download_file_from_google_drive", offline)
    with pytest.raises(DataError, match=r"'gdown' is required.*img_align_celeba\.zip.*yourself"):
        CelebA(root=str(tmp_path), download=True).load()
