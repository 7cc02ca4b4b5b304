from __future__ import annotations

import numpy as np
import pytest

from gflow_core.data.parts import Stl10
from gflow_core.errors import DataError


def test_items_are_read_by_columns(tmp_path, rng, make):
    files = make.stl10_files(rng)
    make.write(files, tmp_path)
    for root in (tmp_path, tmp_path / "stl10_binary"):
        for split in ("train", "test", "unlabeled"):
            source = Stl10(root=str(root), split=split).load()
            raw = np.frombuffer(files[f"stl10_binary/{split}_X.bin"], np.uint8)
            # image 2, green, row 5, column 7: an image is 3 x 96 x 96 bytes, a colour 96 columns of 96 rows
            assert source.x[2, 1, 5, 7] == raw[2 * 27648 + 1 * 9216 + 7 * 96 + 5]
            assert (source.x.numpy() == raw.reshape(-1, 3, 96, 96).swapaxes(2, 3)).all()
            if split == "unlabeled":
                assert (source.y, source.shape.classes, source.class_names) == (None, None, ())
            else:
                assert (source.y.tolist(), source.class_names[7]) == (list(range(6)), "monkey")


def test_missing_names_the_places_and_the_page(tmp_path):
    with pytest.raises(DataError) as caught:
        Stl10(root=str(tmp_path)).load()
    for words in (str(tmp_path / "stl10_binary"), "train_X.bin", "stl10_binary.tar.gz", "dataset.download = true"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("train_X.bin", b"", "a whole number of images of 27648 bytes expected, found 0"),
        ("train_X.bin", bytes(27648 * 2 - 1), "found 55,295"),
        ("train_X.bin", bytes(27648 * 2), "train_y.bin: larger than"),
        ("train_y.bin", bytes([1, 2, 3]), "6 labels from 1 to 10 expected"),
        ("train_y.bin", bytes([1, 2, 3, 4, 5, 0]), "6 labels from 1 to 10 expected"),
        ("train_y.bin", bytes([1, 2, 3, 4, 5, 11]), "6 labels from 1 to 10 expected"),
        ("train_y.bin", None, "train_y.bin: .*No such file"),
    ],
)
def test_damaged_files(tmp_path, rng, make, name, content, words):
    place = make.write(make.stl10_files(rng), tmp_path) / "stl10_binary"
    if content is None:
        (place / name).unlink()
    else:
        (place / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        Stl10(root=str(tmp_path)).load()
