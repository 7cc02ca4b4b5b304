"""The untrained discriminator's batch norm."""

from __future__ import annotations

import torch
from torch import nn

from gflow_core.contracts import Batch
from gflow_dcgan.untrained import calibrate


def test_calibration_is_the_mean_over_batches():
    norm = nn.BatchNorm2d(2).eval()
    batches = [Batch(torch.randn(6, 2, 3, 3) * (i + 1) + i) for i in range(4)]
    calibrate(nn.Sequential(norm), batches)
    means = torch.stack([b.x.mean((0, 2, 3)) for b in batches])
    variances = torch.stack([b.x.transpose(0, 1).flatten(1).var(1) for b in batches])
    assert torch.allclose(norm.running_mean, means.mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, variances.mean(0), rtol=1e-5)
    assert norm.momentum == 0.1
    assert not norm.training
