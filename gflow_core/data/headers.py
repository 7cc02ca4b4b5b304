"""What files of images and arrays hold, by their headers alone: sizes and channels, nothing decoded."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import attrs
from PIL import Image

from gflow_core.data.archives import checked, reading
from gflow_core.data.array import shape_in
from gflow_core.data.decode import FORMATS
from gflow_core.data.store import Store, open_store
from gflow_core.errors import DataError
from gflow_core.files.reading import opened

__all__ = ["Held", "held_in"]

_GREY = ("1", "L", "LA", "I", "F")


@attrs.frozen
class Held:
    """What files hold: images of some sizes, or vectors of one length."""

    sizes: Counter[tuple[int, int]] = attrs.field(factory=Counter)
    """(width, height) of images -> how many; of files that cannot be read none."""
    channels: int = 1
    """3 where an image is in colour."""
    dim: int | None = None
    """Of vectors."""

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Held:
        """An array of items of the shape: (d,) or (C, H, W)."""
        return cls(dim=shape[0]) if len(shape) == 1 else cls(Counter({(shape[2], shape[1]): 1}), shape[0])

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of images that are of one size; else None."""
        if len(self.sizes) != 1:
            return None
        ((width, height),) = self.sizes
        return height, width

    def __str__(self) -> str:
        if self.dim is not None:
            return f"vectors of {self.dim}"
        common = [f"{width}x{height}" for (width, height), _ in self.sizes.most_common(3)]
        more = len(self.sizes) - len(common)
        sizes = ", ".join(common) + (f" and {more} other sizes" if more else "")
        return f"{'colour' if self.channels == 3 else 'grey'} images of {sizes}"


def held_in(path: Path, key: str | None = None) -> Held:
    """What a folder, zip or tar of images, or a .npy or .npz (of which `key` names an array), holds. DataError."""
    if path.suffix.lower() in (".npy", ".npz"):
        return Held.of(shape_in(path, key))
    sizes: Counter[tuple[int, int]] = Counter()
    channels = 1
    store = open_store(path)
    for file in _files(store):
        try:
            with Image.open(file, formats=FORMATS) as image:
                sizes[image.size] += 1
                grey = image.mode in _GREY or image.mode.startswith("I;16")
                channels = channels if grey else 3
        except Exception:  # Pillow's plugins raise all kinds; whoever decodes it says so
            continue
    if not sizes:
        raise DataError(f"{path}: no images found, or none that can be read")
    return Held(sizes, channels)


def _files(store: Store) -> Iterator[BinaryIO]:
    """Each image's file, open at its beginning."""
    with reading(store.path):
        if store.kind == "tar":
            for _, content in store.read(store.names):
                yield BytesIO(content)
        elif store.kind == "zip":
            with opened(store.path) as file, zipfile.ZipFile(file) as archive:
                for name in store.names:
                    with archive.open(checked(archive, name)) as member:
                        yield member  # type: ignore[misc]
        else:
            for name in store.names:
                with opened(store.path / name) as file:
                    yield file
