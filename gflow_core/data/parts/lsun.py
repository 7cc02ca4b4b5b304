"""Options of LSUN."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.data.fit import Size, height_width
from gflow_core.data.parts.shared import Files, root_option
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.parts.source import Source

__all__ = ["Lsun"]


def _plain(category: str) -> str | None:
    plain = category.replace("_", "").isalnum()
    return None if plain else f'expected a name such as "bedroom" or "church_outdoor", got "{category}"'


@attrs.frozen(kw_only=True)
class Lsun(Files):
    """LSUN: photographs of one category (Yu et al. 2015; 3,033,042 bedrooms), as published or exported.

    The database's folder (read by the extra "lmdb" of gflow-core), or the folder, zip or tar of its images, is called
    after the category and the published split, such as bedroom_train_lmdb or bedroom_val.zip, and is looked for in
    root/lsun and root.
    """

    cite: ClassVar[tuple[str, ...]] = ("yu2015lsun",)

    root: str = root_option()
    category: str = option("bedroom", doc="Such as bedroom, church_outdoor, tower or cat.", check=_plain)
    split: Literal["train", "test"] = option("train", doc="The training images, or the 300 of validation (test).")
    image_size: Size = option(64, doc="[height, width], or a square's side; by Pillow's bicubic.", unit="pixels", ge=1)
    channels: Literal[1, 3] = option(3, doc="3 for RGB, 1 for its luma.")
    crop: Size | None = option(
        None,
        doc="The centre of each image, 256 pixels at its shorter side, that counts: the side of a square or [height, "
        "width]; the largest part of it of image_size's aspect ratio is kept. All of the image by default.",
        unit="pixels",
        ge=1,
    )

    def data_shape(self) -> DataShape:
        return DataShape("image", (self.channels, *height_width(self.image_size)), -1.0, 1.0)

    def check(self) -> Iterable[str]:
        return ()

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data.decode import Decoding
        from gflow_core.data.lsun import read_lsun

        found = read_lsun(
            self.root,
            Decoding(self.crop, self.image_size, self.channels),
            category=self.category,
            split=self.split,
            limit=self.limit,
            skip_unreadable=self.skip_unreadable,
            workers=self.workers,
            progress=progress,
        )
        return self._source(found.x, None, found.fingerprint, cache=found.file)
