"""Labels as networks read them, and as people write them."""

from __future__ import annotations

import pytest
import torch

from gflow_core.errors import GflowError
from gflow_core.nn.labels import as_vectors, label_fault, label_name, label_rows, parse_label
from gflow_core.parts.nouns import DataShape

DIGITS = DataShape("image", (1, 8, 8), -1, 1, classes=3)
FACES = DataShape("image", (3, 8, 8), -1, 1, conditions=("Smiling", "Male"))
BARE = DataShape("vector", (2,))


def test_classes_become_one_hot_and_real_labels_stay():
    like = torch.zeros(1, dtype=torch.float64)
    assert as_vectors(torch.tensor([2, 0]), 3, like).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert as_vectors(torch.tensor([[0.5, -1.0]]), 2, like).dtype == torch.float64
    with pytest.raises(GflowError, match=r"^the network reads labels: class indices y \[B\], or y \[B, 3\], beside"):
        as_vectors(None, 3, like)
    assert (DIGITS.label_size, FACES.label_size, BARE.label_size) == (3, 2, 0)


@pytest.mark.parametrize(
    ("y", "shape", "fault"),
    [
        (torch.tensor([0, 2]), DIGITS, None),
        (torch.tensor([0, 3]), DIGITS, "promised labels 0 to 2, loaded 0 to 3"),
        (torch.tensor([-1, 2]), DIGITS, "promised labels 0 to 2, loaded -1 to 2"),
        (torch.tensor([0.0, 1.0]), DIGITS, "promised 2 class indices of torch.int64, loaded torch.float32 [2]"),
        (torch.tensor([1]), DIGITS, "promised 2 class indices of torch.int64, loaded torch.int64 [1]"),
        (
            torch.tensor([0, 2], dtype=torch.int32),
            DIGITS,
            "promised 2 class indices of torch.int64, loaded torch.int32 [2]",
        ),
        (None, DIGITS, "promised labels, loaded none"),
        (None, BARE, None),
        (torch.ones(2, 2), FACES, None),
        (torch.ones(2, 3), FACES, "promised labels of 2 real numbers, loaded torch.float32 [2, 3]"),
        (torch.full((2, 2), torch.nan), FACES, "its labels hold NaN or infinite values"),
    ],
)
def test_loaded_labels_are_what_was_promised(y, shape, fault):
    assert label_fault(y, 2, shape) == fault


def test_pictures_show_every_class_or_the_commonest_conditions():
    assert label_rows(torch.tensor([1, 1]), DIGITS).tolist() == [0, 1, 2]
    pool = torch.tensor([[1.0, -1], [-1, -1], [1, -1], [1, 1], [1, 1], [1, 1]])
    assert label_rows(pool, FACES, most=2).tolist() == [[1, 1], [1, -1]]
    angles = torch.randperm(101).double()[:, None] / 50 - 1
    assert label_rows(angles, FACES, most=5).flatten().tolist() == [-1, -0.5, 0, 0.5, 1]


@pytest.mark.parametrize(
    ("text", "shape", "label"),
    [
        ("2", DIGITS, "2"),
        ("1,-1", FACES, "Smiling 1, Male -1"),
        (" Male = -0.5, Smiling=1", FACES, "Smiling 1, Male -0.5"),
    ],
)
def test_what_people_write(text, shape, label):
    assert label_name(parse_label(text, shape), shape) == label


def test_classes_go_by_name_and_by_index():
    names = ("cat", "2", "dog")
    for text, label in (("dog", 2), (" cat ", 0), ("0", 0), ("2", 1), ("1", 1)):  # a name counts before an index
        assert int(parse_label(text, DIGITS, names)) == label
    assert label_name(torch.tensor(2), DIGITS, names) == "dog"
    with pytest.raises(ValueError, match="labels are 0 cat, 1 2, 2 dog, got 'dgo'; did you mean \"dog\""):
        parse_label("dgo", DIGITS, names)
    with pytest.raises(ValueError, match="labels are 0 cat"):
        parse_label("3", DIGITS, names)


@pytest.mark.parametrize(
    ("text", "shape", "words"),
    [
        ("3", DIGITS, "labels are 0 to 2, got '3'"),
        ("-1", DIGITS, "labels are 0 to 2"),
        ("cat", DIGITS, "labels are 0 to 2"),
        ("1", BARE, "the data has no labels"),
        ("1", FACES, "one number for each of Smiling, Male"),
        ("1,x", FACES, "one number for each of"),
        ("1,nan", FACES, "one number for each of"),
        ("Smiling=1,Smiling=1", FACES, "one number for each of"),
        ("Smiling=1,2", FACES, "one number for each of"),
    ],
)
def test_what_people_write_wrong(text, shape, words):
    with pytest.raises(ValueError, match=words):
        parse_label(text, shape)
