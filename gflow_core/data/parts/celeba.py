"""Options of CelebA."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.data.fit import Size, height_width
from gflow_core.data.parts.shared import DOWNLOAD, Files, root_option
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.parts.source import Source

__all__ = ["CelebA"]


@attrs.frozen(kw_only=True)
class CelebA(Files):
    """CelebA: 202,599 aligned faces, from img_align_celeba.zip or the folder img_align_celeba.

    Looked for in root, root/celeba (torchvision's place) and root/CelebA, and in Img below each; root may be the
    zip or the folder itself. The partition file is needed only for a split, list_attr_celeba.txt only for attributes.
    """

    cite: ClassVar[tuple[str, ...]] = ("liu2015celeba",)

    root: str = root_option()
    split: Literal["all", "train", "valid", "test"] = option(
        "all", doc="All images, or those of one official split by list_eval_partition.txt."
    )
    crop: Size = option(
        148,
        doc="The centre of 178x218 that counts, the side of a square (178 is the largest) or [height, width]; the "
        "largest part of it of image_size's aspect ratio is kept.",
        unit="pixels",
        ge=1,
    )
    image_size: Size = option(64, doc="[height, width], or a square's side; by Pillow's bicubic.", unit="pixels", ge=1)
    channels: Literal[1, 3] = option(3, doc="3 for RGB, 1 for its luma.")
    attributes: tuple[str, ...] = option(
        (),
        doc="Attributes that label the images, such as Smiling: real vectors of 1 (has it) and -1, by the names in "
        "list_attr_celeba.txt, 40 in all; without them images have no labels.",
    )
    download: bool = option(False, doc=DOWNLOAD)

    def data_shape(self) -> DataShape:
        shape = (self.channels, *height_width(self.image_size))
        return DataShape("image", shape, -1.0, 1.0, conditions=self.attributes)

    def check(self) -> Iterable[str]:
        if len(set(self.attributes)) < len(self.attributes):
            yield f"attributes = {list(self.attributes)} names one twice"

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data.celeba import read_celeba
        from gflow_core.data.decode import Decoding

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
