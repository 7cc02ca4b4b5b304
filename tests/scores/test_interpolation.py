from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import geometric_slerp
from torch import nn

from gflow_core.data.parts import Array, Mnist5k, Ring
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.nn.latents import Normal, Uniform
from gflow_core.parts.analysis import Subject
from gflow_core.parts.spec import Spec
from gflow_core.runs.record import RunFolder
from gflow_core.scores.interpolation import Interpolation, lerp, slerp

# ------------------------------------------------------------------ paths


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(20, 7, generator=generator, dtype=torch.float64) for _ in range(2)]


@pytest.mark.parametrize("path", [lerp, slerp])
def test_paths_start_and_end_at_their_latents(pairs, path):
    z = path(*pairs, torch.linspace(0, 1, 5))
    assert z.shape == (20, 5, 7)
    assert torch.allclose(z[:, 0], pairs[0], atol=1e-14)
    assert torch.allclose(z[:, -1], pairs[1], atol=1e-14)
    assert path(pairs[0].float(), pairs[1].float(), torch.linspace(0, 1, 5)).dtype == torch.float32


def test_the_linear_path_has_its_middle_in_the_middle(pairs):
    z = lerp(*pairs, torch.tensor([0.25, 0.5]))
    assert torch.allclose(z[:, 1], (pairs[0] + pairs[1]) / 2)
    assert torch.allclose(z[:, 0], (pairs[0] + z[:, 1]) / 2)


def test_on_the_sphere_it_is_the_great_circle_at_constant_speed(pairs):
    u, v = (nn.functional.normalize(z, dim=1) for z in pairs)
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    z = slerp(u, v, t)
    for a, b, found in zip(u, v, z, strict=True):
        assert np.allclose(found, geometric_slerp(a.numpy(), b.numpy(), t.numpy()), atol=1e-12)
    whole = torch.acos((u * v).sum(1))
    assert torch.allclose(torch.acos((z[:, 1:] * z[:, :-1]).sum(2)), (whole / 10)[:, None].expand(-1, 10), atol=1e-7)
    assert torch.allclose(slerp(3 * u, 3 * v, t).norm(dim=2), torch.full((20, 11), 3.0, dtype=torch.float64))


def test_it_stays_in_the_plane_of_its_ends_and_turns_evenly_for_any_lengths(pairs):
    """At half the way the formula is (z0 + z1) / (2 cos(w/2))."""
    z0, z1 = pairs
    w = torch.acos(nn.functional.cosine_similarity(z0, z1))
    assert torch.allclose(slerp(z0, z1, torch.tensor([0.5]))[:, 0], (z0 + z1) / (2 * (w / 2).cos())[:, None])


def test_parallel_opposite_and_zero_vectors_take_the_linear_path():
    z0 = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0], [1.0, 0.0]])
    z1 = torch.tensor([[3.0, 6.0], [-1.0, -2.0], [1.0, 1.0], [1.0, 1e-9]])
    t = torch.linspace(0, 1, 5)
    assert torch.equal(slerp(z0, z1, t), lerp(z0.double(), z1.double(), t).float())


def test_the_spherical_path_tends_to_the_linear_one_without_a_jump():
    z0, t = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.linspace(0, 1, 5, dtype=torch.float64)
    for angle in (1e-3, 1.1e-6, 0.9e-6):
        z1 = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
        assert torch.allclose(slerp(z0, z1, t), lerp(z0, z1, t), atol=angle**2, rtol=0)


# ------------------------------------------------------------------ the analyzer


class Part:
    conditional = False

    def __init__(self, latent=None):
        self.latent = latent or Normal(dim=2)


class Shades(nn.Module):
    """z -> a grey image, its first component."""

    def forward(self, z, y=None):
        return z[:, 0].view(-1, 1, 1, 1).expand(-1, 1, 28, 28).clamp(-1, 1)


def look(dataset, sampler, *, part=None, step=7, **options):
    analyzer = Interpolation(**options)
    spec = Spec(dataset=dataset, sampler=part or Part())
    assert list(analyzer.check(spec)) == []
    subject = Subject(
        spec, Runtime(torch.device("cpu")), Streams(step), step=step, data=dataset.load(), sampler=sampler
    )
    return analyzer.build()(subject)


