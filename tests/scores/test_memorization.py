from __future__ import annotations

import pytest
import torch

from gflow_core.data.parts import CelebA, Gaussian, ImageFolder, Mnist5k, Ring
from gflow_core.scores.feature_scores import Memorization
from gflow_core.scores.held_out import held_out
from gflow_core.scores.memorization import _Closest


def test_copies_are_found(scene):
    result = scene.score(Memorization(encoder=scene.Encoding()), scene.Pictures(), scene.Copies)
    assert result.scores["distance_ratio"] == pytest.approx(0, abs=1e-5)
    assert result.scores["close_share"] == 1
    assert result.scores["median_distance_held_out"] > 0


def test_draws_of_the_datas_own_law_pass(scene):
    part = Memorization(encoder=scene.Encoding(), quantile=0.1)
    result = scene.score(part, scene.Pictures(n=2000), scene.Uniform())
    assert result.scores["distance_ratio"] == pytest.approx(1, abs=0.05)
    assert result.scores["close_share"] == pytest.approx(0.1, abs=0.03)
    assert (
        result.manifest.items()
        >= {
            "n_real": 2000,
            "n_fake": 2000,
            "n_held_out": 2000,
            "split": "train",
            "held_out_split": "test",
            "held_out_data": scene.Pictures(n=2000, split="test").load().fingerprint,
            "quantile": 0.1,
        }.items()
    )


def test_a_few_copies_show_in_the_share_though_not_in_the_median(scene):
    part = Memorization(encoder=scene.Encoding())
    scores = scene.score(part, scene.Pictures(), lambda data: scene.Copies(data, 0.2, scene.Uniform())).scores
    assert scores["close_share"] == pytest.approx(0.2 + 0.8 * 0.05, abs=0.05)
    assert scores["distance_ratio"] > 0.7


def test_vectors_are_compared_in_their_own_plane(scene):
    part, data = Memorization(samples=1000), Gaussian(n=2000)
    assert scene.score(part, data, scene.Copies).scores["distance_ratio"] == 0
    result = scene.score(part, data, scene.Affine())
    assert result.scores["distance_ratio"] == pytest.approx(1, abs=0.15)
    assert result.figures.keys() == {"distances"}
    assert scene.score(part, data, scene.Affine(shift=50)).scores["distance_ratio"] > 100


def test_only_some_training_items_may_be_searched(scene):
    result = scene.score(Memorization(real_samples=100), Gaussian(n=2000), scene.Copies)
    assert result.manifest["n_real"] == 100
    assert result.scores["distance_ratio"] > 0


def test_pictures_show_the_nearest_pairs_first(scene, tmp_path):
    part = Memorization(encoder=scene.Encoding(), pairs=6)
    result = scene.score(part, scene.Pictures(), lambda data: scene.Copies(data, 0.5, scene.Uniform()))
    axes = [a for a in result.figures["pairs"].axes if a.images]
    assert len(axes) == 6
    for drawn in axes:
        sample, item = torch.tensor(drawn.images[0].get_array()).split(6, dim=1)
        assert (sample == item).all(), "half of the samples are copies, so the nearest six are"
    result = scene.score(part, scene.Pictures(), scene.Uniform())
    shown = [float(a.get_title()) for a in result.figures["pairs"].axes if a.images]
    assert shown == sorted(shown)
    assert shown[0] > 0
    for name, figure in result.figures.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 3000


def test_fewer_samples_than_pairs_are_all_drawn(scene):
    result = scene.score(Memorization(encoder=scene.Encoding(), samples=3), scene.Pictures(), scene.Uniform())
    assert len([a for a in result.figures["pairs"].axes if a.images]) == 3


def test_the_closest_pairs_do_not_depend_on_the_pieces():
    generator = torch.Generator().manual_seed(0)
    distance = torch.rand(40, generator=generator, dtype=torch.float64)
    x, neighbour = distance.float().view(-1, 1, 1, 1).clone(), torch.arange(40)
    for sizes in ([40], [3, 30, 7], [1] * 40):
        pairs = _Closest(5)
        for i in neighbour.split(sizes):
            pairs.add(distance[i], x[i], neighbour[i])
        order = distance.argsort()[:5]
        assert (pairs.neighbour == order).all()
        assert (pairs.distance == distance[order]).all()
        assert (pairs.x == x[order]).all()


def test_held_out_items_are_the_other_split(scene):
    assert held_out(Ring()) == Ring(split="test")
    assert held_out(Ring(split="test")) == Ring(split="train")
    result = scene.score(Memorization(encoder=scene.Encoding()), scene.Pictures(split="test"), scene.Copies)
    assert result.manifest["held_out_split"] == "train"
    assert result.scores["distance_ratio"] == pytest.approx(0, abs=1e-5)


def test_data_without_held_out_items_is_refused(scene):
    def said(dataset):
        return " ".join(Memorization(encoder=scene.Encoding()).check(scene.spec(dataset)))

    assert 'set it to "train"' in said(Mnist5k())
    assert 'set it to "train"' in said(CelebA())
    assert "no option split" in said(ImageFolder(root="somewhere"))
    assert said(Mnist5k(split="train")) == ""
