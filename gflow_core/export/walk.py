"""A walk through the latents as a film: a grid of images that change into others, and back into the first."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gflow_core.errors import GflowError, typed
from gflow_core.files.whole import written_aside
from gflow_core.nn.sampling import CHUNK, dealt, pieces
from gflow_core.parts.analysis import Map
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.runs.drawing import Drawing, made
from gflow_core.runs.pictures import image_grid, write_gif
from gflow_core.scores.interpolation import enlarged, lerp, slerp

__all__ = ["walk", "write_walk"]

Frame = np.ndarray[Any, Any]
"""[H, W, 3] of bytes."""


def walk(z: Tensor, frames: int, between: Callable[[Tensor, Tensor, Tensor], Tensor] = slerp) -> Tensor:
    """Round trips through latents z [k, n, d], n of them at a time, at constant pace: [frames, n, d].

    The first frame is at z[0], and the one that would follow the last is there again.
    """
    times = torch.arange(frames, dtype=torch.float64) * len(z) / frames
    parts = []
    for i in range(len(z)):
        t = times[(times >= i) & (times < i + 1)] - i
        parts.append(between(z[i], z[(i + 1) % len(z)], t).transpose(0, 1))
    return torch.cat(parts)


def write_walk(
    drawing: Drawing,
    out: Path,
    *,
    n: int,
    latents: int,
    frames: int,
    fps: int,
    spread: Map = map,
    progress: Progress = no_progress,
) -> None:
    """n walks at a time, each through so many latents and back, as a .gif or .mp4 of `frames` frames, `fps` a second.

    Paths are spherical; straight where z has an interval that a circle would leave. A conditional sampler's walks keep
    their label. Raises GflowError: samples that are no images or particles, an .mp4 without the program ffmpeg, which
    writes it.
    """
    if drawing.recipe.spec.particles is not None:
        raise GflowError(f"--video {out}: {drawing.path} has particles, and there is nothing between two of them")
    shape = drawing.recipe.spec.data_shape()
    if shape is None or shape.kind != "image":
        raise GflowError(
            f"--video {out}: a film shows images, and the samples are {shape or 'of no stated shape'}; for vectors "
            f"gflow analyze {typed(drawing.path)} interpolation draws the paths"
        )
    shown = _frames(drawing, shape, n, latents, frames, spread, progress)
    if out.suffix.lower() == ".mp4":
        _check_ffmpeg(out)
        with written_aside(out) as aside:
            _write_mp4(aside, out, shown, fps)
    else:
        with written_aside(out) as aside:
            write_gif(aside, shown, fps)


def _frames(
    drawing: Drawing, shape: DataShape, n: int, latents: int, frames: int, spread: Map, progress: Progress
) -> Iterator[Frame]:
    experiment = drawing.experiment
    latent = experiment.spec.sampler.latent
    z = latent.draw(latents * n, experiment.streams.fork("walk")["latent"]).unflatten(0, (latents, n))
    bounded = hasattr(latent, "low") and hasattr(latent, "high")
    way = walk(z, frames, lerp if bounded else slerp).flatten(0, 1)
    y = None if drawing.labels is None else dealt(drawing.labels, n).repeat(frames, *[1] * (drawing.labels.dim() - 1))
    waiting, done = torch.empty(0), 0
    for x in made(experiment, pieces(way, y, CHUNK), spread):
        waiting = torch.cat([waiting, x.float()]) if len(waiting) else x.float()
        while len(waiting) >= n:
            yield enlarged(image_grid(waiting[:n], shape))
            waiting, done = waiting[n:], done + 1
            progress("drawing", done, frames)


def _check_ffmpeg(out: Path) -> None:
    if shutil.which("ffmpeg") is None:
        raise GflowError(
            f"--video {out}: an .mp4 is written by the program ffmpeg, which is not on PATH; install it, or write "
            f"{out.with_suffix('.gif')}"
        )


def _write_mp4(aside: Path, out: Path, frames: Iterator[Frame], fps: int) -> None:
    first = next(frames)
    size = f"{first.shape[1]}x{first.shape[0]}"
    # Of this format sides are even; players everywhere take these pixels.
    even = "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white"
    words = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", f"{fps}"]
    words += ["-i", "-", "-vf", even, "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", str(aside)]
    with TemporaryFile() as said, subprocess.Popen(words, stdin=subprocess.PIPE, stderr=said) as ffmpeg:
        assert ffmpeg.stdin is not None
        try:
            for frame in chain([first], frames):
                ffmpeg.stdin.write(frame.tobytes())
        except BrokenPipeError:
            pass  # it has ended, and says why
        except BaseException:
            ffmpeg.kill()
            raise
        ffmpeg.communicate()
        if ffmpeg.returncode:
            said.seek(0)
            words = said.read().decode(errors="replace").split("\n")
            raise GflowError(f"--video {out}: ffmpeg failed: {words[0] or ffmpeg.returncode}; write a .gif instead")
