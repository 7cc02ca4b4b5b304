from __future__ import annotations

import io
import struct

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gflow_core.data.decode import Decoding, decode
from gflow_core.data.pixels import fitted, pad, resize, with_channels


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


GREY = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
RGB = np.stack([GREY, 255 - GREY, GREY // 2], 2)


def test_modes_become_eight_bit_rgb():
    exact = RGB.transpose(2, 0, 1)
    grey = np.repeat(GREY[None], 3, 0)
    as_rgb = Decoding(None, 8, 3)
    assert np.array_equal(decode(saved(Image.fromarray(RGB)), as_rgb), exact)
    assert np.array_equal(decode(saved(Image.fromarray(GREY)), as_rgb), grey)
    # 16 bits keep their upper eight.
    deep = GREY.astype(np.uint16) * 256 + 77
    assert np.array_equal(decode(saved(Image.fromarray(deep)), as_rgb), grey)
    assert np.array_equal(decode(saved(Image.fromarray(deep), "TIFF"), as_rgb), grey)
    palette = Image.fromarray(GREY).convert("P")
    assert np.array_equal(decode(saved(palette), as_rgb), grey)
    # CMYK keeps a flat colour within a step or two.
    cmyk = Image.new("RGB", (8, 8), (200, 100, 50)).convert("CMYK")
    flat = decode(saved(cmyk, "JPEG", quality=100), as_rgb)
    assert np.abs(flat.mean((1, 2)) - (200, 100, 50)).max() < 3
    assert set(np.unique(decode(saved(Image.fromarray(GREY).convert("1")), as_rgb))) <= {0, 255}


def test_transparency_lies_on_white():
    clear = np.dstack([RGB, np.zeros_like(GREY)])
    assert (decode(saved(Image.fromarray(clear)), Decoding(None, 8, 3)) == 255).all()
    solid = np.dstack([RGB, np.full_like(GREY, 255)])
    assert np.array_equal(decode(saved(Image.fromarray(solid)), Decoding(None, 8, 3)), RGB.transpose(2, 0, 1))
    deep = GREY.astype(np.uint16) * 256 + 77
    for image, clear in ((Image.fromarray(deep), int(deep[1, 2])), (Image.fromarray(GREY), int(GREY[1, 2]))):
        found = decode(saved(image, transparency=clear), Decoding(None, 8, 1))[0]
        assert np.array_equal(found, np.where(GREY[1, 2] == GREY, 255, GREY))
    palette = Image.fromarray(np.zeros((8, 8), np.uint8), "P")
    assert (decode(saved(palette, transparency=0), Decoding(None, 8, 1)) == 255).all()


def test_exif_turns_the_image():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned a quarter clockwise
    turned = decode(saved(Image.fromarray(RGB), "PNG", exif=exif), Decoding(None, 8, 3))
    assert np.array_equal(turned, np.rot90(RGB, -1).transpose(2, 0, 1))


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("L", (8, 8), level) for level in (10, 200)]
    raw = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(raw, Decoding(None, 8, 1)) == 10).all()


@pytest.mark.parametrize("kind", [np.float32, np.int32])
@pytest.mark.parametrize("most", [1, 255, 70_000])
def test_pixels_of_unknown_range_are_refused(kind, most):
    """Whatever their values are: a part of an image must not be read in another way than the whole."""
    image = Image.fromarray((GREY / 255 * most).astype(kind))
    with pytest.raises(ValueError, match="pixels, whose range is unknown; save it with 8 or 16 unsigned bits"):
        decode(saved(image, "TIFF"), Decoding(None, 8, 3))


def tiff(bits: int, sample_format: int, data: bytes, photometric: int = 1) -> bytes:
    """A grey TIFF of 8x8 pixels, as Pillow does not write it."""
    tags = [(256, 8), (257, 8), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1)]
    tags += [(278, 8), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (339, sample_format)])
    count = struct.pack("<H", len(tags) + 1)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + count + entries + bytes(4)


def test_the_depth_is_the_files_not_its_values():
    small = GREY.astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        assert not decode(saved(Image.fromarray(small), kind), Decoding(None, 8, 1)).any()
    # Twelve bits, two values in three bytes.
    pairs = (GREY.astype(int) * 16 + 7).reshape(-1, 2)
    twelve = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs.tolist())
    assert np.array_equal(decode(tiff(12, 1, twelve), Decoding(None, 8, 1))[0], GREY)
    with pytest.raises(ValueError, match="signed integer"):
        decode(tiff(16, 2, small.astype("<i2").tobytes()), Decoding(None, 8, 1))
    for bits, data in ((8, GREY), (16, small * 256 + 9)):  # 0 is white
        assert np.array_equal(decode(tiff(bits, 1, data.tobytes(), 0), Decoding(None, 8, 1))[0], 255 - GREY)
    deep = b"P5\n8 8\n65535\n" + (small * 256 + 9).astype(">u2").tobytes()
    assert np.array_equal(decode(deep, Decoding(None, 8, 1))[0], GREY)


