"""Data that are not what was promised, or show nothing."""

from __future__ import annotations

import pytest
import torch

from gflow_core.data.checked import checked
from gflow_core.errors import DataError
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.source import Source

SHAPE = DataShape("image", (3, 8, 8), -1.0, 1.0)


@pytest.fixture
def images(rng):
    """300 images of noise."""
    return torch.from_numpy(rng.integers(0, 256, (300, 3, 8, 8), "uint8"))


def said(x, caplog) -> list[str]:
    assert checked(Source(x, SHAPE, ""), SHAPE).x is x
    return [message.partition(" (")[0] for message in caplog.messages]


def test_ordinary_images_are_not_remarked_on(images, caplog):
    assert said(images, caplog) == []
    images[:299] = 7  # one image suffices
    assert said(images, caplog) == []


@pytest.mark.parametrize("noise", [1, 15])
def test_images_of_one_colour_each(images, caplog, noise):
    flat = images[:, :, :1, :1] // 2 + images % noise  # as of 12-bit numbers in 16-bit files
    assert said(flat, caplog) == ["dataset: every image is of one colour"]


def test_a_channel_that_is_the_same_in_all(images, caplog):
    images[:, 1] = 0
    assert said(images, caplog) == ["dataset: channel 1 is the same in all images"]
    caplog.clear()
    images[299, 1] = 40  # the last image is another
    assert said(images, caplog) == []


def test_a_promise_is_kept(images):
    for data, shape in (
        (Source(images, SHAPE, ""), DataShape("image", (1, 8, 8), -1.0, 1.0)),
        (Source(images[:0], SHAPE, ""), SHAPE),
        (Source(images, SHAPE, ""), DataShape("image", (3, 8, 8), -1.0, 1.0, classes=2)),
        (Source(torch.full((3, 2), torch.nan), DataShape("vector", (2,)), ""), DataShape("vector", (2,))),
    ):
        with pytest.raises(DataError, match=r"^dataset: "):
            checked(data, shape)
