"""The paper's perceptron."""

from __future__ import annotations

import torch
from torch import nn

from gflow_core import DataShape
from gflow_drift.parts import MlpSampler


def test_the_perceptron_of_the_plane():
    part = MlpSampler()
    assert part.latent.dim == 32
    sampler = part.build(DataShape("vector", (2,)))
    layers = list(sampler.layers)
    assert [(a.in_features, a.out_features) for a in layers[::2]] == [(32, 256), (256, 256), (256, 256), (256, 2)]
    assert all(isinstance(layer, nn.SiLU) for layer in layers[1::2])
    z = torch.randn(5, 32, requires_grad=True)
    sampler(z).sum().backward()
    assert z.grad.isfinite().all()
    (message,) = part.check(DataShape("image", (1, 8, 8), -1.0, 1.0))
    assert message.startswith("works on vectors")
