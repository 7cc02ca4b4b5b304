"""Options of anybody's images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

import attrs

from gflow_core.data.fit import Size, height_width
from gflow_core.data.parts.shared import Files, root_option
from gflow_core.data.text import TfIdf
from gflow_core.parts.contracts import TextEncoderPart
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.parts.source import Source

__all__ = ["ImageFolder"]

_TABLES = (".csv", ".tsv", ".jsonl", ".json")


@attrs.frozen(kw_only=True)
class ImageFolder(Files):
    """Your own images: a folder, a zip or a tar (.gz, .bz2, .xz) with any folders inside.

    Images are cropped to their centre, of image_size's aspect ratio, and resized. Their order is in turn over the
    folders they lie in: the first of each, then the second of each, and so on.
    """

    root: str = root_option(attrs.NOTHING, doc="The folder, zip or tar; ~ is the home folder.")
    folder: str = option("", doc='Only images below this folder of root, such as "train".')
    classes: int | None = option(
        None,
        doc="Class folders expected: the folders right below root (or `folder`), labelled in the order of "
        "their names, 2 before 10; with `labels` the distinct values of its column `label`, in order. Without it "
        "images are in no classes.",
        ge=1,
    )
    labels: str | None = option(
        None,
        doc="File of labels, inside root or beside it: a .csv, .tsv or .jsonl with a column of file names, or "
        "StyleGAN's dataset.json.",
    )
    label: str = option("label", doc="Column of `labels` that is the class of each image.")
    conditions: tuple[str, ...] = option((), doc="Columns of `labels` that are read as real numbers.")
    caption: str | None = option(
        None, doc="Column of `labels` that holds a text for each image; these are the labels, as vectors of `text`."
    )
    text: TextEncoderPart = option(factory=TfIdf, doc="What makes vectors of captions; fitted on those of the images.")
    file_name: str = option("file_name", doc="Column of `labels` that names the images, from the file's own folder.")
    unmatched: Literal["refuse", "skip"] = option(
        "refuse", doc="What becomes of images without a label, and of labels without an image."
    )
    image_size: Size = option(64, doc="[height, width], or a square's side; by Pillow's bicubic.", unit="pixels", ge=1)
    channels: Literal[1, 3] = option(3, doc="3 for RGB, 1 for grey (the luma of RGB).")
    crop: Size | None = option(
        None,
        doc="The centre that counts, black where the image is smaller: the side of a square or [height, width]; the "
        "largest part of it of image_size's aspect ratio is kept. All of the image by default.",
        unit="pixels",
        ge=1,
    )

    def data_shape(self) -> DataShape:
        shape = (self.channels, *height_width(self.image_size))
        text = None if self.caption is None else self.text.dim
        return DataShape("image", shape, -1.0, 1.0, self.classes, self.conditions, text)

    def check(self) -> Iterable[str]:
        if len(set(self.conditions)) < len(self.conditions):
            yield f"conditions = {list(self.conditions)} names one twice"
        if self.labels is None:
            if self.conditions:
                yield "conditions are columns of a file of labels; set labels to it"
            if self.label != "label" or self.file_name != "file_name" or self.caption is not None:
                yield "label, caption and file_name are columns of a file of labels; set labels to it"
            return
        if PurePosixPath(self.labels).suffix.lower() not in _TABLES:
            yield f'labels = "{self.labels}": a file that ends in {", ".join(_TABLES)} is read'
        if (self.classes is not None) + bool(self.conditions) + (self.caption is not None) != 1:
            yield (
                "labels go together with one of classes (of the column `label`), conditions (columns of numbers) and "
                "caption (a column of texts)"
            )
        if self.caption is not None and self.labels.lower().endswith(".json"):
            yield "caption is a column, and StyleGAN's dataset.json has none; take a .csv, .tsv or .jsonl"
        if self.label != "label" and self.classes is None:
            yield "label is the column of classes; set classes to how many there are"

    def load(self, progress: Progress = no_progress) -> Source:
        from gflow_core.data.captions import captioned
        from gflow_core.data.decode import Decoding
        from gflow_core.data.image_folder import read_image_folder
        from gflow_core.data.labelled import Labelling

        labelling = None
        if self.labels is not None:
            labelling = Labelling(
                file=self.labels,
                file_name=self.file_name,
                label=self.label,
                classes=self.classes,
                conditions=self.conditions,
                caption=self.caption,
                unmatched=self.unmatched,
            )
        found = read_image_folder(
            self.root,
            Decoding(self.crop, self.image_size, self.channels),
            folder=self.folder,
            classes=self.classes,
            labelling=labelling,
            limit=self.limit,
            skip_unreadable=self.skip_unreadable,
            workers=self.workers,
            progress=progress,
        )
        source = self._source(found.x, found.y, found.fingerprint, found.class_names, found.file)
        return captioned(source, found.captions, self.text, found.captions) if found.captions else source
