from __future__ import annotations

import logging
import re

import pytest
import torch
from torch import nn

from gflow_core.errors import Diverged, PluginError
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.spec import Ema, Train
from gflow_core.scores.feature_scores import Frechet, Inception, Kernel, Memorization, Prdc
from gflow_core.scores.features import Features, Vectors, as_stored, real_index, score_name

SMALL = {"samples": 200, "batch_size": 64}


def parts(encoder):
    return [
        Frechet(encoder=encoder, **SMALL),
        Kernel(encoder=encoder, subset_size=100, real_samples=400, subsets=5, **SMALL),
        Inception(encoder=encoder, real_samples=400, **SMALL),
        Prdc(encoder=encoder, real_samples=400, **SMALL),
        Memorization(encoder=encoder, pairs=2, **SMALL),
    ]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The cache's files, as they are when called."""
    monkeypatch.setenv("GFLOW_CACHE", str(tmp_path / "cache"))
    return lambda: sorted((tmp_path / "cache" / "features").iterdir())


@pytest.mark.parametrize("kind", range(5))
def test_real_items_are_encoded_once_and_calls_repeat_bit_for_bit(scene, files, log, kind):
    encoder = scene.Encoding()
    part = parts(encoder)[kind]
    first = scene.score(part, scene.Pictures(), scene.Uniform(), progress=log)
    assert encoder.items() > 200
    assert "real features" in log
    second = scene.score(part, scene.Pictures(), scene.Uniform())
    assert encoder.items() == 200
    assert (second.scores, second.manifest) == (first.scores, first.manifest)
    for file in files():
        file.unlink()
    assert scene.score(part, scene.Pictures(), scene.Uniform()).scores == first.scores
    assert scene.score(part, scene.Pictures(), scene.Uniform(), seed=2).scores != first.scores


