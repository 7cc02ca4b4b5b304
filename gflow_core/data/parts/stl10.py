"""Options of STL-10."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.data.fit import Size
from gflow_core.data.names import STL10
from gflow_core.data.parts.shared import Coloured
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.data.parts.shared import Classes
    from gflow_core.data.pixels import Pixels

__all__ = ["Stl10"]


@attrs.frozen(kw_only=True)
class Stl10(Coloured):
    """STL-10: 5,000 training and 8,000 test images in ten classes, and 100,000 without labels, from its binary files.

    train_X.bin, train_y.bin and so on are looked for in root/stl10_binary and root.
    """

    cite: ClassVar[tuple[str, ...]] = ("coates2011analysis",)

    native: ClassVar[int] = 96
    class_names: ClassVar[tuple[str, ...]] = STL10

    split: Literal["train", "test", "unlabeled"] = option(
        "train", doc="The official split; images of unlabeled have no labels."
    )
    image_size: Size = option(96, doc="[height, width], or a square's side.", unit="pixels", ge=1)

    def data_shape(self) -> DataShape:
        shape = super().data_shape()
        return attrs.evolve(shape, classes=None) if self.split == "unlabeled" else shape

    def _read(self) -> tuple[Pixels, Classes | None]:
        from gflow_core.data.stl10 import read_stl10

        return read_stl10(self.split, root=self.root, download=self.download)
