"""What the options of networks say where they do not fit."""

from __future__ import annotations

import pytest

from gflow_core import DataShape, attention_faults, base_maps, batch_norm_faults, image_size_faults


@pytest.mark.parametrize(
    ("attention", "largest", "messages"),
    [
        ((), 16, []),
        ((4, 16), 16, []),
        ((32,), 16, ["attention = 32: no maps have this side; at this image_size they have 4, 8 or 16 pixels"]),
        (
            (12, 8, 8),
            8,
            ["attention names 8 twice", "attention = 12: no maps have this side; "],
        ),
        ((8,), 4, ["attention = 8: no maps have this side; at this image_size they have 4 pixels"]),
    ],
)
def test_sides(attention, largest, messages):
    found = list(attention_faults(attention, 4, largest))
    assert len(found) == len(messages)
    assert all(one.startswith(start) for one, start in zip(found, messages, strict=True))


def test_small_maps_that_double_into_images():
    sizes = {
        (8, 8): (1, (4, 4)),
        (64, 64): (4, (4, 4)),
        (64, 96): (4, (4, 6)),
        (8, 12): (1, (4, 6)),
        (20, 8): (1, (10, 4)),
    }
    for size, found in sizes.items():
        assert base_maps(size) == found
        assert list(image_size_faults(DataShape("image", (3, *size), -1.0, 1.0))) == []
    assert base_maps(64) == base_maps((64, 64))
    for size in (4, 12, 48, (64, 100), (8, 9)):
        with pytest.raises(ValueError, match="image_size"):
            base_maps(size)
    wide = DataShape("image", (3, 16, 24), -1.0, 1.0)
    assert list(image_size_faults(wide, 16, 64)) == []
    assert "is 32 or 64 pixels and" in " ".join(image_size_faults(wide, 32, 64))
    assert "is 32, 64, 128, ... pixels and" in " ".join(image_size_faults(wide, 32))


def test_options_of_a_batch_norm_that_is_not_there():
    assert list(batch_norm_faults(use_batch_norm=True, norm_init="normal", join="norm")) == []
    assert list(batch_norm_faults(use_batch_norm=False, norm_init="ones", join="layer")) == []
    ends, one, other = batch_norm_faults(use_batch_norm=False, norm_init="normal", join="norm", norm_ends=True)
    assert ends.startswith("norm_ends = true")
    assert one.startswith('norm_init = "normal"')
    assert other.startswith('join = "norm"')
