"""A small classifier of digits, trained on the 5,000 that come with gflow's dependencies.

Two 3x3 convolutions, 1 -> 32 -> 64, and one 2x2 max-pool make 64 x 12 x 12 = 9216 features of a 28x28 digit, the
representation in Seddik et al. 2020 (arXiv 2001.08370).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core.encoders.digits import Training, build_digits
from gflow_core.parts.nouns import Progress

if TYPE_CHECKING:
    from gflow_core.encoders.network import EncoderNetwork
    from gflow_core.parts.nouns import DataShape

__all__ = ["MNIST_CNN", "DigitsCnn", "build_mnist_cnn"]


class DigitsCnn(nn.Module):
    """x [B, 1, 28, 28] -> logits [B, 10]; the input of `head` are the features [B, 9216], that of its end 128."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(1, 32, 3), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(32, 64, 3), nn.ReLU()
        self.head = nn.Sequential(nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.25), nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.conv1(x))
        # The same as pooling last, with a quarter of the work: max and ReLU commute.
        x = self.relu2(F.max_pool2d(self.conv2(x), 2))
        logits: Tensor = self.head(x.flatten(1))
        return logits


MNIST_CNN = Training(name="mnist_cnn", make=DigitsCnn)


def build_mnist_cnn(
    data: DataShape,
    device: torch.device,
    *,
    weights: Literal["embedded", "random"],
    layer: Literal["pool", "hidden"],
    progress: Progress,
) -> EncoderNetwork:
    """The encoder of `data` on its device, in eval mode; trained first where the cache has none. Raises DataError."""
    head, name = {"pool": ("head", "mnist_cnn"), "hidden": ("head.3", "mnist_cnn.hidden")}[layer]
    return build_digits(
        data,
        device,
        MNIST_CNN,
        weights=weights,
        head=head,
        depths=("relu1", "relu2"),
        name=name,
        progress=progress,
    )
