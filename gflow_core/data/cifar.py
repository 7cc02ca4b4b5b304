"""Reading CIFAR-10 and CIFAR-100 from their binary and Python releases, which hold the same images in one order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import attrs
import numpy as np
import numpy.typing as npt

from gflow_core.data.archives import LARGEST, reading, tar_files, tar_members
from gflow_core.data.pickled import PickledArray, text, unpickled
from gflow_core.data.pixels import Pixels
from gflow_core.data.places import DAMAGED, expand, fetch, not_found
from gflow_core.errors import DataError
from gflow_core.files.reading import read_bytes

__all__ = ["RELEASES", "Release", "read_cifar", "records"]

PAGE = "https://www.cs.toronto.edu/~kriz/"


@attrs.frozen
class Release:
    """What a release is called and how its files are laid out."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label: int | str
    """Bytes before the pixels of a record, the last of which is the label; or what a pickle calls the labels."""
    classes: int

    def files(self, split: Literal["train", "test"]) -> tuple[str, ...]:
        return self.train if split == "train" else self.test


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))

RELEASES = {
    "CIFAR-10": (
        Release(
            "cifar-10-binary.tar.gz",
            "cifar-10-batches-bin",
            train=tuple(f"{name}.bin" for name in _BATCHES),
            test=("test_batch.bin",),
            label=1,
            classes=10,
        ),
        Release("cifar-10-python.tar.gz", "cifar-10-batches-py", _BATCHES, ("test_batch",), label="labels", classes=10),
    ),
    "CIFAR-100": (
        Release("cifar-100-binary.tar.gz", "cifar-100-binary", ("train.bin",), ("test.bin",), label=2, classes=100),
        Release("cifar-100-python.tar.gz", "cifar-100-python", ("train",), ("test",), label="fine_labels", classes=100),
    ),
}
"""The binary and the Python release; the first is the one that is fetched."""

_MD5 = {
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
}


def read_cifar(
    title: str, split: Literal["train", "test"], *, root: str, download: bool
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Images [N, 3, 32, 32] and classes [N] of a split, from the folder or the archive of a release.

    `title` is one of RELEASES. Raises DataError.
    """
    releases, base = RELEASES[title], expand(root)
    found = _find(base, releases)
    if found is None and download:
        _download(title, base, releases[0].archive)
        found = _find(base, releases)
    if found is None:
        raise not_found(
            title,
            [place for release in releases for place in _places(base, release)],
            f"download {releases[0].archive} from {PAGE}cifar.html into {base}, set dataset.root to where it is, or "
            "set dataset.download = true",
        )
    place, release = found
    return records(place, release.files(split), release)


def _places(root: Path, release: Release) -> list[Path]:
    return list(dict.fromkeys([root / release.folder, root, root / release.archive]))


def _find(root: Path, releases: Sequence[Release]) -> tuple[Path, Release] | None:
    """The first place with a release, and which it is."""
    if root.is_file():
        names, _ = tar_members(root, lambda name: any(name.rsplit("/", 1)[-1] in one.test for one in releases))
        held = {name.rsplit("/", 1)[-1] for name in names}
        return root, next((one for one in releases if held & set(one.test)), releases[0])
    for release in releases:
        for place in _places(root, release):
            if place.is_file() or (place / release.test[0]).is_file():
                return place, release
    return None


def _download(title: str, root: Path, archive: str) -> None:
    from torchvision.datasets.utils import download_url

    fetch(
        title,
        root,
        lambda: download_url(PAGE + archive, str(root), archive, _MD5[archive]),
        f"fetch {PAGE}{archive} yourself into {root}",
    )


def records(place: Path, names: Sequence[str], release: Release) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Images [N, 3, 32, 32] and labels [N] of the named files, in their order, from a folder or an archive."""
    read = _from_folder if place.is_dir() else _from_archive
    parts = []
    for name, raw in zip(names, read(place, names), strict=True):
        with reading(place):
            if isinstance(release.label, int):
                parts.append(_binary(name, raw, release.label))
            else:
                parts.append(_pickled(name, raw, release.label))
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if y.min() < 0 or y.max() >= release.classes:
        wrong = y.max() if y.max() >= release.classes else y.min()
        raise DataError(f"{place}: labels of {release.classes} classes expected, found {wrong}; {DAMAGED}")
    return x.reshape(-1, 3, 32, 32), y


def _binary(name: str, raw: bytes, label_bytes: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
    size = label_bytes + 3072
    if not raw or len(raw) % size:
        raise ValueError(f"{name}: a whole number of {size}-byte records expected, found {len(raw)} bytes")
    table = np.frombuffer(raw, np.uint8).reshape(-1, size)
    return table[:, label_bytes:], table[:, label_bytes - 1].astype(np.int64)


def _pickled(name: str, raw: bytes, key: str) -> tuple[Pixels, npt.NDArray[np.int64]]:
    try:
        found = unpickled(raw)
        table = {text(known): value for known, value in found.items()} if isinstance(found, dict) else {}
        data, labels = table.get("data"), table.get(key)
        x = data.array() if isinstance(data, PickledArray) else None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if x is None or x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != 3072 or not len(x):
        raise ValueError(f'{name}: an array "data" of bytes [N, 3072] expected')
    if not isinstance(labels, list) or len(labels) != len(x) or any(type(one) is not int for one in labels):
        raise ValueError(f'{name}: a list "{key}" of {len(x)} whole numbers expected')
    return x, np.array([min(max(one, -1), 1 << 31) for one in labels], np.int64)


def _from_folder(place: Path, names: Sequence[str]) -> list[bytes]:
    try:
        return [read_bytes(place / name, LARGEST) for name in names]
    except (OSError, ValueError) as error:
        what = getattr(error, "filename", None) or place / names[0]
        raise DataError(
            f"{place}: {what}: {getattr(error, 'strerror', None) or error}; unpack the whole release here"
        ) from error


def _from_archive(place: Path, names: Sequence[str]) -> list[bytes]:
    held, _ = tar_members(place, lambda name: name.rsplit("/", 1)[-1] in names)
    found = {name.rsplit("/", 1)[-1]: raw for name, raw in tar_files(place, held)}
    if len(held) > len(found):
        raise DataError(f"{place}: the archive holds one of {', '.join(found)} twice; {DAMAGED}")
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{place}: the archive lacks {', '.join(missing)}; is it CIFAR's, whole?")
    return [found[name] for name in names]
