"""Features class by class from made-up samplers and encoders, and what recipes are refused."""

from __future__ import annotations

import json

import attrs
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gflow_core import (
    Bernoulli,
    DataError,
    Diverged,
    Equicorrelated,
    GflowError,
    Normal,
    RecipeError,
    StudentT,
    TruncatedNormal,
    Uniform,
)
from gflow_core.parts.plugins import plugins
from gflow_core.recipes.structure import structure
from gflow_rmt.options import Represented
from gflow_rmt.representation import Representation, law_name
from gflow_rmt.spectra import distance, gram_eigenvalues, spectrum_of
from gflow_rmt.surrogate import Mixture


def build(scene, subject, **options):
    """A representation of the subject with the encoder that projects, after the part's check found nothing wrong."""
    part = Represented(**{"encoder": scene.Encoding(), "K": 3, "N": 10, "m": 6, "batch_size": 4, **options})
    assert list(part.check(subject.spec)) == []
    return Representation.of(subject, part)


# ------------------------------------------------------------------ generated


def test_features_come_class_by_class_with_the_labels_asked(scene):
    subject = scene.subject()
    made = build(scene, subject, classes=(2, 0, 3))
    features = made.draw(5, subject.streams)
    assert torch.cat(subject.sampler.asked).tolist() == [2] * 5 + [0] * 5 + [3] * 5
    assert max(map(len, subject.sampler.asked)) == 4  # batches
    assert features.shape == (3, 5, 24)
    assert features.dtype == torch.float32
    images = torch.cat(made.options.encoder.seen)
    assert features.flatten(0, 1) == pytest.approx(made.encoder(images), abs=1e-5)
    assert torch.unique(torch.cat(subject.sampler.latents), dim=0).shape == (15, 3)  # every z is fresh


def test_draws_repeat_with_the_seed_and_not_with_the_batches(scene):
    draws = []
    for seed, size in ((1, 4), (1, 64), (2, 64)):
        subject = scene.subject(seed=seed)
        made = build(scene, subject, batch_size=size)
        draws.append((made.draw(5, subject.streams), made.draw(5, subject.streams)))
    (a, then), (b, _), (other, _) = draws
    assert a == pytest.approx(b, abs=1e-5)
    assert not torch.allclose(a, then)
    assert not torch.allclose(a, other)


def test_pieces_are_the_features_of_draw(scene):
    """So that the spectrum of more features than fit in memory is the same."""
    whole, streamed = scene.subject(), scene.subject()
    features = build(scene, whole).draw(20, whole.streams)
    made = build(scene, streamed)
    sizes = [len(piece) for piece in made.pieces(20, scene.subject().streams)]
    assert sizes == [4] * 15
    assert spectrum_of(made.pieces(20, streamed.streams)) == pytest.approx(gram_eigenvalues(features), abs=1e-10)


def test_another_law_of_z_keeps_the_samplers_dim(scene):
    subject = scene.subject()
    made = build(scene, subject, z=Bernoulli(dim=77))
    made.draw(20, subject.streams)
    assert subject.sampler.latents[0].shape[1] == 3
    assert torch.cat(subject.sampler.latents).unique().tolist() == [0, 1]
    made.draw(2, subject.streams, z=Uniform(dim=1, low=5.0, high=6.0))
    assert subject.sampler.latents[-1].min() >= 5
    assert made.law() == Bernoulli(dim=3)
    assert build(scene, subject).law() == Normal(dim=3)


def test_another_sampler_in_its_place(scene):
    subject, other = scene.subject(), scene.Noisy(scale=0.0)
    build(scene, subject).draw(2, subject.streams, sampler=other)
    assert not subject.sampler.asked
    assert len(torch.cat(other.asked)) == 6


class Ramp(nn.Module):
    """1024 values from -1 to 1, none of them where either rule has a step."""

    values = torch.linspace(-1, 1, 1024, dtype=torch.float64)

    def forward(self, z, y):
        return self.values.float().view(64, 1, 4, 4)[: len(z)]


