from __future__ import annotations

import numpy as np
import pytest

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


def test_a_database_or_an_empty_folder_says_how_to_export(tmp_path):
    place = tmp_path / "bedroom_train_lmdb"
    place.mkdir()
    with pytest.raises(
        DataError, match=r"holds no images; export its images: python3 data\.py export bedroom_train_lmdb"
    ):
        Lsun(root=str(tmp_path)).load()
    (place / "data.mdb").write_bytes(b"pages")
    with pytest.raises(DataError, match=rf"is a database \(lmdb\).*export {place} --out_dir {tmp_path}/bedroom_train "):
        Lsun(root=str(tmp_path)).load()


def test_a_damaged_archive_never_loads(tmp_path, make, pictures):
    path = make.write(pictures, tmp_path / "bedroom_train.zip")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"bedroom_train\.zip"):
        Lsun(root=str(tmp_path)).load()
