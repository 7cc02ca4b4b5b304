"""Walks through the latents as films."""

from __future__ import annotations

import os

import attrs
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from gflow_core import load_run
from gflow_core.export import walk as walks
from gflow_core.export.walk import walk
from gflow_core.nn.latents import Uniform
from gflow_core.parts.nouns import DataShape
from gflow_core.runs.drawing import Drawing
from gflow_core.scores.interpolation import lerp, slerp


def test_a_walk_goes_through_every_latent_and_back_without_a_jump():
    z = torch.nn.functional.normalize(torch.randn(3, 2, 16, generator=torch.Generator().manual_seed(0)), dim=2)
    way = walk(z, 30)
    assert way.shape == (30, 2, 16)
    torch.testing.assert_close(way[[0, 10, 20]], z)
    torch.testing.assert_close(way.norm(dim=2), torch.ones(30, 2))
    torch.testing.assert_close(way[25], slerp(z[2], z[0], torch.tensor([0.5]))[:, 0])
    for start in (0, 10, 20):  # at constant speed on each leg, the last of which ends where the first began
        steps = (way - way.roll(-1, 0)).norm(dim=2)[start : start + 10]
        torch.testing.assert_close(steps, steps[:1].expand(10, 2))
    torch.testing.assert_close(walk(z, 6, lerp)[1], (z[0] + z[1]) / 2)


@pytest.mark.parametrize("frames", [2, 3, 7, 10])
def test_every_frame_is_there_however_they_divide(frames):
    assert len(walk(torch.randn(3, 1, 4), frames)) == frames


def test_a_gif_of_a_grid_of_walks(gflow, run, tmp_path):
    """Each frame is what the sampler makes of the latents of that moment."""
    words = ("sample", run("classes"), "--n", 4, "--latents", 3, "--frames", 90, "--fps", 25)
    said = gflow(*words, "--video", tmp_path / "walk.gif")
    assert "90 frames of 4 walks" in said
    film = Image.open(tmp_path / "walk.gif")
    assert film.info["duration"] == 40
    assert film.info["loop"] == 0
    frames = [np.asarray(frame.convert("RGB"), np.float64) for frame in ImageSequence.Iterator(film)]
    assert len(frames) == 90
    assert frames[0].shape == (7 * 38, 7 * 38, 3), "2 x 2 images of 16 px, white around them, enlarged"
    sampler = load_run(run("classes")).sampler
    drawing = Drawing(run("classes"))
    latent = drawing.recipe.spec.sampler.latent
    z = latent.draw(12, drawing.experiment.streams.fork("walk")["latent"]).unflatten(0, (3, 4))
    with torch.no_grad():
        for moment in (0, 41):
            x = sampler(walk(z, 90)[moment], torch.arange(4) % 3)
            expected = walks.enlarged(walks.image_grid(x, drawing.recipe.spec.data_shape()))
            assert np.abs(frames[moment] - expected).mean() < 8, "in 256 colours"
    assert np.abs(frames[0] - frames[45]).mean() > np.abs(frames[0] - frames[-1]).mean(), "it comes back"


def test_an_interval_is_not_left(run, monkeypatch):
    """A uniform z: on a circle its components would leave the interval."""
    seen = []
    monkeypatch.setattr(walks, "made", lambda experiment, given, spread: [seen.append(z) for z, _ in given][:0])
    drawing = Drawing(run("plane"))
    spec = drawing.experiment.spec
    drawing.experiment.spec = attrs.evolve(spec, sampler=attrs.evolve(spec.sampler, latent=Uniform(dim=4)))
    list(walks._frames(drawing, DataShape("image", (1, 2, 2)), 50, 4, 40, map, lambda *_: None))
    z = torch.cat(seen)
    assert len(z) == 2000
    assert z.abs().max() <= 1


def test_an_mp4_is_piped_to_ffmpeg(gflow, run, tmp_path, monkeypatch):
    """Here a program that keeps what it is given, and then one that fails."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    words = ("sample", run("real"), "--label", "1,1", "--n", 1, "--frames", 5, "--video", tmp_path / "walk.mp4")
    program.write_text(f'#!/bin/sh\nfor last; do :; done\necho "$@" > {tmp_path}/words\ncat > "$last"\n')
    program.chmod(0o755)
    gflow(*words)
    side = 20 * -(-256 // 20)
    assert (tmp_path / "walk.mp4").stat().st_size == 5 * side * side * 3
    assert f"-s {side}x{side} -r 20" in (tmp_path / "words").read_text()
    program.write_text("#!/bin/sh\necho no such encoder >&2\nexit 3\n")
    assert "ffmpeg failed: no such encoder" in gflow(*words, code=2)
    assert (tmp_path / "walk.mp4").stat().st_size == 5 * side * side * 3, "what was there is there"
    program.unlink()
    monkeypatch.setenv("PATH", str(program.parent))
    said = gflow(*words, code=2)
    assert "install it, or write" in said
    assert "walk.gif" in said


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("plane", ["--video", "w.gif"], "vector 2"),
        ("classes", ["--video", "w.avi"], ".gif or .mp4"),
        ("classes", ["--video", "w.gif", "--out", "x"], "--out for samples, or --video"),
        ("classes", [], "--out for samples, or --video"),
        ("classes", ["--out", "x", "--fps", 3], "--fps: is for a film"),
    ],
)
def test_what_cannot_be_is_refused(gflow, run, tmp_path, monkeypatch, name, words, told):
    folder = run(name)
    monkeypatch.chdir(tmp_path)
    assert told in gflow("sample", folder, *words, code=2)
    assert not list(tmp_path.iterdir())