@settings(deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    crop=st.none() | st.integers(1, 24),
    size=st.integers(1, 24),
    channels=st.sampled_from([1, 3]),
)
def test_any_shape_becomes_the_size_asked_for(height, width, crop, size, channels):
    image = Image.new("RGB", (width, height), (9, 9, 9))
    out = decode(saved(image), Decoding(crop, size, channels))
    assert out.shape == (channels, size, size)
    assert out.dtype == np.uint8
    if crop is None:  # a flat image stays flat; against black, bicubic overshoots
        assert (out == 9).all()


@pytest.mark.parametrize(
    ("size", "crop", "box"),
    [
        ((8, 12), None, (0, 2, 30, 22)),  # as wide as the image
        ((12, 8), None, (7, 0, 23, 24)),  # as high as the image
        ((8, 12), 18, (6, 6, 24, 18)),  # within the square of 18
        ((8, 12), (20, 18), (6, 6, 24, 18)),
        ((8, 12), (24, 36), (-3, 0, 33, 24)),  # black beside it
        ((12, 8), (12, 8), (11, 6, 19, 18)),  # pixel by pixel
        ((9, 9), (18, 24), (6, 3, 24, 21)),  # a square from within a rectangle
    ],
)
def test_the_centre_of_the_size_s_aspect_ratio_is_resized(rng, size, crop, box):
    image = Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8))
    expected = image.crop(box)
    if expected.size != size[::-1]:
        expected = expected.resize(size[::-1], Image.Resampling.BICUBIC)
    assert np.array_equal(decode(saved(image), Decoding(crop, size, 3)), np.asarray(expected).transpose(2, 0, 1))


def test_a_square_is_one_size_however_it_is_given():
    """So that caches of squares stay valid, and there are no two of one size."""
    assert Decoding((6, 6), (8, 8), 3) == Decoding(6, 8, 3)
    assert attrs.asdict(Decoding((6, 6), (8, 8), 3)) == {"crop": 6, "size": 8, "channels": 3}


# ------------------------------------------------------------------ arrays


def test_luma_is_pillows(rng):
    x = rng.integers(0, 256, (2, 40, 40, 3), np.uint8)
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in x])
    assert np.array_equal(with_channels(x.transpose(0, 3, 1, 2), 1)[:, 0], expected)


def test_resizing_is_pillows_bicubic(rng):
    x = rng.integers(0, 256, (2, 28, 28, 3), np.uint8)
    for size in (12, 40):
        expected = np.stack([np.asarray(Image.fromarray(i).resize((size, size), Image.Resampling.BICUBIC)) for i in x])
        assert np.array_equal(resize(x.transpose(0, 3, 1, 2), size), expected.transpose(0, 3, 1, 2))
        expected = np.stack([np.asarray(Image.fromarray(i).resize((size, size), Image.Resampling.BILINEAR)) for i in x])
        assert np.array_equal(fitted(x.transpose(0, 3, 1, 2), size, 3, "bilinear"), expected.transpose(0, 3, 1, 2))


def test_each_axis_is_resized_by_its_own_factor(rng):
    x = rng.integers(0, 256, (2, 28, 20), np.uint8)
    expected = np.stack([np.asarray(Image.fromarray(i).resize((32, 12), Image.Resampling.BICUBIC)) for i in x])
    assert np.array_equal(fitted(x[:, None], (12, 32), 1, "resize")[:, 0], expected)


def test_padding_is_black_and_centred():
    assert pad(np.full((1, 1, 1, 2), 7, np.uint8), (2, 5))[0, 0].tolist() == [[0, 7, 7, 0, 0], [0] * 5]
    x = np.full((1, 1, 2, 2), 7, np.uint8)
    assert pad(x, 5)[0, 0].tolist() == [[0] * 5, [0, 7, 7, 0, 0], [0, 7, 7, 0, 0], [0] * 5, [0] * 5]


@settings(deadline=None)
@given(size=st.integers(1, 40), channels=st.sampled_from([1, 3]), native=st.sampled_from([1, 3]))
def test_fitted_shapes(size, channels, native):
    x = np.ones((2, native, 9, 9), np.uint8)
    for fit in ("resize", "pad") if size >= 9 else ("resize",):
        out = fitted(x, size, channels, fit)
        assert out.shape == (2, channels, size, size)
        assert out.dtype == np.uint8
