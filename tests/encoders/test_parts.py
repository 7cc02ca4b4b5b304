from __future__ import annotations

import pytest

from gflow_core.encoders.parts import (
    DenseNet201,
    DigitsEncoder,
    Dinov2,
    EfficientnetLite0,
    Inception,
    MnistCnn,
    ResNet50,
    Vgg16,
)
from gflow_core.parts.contracts import EncoderPart
from gflow_core.parts.nouns import DataShape
from gflow_core.parts.plugins import plugins

COLOUR = {
    "inception": Inception,
    "efficientnet_lite0": EfficientnetLite0,
    "resnet50": ResNet50,
    "vgg16": Vgg16,
    "densenet201": DenseNet201,
    "dinov2": Dinov2,
}
DIGITS = {"mnist_cnn": MnistCnn, "digits_encoder": DigitsEncoder}
ALL = {**COLOUR, **DIGITS}


@pytest.mark.parametrize(("name", "part"), ALL.items())
def test_each_is_registered_and_all_but_one_classify(name, part):
    assert plugins().registries["encoder"].get(name) is part
    assert isinstance(part(), EncoderPart)
    assert part.classifies is (part is not Dinov2)


@pytest.mark.parametrize("part", ALL.values())
def test_what_is_no_image_in_range_is_refused(part):
    assert list(part().check(None)) == ["reads images, and the recipe has no [dataset]"]
    assert list(part().check(DataShape("vector", (2,)))) == ["reads images, the data is vector 2 unbounded"]
    half = DataShape("image", (1, 32, 32), 0.0, 1.0)
    assert list(part().check(half)) == [f"reads images in [-1, 1], the data is {half}"]


@pytest.mark.parametrize("part", COLOUR.values())
def test_one_and_three_channels_are_read(part, shape):
    assert list(part().check(shape(1))) == list(part().check(shape(3))) == []
    (said,) = part().check(shape(2))
    assert said.startswith("reads images of 1 or 3 channels, the data is image 2x32x32")


@pytest.mark.parametrize("part", DIGITS.values())
def test_the_digits_networks_read_grey_only(part, shape):
    assert list(part().check(shape(1))) == []
    (said,) = part().check(shape(3))
    assert said.startswith("reads images of 1 channel, the data is image 3x32x32")
    assert said.endswith("set dataset.channels = 1")


def test_weights_cannot_be_empty():
    with pytest.raises(ValueError, match="path of a file"):
        Inception(weights=" ")