@pytest.mark.parametrize("rule", ["x255", "x256"])
def test_images_are_what_eight_bits_hold(scene, rule):
    subject = scene.subject(sampler=Ramp())
    (x,) = build(scene, subject, conversion=rule, K=1, batch_size=64).images(64, subject.streams)
    half = (Ramp.values.numpy() + 1) / 2
    byte = np.round(255 * half) if rule == "x255" else np.minimum(np.floor(256 * half), 255)
    assert x.flatten().numpy() == pytest.approx(byte / 127.5 - 1, abs=1e-6)
    assert len(np.unique(byte)) == 256


def test_progress_is_reported_or_not(scene):
    seen = []
    subject = scene.subject(progress=lambda *report: seen.append(report))
    made = build(scene, subject)
    made.draw(5, subject.streams)
    assert seen == [("features", done, 15) for done in (4, 8, 12, 15)]
    made.draw(5, subject.streams, what=None)
    assert len(seen) == 4


def test_vectors_are_their_own_features(scene):
    points = scene.Points(dim=6)
    subject = scene.subject(points, scene.Shifted(), part=scene.Part(latent=Normal(dim=6)))
    made = build(scene, subject, encoder=None)
    features = made.draw(400, subject.streams)
    assert features.shape == (3, 400, 6)
    assert (features.mean((1, 2)) - torch.arange(3.0)).abs().max() < 0.1


def test_a_sampler_that_diverged(scene):
    class Diverges(nn.Module):
        def forward(self, z, y):
            return torch.full((len(z), 1, 4, 4), torch.nan)

    subject = scene.subject(sampler=Diverges())
    with pytest.raises(Diverged, match=r"step 7: features of samples are NaN or infinite \(projection\)"):
        build(scene, subject).draw(2, subject.streams)


# ------------------------------------------------------------------ sorted by a classifier


def test_a_classifier_sorts_what_a_sampler_without_labels_makes(scene):
    draws = []
    for size in (4, 64):
        subject = scene.subject(part=scene.Part(conditional=False))
        made = build(scene, subject, classifier=scene.Encoding(), classes=(3, 1, 0), batch_size=size)
        draws.append(made.draw(6, subject.streams))
        images = torch.cat(made.options.encoder.seen)
        features, greys = made.encoder(images), made.classifier.classify(images).argmax(1)
        for label, found in zip((3, 1, 0), draws[-1], strict=True):
            assert found == pytest.approx(features[greys == label][:6], abs=1e-5)
    assert draws[0] == pytest.approx(draws[1], abs=1e-5)


def test_a_classifier_that_never_sees_a_class_gives_up(scene):
    class Two(scene.Noisy):
        def forward(self, z, y=None):
            return super().forward(z, (z[:, 0] > 0).long())

    subject = scene.subject(sampler=Two(), part=scene.Part(conditional=False))
    made = build(scene, subject, classifier=scene.Encoding(), batch_size=64)
    with pytest.raises(GflowError, match="among 450 images it saw only 0 of class 2, 3 were wanted; choose other"):
        made.draw(3, subject.streams)
    made = build(scene, subject, classifier=scene.Encoding(), K=2, classes=(0, 9))
    with pytest.raises(GflowError, match="knows the classes 0 to 3, not 9"):
        made.draw(3, subject.streams)


# ------------------------------------------------------------------ real


def test_real_images_of_the_right_classes(scene):
    features = []
    for seed in (1, 2):
        subject = scene.subject(scene.Pictures(n=80), seed=seed)
        made = build(scene, subject, classes=(2, 0, 3))
        features.append(made.real(20, subject.data))
        images = torch.cat(made.options.encoder.seen)
        assert made.encoder.classify(images).argmax(1).tolist() == [2] * 20 + [0] * 20 + [3] * 20
        assert features[-1].flatten(0, 1) == pytest.approx(made.encoder(images), abs=1e-5)
        assert len(made.real_index(20, subject.data).unique()) == 60
    assert torch.equal(*features)  # the same for every seed


