"""The core's encoders: their options and checks. The work is in the modules that `build` imports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from gflow_core.parts.contracts import Encoder
from gflow_core.parts.nouns import DataShape, Progress, no_progress
from gflow_core.parts.options import option

if TYPE_CHECKING:
    import torch

__all__ = ["DenseNet201", "DigitsEncoder", "Dinov2", "EfficientnetLite0", "Inception", "MnistCnn", "ResNet50", "Vgg16"]


@attrs.frozen(kw_only=True)
class _Images:
    """A network that reads images in [-1, 1]; most end in a classifier."""

    classifies: ClassVar[bool] = True
    smooth: ClassVar[bool] = True
    channels: ClassVar[tuple[int, ...]] = (1, 3)

    def check(self, data: DataShape | None) -> Iterable[str]:
        if data is None:
            yield "reads images, and the recipe has no [dataset]"
        elif data.kind != "image":
            yield f"reads images, the data is {data}"
        else:
            if data.shape[0] not in self.channels:
                many = " or ".join(map(str, self.channels)) + " channel" + "s" * (self.channels != (1,))
                yield f"reads images of {many}, the data is {data}; set dataset.channels = {self.channels[-1]}"
            if (data.low, data.high) != (-1.0, 1.0):
                yield f"reads images in [-1, 1], the data is {data}"


def _some_weights(value: str) -> str | None:
    return None if value.strip() else 'expected "cache", "random" or the path of a file, got an empty string'


@attrs.frozen(kw_only=True)
class _Published(_Images):
    """A network whose weights somebody published."""

    weights: str = option(
        "cache",
        doc="The published file in torch hub's cache (cache), a file of yours (its path), or a fresh initialisation "
        "from a fixed seed (random), whose scores are named so.",
        check=_some_weights,
    )
    download: bool = option(False, doc="Fetch the published file into torch hub's cache where it is missing.")


@attrs.frozen(kw_only=True)
class Inception(_Published):
    """The FID network, InceptionV3 as TensorFlow released it on 2015-12-05: 2048 pooled features.

    Its logits, for the Inception Score, are those of 1008 classes without the biases, as that score's code has them.
    """

    cite: ClassVar[tuple[str, ...]] = ("szegedy2016rethinking",)
    smooth: ClassVar[bool] = False  # it rounds images to bytes

    def build(self, data: DataShape, device: torch.device, progress: Progress = no_progress) -> Encoder:
        from gflow_core.encoders.inception import build_inception

        return build_inception(data, device, weights=self.weights, download=self.download)


@attrs.frozen(kw_only=True)
class _Torchvision(_Published):
    """One of torchvision's ImageNet classifiers with its IMAGENET1K_V1 weights."""

    model: ClassVar[str]
    """Its name in torchvision.models."""
    head: ClassVar[str]
    """The layer from features to logits."""
    depths: ClassVar[tuple[str, ...]]
    """The layers whose outputs are its maps."""

    normalisation: Literal["imagenet", "image"] = option(
        "imagenet",
        doc="Each channel less its mean, by its standard deviation: ImageNet's, by which the network was trained "
        "(imagenet), or the image's own (image).",
    )

    def build(self, data: DataShape, device: torch.device, progress: Progress = no_progress) -> Encoder:
        from gflow_core.encoders.imagenet import build_torchvision

        return build_torchvision(
            data,
            device,
            model=self.model,
            head=self.head,
            depths=self.depths,
            weights=self.weights,
            normalisation=self.normalisation,
            download=self.download,
        )


@attrs.frozen(kw_only=True)
class ResNet50(_Torchvision):
    """ResNet-50 (He et al. 2016, torchvision's IMAGENET1K_V1): 2048 pooled features, logits of 1000 classes."""

    cite: ClassVar[tuple[str, ...]] = ("he2016deep",)
    model: ClassVar[str] = "resnet50"
    head: ClassVar[str] = "fc"
    depths: ClassVar[tuple[str, ...]] = ("layer1", "layer2", "layer3", "layer4")


@attrs.frozen(kw_only=True)
class Vgg16(_Torchvision):
    """VGG-16 (Simonyan & Zisserman 2015, torchvision's IMAGENET1K_V1): 4096 features, logits of 1000 classes.

    The features are the second linear layer's, after its ReLU; the maps are LPIPS's, the last ReLU before each pool.
    """

    cite: ClassVar[tuple[str, ...]] = ("simonyan2015very",)
    model: ClassVar[str] = "vgg16"
    head: ClassVar[str] = "classifier.6"
    depths: ClassVar[tuple[str, ...]] = ("features.3", "features.8", "features.15", "features.22", "features.29")


