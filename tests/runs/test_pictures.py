"""Sample pictures, pixel by pixel."""

from __future__ import annotations

import importlib
import math
import os
import sys

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from gflow_core.errors import Diverged
from gflow_core.parts.nouns import DataShape
from gflow_core.runs.pictures import draw_samples, image_grid, own_style, scatter


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_places_and_scales(channels):
    x = torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, channels, 4, 6)
    grid = image_grid(x, DataShape("image", (channels, 4, 6), -1.0, 1.0), gap=1)
    assert grid.shape == (2 * 5 + 1, 3 * 7 + 1, 3)
    assert [int(grid[1, 1 + 7 * i, 0]) for i in range(3)] == [0, 64, 128]
    assert [int(grid[6, 1 + 7 * i, 0]) for i in range(3)] == [191, 255, 255], "the last place is empty"
    assert (grid[0] == 255).all()


def test_values_outside_the_range_saturate():
    x = torch.tensor([-3.0, 3.0]).view(2, 1, 1, 1)
    grid = image_grid(x, DataShape("image", (1, 1, 1), -1.0, 1.0), gap=0)
    assert grid[0, :, 0].tolist() == [0, 255]


def test_rows_of_so_many():
    x = torch.linspace(0, 1, 6).view(6, 1, 1, 1).expand(6, 1, 3, 3)
    grid = image_grid(x, DataShape("image", (1, 3, 3), 0.0, 1.0), columns=4, gap=1)
    assert grid.shape == (2 * 4 + 1, 4 * 4 + 1, 3)
    assert grid[2, 2::4, 0].tolist() == [0, 51, 102, 153]
    assert grid[6, 2::4, 0].tolist() == [204, 255, 255, 255], "empty places are white"
    assert (grid[[0, 4, 8]] == 255).all(), "white between rows"


@pytest.mark.parametrize("shape", [DataShape("image", (1, 2, 2), -1.0, 1.0), DataShape("vector", (4,))], ids=str)
def test_what_is_not_finite_is_not_drawn(tmp_path, shape):
    x = torch.zeros(3, *shape.shape)
    x[1].view(-1)[0], x[2].view(-1)[1:3] = math.nan, math.inf
    with pytest.raises(Diverged, match=r"^2 of 3 samples are NaN or infinite, and cannot be drawn"):
        draw_samples(tmp_path / "x.png", x, shape)
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_points_of_any_dimension(tmp_path, dimension):
    x = torch.randn(20, dimension)
    draw_samples(tmp_path / "x.png", x, DataShape("vector", (dimension,)), real=x + 1)
    assert np.asarray(Image.open(tmp_path / "x.png")).std() > 0
    assert [text.get_text() for text in scatter(x, x).axes[0].get_legend().get_texts()] == ["real", "generated"]
    assert [p.name for p in tmp_path.glob(".*")] == [], "nothing is left aside"


def test_points_have_the_colours_of_their_classes():
    x, y = torch.arange(12.0).view(6, 2), torch.tensor([0, 1, 0, 1, 0, 1])
    axes = scatter(x, x + 1, y).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["real", "class 0", "class 1"]
    _, zeros, ones = axes.collections
    assert zeros.get_offsets().tolist() == x[::2].tolist()
    assert ones.get_offsets().tolist() == x[1::2].tolist()
    assert zeros.get_facecolor().tolist() != ones.get_facecolor().tolist()


# ------------------------------------------------------------------ style


def test_a_persons_style_is_not_ours(tmp_path):
    x = torch.linspace(0, 1, 10).view(5, 2)
    draw_samples(tmp_path / "plain.png", x, DataShape("vector", (2,)))
    own = {"text.usetex": True, "axes.facecolor": "black", "font.size": 30.0, "savefig.format": "svg"}
    with matplotlib.rc_context(own):
        draw_samples(tmp_path / "own.png", x, DataShape("vector", (2,)))
        assert matplotlib.rcParams["text.usetex"], "theirs again"
    assert (tmp_path / "own.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


def test_a_backend_that_is_not_there_is_not_needed(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "matplotlib_inline")
    monkeypatch.delitem(sys.modules, "matplotlib")  # as if it was never imported
    with pytest.raises(ValueError, match="not a valid value for backend"):
        importlib.import_module("matplotlib")
    with own_style():
        assert sys.modules["matplotlib"].rcParams is not matplotlib.rcParams
    assert os.environ["MPLBACKEND"] == "matplotlib_inline", "as it was, for whoever comes next"


def test_pictures_of_the_same_data_have_the_same_axes():
    real = torch.tensor([[-1.0, 0.0], [3.0, 2.0]])
    near, far = torch.zeros(4, 2), torch.tensor([[0.0, 0.0], [50.0, 0.0], [1.0, -9.0], [3.0, 3.0]])
    first, second = (scatter(x, real).axes[0] for x in (near, far))
    assert first.get_xlim() == second.get_xlim() == pytest.approx((1 - 2.8, 1 + 2.8))
    assert first.get_ylim() == second.get_ylim() == pytest.approx((1 - 2.8, 1 + 2.8))
    assert not first.texts
    assert [text.get_text() for text in second.texts] == ["2 of 4 generated points lie outside"]
