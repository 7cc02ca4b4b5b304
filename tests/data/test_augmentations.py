"""Augmentations against plain versions of what their papers say, image by image."""

from __future__ import annotations

import pytest
import torch

from gflow_core.data.augmentations import Color, Cutout, DiffAugment, Dither, Flip, Translation
from gflow_core.optim.schedules import Linear
from gflow_core.parts.nouns import DataShape

SHAPE = DataShape("image", (3, 8, 8), -1.0, 1.0)


@pytest.fixture
def x():
    return torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


def drawn(part, n=40, done=0):
    return part.draw(n, SHAPE, torch.Generator().manual_seed(0), done)


def test_colour_is_brightness_then_saturation_then_contrast(x):
    part = Color()
    u = drawn(part)
    out = part.apply(x, u)
    for i in range(len(x)):
        brightness, saturation, contrast = u[i, 1:].tolist()
        image = x[i] + brightness - 0.5
        grey = image.mean(0)
        image = torch.stack([(channel - grey) * 2 * saturation + grey for channel in image])
        image = (image - image.mean()) * (contrast + 0.5) + image.mean()
        torch.testing.assert_close(out[i], image, atol=1e-5, rtol=1e-5)


def test_translation_moves_whole_pixels_and_fills_with_zeros(x):
    part = Translation(share=0.25)
    out = part.apply(x, drawn(part))
    moves = set()
    for i in range(len(x)):
        found = []
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                moved = torch.zeros(3, 8, 8)
                moved[:, max(dy, 0) : 8 + min(dy, 0), max(dx, 0) : 8 + min(dx, 0)] = x[
                    i, :, max(-dy, 0) : 8 + min(-dy, 0), max(-dx, 0) : 8 + min(-dx, 0)
                ]
                if torch.equal(moved, out[i]):
                    found.append((dy, dx))
        assert len(found) == 1
        moves.add(found[0])
    assert {dy for dy, _ in moves} == {dx for _, dx in moves} == {-2, -1, 0, 1, 2}


def test_cutout_is_one_square_of_zeros(x):
    part = Cutout(share=0.5)
    out = part.apply(x, drawn(part))
    sizes = set()
    for i in range(len(x)):
        hole = (out[i] == 0).all(0)
        assert torch.equal(out[i][:, ~hole], x[i][:, ~hole])
        rows, columns = hole.any(1).nonzero().flatten(), hole.any(0).nonzero().flatten()
        assert hole.sum() == len(rows) * len(columns), "a rectangle: the square within the image"
        sizes |= {len(rows), len(columns)}
    assert max(sizes) == 4
    assert min(sizes) >= 1, "its centre lies in the image"


def test_a_share_of_the_items_is_changed_and_may_follow_the_steps(x):
    part = Cutout(probability=Linear(start=0.0, end=1.0, steps=10))
    for done, low, high in ((0, 0, 0), (5, 8, 32), (10, 40, 40)):
        changed = (part.apply(x, drawn(part, done=done)) != x).flatten(1).any(1).sum()
        assert low <= changed <= high


def test_flip_and_dither(x):
    flip = Flip()
    u = drawn(flip)
    out = flip.apply(x, u)
    assert torch.equal(out[u], x[u].flip(-1))
    assert torch.equal(out[~u], x[~u])
    assert 8 < u.sum() < 32
    noise = Dither().apply(x, drawn(Dither())) - x
    assert noise.min() >= -1e-7
    assert noise.max() < 1 / 128 + 1e-6


@pytest.mark.parametrize("part", [Color(), Translation(), Cutout(), Flip(), Dither()], ids=lambda p: type(p).__name__)
def test_they_are_for_images_and_differentiable(part, x):
    assert list(part.check(DataShape("vector", (2,))))
    assert not list(part.check(SHAPE))
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(part.apply(x, drawn(part)).square().sum(), x)
    assert gradient.any()


def test_diffaugment_is_its_three_after_one_another(x):
    part = DiffAugment(policy=("translation", "color", "cutout"))
    out = part.apply(x, drawn(part))
    generator = torch.Generator().manual_seed(0)
    for one in (Translation(), Color(), Cutout()):
        x = one.apply(x, one.draw(len(x), SHAPE, generator, 0))
    assert torch.equal(out, x)
