"""ADA's changes, each alone against what it says, and its probability."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from gflow_core.data.adaptive import _ALL, _NORMAL, _UNIFORM, Ada, _sampled
from gflow_core.parts.nouns import DataShape

SHAPE = DataShape("image", (3, 8, 8), -1.0, 1.0)
PLACES = {
    name: i for i, name in enumerate([*_ALL, *(f"u {name}" for name in _UNIFORM), *(f"n {name}" for name in _NORMAL)])
}


@pytest.fixture
def x():
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


def changed(x, *there, **numbers):
    """Images under the named changes and no other, with these numbers."""
    drawn = torch.full((len(x), len(PLACES)), 0.5)
    drawn[:, : len(_ALL)] = 0
    for name in there:
        drawn[:, PLACES[name]] = 1
    for name, value in numbers.items():
        drawn[:, PLACES[name.replace("_", " ")]] = value
    return Ada().apply(x, drawn)


def test_nothing_is_changed_where_p_is_0_and_all_where_it_is_1(x):
    part = Ada()
    drawn = part.draw(5, SHAPE, torch.Generator().manual_seed(0), 0)
    state = part.begin()
    assert torch.equal(part.apply(x, part.decided(drawn, state)), x)
    everything = part.decided(drawn, torch.tensor([1.0, 0.0, 0.0]))
    assert bool((everything[:, : len(_ALL)] == 1).all())
    assert torch.equal(everything[:, len(_ALL) :], drawn[:, len(_ALL) :])


def test_each_change_is_made_with_probability_p():
    part = Ada()
    n, p = 20_000, 0.3
    drawn = part.draw(n, SHAPE, torch.Generator().manual_seed(0), 0)
    made = dict(zip(_ALL, part.decided(drawn, torch.tensor([p, 0.0, 0.0]))[:, : len(_ALL)].unbind(1), strict=True))
    either = made.pop("before").maximum(made.pop("after"))
    for share in (either, *made.values()):
        assert float(share.mean()) == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / n))


def test_whole_pixels_move_without_rounding(x):
    assert torch.equal(changed(x, "flip", u_flip=0.9), x.flip(-1))
    assert torch.equal(changed(x, "flip", u_flip=0.2), x)
    for quarter in range(4):
        turned = changed(x, "turn", u_turn=quarter / 4 + 0.1)
        torch.testing.assert_close(turned, x.rot90(quarter, (2, 3)), atol=1e-5, rtol=0)
    mirrored = torch.cat([x[..., :1], x[..., :-1]], -1)  # one pixel to the right: the border is seen twice
    moved = {tuple(changed(x, "shift", u_shift_x=u, u_shift_y=0.5).flatten().tolist()) for u in (0.0, 0.5, 0.999)}
    assert tuple(mirrored.flatten().tolist()) in moved
    assert len(moved) == 3


def test_places_between_pixels_are_torchs_own(x):
    place = torch.eye(3) + 0.7 * torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(2))
    place[:, :2, 2] *= 5
    y = x[..., :6]  # not a square
    rows, columns = torch.meshgrid(torch.arange(8) - 3.5, torch.arange(6) - 2.5, indexing="ij")
    at = torch.stack([columns, rows, torch.ones(8, 6)], -1) @ place[:, :2].transpose(1, 2).unsqueeze(1)
    grid = at / torch.tensor([3.0, 4.0])
    expected = F.grid_sample(y, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    torch.testing.assert_close(_sampled(y, place), expected, atol=1e-4, rtol=0)


def test_scaling_enlarges_about_the_centre():
    ramp = torch.linspace(-0.7, 0.7, 8).expand(1, 3, 8, 8)
    torch.testing.assert_close(changed(ramp, "scale", n_scale=5.0)[..., 2:6], ramp[..., 2:6] / 2, atol=1e-5, rtol=0)
    stretched = changed(ramp, "stretch", n_stretch=5.0)  # twice as wide, half as high
    torch.testing.assert_close(stretched[..., 2:6], ramp[..., 2:6] / 2, atol=1e-5, rtol=0)


def test_colours_turn_about_the_greys(x):
    grey, luma = x.mean(1, keepdim=True).expand_as(x), x.mean(1)
    same = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(changed(x, "brightness", n_brightness=1.5), x + 0.3, **same)
    torch.testing.assert_close(changed(x, "contrast", n_contrast=2.0), 2 * x, **same)
    torch.testing.assert_close(
        changed(x, "brightness", "contrast", n_brightness=1.5, n_contrast=2.0), 2 * (x + 0.3), **same
    )
    torch.testing.assert_close(changed(x, "luma", u_luma=0.9), x - 2 * grey, **same)
    torch.testing.assert_close(changed(x, "saturation", n_saturation=1.0), grey + 2 * (x - grey), **same)
    hue = changed(x, "hue", u_hue=0.5 + 1 / 3)  # a third of the circle: the channels change places
    torch.testing.assert_close(hue, x.roll(1, 1), **same)
    for part, numbers in {"hue": {"u_hue": 0.8}, "saturation": {"n_saturation": -2.0}}.items():
        torch.testing.assert_close(changed(x, part, **numbers).mean(1), luma, **same)
    one = x[:, :1]
    torch.testing.assert_close(changed(one, "luma", u_luma=0.9), -one, **same)
    torch.testing.assert_close(changed(one, "hue", "saturation", u_hue=0.8, n_saturation=2.0), one, **same)


def test_a_penalty_can_look_through_it(float64):
    x = torch.randn(2, 1, 4, 4, requires_grad=True)
    drawn = Ada().draw(2, SHAPE, torch.Generator().manual_seed(3), 0)
    assert torch.autograd.gradgradcheck(lambda x: Ada().apply(x, drawn).square(), x, atol=1e-3, eps=1e-3)


@pytest.mark.parametrize(("sign", "moved"), [(0.9, 1), (0.6, 0), (-1.0, -1)])
def test_p_follows_the_sign_of_what_is_missing(sign, moved):
    part = Ada(start=0.5, images=1000)
    state = part.begin().expand(2, 3)  # two replicas, of which one is sure of all
    for update in range(1, 9):
        state = part.adapted(state, torch.tensor([sign, 1.0]), 10)
        assert state[:, 0].tolist() == pytest.approx([0.5 + moved * 0.04 * (update // 4), 0.5 + 0.04 * (update // 4)])
    for _ in range(200):
        state = part.adapted(state, torch.tensor([sign, 1.0]), 10)
    assert state[:, 0].tolist() == pytest.approx([0.5 + moved * 0.5, 1])


def test_without_a_target_p_stays():
    part = Ada(start=0.2, target=None)
    assert torch.equal(part.adapted(part.begin(), torch.tensor(1.0), 10**6), part.begin())


def test_what_it_cannot_change():
    assert list(Ada().check(DataShape("vector", (2,))))
    assert list(Ada().check(DataShape("image", (4, 8, 8))))
