"""Reading STL-10 from its binary files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from gflow_core.data.archives import reading
from gflow_core.data.pixels import Pixels
from gflow_core.data.places import DAMAGED, expand, fetch, not_found
from gflow_core.errors import DataError
from gflow_core.files.reading import opened, read_bytes

__all__ = ["read_stl10"]

PAGE = "http://ai.stanford.edu/~acoates/stl10/"
SIDE = 96
IMAGE = 3 * SIDE**2
"""Bytes of one."""


def read_stl10(
    split: Literal["train", "test", "unlabeled"], *, root: str, download: bool
) -> tuple[Pixels, npt.NDArray[np.int64] | None]:
    """Images [N, 3, 96, 96], mapped from their file, and classes [N] of a split; of the unlabeled one None.

    Raises DataError.
    """
    base, name = expand(root), f"{split}_X.bin"
    places = [base / "stl10_binary", base]
    found = next((place for place in places if (place / name).is_file()), None)
    if found is None and download:
        _download(split, base)
        found = next((place for place in places if (place / name).is_file()), None)
    if found is None:
        raise not_found(
            "STL-10",
            [place / name for place in places],
            f"unpack {PAGE}stl10_binary.tar.gz in {base}, set dataset.root to where it is, or set dataset.download = "
            "true",
        )
    x = _images(found / name)
    return x, None if split == "unlabeled" else _labels(found / f"{split}_y.bin", len(x))


def _download(split: str, root: Path) -> None:
    from torchvision.datasets import STL10

    fetch("STL-10", root, lambda: STL10(str(root), split, download=True), f"unpack {PAGE}stl10_binary.tar.gz in {root}")


def _images(path: Path) -> Pixels:
    with reading(path), opened(path) as file:
        size = file.seek(0, 2)
        if not size or size % IMAGE:
            raise DataError(f"{path}: a whole number of images of {IMAGE} bytes expected, found {size:,}; {DAMAGED}")
        columns: Pixels = np.memmap(file, np.uint8, "r").reshape(-1, 3, SIDE, SIDE)  # they are stored by columns
    return columns.transpose(0, 1, 3, 2)


def _labels(path: Path, images: int) -> npt.NDArray[np.int64]:
    """Classes from 0; the file numbers them from 1."""
    with reading(path):
        y = np.frombuffer(read_bytes(path, images), np.uint8)
        if len(y) != images or not y.min() >= 1 or y.max() > 10:
            raise DataError(f"{path}: {images} labels from 1 to 10 expected; {DAMAGED}")
    return y.astype(np.int64) - 1
