from __future__ import annotations

import hashlib
import zipfile
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gflow_core.data.parts import Mnist5k
from gflow_core.encoders.parts import DigitsEncoder, Inception
from gflow_core.errors import DataError
from gflow_core.parts.nouns import no_progress
from gflow_core.scores.features import real_index
from gflow_core.scores.image_scores import Inversion
from gflow_core.scores.inversion import _reader


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
    seen = Inversion(
        count=2, steps=100, starts=1, rate=0.3, encoder=scene.Encoding(dim=3), distance="features", weight=100.0
    )

    def gap(part):
        result = scene.score(part, DIGITS, Plane(30))
        return result.scores["error"]

    assert gap(seen) > gap(plain) * 1.001, "pixels give way"
    assert "rounds images" in " ".join(Inversion(encoder=Inception()).check(scene.spec(DIGITS)))


def test_maps_are_compared_as_lpips_does_it(scene):
    """Position by position: channels by their length, squared differences, means over positions, sums over depths."""

    class Maps:
        def maps(self, x):
            return [x, x[:, :, ::2, ::2].relu() ** 2]

    read = _reader(Maps(), "maps")
    x, y = torch.randn(2, 3, 5, 4, 4, generator=torch.Generator().manual_seed(0)).unbind()
    x[0, :, 0, 0] = -1  # a position where a map is 0 in all channels
    wanted = torch.zeros(3)
    for a, b in zip(Maps().maps(x), Maps().maps(y), strict=True):
        for i, row, column in product(range(3), range(a.shape[2]), range(a.shape[3])):
            one, other = (F.normalize(m[i, :, row, column], dim=0) for m in (a, b))
            wanted[i] += (one - other).square().sum() / (a.shape[2] * a.shape[3])
    assert torch.allclose((read(x) - read(y)).square().sum(1), wanted, atol=1e-4)
    (slope,) = torch.autograd.grad(read(x.requires_grad_()).square().sum(), x)
    assert slope.isfinite().all()


@pytest.mark.parametrize("distance", ["maps", "features"])
def test_a_known_sample_is_found_again_by_what_an_encoder_sees(scene, distance):
    """Weighed so that pixels count for nothing beside it."""
    part = Inversion(
        count=2, steps=150, starts=3, rate=0.3, encoder=DigitsEncoder(weights="random"), distance=distance, weight=1e4
    )
    result = scene.score(part, DIGITS, Plane(10))
    assert result.scores["error_samples"] < 0.02
    assert result.manifest["distance"] == distance


def test_latents_stay_within_their_law(scene):
    from gflow_core.nn.latents import Uniform

    subject = scene.subject(DIGITS, Plane(30))
    subject.spec.sampler.latent = Uniform(dim=30, low=-0.01, high=0.01)
    result = Inversion(count=2, steps=20, starts=1, rate=0.3).build()(subject)
    x = Mnist5k(split="test", limit=20).load().batch(ORDER[:2]).x
    even = x.square().flatten(1).mean(1).sqrt().mean()  # the error of an image of zeros
    assert result.scores["error"] == pytest.approx(float(even), rel=0.01)


def test_a_folder_of_images_is_looked_for_in_place_of_held_out_ones(scene, make, tmp_path):
    """One that the sampler can make is found; of the others, the first, only so many are looked for."""
    sampler = Plane(30)
    made = sampler(torch.randn(1, 30, generator=torch.Generator().manual_seed(2)))[0, 0].detach()
    made = (made / made.abs().max() * 127.5 + 127.5).round().byte().numpy()
    folder = tmp_path / "mine"
    make.write({"a.png": make.png(made)}, folder)
    make.write({"b.png": make.png(255 - np.tri(56, 84, dtype=np.uint8) * 200)}, folder)
    make.write({"c.png": make.png(made)}, folder)
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("a.png", "b.png")}
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for name in ("a.png", "b.png", "c.png"):
            archive.write(folder / name, name)
    found = {}
    for place in (folder, tmp_path / "mine.zip"):
        part = Inversion(images=str(place), count=2, steps=150, starts=2, rate=0.3)
        result = scene.score(part, DIGITS, sampler)
        assert result.manifest["images"] == files
        assert result.manifest["n_real"] == result.manifest["n_fake"] == 2
        assert "held_out_split" not in result.manifest
        found[place] = [row["error"] for row in result.tables["errors"]]
    assert found[folder] == pytest.approx(found[tmp_path / "mine.zip"])
    assert found[folder][0] < 0.02 < 0.1 < found[folder][1]
    few = scene.score(Inversion(images=str(folder), count=8, steps=2, starts=1), DIGITS, sampler)
    assert (few.manifest["n_real"], few.manifest["n_fake"]) == (3, 3)


def test_images_that_are_not_there_are_missed_before_training(scene, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, words in {"absent": "images not found; looked for .*set images to", "empty": "holds no images"}.items():
        part = Inversion(images=str(tmp_path / name))
        with pytest.raises(DataError, match=words):
            part.prepare(scene.spec(DIGITS), torch.device("cpu"), no_progress)
    labelled = scene.spec(DIGITS)
    labelled.sampler.conditional = True
    assert "have no labels" in " ".join(part.check(labelled))
    with pytest.raises(ValueError, match="expected a folder, zip or tar"):
        Inversion(images="")
