"""Batch norm by each batch's own statistics, and running statistics taken anew."""

from __future__ import annotations

import pytest
import torch
from torch import distributed, nn

from gflow_core import batch_statistics, estimate_batch_norm
from gflow_core.nn.batch_norm import unsynchronised


def test_an_estimate_is_the_mean_over_batches():
    norm = nn.BatchNorm2d(2).eval()
    batches = [torch.randn(6, 2, 3, 3) * (i + 1) + i for i in range(4)]
    network = nn.Sequential(nn.Dropout(0.9), norm).train()
    estimate_batch_norm(network, [(x,) for x in batches])
    means = torch.stack([x.mean((0, 2, 3)) for x in batches])
    variances = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in batches])
    assert torch.allclose(norm.running_mean, means.mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, variances.mean(0), rtol=1e-5)
    assert not any(layer.training for layer in network.modules())
    assert not norm._forward_pre_hooks


def test_an_estimate_of_two_layers_is_that_of_torch_in_training():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=None), nn.ReLU(), nn.Conv2d(3, 2, 3)]
    network = nn.Sequential(*layers, nn.BatchNorm2d(2, momentum=None), nn.BatchNorm2d(2, track_running_stats=False))
    batches = [torch.randn(5, 1, 8, 8) + i for i in range(3)]
    network.train()
    with torch.no_grad():
        for x in batches:
            network(x)  # without a momentum, torch keeps the plain mean
    expected = {name: value.clone() for name, value in network.state_dict().items() if "running" in name}
    for norm in (network[1], network[4]):
        norm.reset_running_stats()
    estimate_batch_norm(network, [(x,) for x in batches])
    assert len(expected) == 4
    for name, value in expected.items():
        assert torch.allclose(network.state_dict()[name], value, atol=1e-5)


def test_what_fails_leaves_the_statistics_as_they_were():
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)).eval()
    with pytest.raises(RuntimeError):
        estimate_batch_norm(network, [(torch.randn(4, 3),), (torch.randn(4, 2),)])
    assert torch.equal(network[0].running_mean, torch.zeros(3))
    assert not network[0]._forward_pre_hooks


def test_no_process_waits_for_another(tmp_path):
    """On a CPU the norm that processes share refuses to meet: it would, were it asked to."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        shared = nn.Sequential(nn.SyncBatchNorm(3), nn.SyncBatchNorm(3)).eval()
        plain = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3)).eval()
        x = torch.randn(5, 3)
        with pytest.raises(ValueError, match="GPU"):
            nn.SyncBatchNorm(3)(x)
        for network in (shared, plain):
            estimate_batch_norm(network, [(x,), (x + 1,)])
        assert all(torch.equal(one, other) for one, other in zip(shared.buffers(), plain.buffers(), strict=True))
        with batch_statistics(shared), batch_statistics(plain):
            assert torch.equal(shared(x), plain(x))
        assert torch.equal(unsynchronised(shared).train()(x), plain.train()(x))
        pictures = unsynchronised(nn.SyncBatchNorm(3))(torch.randn(2, 3, 4, 4))
        assert pictures.shape == (2, 3, 4, 4)
    finally:
        distributed.destroy_process_group()