def flip(raw):
    """One bit of the last tensor, which no header mentions."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize("damage", [flip, lambda raw: raw[: len(raw) // 2], lambda raw: b"", lambda raw: b"?" * 99])
@pytest.mark.parametrize("kind", [0, 1])
def test_a_damaged_cache_file_is_made_again(scene, files, kind, damage):
    encoder = scene.Encoding()
    part = parts(encoder)[kind]
    first = scene.score(part, scene.Pictures(), scene.Uniform())
    whole = encoder.items()
    (file,) = files()
    raw = file.read_bytes()
    file.write_bytes(damage(raw))
    assert scene.score(part, scene.Pictures(), scene.Uniform()).scores == first.scores
    assert encoder.items() == whole
    assert file.read_bytes() == raw


def test_a_cache_that_cannot_be_written_is_reported_and_not_fatal(scene, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    part = Frechet(encoder=scene.Encoding(), **SMALL)
    first = scene.score(part, scene.Pictures(), scene.Uniform())
    monkeypatch.setenv("GFLOW_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "gflow"):
        assert scene.score(part, scene.Pictures(), scene.Uniform()).scores == first.scores
    assert "GFLOW_CACHE" in caplog.text


def test_other_weights_data_or_counts_are_other_files(scene, files):
    for encoder, n, real in (
        (scene.Encoding(), 600, None),
        (scene.Encoding(weights="xyz"), 600, None),
        (scene.Encoding(name="other"), 600, None),
        (scene.Encoding(), 500, None),
        (scene.Encoding(), 600, 300),
    ):
        part = Frechet(encoder=encoder, real_samples=real, **SMALL)
        scene.score(part, scene.Pictures(n=n), scene.Uniform())
        assert encoder.items() == (real or n) + 200
    assert len(files()) == 5


def test_kernel_and_prdc_share_their_features(scene, files):
    encoder = scene.Encoding()
    for part in parts(encoder)[1::2]:
        scene.score(part, scene.Pictures(), scene.Uniform())
    assert encoder.items() == 400 + 2 * 200
    assert len(files()) == 1


def test_vectors_need_no_network_and_no_cache(scene, tmp_path, monkeypatch):
    monkeypatch.setenv("GFLOW_CACHE", str(tmp_path / "cache"))
    result = scene.score(Frechet(**SMALL), scene.Points(), scene.Affine())
    assert "FD(data)" in result.scores
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("kind", [0, 1, 3, 4])
def test_images_without_an_encoder_and_encoders_that_cannot_read_the_data_are_refused(scene, kind):
    (message,) = parts(None)[kind].check(scene.spec(scene.Pictures()))
    assert "set encoder" in message
    messages = parts(scene.Encoding())[kind].check(scene.spec(scene.Points()))
    assert any(message.startswith("encoder: reads images") for message in messages)


@pytest.mark.parametrize("kind", range(5))
def test_the_manifest_is_the_protocol_and_nothing_of_the_run(scene, kind):
    def manifest(**options):
        return scene.score(parts(scene.Encoding())[kind], scene.Pictures(), scene.Uniform(), **options).manifest

    found = manifest()
    wanted = {
        "n_fake": 200,
        "split": "train",
        "data": scene.Pictures().load().fingerprint,
        "encoder": "projection",
        "weights": "abc",
        "resizer": "none",
        "ema": False,
        "batch_norm": "eval",
    }
    assert found.items() >= wanted.items()
    assert found["n_real"] == (600 if kind in (0, 4) else 400)
    assert manifest(seed=5, step=9) == found
    assert manifest(train=Train(ema=Ema(decay=0.9)))["ema"] is True


def test_images_reach_the_encoder_with_the_8_bits_of_the_data(scene):
    class Loud(nn.Module):
        def forward(self, z, y=None):
            return (4 * z).view(-1, 1, 6, 6)

    encoder = scene.Encoding()
    features = Features.of(scene.subject(scene.Pictures(), Loud()), encoder, 50)
    (x,) = features.samples(50)
    levels = torch.arange(256, dtype=torch.float32).div(127.5).sub(1)
    assert torch.isin(x, levels).all()
    assert x.min() == -1
    assert x.max() == 1
    features = Features.of(scene.subject(scene.Pictures(), scene.Copies), encoder, 50)
    (x,) = features.samples(50)
    items = features.subject.data.batch(torch.arange(600)).x
    assert all((item == items).flatten(1).all(1).any() for item in x)


def test_a_sampler_that_diverged_is_named(scene):
    class Nowhere(nn.Module):
        def forward(self, z, y=None):
            return z * torch.nan

    with pytest.raises(Diverged, match="step 7: features of samples are NaN or infinite"):
        scene.score(Frechet(**SMALL), scene.Points(), Nowhere())


ENCODED = {
    "a number an item": (lambda found: found[:, 0], "returns [64] for 64 items, [64, 5] is expected"),
    "fewer items": (lambda found: found[1:], "returns [63, 5] for 64 items, [64, 5] is expected"),
    "other features": (lambda found: found[:, 1:], "returns [64, 4] for 64 items, [64, 5] is expected"),
    "complex": (lambda found: found + 0j, "returns torch.complex64 for 64 items, real floats are expected"),
    "nothing": (lambda found: None, "returns nothing (None) for 64 items, a tensor is expected"),
}


@pytest.mark.parametrize("what", ENCODED)
def test_features_are_a_row_for_each_item(scene, monkeypatch, what):
    change, said = ENCODED[what]
    encoder = scene.Encoding()
    projection = type(encoder.build(scene.Pictures().data_shape(), torch.device("cpu")))
    own = projection.__call__
    monkeypatch.setattr(projection, "__call__", lambda self, x: change(own(self, x)))
    with pytest.raises(PluginError, match=re.escape(f"encoder projection: {said}")):
        scene.score(Frechet(encoder=encoder, **SMALL), scene.Pictures(), scene.Uniform())


def test_real_items_are_distinct_and_the_same_in_every_run(scene):
    data = scene.Points(n=100).load()
    index = real_index(data, 60)
    torch.manual_seed(5)
    assert (real_index(data, 100)[:60] == index).all()
    assert len(index.unique()) == 60
    assert index.max() > 60, "a permutation of all items, not of the first"


def test_names():
    encoder = Vectors(2)
    assert score_name("FID", "FD", encoder) == "FD(data)"
    encoder.name = "inception"
    assert score_name("FID", "FD", encoder) == "FID"


# ------------------------------------------------------------------ 8 bits


@pytest.mark.parametrize("rule", ["x255", "x256"])
def test_the_256_levels_are_kept_by_both_rules(rule):
    levels = (torch.arange(256) / 127.5 - 1).view(1, 1, 16, 16)
    shape = DataShape("image", (1, 16, 16), -1.0, 1.0)
    assert torch.equal(as_stored(levels, shape, rule), levels)
    beyond = torch.tensor([-9.0, -1.001, 1.001, 9.0]).view(1, 1, 2, 2)
    assert as_stored(beyond, DataShape("image", (1, 2, 2), -1.0, 1.0), rule).flatten().tolist() == [-1, -1, 1, 1]
    points = torch.randn(3, 2)
    assert as_stored(points, DataShape("vector", (2,)), rule) is points


def test_between_the_levels_one_rule_rounds_and_the_other_cuts():
    half = torch.linspace(0, 1, 4001, dtype=torch.float64)[1:-1]  # (x + 1) / 2
    half = half[((255 * half + 0.5) % 1 > 1e-6) & ((256 * half) % 1 > 1e-6)]  # on no border
    shape = DataShape("image", (1, 1, len(half)), -1.0, 1.0)
    found = {
        rule: (as_stored((2 * half - 1).view(shape.shape)[None], shape, rule) + 1) * 127.5 for rule in ("x255", "x256")
    }
    assert torch.allclose(found["x255"].flatten(), (255 * half).round())
    assert torch.allclose(found["x256"].flatten(), (256 * half).floor())
    apart = (found["x255"] != found["x256"]).double().mean()
    assert float(apart) == pytest.approx(1 / 4, abs=0.01), "E|h - 1/2|: they lie h - 1/2 of a step apart"