def test_real_images_that_are_not_there(scene):
    subject = scene.subject(scene.Pictures(n=80))
    with pytest.raises(DataError, match="dataset: 20 images of class 0, 21 are wanted"):
        build(scene, subject).real(21, subject.data)
    subject = scene.subject(scene.Pictures(present=2))
    with pytest.raises(DataError, match="dataset: 0 images of class 2, 3 are wanted"):
        build(scene, subject).real(3, subject.data)
    unlabelled = scene.subject(scene.Pictures(classes=None), part=scene.Part(conditional=False))
    assert build(scene, unlabelled, K=1).real(200, unlabelled.data).shape == (1, 200, 24)
    with pytest.raises(DataError, match="dataset: 200 images, 201 are wanted"):
        build(scene, unlabelled, K=1).real(201, unlabelled.data)
    with pytest.raises(DataError, match="have no classes"):
        build(scene, unlabelled, classifier=scene.Encoding()).real(3, unlabelled.data)


# ------------------------------------------------------------------ moments, manifest


def test_moments_and_sample_of_the_parts_options(scene):
    subject = scene.subject()
    made = build(scene, subject)
    features = made.draw(10, subject.streams)
    moments, sample = made.split(features)
    assert torch.equal(torch.cat([moments, sample], 1), features)
    assert moments.shape[1] == 6
    moments, again = build(scene, subject, moments="reuse").split(features)
    assert torch.equal(again, sample)
    assert torch.equal(moments, features[:, 4:])
    collapsed = build(scene, subject).draw(10, subject.streams, sampler=scene.Noisy(scale=0.0))
    with pytest.raises(GflowError, match="class 0 of 3: all 6 feature vectors are the same"):
        Mixture.of(made.split(collapsed)[0])


def test_the_manifest_is_plain_and_complete(scene):
    subject = scene.subject()
    made = build(scene, subject, classes=(2, 0, 3), z=Bernoulli(dim=1))
    manifest = made.manifest(t="normal")
    assert json.loads(json.dumps(manifest)) == manifest
    assert manifest["z"] == "bernoulli(p=0.5)"
    assert manifest["z_dim"] == 3
    assert manifest["classes"] == [2, 0, 3]
    assert (manifest["p"], manifest["N"], manifest["m"], manifest["n"]) == (24, 10, 6, 4)
    assert (manifest["encoder"], manifest["weights"], manifest["classifier"]) == ("projection", "abc", None)
    assert (manifest["moments"], manifest["conversion"], manifest["t"]) == ("split", "x255", "normal")
    unlabelled = scene.subject(part=scene.Part(conditional=False))
    assert build(scene, unlabelled, K=1).manifest()["classes"] is None
    assert build(scene, unlabelled, classifier=scene.Encoding()).manifest()["classifier"] == "projection"


@attrs.frozen(kw_only=True)
class HeavyTail2:
    dim: int = 3
    share: float = 0.25
    sides: int = 2


@pytest.mark.parametrize(
    ("law", "name"),
    [
        (Normal(dim=5), "normal"),
        (Bernoulli(dim=5), "bernoulli(p=0.5)"),
        (Uniform(low=0.0), "uniform(low=0, high=1)"),
        (TruncatedNormal(scale=0.4), "truncated_normal(bound=2, scale=0.4)"),
        (Equicorrelated(rho=1.0), "equicorrelated(rho=1)"),
        (StudentT(nu=3.0), "student_t(nu=3)"),
        (HeavyTail2(), "heavy_tail2(share=0.25, sides=2)"),
    ],
)
def test_laws_have_readable_names(law, name):
    assert law_name(law) == name


# ------------------------------------------------------------------ precision


