"""Options of SVHN."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.data.names import DIGITS
from gflow_core.data.parts.shared import Coloured
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.data.parts.shared import Classes
    from gflow_core.data.pixels import Pixels

__all__ = ["Svhn"]


@attrs.frozen(kw_only=True)
class Svhn(Coloured):
    """SVHN: digits of house numbers, cropped (format 2): 73,257 to train, 26,032 to test, 531,131 easier ones (extra).

    From train_32x32.mat, test_32x32.mat and extra_32x32.mat, looked for in root/svhn, root/SVHN and root.
    """

    cite: ClassVar[tuple[str, ...]] = ("netzer2011reading",)

    native: ClassVar[int] = 32
    class_names: ClassVar[tuple[str, ...]] = DIGITS

    split: Literal["train", "test", "extra"] = option("train", doc="The official split.")

    def _read(self) -> tuple[Pixels, Classes]:
        from gflow_core.data.svhn import read_svhn

        return read_svhn(self.split, root=self.root, download=self.download)
