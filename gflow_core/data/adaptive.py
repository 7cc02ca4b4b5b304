"""Adaptive discriminator augmentation (Karras et al. 2020, "Training GANs with limited data"): the part `ada`.

The transformations and their laws are those of its Appendix B, as far as its experiments use them by default: pixel
blitting, geometry and colour, each applied to an image by itself with one probability p. p follows the discriminator:
it rises while that is sure of more training images than `target` says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Ada"]

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "blit": ("flip", "turn", "shift"),
    "geometry": ("scale", "before", "stretch", "after", "move"),
    "color": ("brightness", "contrast", "luma", "hue", "saturation"),
}
_ALL = tuple(name for group in _GROUPS.values() for name in group)
_UNIFORM = ("flip", "turn", "shift x", "shift y", "before", "after", "luma", "hue")
_NORMAL = ("scale", "stretch", "move x", "move y", "brightness", "contrast", "saturation")


@attrs.frozen(kw_only=True)
class Ada:
    """Images flipped, turned, moved, scaled, stretched and recoloured, each change with the same probability p.

    Every `interval` updates of the discriminator p moves towards what keeps the mean of sign(d(real)) at `target`.
    The p that is reached is part of a checkpoint, and logged as `augment_p`; the mean of signs is `real_sign`.
    Between pixels images are interpolated bilinearly and mirrored at their borders; the paper's filter is finer.
    """

    cite: ClassVar[tuple[str, ...]] = ("karras2020ada",)

    groups: tuple[Literal["blit", "geometry", "color"], ...] = option(
        ("blit", "geometry", "color"),
        doc="Mirrored, turned by 90 degrees and moved by whole pixels (blit); scaled, rotated, stretched and moved "
        "(geometry); brightness, contrast, inverted luma, hue and saturation (color).",
    )
    start: float = option(0.0, doc="p in the beginning.", ge=0, le=1)
    target: float | None = option(
        0.6, doc="The mean of sign(d(real)) that p is to keep; without one p stays what it is.", ge=-1, le=1
    )
    interval: int = option(4, doc="Updates of the discriminator between two changes of p.", ge=1)
    images: int = option(500_000, doc="Real images in which p can go from 0 to 1.", unit="images", ge=1)

    def check(self, data: DataShape) -> Iterable[str]:
        if data.kind != "image":
            yield f"changes images, the data is {data}"
        elif data.shape[0] not in (1, 3):
            yield f"changes images of 1 or 3 channels, the data is {data}"

    # ------------------------------------------------------------------ p

    def begin(self) -> Tensor:
        """p, and since it last changed: the sum of the means that were observed, and how many they are."""
        import torch

        return torch.tensor([self.start, 0.0, 0.0])

    def adapted(self, state: Tensor, real_sign: Tensor, n: int) -> Tensor:
        """The state [..., 3] after an update on n real images, where the mean of sign(d(real)) was real_sign [...]."""
        import torch

        if self.target is None:
            return state
        p, total, count = state.unbind(-1)
        total, count = total + real_sign, count + 1
        due = count >= self.interval
        moved = p + (total / count - self.target).sign() * (n * self.interval / self.images)
        p = torch.where(due, moved.clamp(0, 1), p)
        return torch.stack([p, total.masked_fill(due, 0), count.masked_fill(due, 0)], -1)

    def decided(self, drawn: Tensor, state: Tensor) -> Tensor:
        """What was drawn [..., B, k], with 1 or 0 in place of the numbers that say which changes there are."""
        import torch

        p = state[..., :1].unsqueeze(-1).expand(*drawn.shape[:-1], len(_ALL))
        rotations = torch.tensor([name in ("before", "after") for name in _ALL], device=p.device)
        p = torch.where(rotations, 1 - (1 - p).sqrt(), p)  # p for the two of them together
        here = len(_ALL)
        return torch.cat([(drawn[..., :here] < p).to(drawn.dtype), drawn[..., here:]], -1)

    # ------------------------------------------------------------------ the changes

    def draw(self, n: int, data: DataShape, generator: Generator, done: int) -> Tensor:
        """[n, k]: a number U(0, 1) a change that decides whether it is made, then what the changes read."""
        import torch

        uniform = torch.rand(n, len(_ALL) + len(_UNIFORM), generator=generator)
        return torch.cat([uniform, torch.randn(n, len(_NORMAL), generator=generator)], 1)

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        made = _Made(drawn)
        if "blit" in self.groups or "geometry" in self.groups:
            x = _sampled(x, _places(made, self.groups, x.shape[2], x.shape[3]))
        if "color" in self.groups:
            x = _recoloured(x, _colors(made))
        return x


class _Made:
    """What was drawn [B, k], by name: the value of a change where it is made, else what changes nothing."""

    def __init__(self, drawn: Tensor) -> None:
        there, uniform, normal = drawn.split([len(_ALL), len(_UNIFORM), len(_NORMAL)], 1)
        self._there = dict(zip(_ALL, (there > 0.5).unbind(1), strict=True))
        self.uniform = dict(zip(_UNIFORM, uniform.unbind(1), strict=True))
        self.normal = dict(zip(_NORMAL, normal.unbind(1), strict=True))

    def __call__(self, name: str, value: Tensor, nothing: float) -> Tensor:
        import torch

        return torch.where(self._there[name], value, nothing)


def _places(made: _Made, groups: Sequence[str], height: int, width: int) -> Tensor:
    """[B, 3, 3]: where each pixel of the changed images is taken from, about their centre, in pixels."""
    import torch

    u, normal = made.uniform, made.normal
    place = torch.eye(3, dtype=u["flip"].dtype, device=u["flip"].device)
    if "blit" in groups:
        place = place @ _scaling(made("flip", 1 - 2 * u["flip"].round(), 1.0), 1.0)
        place = place @ _rotation(made("turn", (4 * u["turn"]).floor() * (math.pi / 2), 0.0))
        x, y = (((2 * u[f"shift {axis}"] - 1) * (size / 8)).round() for axis, size in (("x", width), ("y", height)))
        place = place @ _shift(made("shift", x, 0.0), made("shift", y, 0.0))
    if "geometry" in groups:
        scale = made("scale", (-0.2 * normal["scale"]).exp2(), 1.0)
        place = place @ _scaling(scale, scale)
        place = place @ _rotation(made("before", (2 * u["before"] - 1) * math.pi, 0.0))
        stretch = made("stretch", (-0.2 * normal["stretch"]).exp2(), 1.0)
        place = place @ _scaling(stretch, 1 / stretch)
        place = place @ _rotation(made("after", (2 * u["after"] - 1) * math.pi, 0.0))
        x, y = (normal[f"move {axis}"] * (size / 8) for axis, size in (("x", width), ("y", height)))
        place = place @ _shift(made("move", x, 0.0), made("move", y, 0.0))
    return place


def _colors(made: _Made) -> Tensor:
    """[B, 3, 4]: what the changed images' red, green and blue are made of: red, green, blue and 1."""
    import torch

    u, normal = made.uniform, made.normal
    kind = {"dtype": u["hue"].dtype, "device": u["hue"].device}
    grey = torch.full((3, 3), 1 / 3, **kind)  # the projection on the axis of greys
    turned = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], **kind) / math.sqrt(3)  # and across it
    one = torch.eye(3, **kind)

    def number(name: str, value: Tensor, nothing: float) -> Tensor:
        return made(name, value, nothing).view(-1, 1, 1)

    contrast = number("contrast", (0.5 * normal["contrast"]).exp2(), 1.0)
    color = contrast * one
    color = (one - number("luma", 2 * u["luma"].round(), 0.0) * grey) @ color
    angle = number("hue", (2 * u["hue"] - 1) * math.pi, 0.0)
    color = (grey + angle.cos() * (one - grey) + angle.sin() * turned) @ color
    color = (grey + number("saturation", normal["saturation"].exp2(), 1.0) * (one - grey)) @ color
    brightness = number("brightness", 0.2 * normal["brightness"], 0.0).expand(-1, 3, 1)
    return torch.cat([color, color @ brightness], 2)