class Convolutions(nn.Module):
    """z, y -> images 1x8x8 by a linear layer and two convolutions, randomly initialised."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.start = nn.Linear(3 + 4, 16 * 16)
        self.layers = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 1, 3, padding=1)])

    def forward(self, z, y):
        h = self.start(torch.cat([2 * z, 3 * F.one_hot(y, 4)], 1)).view(-1, 16, 4, 4).relu()
        h = self.layers[0](F.interpolate(h, scale_factor=2)).relu()
        return torch.tanh(3 * self.layers[1](h))


def test_bf16_moves_the_spectrum_less_than_chance_does(scene):
    """The same z through the same network, in float32 and in bf16, and other z in float32."""
    found, network = {}, Convolutions().eval()
    for name, seed, bf16 in (("float32", 1, False), ("bf16", 1, True), ("other", 2, False)):
        subject = scene.subject(scene.Pictures(shape=(1, 8, 8)), network, seed=seed, bf16=bf16)
        found[name] = gram_eigenvalues(build(scene, subject, batch_size=64).draw(60, subject.streams))
    near, chance = distance(found["bf16"], found["float32"]), distance(found["other"], found["float32"])
    assert 0 < near.wasserstein < 0.01
    assert near.wasserstein < chance.wasserstein / 3
    assert near.ks <= chance.ks
    assert np.abs(found["bf16"][:10] / found["float32"][:10] - 1).max() < 0.02


# ------------------------------------------------------------------ what recipes are refused


RECIPE = {
    "gflow": 1,
    "dataset": {"use": "mnist5k"},
    "sampler": {"use": "rmt.mlp_gan"},
    "analyze": [{"use": "rmt.spectrum", "encoder": {"use": "mnist_cnn"}, "K": 10, "N": 40, "m": 30}],
}
PLAIN = {"use": "rmt.mlp_gan", "conditional": False}
FACES = {"use": "celeba", "attributes": ["Smiling"], "image_size": 32}
PHOTOS = {"use": "cifar10"}


def said(sampler=None, dataset=None, **options):
    """What the recipe is refused for, without the places."""
    recipe = {**RECIPE, "dataset": dataset or RECIPE["dataset"], "sampler": sampler or RECIPE["sampler"]}
    options = {**RECIPE["analyze"][0], **options}
    recipe["analyze"] = [{key: value for key, value in options.items() if value is not None}]
    try:
        structure(recipe, plugins())
    except RecipeError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"m": 40}, "m = 40 leaves nothing of N = 40 for the sample: m must be less than N"),
        ({"m": 50}, "m = 50 leaves nothing of N = 40"),
        ({"m": 1}, "must be >= 2, got 1"),
        ({"m": 10, "moments": "reuse"}, "30 images of the sample cannot be among m = 10; set m >= N / 2"),
        ({"K": 11}, "K = 11 is more than the 10 classes there are"),
        ({"K": 2}, None),
        ({"K": 2, "classes": [0, 1, 2]}, "classes names 3, K = 2"),
        ({"K": 2, "classes": [1, 1]}, "classes names one twice"),
        ({"K": 2, "classes": [1, 10]}, "10 is not among the 10 classes, 0 to 9"),
        ({"classifier": {"use": "mnist_cnn"}}, "the sampler reads labels, so the classes are known; remove it"),
        ({"sampler": PLAIN}, "K = 10: the sampler reads no labels; set K = 1, or classifier = { use = ... }"),
        ({"sampler": PLAIN, "K": 1}, None),
        ({"sampler": PLAIN, "K": 1, "classes": [4]}, "classes: the sampler reads no labels; remove it"),
        ({"sampler": PLAIN, "classifier": {"use": "mnist_cnn"}}, None),
        ({"encoder": None}, "set encoder = { use = ... }"),
        ({"dataset": PHOTOS}, "encoder: reads images of 1 channel, the data is image 3x32x32"),
        ({"dataset": PHOTOS, "encoder": {"use": "resnet50", "weights": "random"}}, None),
        ({"encoder": {"use": "resnet50", "weights": "random"}}, None),
        (
            {"dataset": PHOTOS, "sampler": PLAIN, "encoder": {"use": "vgg16"}, "classifier": {"use": "mnist_cnn"}},
            "classifier: reads images of 1 channel",
        ),
        (
            {"dataset": FACES, "encoder": {"use": "resnet50", "weights": "random"}},
            "works class by class, and the sampler's labels are real numbers",
        ),
        ({"t": {"use": "equicorrelated", "rho": 0.5}}, "t: its components are correlated"),
        ({"t": {"use": "equicorrelated", "rho": 0.0}}, None),
    ],
    ids=str,
)
def test_checks(changes, message):
    faults = said(**changes)
    if message is None:
        assert faults == []
    else:
        assert len(faults) == 1
        assert message in faults[0]


def test_a_law_without_moments_cannot_be_that_of_t():
    from gflow_rmt.options import check_law

    assert list(check_law("t", HeavyTail2())) == [
        "t: this law does not state its moments, by which t is brought to mean 0 and variance 1"
    ]
    assert list(check_law("t", StudentT(dim=1))) == []