def pixels_of(figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


DIGITS = Mnist5k(limit=50)


def test_rows_of_images_change_along_their_path():
    result = look(DIGITS, Shades(), part=Part(Uniform(dim=3)), rows=4, steps=6, frames=0)
    grid = pixels_of(result.figures["interpolation"])
    assert grid.shape == (4 * 30 + 2, 6 * 30 + 2, 3)
    greys = grid[16::30, 16::30, 0].astype(int)
    assert greys.shape == (4, 6)
    steps = np.diff(greys, axis=1)
    assert (np.abs(steps - steps.mean(1, keepdims=True)) <= 1).all(), "evenly, for a linear sampler and path"
    assert (np.abs(steps.mean(1)) > 5).any()
    assert result.scores == {"outside_support": 0.0}
    assert result.animations == {}


def test_animations_run_there_and_back_and_become_gifs(tmp_path):
    result = look(DIGITS, Shades(), rows=3, steps=2, frames=5)
    frames = result.animations["interpolation"]
    assert len(frames) == 8, "five there, three back"
    assert np.array_equal(frames[1], frames[-1])
    assert frames[0].shape[1] >= 256, "small images are enlarged"
    assert all(len(np.unique(frame)) <= 4 for frame in frames), "by whole factors: no grey that was not there"
    (tmp_path / "recipe.toml").write_text("gflow = 1\n")
    folder = RunFolder(tmp_path).write_result("interpolation", result, 7, final=True)
    with Image.open(folder / "interpolation.gif") as gif:
        assert gif.n_frames == 8
        assert gif.info["duration"] == 50
        assert gif.info["loop"] == 0
        gif.seek(2)
        shown = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(shown - frames[2]).max() <= 1
    assert [p.name for p in folder.glob(".*")] == [], "nothing is left aside"


def test_latents_are_the_same_at_every_step():
    one, other = (look(DIGITS, Shades(), step=step, frames=0).figures["interpolation"] for step in (1, 2))
    assert np.array_equal(pixels_of(one), pixels_of(other))


def test_the_spherical_path_may_leave_an_interval_and_the_score_says_so():
    part = Part(Uniform(dim=2, low=0.0, high=1.0))
    assert look(DIGITS, Shades(), part=part, rows=50, frames=0).scores["outside_support"] == 0
    share = look(DIGITS, Shades(), part=part, path="spherical", rows=50, frames=0).scores["outside_support"]
    assert 0 < share < 0.5
    assert look(DIGITS, Shades(), path="spherical", rows=50, frames=0).scores == {}


def test_a_row_has_one_label():
    class Labelled(Part):
        conditional = True

    class Labels(nn.Module):
        def forward(self, z, y):
            return (y / 9 * 2 - 1).view(-1, 1, 1, 1).expand(-1, 1, 28, 28)

    grid = pixels_of(look(DIGITS, Labels(), part=Labelled(), rows=20, steps=40, frames=0).figures["interpolation"])
    greys = grid[16::30, 16::30, 0]
    assert (greys == greys[:, :1]).all()
    assert len(np.unique(greys)) > 4


def test_in_the_plane_points_move_on_curves():
    result = look(Ring(n=500), nn.Identity(), path="spherical", rows=3, steps=4, frames=4)
    (axes,) = result.figures["interpolation"].axes
    curves = [line.get_xydata() for line in axes.lines]
    assert [len(curve) for curve in curves] == [201] * 3
    dots = [c.get_offsets() for c in axes.collections if len(c.get_offsets()) == 4]
    for curve, on in zip(curves, dots, strict=True):
        assert np.allclose(on, curve[[0, 67, 133, 200]], atol=0.05)
    frames = result.animations["interpolation"]
    assert len(frames) == 6
    assert frames[0].dtype == np.uint8
    assert (frames[0] != frames[2]).any()


def test_what_cannot_be_drawn_is_refused():
    number = Spec(dataset=Array(root="x.npy", shape=(1,)), sampler=Part())
    assert "the plane" in " ".join(Interpolation().check(number))
    assert "frames = 1" in " ".join(Interpolation(frames=1).check(Spec(dataset=Ring(), sampler=Part())))
