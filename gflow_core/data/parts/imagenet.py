"""Options of the downsampled ImageNet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.data.parts.shared import Augmented, root_option
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.parts.source import Source

__all__ = ["ImageNet32", "ImageNet64"]


@attrs.frozen(kw_only=True)
class _ImageNet(Augmented):
    """Options of ImageNet at both sizes."""

    size: ClassVar[int]

    root: str = root_option()
    split: Literal["train", "test"] = option("train", doc="The training images, or those of validation (test).")

    def data_shape(self) -> DataShape:
        return DataShape("image", (3, self.size, self.size), -1.0, 1.0, 1000)

    def check(self) -> Iterable[str]:
        return ()

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data.imagenet import read_imagenet

        found = read_imagenet(self.split, self.size, root=self.root, limit=self.limit, progress=progress)
        return self._source(found.x, found.y, found.fingerprint, cache=found.file)


@attrs.frozen(kw_only=True)
class ImageNet32(_ImageNet):
    """ImageNet-1k resized to 32x32 by its publishers (Chrabaszcz et al. 2017): 1,281,167 images, 50,000 to test.

    From train_data_batch_1.npz to train_data_batch_10.npz, or val_data.npz, looked for in root/imagenet32,
    root/Imagenet32 and root.
    """

    cite: ClassVar[tuple[str, ...]] = ("chrabaszcz2017downsampled",)
    size: ClassVar[int] = 32


@attrs.frozen(kw_only=True)
class ImageNet64(_ImageNet):
    """ImageNet-1k resized to 64x64 by its publishers (Chrabaszcz et al. 2017): 1,281,167 images, 50,000 to test.

    From train_data_batch_1.npz to train_data_batch_10.npz, or val_data.npz, looked for in root/imagenet64,
    root/Imagenet64 and root.
    """

    cite: ClassVar[tuple[str, ...]] = ("chrabaszcz2017downsampled",)
    size: ClassVar[int] = 64
