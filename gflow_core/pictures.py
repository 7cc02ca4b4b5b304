"""Pictures of samples: a grid of images, or points in the plane over real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gflow_core.contracts import DataShape
from gflow_core.files import written_aside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_samples", "image_grid", "scatter"]


def draw_samples(path: Path, x: Tensor, shape: DataShape, real: Tensor | None = None) -> None:
    """Write a picture of x [N, *shape] as PNG, whole or not at all; `real` points lie behind vectors."""
    with written_aside(path) as aside:
        if shape.kind == "image":
            Image.fromarray(image_grid(x, shape)).save(aside, format="png")
        else:
            scatter(x, real).savefig(aside, format="png", dpi=120)


def image_grid(x: Tensor, shape: DataShape, gap: int = 2) -> np.ndarray[Any, Any]:
    """Images x [N, C, H, W] as one 8-bit picture [rows, columns, 3], nearly square, `gap` pixels apart."""
    low, high = (shape.low, shape.high) if shape.low is not None and shape.high is not None else (-1.0, 1.0)
    n, channels, height, width = x.shape
    pixels = ((x.detach().float().cpu() - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    grid = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, dtype=np.uint8)
    for i, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        # One channel is repeated to three; more than three show their first three.
        grid[top : top + height, left : left + width] = image[..., :3] if channels >= 3 else image[..., :1]
    return grid


def scatter(x: Tensor, real: Tensor | None = None) -> Figure:
    """Points x [N, d]: their first two coordinates (a histogram where d is 1), real points behind them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    sets = [("real", real, "0.75"), ("generated", x, "tab:blue")]
    for label, points, colour in sets:
        if points is None:
            continue
        p = points.detach().float().cpu().numpy()
        p = p[np.isfinite(p).all(1)]
        if p.shape[1] == 1:
            axes.hist(p[:, 0], bins=60, density=True, alpha=0.6, color=colour, label=label)
        else:
            axes.scatter(p[:, 0], p[:, 1], s=4, alpha=0.6, color=colour, label=label, linewidths=0)
    if x.shape[1] > 1:
        axes.set_aspect("equal", "datalim")
    axes.legend(loc="upper right", markerscale=3)
    return figure
