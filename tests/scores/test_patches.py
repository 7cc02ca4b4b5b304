from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from torch import nn

from gflow_core.data.parts import Mnist5k
from gflow_core.errors import DataError
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.nn.latents import Normal
from gflow_core.parts.analysis import Subject
from gflow_core.parts.spec import Spec
from gflow_core.scores.features import real_index
from gflow_core.scores.image_scores import SlicedWasserstein
from gflow_core.scores.patches import descriptors, laplacian_level, levels_of


@pytest.fixture
def x():
    return torch.randn(5, 3, 32, 24, generator=torch.Generator().manual_seed(0))


# ------------------------------------------------------------------ the pyramid

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def test_levels_are_those_of_the_published_filters(x):
    """By scipy's convolution, as the authors' code has it: down, zeros between, up."""
    levels = laplacian_level(x.double(), 0, last=False)
    for plane, level in zip(x.double().flatten(0, 1).numpy(), levels.flatten(0, 1).numpy(), strict=True):
        half = convolve(plane, KERNEL, mode="mirror")[::2, ::2]
        spread = np.zeros(plane.shape)
        spread[::2, ::2] = half
        assert np.allclose(level, plane - convolve(spread, 4 * KERNEL, mode="mirror"), atol=1e-12)


def test_an_even_image_has_all_of_itself_at_the_last_level():
    grey = torch.full((1, 1, 32, 32), 0.3)
    assert laplacian_level(grey, 0, last=False).abs().max() < 1e-6
    last = laplacian_level(grey, 1, last=True)
    assert last.shape == (1, 1, 16, 16)
    assert torch.allclose(last, torch.full_like(last, 0.3))


def test_levels_halve_down_to_sixteen_pixels():
    assert levels_of(256) == [256, 128, 64, 32, 16]
    assert levels_of(28) == [28]
    assert levels_of(7) == [7]


def test_descriptors_are_the_patches_normalised_channel_by_channel(x):
    corners = torch.tensor(
        [[[0, 0], [25, 17]], [[3, 4], [1, 2]], [[9, 9], [9, 9]], [[0, 17], [25, 0]], [[7, 7], [8, 8]]]
    )
    found = descriptors(lambda rows: x[rows], corners, 0, last=True, device=x.device)
    cut = torch.stack([image[:, r : r + 7, c : c + 7] for image, at in zip(x, corners, strict=True) for r, c in at])
    mean, std = cut.mean((0, 2, 3), keepdim=True), cut.std((0, 2, 3), keepdim=True, correction=0)
    wanted = ((cut - mean) / std).permute(0, 2, 3, 1).flatten(1)
    assert torch.allclose(found, wanted, atol=1e-5)


# ------------------------------------------------------------------ the analyzer

DIGITS = Mnist5k(limit=400, image_size=32)


class Part:
    conditional = False
    latent = Normal(dim=1)


class Replay(nn.Module):
    """Items of the data one after another from number `start` on, changed by `change`."""

    def __init__(self, data, index, change=lambda x: x):
        super().__init__()
        self.x, self.change, self.done = data.batch(index).x, change, 0

    def forward(self, z, y=None):
        self.done += len(z)
        return self.change(self.x[self.done - len(z) : self.done])


def look(dataset, *, start=0, change=lambda x: x, samples=200, **options):
    part, spec = SlicedWasserstein(samples=samples, **options), Spec(dataset=dataset, sampler=Part())
    assert list(part.check(spec)) == []
    data = dataset.load()
    sampler = Replay(data, real_index(data, len(data))[start:], change)
    return part.build()(Subject(spec, Runtime(torch.device("cpu")), Streams(1), data=data, sampler=sampler))


SMALL = {"patches": 16, "projections": 64}


def test_the_same_images_are_at_no_distance_and_others_at_that_of_the_data():
    same, other = (look(DIGITS, start=start, **SMALL) for start in (0, 200))
    assert same.scores["sliced_wasserstein"] == 0
    for name in ("sliced_wasserstein", "sliced_wasserstein_32", "sliced_wasserstein_16"):
        assert other.scores[name] == pytest.approx(other.scores[f"{name}_real"], rel=1e-4)
        assert 0 < other.scores[name] < 100
    mean = (other.scores["sliced_wasserstein_32"] + other.scores["sliced_wasserstein_16"]) / 2
    assert other.scores["sliced_wasserstein"] == pytest.approx(mean)
    assert other.manifest.items() >= {"n_real": 200, "n_fake": 200, "patches": 16, "projections": 64}.items()
    assert [t.get_text() for t in other.figures["sliced_wasserstein"].axes[0].get_xticklabels()] == ["32 px", "16 px"]


def test_each_level_sees_what_is_of_its_size():
    """Noise in single pixels is in the finest level alone: the coarser one averages it away."""
    generator = torch.Generator().manual_seed(0)

    def noisy(x):
        return x + 0.3 * torch.randn(x.shape, generator=generator)

    scores = look(DIGITS, start=200, change=noisy, **SMALL).scores
    fine, coarse = (
        scores[f"sliced_wasserstein_{side}"] / scores[f"sliced_wasserstein_{side}_real"] for side in (32, 16)
    )
    assert fine > 3 * coarse


def test_half_of_the_data_is_compared_at_most_and_the_seed_chooses_the_patches():
    one, other = (look(DIGITS, samples=500, start=200, seed=seed, **SMALL) for seed in (0, 1))
    assert one.manifest["n_fake"] == 200
    assert one.scores["sliced_wasserstein"] != other.scores["sliced_wasserstein"]
    with pytest.raises(DataError, match="one item"):
        look(Mnist5k(limit=1))
