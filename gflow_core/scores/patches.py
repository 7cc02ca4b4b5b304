"""sliced_wasserstein: distances between patches of Laplacian pyramids (Karras et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from gflow_core.errors import DataError
from gflow_core.machine.streams import Streams
from gflow_core.nn.sampling import draw_from
from gflow_core.parts.analysis import Result, Subject
from gflow_core.scores.bars import paired_bars
from gflow_core.scores.features import as_stored, real_index
from gflow_core.scores.sliced import directions_on_sphere, sliced_wasserstein

__all__ = ["descriptors", "laplacian_level", "levels_of", "sliced_patches"]

PATCH = 7
"""Side of a patch."""

COARSEST = 16
"""Side of the images at the last level, at least."""

SCALE = 1e3
"""What distances are multiplied by, as published ones are."""

CHUNK = 128
"""Images at once."""


def sliced_patches(subject: Subject, *, samples: int, patches: int, projections: int, seed: int) -> Result:
    """The distance by level and its mean, of samples and of other data, from the same data.

    The data are images of `PATCH` pixels at least. DataError: fewer than two of them.
    """
    data, device = subject.data, subject.runtime.device
    assert data is not None
    n = min(samples, len(data) // 2)
    if n < 1:
        raise DataError("sliced_wasserstein: the data has one item, and two are compared; take more (dataset.limit)")
    reference, other = real_index(data, 2 * n).split(n)
    fake = torch.cat([as_stored(x, data.shape).cpu() for x in draw_from(subject, n, CHUNK)])

    def of_data(index: Tensor) -> Callable[[slice], Tensor]:
        return lambda rows: data.batch(index[rows], device).x

    sets = {"": lambda rows: fake[rows].to(device), "_real": of_data(other), "reference": of_data(reference)}
    sides = levels_of(min(data.shape.shape[1:]))
    directions = directions_on_sphere(
        projections, data.shape.shape[0] * PATCH**2, Streams(seed).fork("sliced_wasserstein")["directions"]
    ).to(device, torch.float32)
    found: dict[str, dict[str, float]] = {"": {}, "_real": {}}
    for level, side in enumerate(sides):
        corners = _corners(n, patches, [size >> level for size in data.shape.shape[1:]], level, seed)
        of = {
            name: descriptors(items, corners, level, last=level == len(sides) - 1, device=device)
            for name, items in sets.items()
        }
        for suffix, scores in found.items():
            scores[f"{side} px"] = SCALE * sliced_wasserstein(
                of[suffix], of["reference"], directions, 1, subject.progress
            )
    result = Result(
        manifest={
            **subject.protocol(),
            "n_fake": n,
            "n_real": n,
            "conversion": "x255",
            "patches": patches,
            "projections": projections,
            "seed": seed,
        }
    )
    for suffix, by_level in found.items():
        result.scores[f"sliced_wasserstein{suffix}"] = sum(by_level.values()) / len(by_level)
    for side in sides:
        result.scores |= {f"sliced_wasserstein_{side}{suffix}": found[suffix][f"{side} px"] for suffix in found}
    title = f"step {subject.step}: sliced Wasserstein distance of patches, times 1,000"
    result.figures["sliced_wasserstein"] = paired_bars(found[""], found["_real"], "other data", title)
    return result


def levels_of(side: int) -> list[int]:
    """Sides of the images at each level, finest first: halves, as long as they have 16 pixels."""
    sides = [side]
    while sides[-1] // 2 >= COARSEST:
        sides.append(sides[-1] // 2)
    return sides


def laplacian_level(x: Tensor, level: int, *, last: bool) -> Tensor:
    """What images x [B, C, H, W] have at this level beyond the next coarser one, the last: all that is left."""
    for _ in range(level):
        x = _down(x)
    return x if last else x - _up(_down(x), x.shape)


def _down(x: Tensor) -> Tensor:
    return _smooth(x)[:, :, ::2, ::2]


def _up(x: Tensor, shape: torch.Size) -> Tensor:
    spread = x.new_zeros(shape)
    spread[:, :, ::2, ::2] = x
    return 4 * _smooth(spread)


def _smooth(x: Tensor) -> Tensor:
    """By the binomial filter of five, in both directions; what is outside mirrors the image."""
    kernel = x.new_tensor([1, 4, 6, 4, 1]) / 16
    y = F.pad(x, (2, 2, 2, 2), mode="reflect").flatten(0, 1)[:, None]
    return F.conv2d(F.conv2d(y, kernel.view(1, 1, 5, 1)), kernel.view(1, 1, 1, 5)).view(x.shape)


# ------------------------------------------------------------------ patches


def _corners(n: int, patches: int, size: list[int], level: int, seed: int) -> Tensor:
    """Where the patches of n images of (height, width) begin, [n, patches, 2]: the same places in every set."""
    generator = Streams(seed).fork("sliced_wasserstein")[f"patches.{level}"]
    places = [torch.randint(side - PATCH + 1, (n, patches), generator=generator) for side in size]
    return torch.stack(places, 2)


def descriptors(
    items: Callable[[slice], Tensor], corners: Tensor, level: int, *, last: bool, device: torch.device
) -> Tensor:
    """The patches of a set at a level, [n * patches, C * 7 * 7], each channel of mean 0 and variance 1 over all.

    `items(rows)` are its images [B, C, H, W].
    """
    pieces = []
    offsets = torch.arange(PATCH, device=device)
    for start in range(0, len(corners), CHUNK):
        rows = slice(start, start + CHUNK)
        x = laplacian_level(items(rows).float(), level, last=last)
        at = corners[rows].to(device)
        image = torch.arange(len(x), device=device).view(-1, 1, 1, 1)
        down = (at[..., 0, None] + offsets)[..., :, None]  # [B, patches, 7, 1]
        right = (at[..., 1, None] + offsets)[..., None, :]
        pieces.append(x.permute(0, 2, 3, 1)[image, down, right].flatten(0, 1))  # [B * patches, 7, 7, C]
    found = torch.cat(pieces)
    std, mean = torch.std_mean(found, (0, 1, 2), correction=0)
    return found.sub_(mean).div_(std.clamp(min=1e-8)).flatten(1)
