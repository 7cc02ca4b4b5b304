"""Options of anybody's arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import attrs

from gflow_core.data.fit import Fit, Size, height_width
from gflow_core.data.parts.shared import Augmented, root_option
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.parts.source import Source

__all__ = ["Array"]


@attrs.frozen(kw_only=True)
class Array(Augmented):
    """Your own array, from a .npy or .npz file: `shape = [d]` for vectors, `image_size` for images.

    Vectors are floats [N, d]; images are uint8 [N, H, W], [N, H, W, C] or [N, C, H, W] with C = 1 or 3.
    """

    root: str = root_option(attrs.NOTHING, doc="The .npy or .npz file; ~ is the home folder.")
    key: str | None = option(None, doc="The array's name in a .npz that holds several.")
    shape: tuple[int, ...] | None = option(None, doc="[d]: the file holds vectors of length d.", ge=1)
    image_size: Size | None = option(
        None,
        doc="The file holds images; their [height, width], or a square's side, after `fit`.",
        unit="pixels",
        ge=1,
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
            shape = (self.channels, *height_width(self.image_size))
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
