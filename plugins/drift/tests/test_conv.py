"""The convolutional sampler, and drifting of images in features."""

from __future__ import annotations

import attrs
import pytest
import torch

from gflow_core import TINY, Adam, DataShape, Recipe, Spec, Train
from gflow_core.methods.velocities import Flow
from gflow_core.runs.build import build
from gflow_drift.conv import ConvSampler, levels
from gflow_drift.parts import ConvSampler as Part
from gflow_drift.parts import Field


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((28, 28), [(7, 7), (14, 14)]),
        ((32, 32), [(8, 8), (16, 16)]),
        ((64, 48), [(8, 6), (16, 12), (32, 24)]),
        ((10, 10), [(5, 5)]),
        ((30, 60), [(15, 30)]),
    ],
)
def test_images_are_halved_to_a_few_pixels(size, expected):
    assert levels(*size) == expected
    network = ConvSampler(3, (1, *size), channels=8)
    assert network(torch.randn(2, 3)).shape == (2, 1, *size)


def test_it_is_what_its_docstring_says():
    network = ConvSampler(64, (3, 32, 32), channels=16, labels=10)
    linear = 74 * 8 * 8 * 32 + 8 * 8 * 32
    norms = 2 * (32 + 32 + 16 + 16)
    convolutions = 9 * (32 * 32 + 32 * 16 + 16 * 16 + 16 * 12) + 32 + 16 + 16 + 12
    assert sum(p.numel() for p in network.parameters()) == linear + norms + convolutions
    z = torch.randn(5, 64)
    y = torch.tensor([0, 1, 2, 3, 9])
    in_training = network(z, y).detach()
    assert torch.equal(network.eval()(z, y), in_training), "no statistics of batches"
    assert float(in_training.abs().max()) <= 1
    assert not torch.allclose(network(z, (y + 1) % 10), in_training)


@pytest.mark.parametrize(
    ("part", "shape", "fault"),
    [
        (Part(), (1, 27, 28), "an even number of pixels"),
        (Part(), (1, 8, 8), "more than 8"),
        (Part(channels=12), (1, 28, 28), "no multiple of 8"),
        (Part(conditional=True), (1, 28, 28), "there are none"),
    ],
)
def test_what_it_cannot_make_is_refused(part, shape, fault):
    (message,) = part.check(DataShape("image", shape, -1.0, 1.0))
    assert fault in message


def images(velocity, data="grey", **options) -> Spec:
    return Spec(
        dataset=TINY[data],
        sampler=Part(channels=8, conditional="classes" in options),
        objective=Flow(velocity=velocity, **{"pool_size": 12, "inner_loops": 1, "clamp": "none", **options}),
        optimizer={"sampler": Adam(lr=1e-2)},
        train=Train(steps=2, batch_size=12, device="cpu"),
    )


def test_an_autoencoder_learns_anybodys_images_first(tmp_path, monkeypatch):
    monkeypatch.setenv("GFLOW_CACHE", str(tmp_path))
    spec = images(Field(encoder="self", encoder_steps=2), data="rgb")
    assert not list(spec.objective.check(spec))
    seen = build(spec).objective.velocity.features(torch.zeros(1, 3, 16, 16))
    (kept,) = tmp_path.rglob("*.safetensors")
    before = kept.stat().st_mtime_ns
    again = build(spec).objective.velocity.features(torch.zeros(1, 3, 16, 16))
    assert all(torch.equal(one, other) for one, other in zip(seen, again, strict=True))
    assert kept.stat().st_mtime_ns == before, "learned once"
    kept.write_bytes(b"damaged")
    third = build(spec).objective.velocity.features(torch.zeros(1, 3, 16, 16))
    assert all(torch.equal(one, other) for one, other in zip(seen, third, strict=True))
    vectors = attrs.evolve(spec, dataset=TINY["vector"])
    assert "an autoencoder learns images" in " ".join(vectors.objective.check(vectors))


def test_images_come_nearer_to_their_class_in_features():
    """After some steps the mean image of each class is nearer to that class of the data than to the others."""
    experiment = build(images(Field(encoder=None), data="grey-classes", classes=3, pool_size=24))
    for step in range(1, 81):
        for _ in experiment.objective.step(step):
            pass
    data = experiment.data
    y = torch.arange(3).repeat_interleave(16)
    with torch.no_grad():
        made = experiment.sampler(torch.randn(48, 64, generator=torch.Generator().manual_seed(0)), y)
    ours = torch.stack([made[y == c].mean(0) for c in range(3)]).flatten(1)
    theirs = torch.stack([data.batch((data.y == c).nonzero()[:, 0]).x.mean(0) for c in range(3)]).flatten(1)
    assert torch.cdist(ours, theirs).argmin(1).tolist() == [0, 1, 2]


def test_guidance_needs_classes_and_takes_data_of_all_of_the_pool():
    spec = images(Field(guidance=1.5, data_size=12), data="grey-classes", classes=3)
    assert not list(spec.objective.check(spec))
    experiment = build(spec)
    coupled, seen = experiment.objective.velocity, []
    inner = coupled.velocity
    coupled.velocity = lambda *a, others: (seen.append(others), inner(*a, others=others))[1]
    next(experiment.objective.step(1))
    assert [len(one) for one in seen] == [12, 12, 12]
    alone = images(Field(guidance=1.5), data="grey")
    assert "guidance = 1.5 is of several classes" in " ".join(alone.objective.check(alone))


def test_the_recipe_of_digits_takes_whole_classes():
    spec = Recipe.load("drift_mnist5k").spec
    assert spec.items_a_step() == 480
    assert spec.objective.velocity.encoder.smooth
