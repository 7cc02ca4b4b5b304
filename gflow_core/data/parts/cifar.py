"""Options of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.data.names import CIFAR10, CIFAR100
from gflow_core.data.parts.shared import Coloured
from gflow_core.parts.options import option

if TYPE_CHECKING:
    from gflow_core.data.parts.shared import Classes
    from gflow_core.data.pixels import Pixels

__all__ = ["Cifar10", "Cifar100"]


@attrs.frozen(kw_only=True)
class _Cifar(Coloured):
    """Options of CIFAR-10 and CIFAR-100."""

    cite: ClassVar[tuple[str, ...]] = ("krizhevsky2009learning",)
    native: ClassVar[int] = 32
    title: ClassVar[str]

    split: Literal["train", "test"] = option("train", doc="The official split.")

    def _read(self) -> tuple[Pixels, Classes]:
        from gflow_core.data.cifar import read_cifar

        return read_cifar(self.title, self.split, root=self.root, download=self.download)


@attrs.frozen(kw_only=True)
class Cifar10(_Cifar):
    """CIFAR-10: 50,000 training and 10,000 test images in ten classes, from the binary or the Python release.

    Looked for in root/cifar-10-batches-bin, root and root/cifar-10-binary.tar.gz, then in root/cifar-10-batches-py,
    root and root/cifar-10-python.tar.gz; root may be an archive itself. Pickles are read as data: nothing in them runs.
    """

    title: ClassVar[str] = "CIFAR-10"
    class_names: ClassVar[tuple[str, ...]] = CIFAR10


@attrs.frozen(kw_only=True)
class Cifar100(_Cifar):
    """CIFAR-100: 50,000 training and 10,000 test images in a hundred classes, from the binary or the Python release.

    Looked for in root/cifar-100-binary, root and root/cifar-100-binary.tar.gz, then in root/cifar-100-python, root and
    root/cifar-100-python.tar.gz; root may be an archive itself. Pickles are read as data: nothing in them runs.
    """

    title: ClassVar[str] = "CIFAR-100"
    class_names: ClassVar[tuple[str, ...]] = CIFAR100
