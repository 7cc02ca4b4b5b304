"""The untrained discriminator's batch norm."""

from __future__ import annotations

import torch
from torch import nn

from gflow_core import Batch
from gflow_dcgan.batch_norm import calibrate


def test_calibration_is_the_mean_over_batches():
    norm = nn.BatchNorm2d(2).eval()
    batches = [Batch(torch.randn(6, 2, 3, 3) * (i + 1) + i) for i in range(4)]
    network = nn.Sequential(nn.Dropout(0.9), norm).train()
    calibrate(network, batches)
    means = torch.stack([b.x.mean((0, 2, 3)) for b in batches])
    variances = torch.stack([b.x.transpose(0, 1).flatten(1).var(1) for b in batches])
    assert torch.allclose(norm.running_mean, means.mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, variances.mean(0), rtol=1e-5)
    assert not any(layer.training for layer in network.modules())
    assert not norm._forward_pre_hooks


def test_calibration_of_two_layers_is_that_of_torch_in_training():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=None), nn.ReLU(), nn.Conv2d(3, 2, 3)]
    network = nn.Sequential(*layers, nn.BatchNorm2d(2, momentum=None), nn.BatchNorm2d(2, track_running_stats=False))
    batches = [Batch(torch.randn(5, 1, 8, 8) + i) for i in range(3)]
    network.train()
    with torch.no_grad():
        for batch in batches:
            network(batch.x)  # without a momentum, torch keeps the plain mean
    expected = {name: value.clone() for name, value in network.state_dict().items() if "running" in name}
    for norm in (network[1], network[4]):
        norm.reset_running_stats()
    calibrate(network, batches)
    assert len(expected) == 4
    for name, value in expected.items():
        assert torch.allclose(network.state_dict()[name], value, atol=1e-5)
