"""interpolation: what the sampler makes of the latents on the way from one draw to another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.options import option
from gflow_core.scores.sample_grid import grid_figure, plane

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from torch import Tensor

    from gflow_core.parts.spec import Spec

__all__ = ["Interpolation", "enlarged", "interpolation", "lerp", "slerp"]

CURVE = 201
"""Points of a path in the plane."""

WIDE = 256
"""Pixels that an animation is wide at least: small images are enlarged by a whole factor."""


@attrs.frozen(kw_only=True)
class Interpolation:
    """Samples along paths between pairs of latents: rows of images, or curves in the plane, and an animation.

    A linear path stays where z is uniform on an interval, but in many dimensions its middle is shorter than any
    normal z; a spherical one keeps the length, but may leave an interval. The pairs are the same at every step.
    """

    cite: ClassVar[tuple[str, ...]] = ("shoemake1985animating", "white2016sampling")
    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})
    walks: ClassVar[bool] = True

    path: Literal["linear", "spherical"] = option(
        "linear", doc="(1-t) z0 + t z1, or along the great circle (Shoemake 1985; White 2016), for normal latents."
    )
    rows: int = option(8, doc="Pairs of latents.", ge=1, le=100)
    steps: int = option(9, doc="Images in a row, both ends included; dots on a curve.", ge=2, le=100)
    frames: int = option(30, doc="Frames of the animation from z0 to z1, which then runs back; 0 makes none.", ge=0)

    def check(self, spec: Spec) -> Iterable[str]:
        if spec.dataset is not None and spec.dataset.data_shape().shape == (1,):
            yield f"draws images, or curves in the plane; the data is {spec.dataset.data_shape()}"
        if self.frames == 1:
            yield "frames = 1 does not move; set 2 or more, or 0 for no animation"

    def build(self) -> Callable[[Subject], Result]:
        return lambda subject: interpolation(
            subject, path=self.path, rows=self.rows, steps=self.steps, frames=self.frames
        )


def interpolation(
    subject: Subject, *, path: Literal["linear", "spherical"], rows: int, steps: int, frames: int
) -> Result:
    """The figure `interpolation` and, where `frames` asks for it, an animation of that name."""
    import torch

    from gflow_core.machine.streams import Streams
    from gflow_core.nn.sampling import draw_labels, label_pool, push
    from gflow_core.runs.pictures import image_grid

    data, sampler = subject.data, subject.spec.sampler
    assert data is not None
    assert subject.sampler is not None
    module = subject.sampler
    streams = Streams(subject.spec.seed).fork("interpolation")
    z0, z1 = (sampler.latent.draw(rows, streams["latent"]) for _ in range(2))
    y = None
    if sampler.conditional:  # one label a row
        y = draw_labels(label_pool(data, data.shape), rows, streams["label"])
    between = slerp if path == "spherical" else lerp

    def along(n: int) -> Tensor:
        """Samples at n times from 0 to 1: [rows, n, *shape], on the CPU."""
        z = between(z0, z1, torch.linspace(0, 1, n)).flatten(0, 1)
        labels = None if y is None else y.repeat_interleave(n, 0)
        x = [x.float().cpu() for x in push(module, z, labels, subject.runtime)]
        samples: Tensor = torch.cat(x).unflatten(0, (rows, n))
        return samples

    result = Result(manifest={"path": path, "rows": rows, "steps": steps})
    latent = sampler.latent
    if hasattr(latent, "low") and hasattr(latent, "high"):
        z = between(z0, z1, torch.linspace(0, 1, CURVE))
        result.scores["outside_support"] = float(((z < latent.low) | (z > latent.high)).any(2).double().mean())
    shown = along(steps)
    if data.shape.kind == "image":
        result.figures["interpolation"] = grid_figure(image_grid(shown.flatten(0, 1), data.shape, steps))
        if frames:
            moving = along(frames).transpose(0, 1)
            result.animations["interpolation"] = _back([enlarged(image_grid(x, data.shape)) for x in moving])
        return result
    real = data.x[torch.randperm(len(data), generator=streams["real"])[:2000]].float()
    curves = along(CURVE)
    figure = _curves(real, curves, shown, f"step {subject.step}: {path} paths, open to filled")
    result.figures["interpolation"] = figure
    if frames:
        result.animations["interpolation"] = _back(list(_moving(real, curves, along(frames), subject)))
    return result


# ------------------------------------------------------------------ paths


def lerp(z0: Tensor, z1: Tensor, t: Tensor) -> Tensor:
    """Linear interpolation (1-t) z0 + t z1 of z0, z1 [n, d] at times t [k], or of each row [n, k]: [n, k, d]."""
    t = t.to(z0)[..., None]
    return (1 - t) * z0[:, None] + t * z1[:, None]


def slerp(z0: Tensor, z1: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation of z0, z1 [n, d] at times t [k], or of each row [n, k]: [n, k, d].

    sin((1-t) w)/sin(w) z0 + sin(t w)/sin(w) z1 with w the angle between z0 and z1: Shoemake 1985, on latents White
    2016 (arXiv 1609.04468). Vectors of one length keep it, and turn at constant speed. The formula tends to the
    linear path as w goes to 0; opposite vectors have no shortest arc and a zero vector no angle: they take the
    linear path too.
    """
    import torch

    u, v = (torch.nn.functional.normalize(z.double(), dim=1) for z in (z0, z1))
    # The angle by Kahan's formula, exact for nearly parallel vectors, where acos is not.
    w = 2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1))[:, None, None]
    straight = (w.sin() < 1e-6) | ((u.norm(dim=1) * v.norm(dim=1)) == 0)[:, None, None]
    t = t.double()[..., None]
    arc: Tensor = (((1 - t) * w).sin() * z0[:, None].double() + (t * w).sin() * z1[:, None].double()) / w.sin()
    return torch.where(straight, lerp(z0.double(), z1.double(), t[..., 0]), arc).to(z0.dtype)


