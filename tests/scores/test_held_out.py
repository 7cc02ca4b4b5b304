"""The split that samples are compared with."""

from __future__ import annotations

import attrs
import pytest
import torch

from gflow_core.data.parts import Gaussian
from gflow_core.parts.nouns import no_progress
from gflow_core.scores.feature_scores import Frechet, Inception, Kernel, Prdc
from gflow_core.scores.two_sample import TwoSample


def parts(scene, **options):
    encoder = scene.Encoding()
    return {
        "frechet": Frechet(encoder=encoder, samples=300, **options),
        "kernel": Kernel(encoder=encoder, samples=300, subset_size=100, subsets=5, **options),
        "prdc": Prdc(encoder=encoder, samples=300, **options),
        "inception": Inception(encoder=encoder, samples=300, **options),
    }


@pytest.mark.parametrize("name", ["frechet", "kernel", "prdc", "inception"])
def test_against_a_split_is_as_if_the_data_were_that_split(scene, name):
    def found(dataset, **options):
        return scene.score(parts(scene, **options)[name], dataset, scene.Uniform())

    train, test = scene.Pictures(), scene.Pictures(split="test")
    against = found(train, against="test")
    there = found(test)
    assert against.scores == there.scores
    assert against.manifest == there.manifest, "so they compare with each other"
    plain = found(train)
    assert found(train, against="train").scores == plain.scores != against.scores
    unlike = {key for key in plain.manifest if plain.manifest[key] != against.manifest[key]}
    assert unlike == {"split", "data"}, "so they do not compare with those against the training data"


def test_labels_stay_those_that_were_trained_on(scene):
    """What samples are asked for does not follow the split that they are compared with."""

    class Labelled(scene.Pictures):
        def data_shape(self):
            return attrs.evolve(super().data_shape(), classes=2)

        def load(self, progress=no_progress):
            found = super().load(progress)
            return attrs.evolve(found, shape=self.data_shape(), y=torch.full((self.n,), int(self.split == "test")))

    asked = []

    class Asked(scene.Uniform):
        def forward(self, z, y=None):
            asked.append(y)
            return super().forward(z)

    subject = scene.subject(Labelled(), Asked())
    subject.spec.sampler.conditional = True
    Frechet(encoder=scene.Encoding(), samples=50, against="test").build()(subject)
    assert torch.cat(asked).tolist() == [0] * 50


def test_points_are_compared_with_the_split_that_is_named(scene):
    def found(dataset, against=None):
        part = TwoSample(samples=200, projections=10, against=against)
        return scene.score(part, dataset, scene.Affine())

    data = Gaussian(n=1000)
    assert found(data).scores == found(data, "test").scores
    assert found(data, "test").manifest["split"] == "test split"
    other = found(data, "train")
    assert other.manifest["split"] == "train split, the training data"
    assert other.scores["sliced_w2_real"] == found(attrs.evolve(data, split="test")).scores["sliced_w2_real"]


def test_data_without_the_split_are_refused_before_anything_runs(scene):
    for part in (Frechet(against="test"), Kernel(against="test"), TwoSample(against="test")):
        (said,) = part.check(scene.spec(scene.Points()))
        assert said.startswith('against = "test": the data set has no option split with "test"; leave it out')
    assert list(Frechet(encoder=scene.Encoding(), against="test").check(scene.spec(scene.Pictures()))) == []
