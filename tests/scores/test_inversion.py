from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gflow_core.data.parts import Mnist5k
from gflow_core.encoders.parts import Inception
from gflow_core.scores.features import real_index
from gflow_core.scores.image_scores import Inversion


class Plane(nn.Module):
    """z -> an image in the span of `rank` fixed ones."""

    def __init__(self, rank, size=28):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.basis = nn.Parameter(torch.linalg.qr(torch.randn(size * size, rank, generator=generator)).Q.T)
        self.size, self.rank = size, rank

    def forward(self, z, y=None):
        return (z[:, : self.rank] @ self.basis).view(-1, 1, self.size, self.size)


DIGITS = Mnist5k(split="train", limit=20)
ORDER = real_index(range(20), 20)


def test_what_the_sampler_made_is_found_back_and_data_up_to_their_projection(scene):
    """Of an image outside the span the best is its projection, whose error has a closed form."""
    sampler = Plane(30)
    result = scene.score(Inversion(count=3, steps=150, starts=2, rate=0.3), DIGITS, sampler)
    assert result.scores["error_samples"] < 1e-3
    x = Mnist5k(split="test", limit=20).load().batch(ORDER[:3]).x.flatten(1)
    basis = sampler.basis.detach()
    left = x - x @ basis.T @ basis
    wanted = left.square().mean(1).sqrt()
    assert [row["error"] for row in result.tables["errors"]] == pytest.approx(wanted.tolist(), rel=0.01)
    assert result.scores["error"] == pytest.approx(float(wanted.mean()), rel=0.01)
    assert result.manifest.items() >= {"held_out_split": "test split", "n_real": 3, "starts": 2}.items()
    assert sampler.basis.grad is None
    assert np.asarray(result.figures["data"].axes[0].images[0].get_array()).shape == (3 * 30 + 2, 3 * 30 + 2, 3)


def test_features_are_made_to_agree_where_there_is_an_encoder(scene):
    """An encoder that sees little beside pixels draws the found image to the one of equal features."""
    plain = Inversion(count=2, steps=100, starts=1, rate=0.3)
    seen = Inversion(count=2, steps=100, starts=1, rate=0.3, encoder=scene.Encoding(dim=3), weight=100.0)

    def gap(part):
        result = scene.score(part, DIGITS, Plane(30))
        return result.scores["error"]

    assert gap(seen) > gap(plain) * 1.001, "pixels give way"
    assert "rounds images" in " ".join(Inversion(encoder=Inception()).check(scene.spec(DIGITS)))


def test_latents_stay_within_their_law(scene):
    from gflow_core.nn.latents import Uniform

    subject = scene.subject(DIGITS, Plane(30))
    subject.spec.sampler.latent = Uniform(dim=30, low=-0.01, high=0.01)
    result = Inversion(count=2, steps=20, starts=1, rate=0.3).build()(subject)
    x = Mnist5k(split="test", limit=20).load().batch(ORDER[:2]).x
    even = x.square().flatten(1).mean(1).sqrt().mean()  # the error of an image of zeros
    assert result.scores["error"] == pytest.approx(float(even), rel=0.01)