# ------------------------------------------------------------------ pictures


def _back(frames: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """There and back again, each end once: what repeats without a jump."""
    return frames + frames[-2:0:-1]


def enlarged(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A frame [H, W, 3] WIDE pixels wide at least, by a whole factor."""
    factor = -(-WIDE // pixels.shape[1])
    return pixels.repeat(factor, 0).repeat(factor, 1)


def _curves(real: Tensor, curves: Tensor, dots: Tensor | None, title: str) -> Figure:
    """Paths [rows, n, d] over real points, by their first two coordinates; `dots` [rows, steps, d] lie on them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    plane(axes, real)
    for i, curve in enumerate(curves.numpy()):
        axes.plot(curve[:, 0], curve[:, 1], lw=1, color=f"C{i % 10}", alpha=0.9)
        if dots is not None:
            p = dots[i].numpy()
            axes.scatter(p[:, 0], p[:, 1], s=14, color=f"C{i % 10}", linewidths=0, zorder=3)
            axes.scatter(p[0, 0], p[0, 1], s=44, facecolor="white", edgecolor=f"C{i % 10}", linewidths=1.4, zorder=4)
            axes.scatter(p[-1, 0], p[-1, 1], s=44, color=f"C{i % 10}", edgecolor="white", linewidths=1.0, zorder=4)
    axes.set_title(title, fontsize=11)
    return figure


def _moving(real: Tensor, curves: Tensor, frames: Tensor, subject: Subject) -> Iterator[np.ndarray[Any, Any]]:
    """One frame a time: where the points of frames [rows, n, d] are on their curves."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _curves(real, curves, None, f"step {subject.step}")
    figure.set_dpi(75)
    canvas = FigureCanvasAgg(figure)
    points = figure.axes[0].scatter(
        frames[:, 0, 0],
        frames[:, 0, 1],
        s=50,
        color=[f"C{i % 10}" for i in range(len(frames))],
        edgecolor="white",
        linewidths=1,
        zorder=4,
    )
    n = frames.shape[1]
    for i in range(n):
        points.set_offsets(frames[:, i, :2].numpy())
        canvas.draw()  # type: ignore[no-untyped-call]
        yield np.array(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
        subject.progress("interpolation", i + 1, n)
