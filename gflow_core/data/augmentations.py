"""Random changes of items: `train.augment` for the data, `augment` of the adversarial game for all that is judged.

One that follows the discriminator stands in `adaptive`.

Colour, translation and cutout are those of Zhao et al. 2020 (Differentiable Augmentation, Section 3 and its public
code): each image by itself, differentiable in its pixels, in the range [-1, 1] of the data.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.parts.contracts import Number, at
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Color", "Cutout", "DiffAugment", "Dither", "Flip", "Translation"]


def _images(data: DataShape) -> Iterable[str]:
    if data.kind != "image":
        yield f"changes images, the data is {data}"


@attrs.frozen(kw_only=True)
class _Sometimes:
    """Options that changes with a probability share. What is drawn for an item begins with whether it is changed."""

    probability: Number = option(1.0, doc="Share of the items that are changed.", ge=0, le=1)

    numbers = 0

    def check(self, data: DataShape) -> Iterable[str]:
        return _images(data)

    def draw(self, n: int, data: DataShape, generator: Generator, done: int) -> Tensor:
        import torch

        drawn = torch.rand(n, 1 + self.numbers, generator=generator)
        drawn[:, 0] = drawn[:, 0] < at(self.probability, done)
        return drawn

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        import torch

        chosen, numbers = drawn[:, 0].bool(), drawn[:, 1:].to(x.dtype)
        return torch.where(chosen.view(-1, 1, 1, 1), self.change(x, numbers), x)

    def change(self, x: Tensor, u: Tensor) -> Tensor:
        """Images x [B, C, H, W] changed by u [B, numbers] in [0, 1)."""
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class Flip:
    """Images mirrored left to right."""

    probability: Number = option(0.5, doc="Share of the images that are mirrored.", ge=0, le=1)

    def check(self, data: DataShape) -> Iterable[str]:
        return _images(data)

    def draw(self, n: int, data: DataShape, generator: Generator, done: int) -> Tensor:
        import torch

        return torch.rand(n, generator=generator) < at(self.probability, done)

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        import torch

        return torch.where(drawn.view(-1, 1, 1, 1), x.flip(-1), x)


@attrs.frozen(kw_only=True)
class Dither:
    """Noise U(0, 1/128) in the units of [-1, 1], one step of 8 bits, as FAR's reference adds."""

    def check(self, data: DataShape) -> Iterable[str]:
        return _images(data)

    def draw(self, n: int, data: DataShape, generator: Generator, done: int) -> Tensor:
        import torch

        return torch.rand(n, *data.shape, generator=generator)

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        return x + drawn / 128


@attrs.frozen(kw_only=True)
class Color(_Sometimes):
    """Brightness + U(-.5, .5), saturation times U(0, 2) about the grey, contrast times U(.5, 1.5) about the mean."""

    cite: ClassVar[tuple[str, ...]] = ("zhao2020differentiable",)

    numbers = 3

    def change(self, x: Tensor, u: Tensor) -> Tensor:
        brightness, saturation, contrast = u.view(*u.shape, 1, 1).unbind(1)
        x = x + (brightness - 0.5).unsqueeze(1)
        grey = x.mean(1, keepdim=True)
        x = (x - grey) * (2 * saturation).unsqueeze(1) + grey
        mean = x.mean((1, 2, 3), keepdim=True)
        return (x - mean) * (contrast + 0.5).unsqueeze(1) + mean


@attrs.frozen(kw_only=True)
class Translation(_Sometimes):
    """Images moved by whole pixels, up to a share of the side each way, zeros outside."""

    cite: ClassVar[tuple[str, ...]] = ("zhao2020differentiable",)

    share: float = option(0.125, doc="Longest move, as a share of the side.", gt=0, le=1)

    numbers = 2

    def change(self, x: Tensor, u: Tensor) -> Tensor:
        import torch

        n, _, height, width = x.shape
        places = []
        for number, size, view in ((u[:, :1], height, (n, 1, height, 1)), (u[:, 1:], width, (n, 1, 1, width))):
            most = int(size * self.share + 0.5)
            moved = torch.arange(size, device=x.device) - ((2 * most + 1) * number).floor().long() + most
            places.append((moved.clamp(0, size - 1).view(view), ((moved >= 0) & (moved < size)).view(view)))
        (rows, rows_in), (columns, columns_in) = places
        x = x.gather(2, rows.expand_as(x)).gather(3, columns.expand_as(x))
        return x * (rows_in & columns_in)


@attrs.frozen(kw_only=True)
class Cutout(_Sometimes):
    """A square of a share of the side, at a random centre, filled with 0."""

    cite: ClassVar[tuple[str, ...]] = ("zhao2020differentiable",)

    share: float = option(0.5, doc="Side of the square, as a share of the image's.", gt=0, le=1)

    numbers = 2

    def change(self, x: Tensor, u: Tensor) -> Tensor:
        import torch

        n, _, height, width = x.shape
        inside = []
        for number, size, view in ((u[:, :1], height, (n, 1, height, 1)), (u[:, 1:], width, (n, 1, 1, width))):
            side = int(size * self.share + 0.5)
            first = ((size + 1 - side % 2) * number).floor() - side // 2
            place = torch.arange(size, device=x.device)
            inside.append(((place >= first) & (place < first + side)).view(view))
        return x * ~(inside[0] & inside[1])


@attrs.frozen(kw_only=True)
class DiffAugment:
    """Colour, translation and cutout after one another: the policy of Zhao et al. 2020 with their settings."""

    cite: ClassVar[tuple[str, ...]] = ("zhao2020differentiable",)

    policy: tuple[Literal["color", "translation", "cutout"], ...] = option(
        ("color", "translation", "cutout"), doc="Which of them, in this order."
    )

    def check(self, data: DataShape) -> Iterable[str]:
        return _images(data)

    def draw(self, n: int, data: DataShape, generator: Generator, done: int) -> Tensor:
        import torch

        return torch.cat([part.draw(n, data, generator, done) for part in self._parts()], 1)

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        parts = self._parts()
        for part, own in zip(parts, drawn.split([1 + part.numbers for part in parts], 1), strict=True):
            x = part.apply(x, own)
        return x

    def _parts(self) -> list[_Sometimes]:
        kinds: dict[str, type[_Sometimes]] = {"color": Color, "translation": Translation, "cutout": Cutout}
        return [kinds[name]() for name in self.policy]
