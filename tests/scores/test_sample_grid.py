from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gflow_core.data.parts import Array, Mnist5k, Ring
from gflow_core.errors import printable
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.nn.latents import Normal
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.spec import Spec
from gflow_core.runs.record import RunFolder
from gflow_core.scores.sample_grid import SampleGrid, grid_figure


class Part:
    conditional = False
    latent = Normal(dim=2)


class Shades(nn.Module):
    """z -> an image all of one grey, tanh of its first component."""

    def forward(self, z, y=None):
        return z[:, 0].tanh().view(-1, 1, 1, 1).expand(-1, 1, 28, 28)


def look(dataset, sampler, *, step=7, analyzer_seed=1, **options):
    part = SampleGrid(**options)
    spec = Spec(dataset=dataset, sampler=Part())
    assert list(part.check(spec)) == []
    subject = Subject(
        spec, Runtime(torch.device("cpu")), Streams(analyzer_seed), step=step, data=dataset.load(), sampler=sampler
    )
    return part.build()(subject)


def written(tmp_path, result: Result, name="samples") -> np.ndarray:
    """The figure as the run folder's PNG holds it."""
    (tmp_path / "recipe.toml").write_text("gflow = 1\n")
    folder = RunFolder(tmp_path).write_result("sample_grid", result, 7, final=True)
    return np.asarray(Image.open(folder / f"{name}.png").convert("RGB"))


def pixels_of(figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


# ------------------------------------------------------------------ images


@pytest.mark.as_seen
@pytest.mark.parametrize("size", [(17, 31), (242, 242), (301, 77)])
def test_a_picture_reaches_the_png_pixel_by_pixel(tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 250, (*size, 3), np.uint8)
    png = written(tmp_path, Result(figures={"samples": grid_figure(pixels)}))
    inside = png[(png != 255).any(2).any(1)][:, (png != 255).any(2).any(0)]
    assert np.array_equal(inside, pixels)
    border = (np.array(png.shape) - pixels.shape)[:2]
    assert (border < 40).all(), "and little else"


@pytest.mark.parametrize("name", ["$5-$10", "$\\frac{$", "\udcff", "a\nb\x1b"])
def test_rows_may_have_any_name(tmp_path, name):
    figure = grid_figure(np.zeros((32, 32, 3), np.uint8), [name, "cat"])
    figure.savefig(tmp_path / "grid.png")
    assert [text.get_text() for text in figure.texts] == [printable(name), "cat"]
    assert not any(text.get_parse_math() for text in figure.texts)


def test_samples_and_real_images(tmp_path):
    data = Mnist5k(limit=100)
    result = look(data, Shades(), samples=6, columns=3)
    assert set(result.figures) == {"samples", "real"}
    assert result.manifest == {"n_fake": 6, "n_real": 6}
    real = pixels_of(result.figures["real"])
    assert real.shape == pixels_of(result.figures["samples"]).shape == (2 * 30 + 2, 3 * 30 + 2, 3)
    all_images = data.load().x[:, 0].numpy()
    tile = real[2:30, 2:30, 0]
    assert (all_images == tile).all((1, 2)).sum() == 1, "a real image, at full resolution"
    assert set(look(data, Shades(), samples=6, real=False).figures) == {"samples"}


def test_latents_are_the_same_at_every_step():
    data = Mnist5k(limit=100)
    one, other = (look(data, Shades(), step=step, analyzer_seed=step, samples=9) for step in (1, 2))
    assert np.array_equal(pixels_of(one.figures["samples"]), pixels_of(other.figures["samples"]))
    assert len(np.unique(pixels_of(one.figures["samples"]))) > 5


# ------------------------------------------------------------------ vectors


def test_points_over_real_ones_and_those_outside_are_counted(tmp_path):
    class Mostly(nn.Module):
        def forward(self, z, y=None):
            z = z.clone()
            z[0], z[1] = 1e6, math.nan
            return z

    result = look(Ring(n=500), Mostly(), samples=50)
    (axes,) = result.figures["samples"].axes
    real, fake = (c.get_offsets() for c in axes.collections)
    assert (len(real), len(fake)) == (50, 49)
    assert axes.get_title() == "step 7: 50 samples, 2 outside the picture"
    assert axes.get_xlim()[1] < 20, "real points set the scale"
    assert written(tmp_path, result).std() > 0


def test_numbers_are_a_histogram(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(100, 1)).astype(np.float32))
    data = Array(root=str(tmp_path / "x.npy"), shape=(1,))

    class First(nn.Module):
        def forward(self, z, y=None):
            return z[:, :1]

    (axes,) = look(data, First(), samples=100).figures["samples"].axes
    assert [sum(p.get_height() * p.get_width() for p in bars) for bars in axes.containers] == pytest.approx([1, 1])
