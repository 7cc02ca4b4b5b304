"""Reading numeric arrays from MATLAB's files, format 5 (MATLAB 5 to 7.2), from anybody: in bounded memory."""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from gflow_core.data.archives import reading
from gflow_core.files.reading import opened

__all__ = ["LARGEST", "read_mat"]

LARGEST = 1 << 31
"""Bytes of an array; SVHN's largest has 1.6 billion."""

AnyArray: TypeAlias = npt.NDArray[Any]
Bytes = TypeVar("Bytes", bytes, bytearray)

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMERIC = range(6, 16)  # classes of plain arrays: double to uint64
_COMPLEX = 0x800
_NAME, _DIMENSIONS = 64, 4 * 32  # bytes at most


class _Stream(Protocol):
    def read(self, size: int) -> bytes: ...


class _Inflated:
    """What a compressed element holds, never more of it at once than is asked for."""

    def __init__(self, file: _Stream, size: int) -> None:
        self._file, self._left = file, size
        self._zlib, self._packed = zlib.decompressobj(), b""

    def read(self, size: int) -> bytes:
        """`size` bytes, or fewer at its end."""
        out = bytearray()
        while len(out) < size and not self._zlib.eof:
            if not self._packed and self._left:
                self._packed = self._file.read(min(self._left, 1 << 16))
                self._left -= len(self._packed) or self._left
            piece = self._zlib.decompress(self._packed, size - len(out))
            if not piece and not self._packed:
                break
            self._packed = self._zlib.unconsumed_tail
            out += piece
        return bytes(out)

    def finish(self) -> None:
        """ValueError unless it ends here, with the checksum of what was read."""
        if self.read(1) or not self._zlib.eof:
            raise ValueError("a compressed array is longer than it states, or cut short")


def read_mat(path: Path, wanted: Collection[str]) -> dict[str, AnyArray]:
    """The wanted arrays of a .mat file that are there, by name, in Fortran order and the type they are stored in.

    Raises DataError: another format, a damaged file, a wanted array that is not numeric or above LARGEST.
    """
    found: dict[str, AnyArray] = {}
    with reading(path), opened(path) as file:
        header = file.read(128)
        if header[124:] not in (b"\x00\x01IM", b"\x01\x00MI"):
            newer = "; it is of format 7.3: save it with -v7" if header.startswith(b"MATLAB 7.3") else ""
            raise ValueError(f"not a MATLAB file of format 5{newer}")
        order = "<" if header.endswith(b"IM") else ">"
        while tag := file.read(8):
            kind, size = (int(n) for n in np.frombuffer(_whole(tag, 8), f"{order}u4"))
            after = file.tell() + size
            if kind not in (_MATRIX, _COMPRESSED):
                raise ValueError(f"an element of type {kind:#x}")
            inner = _Inflated(file, size) if kind == _COMPRESSED else None
            if inner and np.frombuffer(_whole(inner.read(8), 8), f"{order}u4")[0] != _MATRIX:
                raise ValueError("a compressed element that is no array")
            array = _array(inner or file, order, wanted)
            if array is not None:
                if array[0] in found:
                    raise ValueError(f"holds the array {array[0]} twice")
                found[array[0]] = array[1]
                if inner:
                    inner.finish()
            file.seek(after)
    return found


def _array(stream: _Stream, order: str, wanted: Collection[str]) -> tuple[str, AnyArray] | None:
    """Name and content of the array that the stream is at; None where it is not wanted."""
    flags = np.frombuffer(_whole(_element(stream, order, _UINT32, 8), 8), f"{order}u4")[0]
    dims = [int(n) for n in np.frombuffer(_element(stream, order, _INT32, _DIMENSIONS), f"{order}i4")]
    name = _element(stream, order, _INT8, _NAME).decode("ascii")
    if name not in wanted:
        return None
    if flags & 0xFF not in _NUMERIC or flags & _COMPLEX or len(dims) < 2 or min(dims) < 0:
        raise ValueError(f"{name} is no array of real numbers")
    kind, pieces, size = _tag(stream, order)
    if kind not in _TYPES:
        raise ValueError(f"{name} is stored as type {kind:#x}")
    dtype = np.dtype(order + _TYPES[kind])
    if math.prod(dims) * dtype.itemsize != size:
        raise ValueError(f"{name} states the shape {dims} of {dtype}, and {size:,} bytes")
    if size > LARGEST:
        raise ValueError(f"{name} states {size:,} bytes, more than the {LARGEST >> 20} MB that are read of one array")
    content = bytearray()  # grows with what is there, not with what is stated
    for piece in pieces:
        content += piece
    return name, np.frombuffer(_whole(content, size), dtype).reshape(dims, order="F")


def _element(stream: _Stream, order: str, wanted: int, most: int) -> bytes:
    kind, pieces, size = _tag(stream, order)
    if kind != wanted or size > most:
        raise ValueError(f"an array's header has {size:,} bytes of type {kind:#x}")
    return _whole(b"".join(pieces), size)


def _tag(stream: _Stream, order: str) -> tuple[int, Iterator[bytes], int]:
    """Type, content and size of an element, whose padding goes with the content."""
    first, size = (int(n) for n in np.frombuffer(_whole(stream.read(8), 8), f"{order}u4"))
    if first >> 16:  # up to four bytes lie in the tag itself
        size, four = first >> 16, np.array([size], f"{order}u4").tobytes()
        return first & 0xFFFF, iter([four[:size]]), size
    return first, _content(stream, size), size


def _content(stream: _Stream, size: int) -> Iterator[bytes]:
    left = size
    while left and (piece := stream.read(min(left, 1 << 20))):
        left -= len(piece)
        yield piece
    stream.read(-size % 8)


def _whole(content: Bytes, size: int) -> Bytes:
    if len(content) != size:
        raise EOFError("ends within an array")
    return content
