from __future__ import annotations

import sys

import numpy as np
import pytest

from gflow_core.data import preparing
from gflow_core.data.parts import Lsun
from gflow_core.errors import DataError


@pytest.fixture
def pictures(make, rng):
    """Exported images, in folders after the first letters of their names."""
    names = [f"{i}/{i}{7 - i}.webp" for i in range(6)]
    return {name: make.png(rng.integers(0, 256, (10, 8, 3), np.uint8)) for name in reversed(names)}


@pytest.mark.parametrize("name", ["bedroom_train", "bedroom_train.zip", "bedroom_train.tar", "bedroom_train_lmdb"])
@pytest.mark.parametrize("folder", ["lsun", ""])
def test_images_in_the_order_of_their_names(tmp_path, make, pictures, name, folder):
    (tmp_path / folder).mkdir(exist_ok=True)
    make.write(pictures, tmp_path / folder / name)
    source = Lsun(root=str(tmp_path), image_size=8, workers=1).load()
    flat = make.write(
        {key.rpartition("/")[2]: raw for key, raw in pictures.items()}, tmp_path / "flat/lsun/bedroom_val"
    )
    assert (
        source.fingerprint == Lsun(root=str(flat.parents[1]), split="test", image_size=8, workers=1).load().fingerprint
    )
    assert len(source) == 6
    assert source.y is None


def test_a_category_and_its_limit(tmp_path, make, pictures):
    make.write(pictures, tmp_path / "cat_train")
    part = Lsun(root=str(tmp_path), category="cat", image_size=4, limit=2, workers=1)
    assert len(part.load()) == 2
    with pytest.raises(ValueError, match="such as"):
        Lsun(category="../secret")


def test_missing_names_the_places_and_the_program(tmp_path):
    with pytest.raises(DataError) as caught:
        Lsun(root=str(tmp_path), category="tower").load()
    for words in (str(tmp_path / "lsun"), "tower_train.zip", "tower_train_lmdb.zip", "https://github.com/fyu/lsun"):
        assert words in str(caught.value)


@pytest.fixture
def database(tmp_path):
    """Writes a database as LSUN's are."""
    lmdb = pytest.importorskip("lmdb")

    def write(images, place="bedroom_train_lmdb"):
        (tmp_path / place).mkdir(parents=True)
        with lmdb.open(str(tmp_path / place), map_size=1 << 24) as opened, opened.begin(write=True) as transaction:
            for name, raw in images.items():
                transaction.put(name.encode(), raw)
        return tmp_path / place

    return write


def test_a_database_is_its_images(tmp_path, make, rng, database, monkeypatch):
    images = {f"{(i * 7) % 10:040x}": make.png(rng.integers(0, 256, (10, 8, 3), np.uint8)) for i in range(10)}
    place = database(images)
    make.write({f"{name}.webp": raw for name, raw in images.items()}, tmp_path / "bedroom_val")
    there = sorted(place.iterdir())
    source = Lsun(root=str(tmp_path), image_size=8, workers=1).load()
    exported = Lsun(root=str(tmp_path), split="test", image_size=8, workers=1).load()
    assert source.x.equal(exported.x)
    assert source.fingerprint == exported.fingerprint
    assert sorted(place.iterdir()) == there
    monkeypatch.setitem(sys.modules, "lmdb", None)  # once decoded it is not opened
    assert Lsun(root=str(tmp_path), image_size=8).load().fingerprint == source.fingerprint


def test_what_is_no_image_in_a_database(tmp_path, make, pictures, database, monkeypatch, caplog):
    monkeypatch.setattr(preparing, "CHUNK", 2)
    database({"00": b"none", **pictures}, "bedroom_train_lmdb/bedroom_train_lmdb")
    with pytest.raises(DataError, match=r"1 of 7 images cannot be read: 00 \(not an image\)"):
        Lsun(root=str(tmp_path), image_size=8, workers=2).load()
    assert len(Lsun(root=str(tmp_path), image_size=8, limit=3, skip_unreadable=True, workers=2).load()) == 2
    assert "00 (not an image); skipped" in caplog.text


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda raw: raw[:-4096], r"bytes of"),
        (lambda raw: b"pages", r""),
        (lambda raw: raw[:8192] + bytes(len(raw) - 8192), r""),
    ],
)
def test_a_damaged_database_never_loads(tmp_path, pictures, database, damage, said):
    pages = database({f"{i}{name}": raw for i in range(50) for name, raw in pictures.items()}) / "data.mdb"
    pages.write_bytes(damage(pages.read_bytes()))
    with pytest.raises(DataError, match=rf"data\.mdb: .*{said}.*delete it and fetch it again") as caught:
        Lsun(root=str(tmp_path)).load()
    assert "\n" not in str(caught.value)


def test_without_its_package_a_database_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    place = tmp_path / "bedroom_train_lmdb"
    place.mkdir()
    with pytest.raises(DataError, match=r"holds no images; bedroom_train_lmdb\.zip is downloaded by"):
        Lsun(root=str(tmp_path)).load()
    (place / "data.mdb").write_bytes(b"pages")
    with pytest.raises(DataError, match=rf"\[lmdb\]\".*export {place} --out_dir {tmp_path}/bedroom_train "):
        Lsun(root=str(tmp_path)).load()


def test_a_packed_database_is_to_be_unpacked(tmp_path, make):
    make.write({"bedroom_train_lmdb/data.mdb": b"pages"}, tmp_path / "bedroom_train_lmdb.zip")
    with pytest.raises(DataError, match=r"bedroom_train_lmdb\.zip: is a packed database .*: unpack it"):
        Lsun(root=str(tmp_path)).load()


def test_a_damaged_archive_never_loads(tmp_path, make, pictures):
    path = make.write(pictures, tmp_path / "bedroom_train.zip")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"bedroom_train\.zip"):
        Lsun(root=str(tmp_path)).load()
