"""Reading CIFAR-10 and CIFAR-100 from their binary releases. The Python releases are pickles: not read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import attrs
import numpy as np
import numpy.typing as npt

from gflow_core.data.archives import LARGEST, tar_files, tar_members
from gflow_core.data.pixels import Pixels
from gflow_core.data.places import DAMAGED, expand, fetch, not_found
from gflow_core.errors import DataError
from gflow_core.files.reading import read_bytes

__all__ = ["RELEASES", "Release", "read_cifar", "records"]

PAGE = "https://www.cs.toronto.edu/~kriz/"


@attrs.frozen
class Release:
    """What a binary release is called and how its records are laid out."""

    archive: str
    md5: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int
    """Bytes before the pixels; the last of them is the label."""
    classes: int
    python: tuple[str, str]
    """Archive and folder of the pickled release."""


RELEASES = {
    "CIFAR-10": Release(
        archive="cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        test=("test_batch.bin",),
        label_bytes=1,
        classes=10,
        python=("cifar-10-python.tar.gz", "cifar-10-batches-py"),
    ),
    "CIFAR-100": Release(
        archive="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        folder="cifar-100-binary",
        train=("train.bin",),
        test=("test.bin",),
        label_bytes=2,
        classes=100,
        python=("cifar-100-python.tar.gz", "cifar-100-python"),
    ),
}


def read_cifar(
    title: str, split: Literal["train", "test"], *, root: str, download: bool
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Images [N, 3, 32, 32] and classes [N] of a split, from the folder or the archive of the binary release.

    `title` is one of RELEASES. Raises DataError.
    """
    release = RELEASES[title]
    base = expand(root)
    places = _places(base, release)
    place = _find(places, release)
    if place is None and download:
        _download(title, base, release)
        place = _find(places, release)
    if place is None:
        raise _missing(title, base, release, places)
    return records(place, release.train if split == "train" else release.test, release)


def _places(root: Path, release: Release) -> list[Path]:
    if root.is_file():
        return [root]
    return [root / release.folder, root, root / release.archive]


def _find(places: Sequence[Path], release: Release) -> Path | None:
    return next((p for p in places if p.is_file() or (p / release.test[0]).is_file()), None)


def _missing(title: str, root: Path, release: Release, places: Sequence[Path]) -> DataError:
    where = f"{release.archive} from {PAGE}cifar.html"
    for name in release.python:
        if (root / name).exists():
            return DataError(
                f"{title}: {root / name} is the Python release, which is pickled, and gflow reads no pickle; put the "
                f"binary release {where} beside it, or set dataset.download = true"
            )
    return not_found(
        f"{title}, binary release,",
        places,
        f"download {where} into {root}, set dataset.root to where it is, or set dataset.download = true",
    )


def _download(title: str, root: Path, release: Release) -> None:
    from torchvision.datasets.utils import download_url

    fetch(
        title,
        root,
        lambda: download_url(PAGE + release.archive, str(root), release.archive, release.md5),
        f"fetch {PAGE}{release.archive} yourself into {root}",
    )


def records(place: Path, names: Sequence[str], release: Release) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Images [N, 3, 32, 32] and labels [N] of the named files, in their order, from a folder or an archive."""
    read = _from_folder if place.is_dir() else _from_archive
    size = release.label_bytes + 3072
    parts = []
    for name, raw in zip(names, read(place, names), strict=True):
        if not raw or len(raw) % size:
            raise DataError(
                f"{place}: {name}: a whole number of {size}-byte records expected, found {len(raw)} bytes; {DAMAGED}"
            )
        parts.append(np.frombuffer(raw, np.uint8).reshape(-1, size))
    table = np.concatenate(parts)
    y = table[:, release.label_bytes - 1].astype(np.int64)
    if y.max() >= release.classes:
        raise DataError(f"{place}: labels of {release.classes} classes expected, found {y.max()}; {DAMAGED}")
    return table[:, release.label_bytes :].reshape(-1, 3, 32, 32), y


def _from_folder(place: Path, names: Sequence[str]) -> list[bytes]:
    try:
        return [read_bytes(place / name, LARGEST) for name in names]
    except (OSError, ValueError) as error:
        what = getattr(error, "filename", None) or place / names[0]
        raise DataError(
            f"{place}: {what}: {getattr(error, 'strerror', None) or error}; unpack the whole binary release here"
        ) from error


def _from_archive(place: Path, names: Sequence[str]) -> list[bytes]:
    held, _ = tar_members(place, lambda name: name.rsplit("/", 1)[-1] in names)
    found = {name.rsplit("/", 1)[-1]: raw for name, raw in tar_files(place, held)}
    if len(held) > len(found):
        raise DataError(f"{place}: the archive holds one of {', '.join(found)} twice; {DAMAGED}")
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{place}: the archive lacks {', '.join(missing)}; is it the binary release?")
    return [found[name] for name in names]
