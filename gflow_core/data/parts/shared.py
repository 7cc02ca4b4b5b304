"""Options that several data sets share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from gflow_core.data.fit import Fit, Size, height_width, plain_size
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from gflow_core.data.pixels import Pixels
    from gflow_core.parts.nouns import TextEncoder
    from gflow_core.parts.source import Source

    Classes = npt.NDArray[np.int64]

__all__ = ["DOWNLOAD", "ROOT", "Augmented", "Coloured", "Files", "Sized", "root_option"]

ROOT = "Where the data is; ~ is the home folder, other relative paths count from where gflow is started."
DOWNLOAD = "Fetch what is not found into root."


def root_option(default: Any = "data", *, doc: str = ROOT) -> Any:
    """The option `root` of a data set that reads files; required where `default` is attrs.NOTHING.

    An empty one, as of a shell's variable that is not set, would be the working folder, and is refused.
    """
    return option(default, doc=doc, check=_somewhere)


def _somewhere(root: str) -> str | None:
    return None if root else 'is empty; write "." for the folder where gflow is started'


@attrs.frozen(kw_only=True)
class Augmented:
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
        captions: Sequence[str] = (),
        text: TextEncoder | None = None,
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
            captions=tuple(captions),
            text=text,
        )


@attrs.frozen(kw_only=True)
class Sized(Augmented):
    """Images that come in one size, in memory, and are padded or resized to another."""

    native: ClassVar[int]
    class_names: ClassVar[tuple[str, ...]]

    image_size: Size
    channels: Literal[1, 3]
    fit: Fit

    def data_shape(self) -> DataShape:
        shape = (self.channels, *height_width(self.image_size))
        return DataShape("image", shape, -1.0, 1.0, len(self.class_names))

    def check(self) -> Iterable[str]:
        if self.fit == "pad" and min(height_width(self.image_size)) < self.native:
            size = plain_size(self.image_size)
            yield (
                f"image_size = {size if isinstance(size, int) else list(size)} is smaller than the images, "
                f'{self.native}x{self.native}, which can be padded only to more; set fit = "resize"'
            )

    def load(self, progress: Progress = no_progress) -> Source:
        import torch

        from gflow_core.data.pixels import fitted
        from gflow_core.parts.source import fingerprint

        x, y = self._read()
        images = torch.from_numpy(fitted(x[: self.limit], self.image_size, self.channels, self.fit).copy())
        labels = None if y is None else torch.from_numpy(y[: self.limit].copy())
        names = () if labels is None else self.class_names
        return self._source(images, labels, fingerprint(images, labels), names)

    def _read(self) -> tuple[Pixels, Classes | None]:
        """Images [N, C, native, native] of the split, and their classes [N] where they have any."""
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class Coloured(Sized):
    """Options of the published sets of RGB images that come in one size."""

    root: str = root_option()
    image_size: Size = option(32, doc="[height, width], or a square's side.", unit="pixels", ge=1)
    channels: Literal[1, 3] = option(3, doc="3 for RGB, 1 for its luma.")
    fit: Fit = option(
        "resize", doc="How they become image_size: Pillow's bicubic (resize), its bilinear, or black around them."
    )
    download: bool = option(False, doc=DOWNLOAD)


@attrs.frozen(kw_only=True)
class Files(Augmented):
    """Options of the sets that are decoded once into a cache."""

    skip_unreadable: bool = option(False, doc="Leave out images that cannot be read; otherwise they are an error.")
    workers: int | None = option(None, doc="Processes that decode; one a processor core by default.", ge=1)
