"""The core's own parts keep the promises of their kinds, and no registered part is without such a test."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from gflow_core.data import parts as datasets
from gflow_core.data.text import SentenceTransformers, TfIdf
from gflow_core.encoders import parts as encoders
from gflow_core.methods import losses, penalties, velocities
from gflow_core.methods.adversarial import Adversarial
from gflow_core.nn.cloud import Cloud
from gflow_core.optim import schedules
from gflow_core.parts.plugins import plugins
from gflow_core.scores import feature_scores as scores
from gflow_core.scores import image_scores as images
from gflow_core.scores.caption_match import CaptionMatch
from gflow_core.scores.flow_field import FlowField
from gflow_core.scores.interpolation import Interpolation
from gflow_core.scores.losses import Losses
from gflow_core.scores.mode_coverage import ModeCoverage
from gflow_core.scores.refine import Refine
from gflow_core.scores.sample_grid import SampleGrid
from gflow_core.scores.two_sample import TwoSample
from gflow_core.testing import (
    TINY,
    TinySampler,
    check_analyzer,
    check_augmentation,
    check_dataset,
    check_encoder,
    check_latent,
    check_loss,
    check_objective,
    check_optimizer,
    check_penalty,
    check_sampler,
    check_schedule,
    check_text_encoder,
    check_tracker,
    check_velocity,
)

ROOT = Path(__file__).parents[2]
LAWS, OPTIMIZERS, LOSSES, PENALTIES, AUGMENTATIONS, TRACKERS, VELOCITIES = (
    plugins().registries[kind]
    for kind in ("latent", "optimizer", "loss", "penalty", "augmentation", "tracker", "flow.velocity")
)
OWN_VELOCITIES = [VELOCITIES.get(name) for name in VELOCITIES if "." not in name]
MNIST_CNN = encoders.MnistCnn(weights="random")
RGB = TINY["rgb"].data_shape()

PARTS = [
    *((check_latent, LAWS.get(name)(dim=3), {}) for name in LAWS),
    *((check_optimizer, OPTIMIZERS.get(name)(lr=0.01), {}) for name in OPTIMIZERS),
    (check_schedule, schedules.Constant(), {}),
    (check_schedule, schedules.Exponential(factor=0.9), {}),
    (check_schedule, schedules.Linear(steps=10), {}),
    (check_schedule, schedules.Multistep(milestones=(1, 5)), {}),
    (check_schedule, schedules.Cosine(steps=10), {}),
    (check_schedule, schedules.Warmup(steps=10), {}),
    (check_schedule, schedules.Chain(schedules=(schedules.Warmup(steps=5), schedules.Constant()), milestones=(5,)), {}),
    *((check_loss, LOSSES.get(name)(), {}) for name in LOSSES),
    *((check_loss, losses.Monoflow(h=h), {}) for h in get_args(losses.OfLogit)),
    *((check_penalty, PENALTIES.get(name)(), {}) for name in PENALTIES),
    *((check_augmentation, AUGMENTATIONS.get(name)(), {}) for name in AUGMENTATIONS),
    *((check_tracker, TRACKERS.get(name)(), {}) for name in TRACKERS),
    (check_dataset, datasets.Gaussian(n=50), {}),
    (check_dataset, datasets.Ring(n=50), {}),
    (check_dataset, datasets.Grid(n=50), {}),
    (check_dataset, datasets.Swissroll(n=50), {}),
    (check_dataset, datasets.Circles(n=50), {}),
    (check_dataset, datasets.Mixture(n=50, means=((0.0, 0.0), (3.0, 1.0))), {}),
    (check_dataset, datasets.Checkerboard(n=50), {}),
    (check_dataset, datasets.StackedMnist(n=20), {}),
    (check_dataset, datasets.Mnist5k(limit=20), {}),
    (check_dataset, datasets.CaptionedDigits(limit=20), {}),
    (check_text_encoder, TfIdf(dim=5), {}),
    (check_objective, Adversarial(), {}),
    (check_objective, Adversarial(penalty=(penalties.WganGp(),)), {}),
    *(
        (check_velocity, velocity(), {"dataset": datasets.Ring(n=50)} if velocity is velocities.Svgd else {})
        for velocity in OWN_VELOCITIES
    ),
    (check_objective, velocities.Flow(pool_size=32, inner_loops=2), {}),
    (check_sampler, Cloud(particles=32), {}),
    (
        check_objective,
        velocities.Flow(sampler="none", pool_size=32, inner_loops=2, velocity=velocities.Mmd()),
        {"sampler": Cloud(particles=32)},
    ),
    (
        check_objective,
        velocities.Flow(pool_size=32, inner_loops=2, classes=2, velocity=velocities.Mmd(encoder=MNIST_CNN, grid=2)),
        {"dataset": TINY["grey-classes"], "sampler": TinySampler(conditional=True)},
    ),
    (check_analyzer, ModeCoverage(samples=40), {}),
    (check_analyzer, scores.Frechet(samples=40, real_samples=40), {}),
    (check_analyzer, scores.Kernel(samples=40, subset_size=10, subsets=2), {}),
    (check_analyzer, scores.Inception(encoder=MNIST_CNN, samples=20, real_samples=20), {"dataset": TINY["grey"]}),
    (check_analyzer, scores.Prdc(samples=40, k=2), {}),
    (check_analyzer, scores.Memorization(samples=20), {}),
    (check_analyzer, scores.PathLength(samples=8), {}),
    (
        check_analyzer,
        images.ClassificationAccuracy(samples=64, epochs=1, width=4),
        {"dataset": TINY["grey-classes"], "sampler": TinySampler(conditional=True)},
    ),
    (check_analyzer, images.MsSsim(pairs=4), {}),
    (check_analyzer, images.SlicedWasserstein(samples=20, patches=4, projections=10), {}),
    (check_analyzer, TwoSample(samples=40, projections=10, moments=True), {}),
    (check_analyzer, SampleGrid(), {}),
    (check_analyzer, Interpolation(rows=1, steps=2, frames=2), {}),
    (check_analyzer, images.Inversion(count=2, steps=3, starts=2), {}),
    (check_analyzer, Refine(steps=2, samples=12), {}),
    (check_analyzer, Refine(steps=2, samples=12, encoder=MNIST_CNN), {}),
    *(
        (
            check_analyzer,
            FlowField(particles=8, arrows=3, resolution=10),
            {
                "objective": velocities.Flow(pool_size=32, inner_loops=2, velocity=velocity()),
                **({"dataset": datasets.Ring(n=50)} if velocity is velocities.Svgd else {}),
            },
        )
        for velocity in OWN_VELOCITIES
    ),
    (check_analyzer, Losses(), {}),
    (check_analyzer, CaptionMatch(encoder=MNIST_CNN, samples=90), {"dataset": datasets.CaptionedDigits(limit=10)}),
    (check_encoder, MNIST_CNN, {}),
    (check_encoder, encoders.DigitsEncoder(weights="random"), {}),
    (check_encoder, encoders.Inception(weights="random"), {"data": RGB}),
    (check_encoder, encoders.EfficientnetLite0(), {"data": RGB}),
    (check_encoder, encoders.ResNet50(weights="random"), {"data": RGB}),
    (check_encoder, encoders.Vgg16(weights="random"), {"data": RGB}),
    (check_encoder, encoders.DenseNet201(weights="random"), {"data": RGB}),
    (check_encoder, encoders.Dinov2(weights="random", size=28), {"data": RGB}),
]
"""Check, part, and what the check is given besides."""


@pytest.mark.parametrize(("check", "part", "given"), PARTS, ids=[type(part).__name__ for _, part, _ in PARTS])
def test_it_keeps_the_promises_of_its_kind(check, part, given, told):
    check(part, **given)


# ------------------------------------------------------------------ data sets of files


@pytest.fixture
def files(tmp_path, monkeypatch, mnist_files, celeba, make, rng) -> Path:
    """A folder with tiny files of every format."""
    monkeypatch.chdir(tmp_path)
    mnist_files()
    mnist_files("data/FashionMNIST/raw")
    make.write(make.cifar_files(rng), Path("data"))
    make.write(make.cifar_files(rng, fine=True), Path("data"))
    make.write(make.svhn_files(rng), Path("data"))
    make.write(make.stl10_files(rng), Path("data"))
    for size in (32, 64):
        make.write(make.imagenet_files(rng, size), Path("data"))
    make.write(
        {f"{i}.webp": make.png(rng.integers(0, 256, (9, 8, 3), np.uint8)) for i in "ab"}, Path("data/bedroom_val")
    )
    Path("pictures").mkdir()
    for name in ("a", "b"):
        (Path("pictures") / f"{name}.png").write_bytes(make.png(rng.integers(0, 256, (20, 24, 3), np.uint8)))
    np.save("points.npy", rng.normal(size=(10, 3)))
    return tmp_path


FILES = [
    datasets.Mnist(),
    datasets.FashionMnist(),
    datasets.Cifar10(),
    datasets.Cifar100(),
    datasets.Svhn(),
    datasets.Stl10(),
    datasets.Stl10(split="unlabeled", image_size=32),
    datasets.ImageNet32(),
    datasets.ImageNet64(split="test"),
    datasets.Lsun(split="test", image_size=8, workers=1),
    datasets.CelebA(image_size=16, attributes=("Male",), workers=1),
    datasets.ImageFolder(root="pictures", image_size=16, workers=1),
    datasets.Array(root="points.npy", shape=(3,)),
]


@pytest.mark.parametrize("part", FILES, ids=lambda part: type(part).__name__)
def test_data_sets_of_files(files, part):
    check_dataset(part)


# ------------------------------------------------------------------ packages that are not here

BESIDE = [SentenceTransformers(model="some/model", dim=8)]


def test_a_text_encoder_of_sentence_transformers(sentences):
    check_text_encoder(BESIDE[0])


# ------------------------------------------------------------------ none is left out


@pytest.mark.parametrize("name", ["core", *sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))])
def test_every_registered_part_is_among_those_tried(name):
    (record,) = (record for record in plugins().records if record.name == name)
    own = ROOT / "plugins" / name / "tests" / "test_contracts.py"
    tests = {"PARTS": PARTS} if name == "core" else runpy.run_path(str(own))
    tried = {type(part) for _, part, _ in tests["PARTS"]} | {type(part) for part in (*FILES, *BESIDE)}
    assert [f"{kind} {name}" for kind, name in record.parts if plugins().get(kind, name) not in tried] == []
