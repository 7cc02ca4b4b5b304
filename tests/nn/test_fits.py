"""What the options of networks say where they do not fit."""

from __future__ import annotations

import pytest

from gflow_core import attention_faults, batch_norm_faults


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


def test_options_of_a_batch_norm_that_is_not_there():
    assert list(batch_norm_faults(use_batch_norm=True, norm_init="normal", join="norm")) == []
    assert list(batch_norm_faults(use_batch_norm=False, norm_init="ones", join="layer")) == []
    one, other = batch_norm_faults(use_batch_norm=False, norm_init="normal", join="norm")
    assert one.startswith('norm_init = "normal"')
    assert other.startswith('join = "norm"')