def _recoloured(x: Tensor, color: Tensor) -> Tensor:
    """Images x [B, C, H, W]: of three channels by `color` [B, 3, 4], of one as if it were three alike."""
    color = color.to(x.dtype)
    weights, constant = color[:, :, :3], color[:, :, 3]
    if x.shape[1] == 1:
        weights, constant = weights.sum(2).mean(1).view(-1, 1, 1), constant.mean(1, keepdim=True)
    return (weights @ x.flatten(2)).view_as(x) + constant[..., None, None]


def _matrix(rows: Sequence[Sequence[Tensor | float]]) -> Tensor:
    """[B, n, n] of numbers and tensors [B]."""
    import torch

    like = next(value for row in rows for value in row if isinstance(value, torch.Tensor))
    return torch.stack(
        [
            torch.stack([like.new_full(like.shape, v) if isinstance(v, int | float) else v for v in row], -1)
            for row in rows
        ],
        -2,
    )


def _scaling(x: Tensor, y: Tensor | float) -> Tensor:
    return _matrix([[x, 0, 0], [0, y, 0], [0, 0, 1]])


def _shift(x: Tensor, y: Tensor) -> Tensor:
    return _matrix([[1, 0, x], [0, 1, y], [0, 0, 1]])


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return _matrix([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def _sampled(x: Tensor, place: Tensor) -> Tensor:
    """Images x [B, C, H, W], each pixel taken from `place` [B, 3, 3]: bilinear, mirrored at the borders.

    By plain indices, since penalties differentiate it twice, which torch's own grid_sample cannot.
    """
    import torch

    height, width = x.shape[2:]
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    down = torch.arange(height, dtype=place.dtype, device=x.device).unsqueeze(1) - middle_y
    across = torch.arange(width, dtype=place.dtype, device=x.device) - middle_x
    a, b, c, d, e, f = place[:, :2].reshape(-1, 6, 1, 1).unbind(1)
    row = _mirrored(d * across + e * down + f + middle_y, height)
    column = _mirrored(a * across + b * down + c + middle_x, width)
    top, left = row.floor(), column.floor()
    flat, out = x.flatten(2), torch.zeros_like(x)
    for y, share_y in ((top, top + 1 - row), (top + 1, row - top)):
        for x_, share_x in ((left, left + 1 - column), (left + 1, column - left)):
            index = (y.clamp(0, height - 1) * width + x_.clamp(0, width - 1)).long()
            taken = flat.gather(2, index.flatten(1).unsqueeze(1).expand(-1, x.shape[1], -1))
            out = out + taken.view_as(x) * (share_y * share_x).unsqueeze(1).to(x.dtype)
    return out


def _mirrored(place: Tensor, size: int) -> Tensor:
    """Places mirrored at the borders, -1/2 and size - 1/2, as often as it takes."""
    there = (place + 0.5).remainder(2 * size)
    return there.minimum(2 * size - there) - 0.5