@attrs.frozen(kw_only=True)
class DenseNet201(_Torchvision):
    """DenseNet-201 (Huang et al. 2017, torchvision's IMAGENET1K_V1): 1920 features, logits of 1000 classes.

    The features are those of the last block, after ReLU and global average pooling.
    """

    cite: ClassVar[tuple[str, ...]] = ("huang2017densely",)
    model: ClassVar[str] = "densenet201"
    head: ClassVar[str] = "classifier"
    depths: ClassVar[tuple[str, ...]] = tuple(f"features.denseblock{i}" for i in (1, 2, 3, 4))


def _whole_patches(size: int) -> str | None:
    return None if size % 14 == 0 else f"must be a multiple of 14, the side of a patch, got {size}"


@attrs.frozen(kw_only=True)
class Dinov2(_Published):
    """DINOv2's vision transformers (Oquab et al. 2023): the normalised class token, 384, 768 or 1024 features.

    They learned from images without labels. Frechet distances on them agree with people better than on Inception's
    features (Stein et al. 2023); they are FD, never FID.
    """

    cite: ClassVar[tuple[str, ...]] = ("oquab2023dinov2", "stein2023exposing")
    classifies: ClassVar[bool] = False

    model: Literal["vits14", "vitb14", "vitl14", "vits14_reg", "vitb14_reg", "vitl14_reg"] = option(
        "vits14", doc="ViT-S, ViT-B or ViT-L on patches of 14 pixels, without registers or with four (reg)."
    )
    size: int = option(
        224,
        doc="Side of what the network reads, a multiple of 14: images are resized to it.",
        unit="pixels",
        ge=14,
        check=_whole_patches,
    )

    def build(self, data: DataShape, device: torch.device, progress: Progress = no_progress) -> Encoder:
        from gflow_core.encoders.dinov2 import build_dinov2

        return build_dinov2(
            data, device, model=self.model, size=self.size, weights=self.weights, download=self.download
        )


@attrs.frozen(kw_only=True)
class EfficientnetLite0(_Images):
    """EfficientNet-Lite0, trained on ImageNet: 1280 pooled features, logits of 1000 classes.

    Network and weights come as packages (the extra "efficientnet" of gflow-core), so that it works without a network.
    """

    cite: ClassVar[tuple[str, ...]] = ("tan2019efficientnet",)

    def build(self, data: DataShape, device: torch.device, progress: Progress = no_progress) -> Encoder:
        from gflow_core.encoders.imagenet import build_efficientnet_lite0

        return build_efficientnet_lite0(data, device)


@attrs.frozen(kw_only=True)
class _Digits(_Images):
    """A network that is trained on the digits of mnist5k the first time it is needed, and kept in gflow's cache."""

    channels: ClassVar[tuple[int, ...]] = (1,)

    weights: Literal["embedded", "random"] = option(
        "embedded",
        doc="Trained on the digits that come with gflow's dependencies (embedded), or a fresh initialisation from a "
        "fixed seed (random), whose scores are named so.",
    )


@attrs.frozen(kw_only=True)
class MnistCnn(_Digits):
    """Two convolutions and one max-pool for digits: 9216 features at 28x28 (or the 128 after them), ten classes.

    It is trained on the digits of mnist5k the first time it is needed, and kept in gflow's cache.
    """

    layer: Literal["pool", "hidden"] = option(
        "pool",
        doc="Features: 9216 after the pool, or the 128 of the hidden layer after it (hidden), few enough for `frechet` "
        "to have covariances of full rank; scores on those are named so.",
    )

    def build(self, data: DataShape, device: torch.device, progress: Progress = no_progress) -> Encoder:
        from gflow_core.encoders.mnist_cnn import build_mnist_cnn

        return build_mnist_cnn(data, device, weights=self.weights, layer=self.layer, progress=progress)


@attrs.frozen(kw_only=True)
class DigitsEncoder(_Digits):
    """Four convolutions with SiLU for digits: maps at 28x28, 14x14 and 7x7, 128 pooled features, ten classes.

    Every pixel has a gradient. It is another network than `mnist_cnn`, which can score what is trained on its maps;
    as that one it is trained when first needed.
    """

    def build(self, data: DataShape, device: torch.device, progress: Progress = no_progress) -> Encoder:
        from gflow_core.encoders.digits_encoder import build_digits_encoder

        return build_digits_encoder(data, device, weights=self.weights, progress=progress)
