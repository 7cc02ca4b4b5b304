"""Options of anybody's images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import attrs

from gflow_core.data.parts.shared import Files
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.parts.source import Source

__all__ = ["ImageFolder"]


@attrs.frozen(kw_only=True)
class ImageFolder(Files):
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
        from gflow_core.data.image_folder import read_image_folder

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
