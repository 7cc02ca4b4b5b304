"""Looking at data before training: what the picture shows and what is counted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from gflow_core import look
from gflow_core.cli import main
from gflow_core.errors import DataError, GflowError
from gflow_core.recipes.recipe import load
from gflow_core.runs.build import build
from gflow_core.runs.pictures import _wrapped, scatter

RECIPE = """
gflow = 1
[dataset]
use = "image_folder"
root = "shapes"
classes = 2
image_size = 16
skip_unreadable = true
workers = 1
[sampler]
use = "cgan.conv"
width = 4
latent = { use = "normal", dim = 5 }
[discriminator]
use = "cgan.conv"
width = 4
[objective]
use = "adversarial"
[optimizer.sampler]
use = "sgd"
lr = 0.05
[optimizer.discriminator]
use = "sgd"
lr = 0.05
[train]
steps = 2
batch_size = 9
device = "cpu"
augment = [{ use = "flip", probability = 1.0 }]
"""


@pytest.fixture
def shapes(tmp_path, make, rng, monkeypatch):
    """Nine discs that nowhere reach the ends of the range, three squares, and a file that is no image."""
    monkeypatch.chdir(tmp_path)
    names = [f"disc/{i}.png" for i in range(9)] + [f"square [of a\x1bkind]/{i}.png" for i in range(3)]
    files = {name: make.png(rng.integers(51, 205, (16, 16, 3), np.uint8)) for name in names}
    make.write({**files, "disc/none.png": b"none"}, tmp_path / "shapes")
    (tmp_path / "shapes.toml").write_text(RECIPE)
    return tmp_path / "shapes.toml"


def cells(path) -> list[torch.Tensor]:
    """The images of a picture of three by three: 112 pixels each, 8 between them, captions of whatever height."""
    picture = torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1)
    down, right = (picture.shape[1] - 8) // 3, 120
    return [
        picture[:, 8 + row * down : 120 + row * down, 8 + column * right : 120 + column * right]
        for row in range(3)
        for column in range(3)
    ]


def test_the_picture_shows_the_first_batch_and_with_augmented_as_training_has_it(shapes):
    found = look(shapes, out="plain.png", n=9)
    changed = look(shapes, out="changed.png", n=9, augmented=True)
    assert (found.shown, found.items, found.fingerprint) == (9, 12, changed.fingerprint)
    batch = build(load(shapes).spec).feed.next(9)
    shown = torch.stack(cells("changed.png"))[:, :, ::7, ::7]
    assert torch.equal(shown, ((batch.x + 1) * 127.5).round().to(torch.uint8))
    assert torch.equal(shown.flip(-1), torch.stack(cells("plain.png"))[:, :, ::7, ::7])
    assert not torch.equal(shown, shown.flip(-1))


def test_labels_stand_below(shapes):
    look(shapes, out="named.png", n=2)
    named = np.asarray(Image.open("named.png"))
    ink = (named[120:] < 100).any(-1)
    assert ink[:, 8:120].any()
    assert ink[:, 128:240].any()


def test_what_is_counted(shapes):
    found = look(shapes)
    assert found.picture.stat().st_size > 0
    assert found.classes == {"disc": 9, "square [of a\x1bkind]": 3}
    assert -0.61 < found.low < -0.5 < 0.5 < found.high < 0.61
    assert len(found.remarks) == 1
    assert "1 of 13 images cannot be read: disc/none.png (not an image); skipped" in found.remarks[0]


def test_conditions_and_points(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    y = np.arange(60, dtype=np.float32).reshape(30, 2)
    np.savez("x.npz", x=rng.integers(0, 256, (30, 8, 8), np.uint8), y=y, points=y, kinds=np.arange(30) % 3)
    array = 'gflow = 1\n[dataset]\nuse = "array"\nroot = "x.npz"\n'
    (tmp_path / "real.toml").write_text(
        array + 'key = "x"\nimage_size = 8\nchannels = 1\nlabels = "y"\nconditions = ["angle", "size"]\n'
    )
    found = look("real.toml")
    assert found.conditions == {"angle": (0, 29, 58), "size": (1, 30, 59)}
    assert (found.low, found.high) == (-1, 1)
    (tmp_path / "points.toml").write_text(array + 'key = "points"\nshape = [2]\nlabels = "kinds"\nclasses = 3\n')
    found = look("points.toml", out="points.png")
    assert (found.shown, found.low, found.high) == (30, 0, 59)
    assert found.classes == {"0": 10, "1": 10, "2": 10}
    assert Image.open("points.png").size == (600, 600)
    axes = scatter(torch.zeros(3, 2), classes=torch.tensor([2, 0, 2]), names=("cat", "dog", "$5 eel")).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cat", "$5 eel"]


def test_what_cannot_be_drawn_is_told_before_anything_is_read(shapes, tmp_path):
    for out, said in (("data.jpg", "end its name in .png"), ("no/data.png", "the folder no does not exist")):
        with pytest.raises(GflowError, match=said):
            look(shapes, out=out)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(GflowError, match=r"folder\.png: cannot be written"):
        look(shapes, out="folder.png")
    (tmp_path / "none.toml").write_text("gflow = 1\n")
    with pytest.raises(GflowError, match=r"there is no \[dataset\] to look at"):
        look("none.toml")
    with pytest.raises(GflowError, match="n = 0: a picture holds 1 to 10,000 items"):
        look(shapes, n=0)
    with pytest.raises(GflowError, match="loaded already"):
        look(load(shapes), "dataset.limit=3")
    assert not (tmp_path / "gflow-cache").exists()
    with pytest.raises(DataError, match=r"set dataset\.classes = 2"):
        look(shapes, "dataset.classes=3")
    assert not (tmp_path / "data.png").exists()


def test_the_command_prints_a_table_or_json(shapes):
    printed = CliRunner().invoke(main, ["data", "look", str(shapes), "--out", "a.png", "--n", "5", "--augmented"])
    assert printed.exit_code == 0, printed.output
    lines = [" ".join(line.split()) for line in printed.output.splitlines()]
    assert "12 items, image 3x16x16 in [-1, 1], 2 classes" in lines
    assert "disc 9" in lines
    assert "square [of a\\x1bkind] 3" in lines
    assert "picture a.png: 5 items, augmented" in lines
    told = CliRunner().invoke(main, ["data", "look", str(shapes), "--json"])
    found = json.loads(told.stdout)
    assert found["classes"] == {"disc": 9, "square [of a\x1bkind]": 3}
    assert found["remarks"]
    assert found["picture"] == "data.png"
    wrong = CliRunner().invoke(main, ["data", "look", str(shapes), "--out", "a.gif"])
    assert wrong.exit_code == 2
    assert wrong.stderr == "error: a.gif: the picture is a PNG; end its name in .png\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("cat", ["cat"]),
        ("a b c d e f", ["a b c", "d e f"]),
        ("abcdefghij", ["abcde", "fghij"]),
        ("abcde fghij", ["abcde", "fghij"]),
        ("abcdefghijklmno", ["abcde", "fghij", "klmno"]),
        ("abcdefghijklmnop", ["abcde", "fghij", "klmn\u2026"]),
        ("a bcdefghij", ["a", "bcdef", "ghij"]),
        ("  a  ", ["a"]),
    ],
)
def test_captions_are_wrapped_and_cut(text, lines):
    assert _wrapped(text, 5, len) == lines
    assert all(_wrapped(text, 0.5, len))  # narrower than a letter
