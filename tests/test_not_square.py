"""Images that are not square, from the file to the picture of what was learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gflow_core import look, run
from gflow_core.errors import RecipeError
from gflow_core.recipes.recipe import load

RECIPE = """
gflow = 1
dataset = { use = "image_folder", root = "photos", image_size = [8, 12], workers = 1 }
sampler = { use = "far.resnet", channels = 4, latent = { use = "normal", dim = 4 } }
discriminator = { use = "vgrow.resnet", channels = 4 }
objective = { use = "adversarial", augment = [{ use = "ada" }, { use = "translation" }, { use = "cutout" }] }
optimizer = { sampler = { use = "adam", lr = 1e-3 }, discriminator = { use = "adam", lr = 1e-3 } }
train = { steps = 2, batch_size = 4, device = "cpu", precision = "float32" }
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch, make, rng) -> Path:
    """Nine photographs, upright ones among them."""
    monkeypatch.chdir(tmp_path)
    sizes = [(20, 30), (30, 20), (9, 40)] * 3
    files = {f"{i}.png": make.png(rng.integers(0, 256, (*size, 3), np.uint8)) for i, size in enumerate(sizes)}
    make.write(files, tmp_path / "photos")
    (tmp_path / "wide.toml").write_text(RECIPE)
    return tmp_path / "wide.toml"


def test_a_run_and_its_pictures(recipe):
    done = run(recipe, quiet=True)
    (picture,) = (done.path / "samples").iterdir()
    assert Image.open(picture).size == (8 * (12 + 2) + 2, 8 * (8 + 2) + 2)
    assert done.sample(5).shape == (5, 3, 8, 12)
    look(recipe, out="data.png", n=4)
    width, height = Image.open("data.png").size
    assert (width - 3 * 2) * 8 == (height - 3 * 2) * 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["sampler.use=dcgan.conv"],
            "sampler: works on images whose shorter side is 16, .* the data is image 3x8x12",
        ),
        (
            ["dataset.image_size=[16, 18]"],
            "longer side is a multiple of a quarter of that, the data is image 3x16x18",
        ),
        (["dataset.image_size=[8]"], "dataset.image_size: expected a list of 2 whole numbers, got a list of 1"),
        (["dataset.image_size=[8, 0]"], "dataset.image_size: must be >= 1, got 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(recipe, words, said):
    with pytest.raises(RecipeError, match=said):
        load(recipe, words)
