"""Reading images or vectors, and labels, from .npy and .npz files."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gflow_core.data.archives import checked, reading, zip_members
from gflow_core.data.fit import Fit
from gflow_core.data.pixels import Pixels, fitted
from gflow_core.data.places import expand, not_found
from gflow_core.errors import DataError
from gflow_core.files.reading import opened
from gflow_core.parts.nouns import DataShape

__all__ = ["AnyArray", "array_items", "array_shape", "read_array", "shape_in"]

AnyArray: TypeAlias = npt.NDArray[Any]


def read_array(
    root: str, shape: DataShape, *, key: str | None, labels: str | None, fit: Fit, limit: int | None
) -> tuple[Tensor, Tensor | None]:
    """The first `limit` items of the array at `root`, and their labels, checked against the shape promised.

    Vectors are float32 [N, d], images uint8 [N, C, H, W] of the shape's channels and size, which `fit` brings them to.
    Labels are int64 [N] where the shape counts classes, float32 [N, k] where it names conditions. `key` and `labels`
    name arrays of a .npz; `labels` may be a .npy file beside root instead. Raises DataError.
    """
    path = expand(root)
    if not path.is_file():
        raise not_found("array: dataset.root", [path], "set it to a .npy or .npz file")
    data, where = _read(path, key, "key")
    x = array_items(data, where, shape, fit=fit, limit=limit)
    if labels is None:
        return x, None
    return x, torch.from_numpy(_labels(path, labels, shape, len(data))[:limit].copy())


def array_items(data: AnyArray, where: str, shape: DataShape, *, fit: Fit, limit: int | None = None) -> Tensor:
    """The first `limit` items of an array, which messages call `where`, as `read_array` has them."""
    items = _vectors(data, where, shape, limit) if shape.kind == "vector" else _images(data, where, shape, fit, limit)
    return torch.from_numpy(items)


def shape_in(path: Path, key: str | None = None) -> tuple[int, ...]:
    """What items of the array in a file are: see `array_shape`."""
    return array_shape(*_read(path, key, "key"))


def array_shape(data: AnyArray, where: str) -> tuple[int, ...]:
    """What items of the array are: (d,) of vectors, (C, H, W) of images. Raises DataError where they are neither."""
    return data.shape[1:] if data.ndim == 2 and data.dtype.kind == "f" else _planes(data, where).shape[1:]


def _vectors(data: AnyArray, where: str, shape: DataShape, limit: int | None) -> npt.NDArray[np.float32]:
    if data.dtype.kind != "f":
        raise DataError(f"{where}: vectors of floats expected, found {data.dtype}; convert with .astype(numpy.float32)")
    if data.ndim != 2 or data.shape[1:] != shape.shape or not len(data):
        raise DataError(
            f"{where}: shape [N, {shape.shape[0]}] expected, found {list(data.shape)}; set dataset.shape, "
            "or dataset.image_size for images"
        )
    with np.errstate(over="ignore"):
        x = np.array(data[:limit], np.float32)
    if not np.isfinite(x).all():
        raise DataError(f"{where}: NaN or infinite values (or beyond float32); remove those rows")
    return x


def _images(data: AnyArray, where: str, shape: DataShape, fit: Fit, limit: int | None) -> Pixels:
    channels, height, width = shape.shape
    data = _planes(data, where)
    if fit == "pad" and (data.shape[2] > height or data.shape[3] > width):
        size = height if height == width else [height, width]
        raise DataError(
            f"{where}: images of {data.shape[2]}x{data.shape[3]} do not fit dataset.image_size = {size}; "
            'make it larger, or set dataset.fit = "resize"'
        )
    return np.array(fitted(data[:limit], (height, width), channels, fit))


def _planes(data: AnyArray, where: str) -> Pixels:
    """Images in any of the three layouts as [N, C, H, W]."""
    if data.dtype != np.uint8:
        raise DataError(f"{where}: images of uint8 (0 to 255) expected, found {data.dtype}{_mend(data)}")
    stated = list(data.shape)
    if data.ndim == 3:
        data = data[:, None]
    elif data.ndim == 4 and data.shape[1] not in (1, 3) and data.shape[3] in (1, 3):
        data = data.transpose(0, 3, 1, 2)
    if data.ndim != 4 or data.shape[1] not in (1, 3) or 0 in data.shape:
        raise DataError(
            f"{where}: images [N, H, W], [N, H, W, C] or [N, C, H, W] with C = 1 or 3 expected, found shape "
            f"{stated}; vectors (dataset.shape) are floats"
        )
    return data


def _mend(data: AnyArray) -> str:
    """How images of other numbers become bytes, by the range that they have."""
    low, high = (float(data.min()), float(data.max())) if data.dtype.kind in "fiu" and data.size else (np.nan, np.nan)
    if not np.isfinite(low + high):
        return ""
    for least, most, they_are in (
        (0, 1, "(255 * x).round()"),
        (-1, 1, "((x + 1) * 127.5).round()"),
        (0, 255, "x.round()"),
    ):
        if least <= low and high <= most:
            return f" from {low:.3g} to {high:.3g}; if they are x in [{least}, {most}], they are {they_are} as uint8"
    return f" from {low:.3g} to {high:.3g}"


def _labels(root: Path, labels: str, shape: DataShape, items: int) -> AnyArray:
    beside = root.parent / expand(labels)
    if labels.endswith((".npy", ".npz")):
        if not beside.is_file():
            raise not_found("array: dataset.labels", [beside], "set it to a .npy file, or to an array of the .npz")
        y, where = _read(beside, None, "labels")
    else:
        y, where = _read(root, labels, "labels")
    if shape.conditions:
        size = len(shape.conditions)
        if y.dtype.kind not in "fiu" or y.shape != (items, size):
            raise DataError(
                f"{where}: {items} rows of {size} numbers expected (dataset.conditions), found {y.dtype} "
                f"{list(y.shape)}; save it as [{items}, {size}]"
            )
        if not np.isfinite(y).all():
            raise DataError(f"{where}: NaN or infinite values; remove those items")
        return y.astype(np.float32)
    classes = shape.classes
    assert classes is not None
    if y.dtype.kind not in "iu" or y.shape != (items,):
        raise DataError(f"{where}: {items} whole numbers, one an item, expected, found {y.dtype} {list(y.shape)}")
    if y.min() < 0 or y.max() >= classes:
        raise DataError(
            f"{where}: labels 0 to {classes - 1} expected (dataset.classes = {classes}), found {y.min()} to {y.max()}"
        )
    return y.astype(np.int64)


def _read(path: Path, key: str | None, option: str) -> tuple[AnyArray, str]:
    """The array of a .npy (mapped), or the one of a .npz that `key` names; and what to call it in messages."""
    with reading(path), opened(path) as file:
        start = file.read(6)
        file.seek(0)
        try:
            if start == b"\x93NUMPY":
                if key is not None:
                    raise DataError(
                        f'{path}: a .npy holds one array without a name; leave out dataset.{option} = "{key}"'
                    )
                return np.load(path, mmap_mode="r", allow_pickle=False), str(path)
            if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
                names = [name.removesuffix(".npy") for name in zip_members(path, lambda name: name.endswith(".npy"))[0]]
                name = _key(path, names, key, option)
                with zipfile.ZipFile(file) as archive:
                    return _member(archive, f"{name}.npy"), f"{path}[{name}]"
        except ValueError as error:
            if "pickle" not in str(error) and "Object arrays" not in str(error) and "Python objects" not in str(error):
                raise
            raise DataError(
                f"{path}: it holds Python objects, which are pickled, and gflow reads no pickle; save plain "
                "numbers, as in numpy.save(path, array.astype(...))"
            ) from error
    raise DataError(f"{path}: not a .npy or .npz file; write it with numpy.save or numpy.savez")


def _member(archive: zipfile.ZipFile, name: str) -> AnyArray:
    """The array that a member of a .npz holds; ValueError where it is not as large as it states."""
    info = checked(archive, name)
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(member)
        held = info.file_size - member.tell()
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != held:
        raise ValueError(f"{name} states the shape {list(shape)} of {dtype}, and {held:,} bytes")
    with archive.open(info) as member:
        found: AnyArray = np.lib.format.read_array(member, allow_pickle=False)
        return found


def _key(path: Path, names: list[str], key: str | None, option: str) -> str:
    listed = ", ".join(names) or "none"
    if key is None and len(names) == 1:
        return names[0]
    if key is None:
        raise DataError(f"{path}: {len(names)} arrays ({listed}); name one in dataset.{option}")
    if key not in names:
        raise DataError(f'{path}: no array "{key}" (there are {listed}); set dataset.{option}')
    return key
