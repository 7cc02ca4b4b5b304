"""From an image file's bytes to pixels, in the processes that decode.

Imports no torch: every decoding process imports this module.
"""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

import attrs
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gflow_core.data.archives import LARGEST, zip_bytes
from gflow_core.data.database import database_bytes
from gflow_core.data.fit import Size, height_width, largest_within, plain_size
from gflow_core.data.pixels import RESAMPLE, Pixels
from gflow_core.data.places import first_line
from gflow_core.files.reading import opened, read_bytes

__all__ = ["FORMATS", "SUFFIXES", "Chunk", "Decoding", "Job", "Kind", "Outcome", "decode", "decode_chunk"]

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
"""Files with other names are not images."""

Kind: TypeAlias = Literal["folder", "zip", "tar", "lmdb"]
"""Of a store of images."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow is to read; it hands some of the others to other programs."""

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
"""Tags of a TIFF; the second is 0 where 0 is white, which Pillow minds up to 8 bits."""


@attrs.frozen
class Decoding:
    """How an image becomes pixels."""

    crop: Size | None = attrs.field(converter=attrs.converters.optional(plain_size))
    """The part at the centre that counts; all of the image where None."""
    size: Size = attrs.field(converter=plain_size)
    channels: int


@attrs.frozen
class Job:
    """What all chunks have in common."""

    store: Path
    """The folder, zip or database that a worker reads from."""
    kind: Kind
    decoding: Decoding
    target: Path
    """The file that rows are written into, each at its place."""
    offset: int
    """Where row 0 begins."""


@attrs.frozen
class Chunk:
    """The images that one call decodes."""

    number: int
    rows: Sequence[int]
    names: Sequence[str]
    contents: Sequence[bytes] | None = None
    """The files themselves, where the parent reads them (a tar is read from front to back)."""


def decode(raw: bytes, decoding: Decoding) -> Pixels:
    """[C, H, W] of one image file. Raises whatever Pillow raises, or ValueError.

    Turned as EXIF says; of its centre (black where it is smaller than the crop) the largest part of the size's aspect
    ratio, resized by Pillow's bicubic.
    Transparency lies on white; 16-bit images keep their upper 8 bits, whatever their values; the first frame of an
    animation counts.
    """
    with Image.open(BytesIO(raw), formats=FORMATS) as file:
        depth, inverted = _depth(file), getattr(file, "tag_v2", {}).get(_PHOTOMETRIC) == 0
        image = ImageOps.exif_transpose(file)
        if depth > 8:
            image = _upper_eight(image, depth, inverted)
        image = _opaque(image).convert("L" if decoding.channels == 1 else "RGB")
    size, area = height_width(decoding.size), (image.height, image.width)
    height, width = largest_within(height_width(decoding.crop) if decoding.crop else area, size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    image = image.crop((left, top, left + width, top + height))
    if (height, width) != size:
        image = image.resize(size[::-1], RESAMPLE)
    pixels = np.asarray(image)
    return pixels[None] if decoding.channels == 1 else pixels.transpose(2, 0, 1)


def _depth(file: Image.Image) -> int:
    """Bits of a grey value, as the file states them. ValueError where it has 32 or a sign: their range is anybody's."""
    if file.mode.startswith("I;16"):
        return int(getattr(file, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0])
    if file.mode == "I" and file.format in ("PNG", "PPM"):  # Pillow's way of holding 16 bits
        return 16
    if file.mode in ("I", "F"):
        what = "float" if file.mode == "F" else "32-bit or signed integer"
        raise ValueError(f"{what} pixels, whose range is unknown; save it with 8 or 16 unsigned bits")
    return 8


def _upper_eight(image: Image.Image, depth: int, inverted: bool) -> Image.Image:
    """Of a grey image of more bits the upper 8; the one value that a PNG may call transparent is so still."""
    deep = np.asarray(image).astype(np.int64)
    grey = Image.fromarray((deep >> (depth - 8)).astype(np.uint8))
    if inverted:
        grey = ImageOps.invert(grey)
    if isinstance(clear := image.info.get("transparency"), int):
        grey.putalpha(Image.fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
    return grey


def _opaque(image: Image.Image) -> Image.Image:
    """The image on white, where it is transparent."""
    if not image.has_transparency_data:
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA"))


Outcome: TypeAlias = tuple[list[tuple[int, str]], str]
"""Of a decoded chunk: (row, reason) for each image that could not be read, and the sha256 of all the others' pixels."""


def decode_chunk(job: Job, chunk: Chunk) -> Outcome:
    """Write the chunk's images into the job's file, flushed to the disk."""
    unreadable, digest = [], hashlib.sha256()
    with open(job.target, "r+b") as target:
        for i, (row, name) in enumerate(zip(chunk.rows, chunk.names, strict=True)):
            try:
                raw = chunk.contents[i] if chunk.contents is not None else _read(job, name)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # Pillow's remarks on odd but readable files
                    data = decode(raw, job.decoding).tobytes()
            except UnidentifiedImageError:
                unreadable.append((row, "not an image"))
                continue
            except Exception as error:  # Pillow's plugins raise all kinds on damaged files
                unreadable.append((row, first_line(error)))
                continue
            target.seek(job.offset + row * len(data))
            target.write(data)
            digest.update(data)
        target.flush()
        os.fsync(target.fileno())
    return unreadable, digest.hexdigest()


def _read(job: Job, name: str) -> bytes:
    if job.kind == "folder":
        return read_bytes(job.store / name, LARGEST)
    if job.kind == "lmdb":
        return database_bytes(job.store, name)
    return zip_bytes(_zip(job.store, job.store.stat().st_mtime_ns), name)


@lru_cache(maxsize=1)
def _zip(path: Path, _mtime: int) -> zipfile.ZipFile:
    """The opened zip, once a process; its time is part of the key, so that a replaced file is opened anew."""
    return zipfile.ZipFile(opened(path))
