"""Reading ImageNet from the downsampled release: .npz files of images of 32x32 or 64x64."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal

import attrs
import numpy as np

from gflow_core.data.archives import checked, reading, zip_bytes, zip_members
from gflow_core.data.cache import Decoded, copied
from gflow_core.data.pixels import Pixels
from gflow_core.data.places import expand, not_found
from gflow_core.errors import DataError
from gflow_core.files.reading import opened
from gflow_core.parts.nouns import Progress

__all__ = ["read_imagenet"]

FILES = {"train": tuple(f"train_data_batch_{i}.npz" for i in range(1, 11)), "test": ("val_data.npz",)}
CLASSES = 1000
ROWS = 1 << 12
"""Images that are copied at once."""


def read_imagenet(
    split: Literal["train", "test"], size: int, *, root: str, limit: int | None, progress: Progress
) -> Decoded:
    """The first `limit` images [N, 3, size, size] of a split, and their classes, from a copy in the cache.

    Raises DataError.
    """
    base = expand(root)
    places = [base / f"imagenet{size}", base / f"Imagenet{size}", base]
    names = FILES[split]
    folder = next((place for place in places if (place / names[0]).is_file()), None)
    if folder is None:
        raise not_found(
            f"ImageNet at {size}x{size} ({names[0]}, ...)",
            [place / names[0] for place in places],
            f"download the npz format of ImageNet{size} from https://image-net.org/download-images (after signing in), "
            "unpack it there, or set dataset.root to its folder",
        )
    files = [folder / name for name in names]
    if missing := [file.name for file in files if not file.is_file()]:
        raise DataError(f"{folder}: lacks {', '.join(missing)}; unpack the whole release there")
    stamp = repr([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])

    def read() -> tuple[tuple[int, ...], list[int], Iterator[Pixels]]:
        batches, labels = [], np.empty(0, np.int64)
        for file in files:
            if limit is None or len(labels) < limit:
                batch, y = _batch(file, size)
                batches.append(batch)
                labels = np.concatenate([labels, y])
        labels = labels[:limit]
        return (len(labels), 3, size, size), labels.tolist(), _pieces(batches, size, len(labels))

    key = {"set": "imagenet", "size": size, "split": split, "limit": limit}
    return copied(folder, stamp, read, size=size, key=key, progress=progress)


@attrs.frozen
class _Batch:
    """One file's images."""

    file: Path
    count: int
    start: int
    """Where they begin in its member data.npy."""


def _batch(file: Path, size: int) -> tuple[_Batch, np.ndarray]:
    """Where the images of a file are, and their classes; the file numbers these from 1."""
    with reading(file), opened(file) as handle, zipfile.ZipFile(handle) as archive:
        members, _ = zip_members(file, lambda name: name in ("data.npy", "labels.npy"))
        for name in ("data.npy", "labels.npy"):
            if name not in members:
                raise ValueError(f"holds no array {name.removesuffix('.npy')}; is it of the npz format?")
        y = np.load(BytesIO(zip_bytes(archive, "labels.npy")), allow_pickle=False).reshape(-1)
        info = checked(archive, "data.npy")
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = header(member)
            start = member.tell()
        if dtype != np.uint8 or fortran or len(shape) != 2 or shape[1] != 3 * size**2 or not shape[0]:
            raise ValueError(f"data: bytes [N, {3 * size**2}] expected, found {dtype} {list(shape)}")
        if math.prod(shape) != info.file_size - start:
            raise ValueError(f"data states the shape {list(shape)}, and {info.file_size - start:,} bytes")
        if y.dtype.kind not in "iu" or len(y) != shape[0] or y.min() < 1 or y.max() > CLASSES:
            raise ValueError(f"labels: {shape[0]} whole numbers from 1 to {CLASSES} expected")
    return _Batch(file, shape[0], start), y.astype(np.int64) - 1


def _pieces(batches: Sequence[_Batch], size: int, wanted: int) -> Iterator[Pixels]:
    """The first `wanted` images, in order."""
    row = 3 * size**2
    for batch in batches:
        left = min(batch.count, wanted)
        wanted -= left
        with (
            reading(batch.file),
            opened(batch.file) as handle,
            zipfile.ZipFile(handle) as archive,
            archive.open("data.npy") as member,
        ):
            member.read(batch.start)
            while left:
                raw = member.read(min(ROWS, left) * row)
                if not raw or len(raw) % row:
                    raise EOFError("data.npy is shorter than it states")
                left -= len(raw) // row
                yield np.frombuffer(raw, np.uint8).reshape(-1, 3, size, size)
