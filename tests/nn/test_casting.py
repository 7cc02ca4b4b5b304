"""Weights cast all at once against autocast's own casts, one by one."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gflow_core.machine.runtime import Runtime
from gflow_core.nn.casting import Casting
from gflow_core.nn.resample import DownConv, UpConv
from gflow_core.nn.spectral import spectral_norm
from gflow_core.nn.strided_conv import StridedConv, StridedTransposedConv
from gflow_core.optim.optimizers import SGD
from gflow_core.optim.player import Player, frozen


class Network(nn.Module):
    """Every layer that is cast, some that are not, and one in float32: [B, 3, 8, 8] -> [B]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            DownConv(4, 6, 3, padding=1),
            nn.Softplus(),
            UpConv(6, 4, 3, padding=1),
            spectral_norm(nn.Conv2d(4, 4, 3, padding=1), 1),
            StridedConv(4, 4, 5, bias=True),
            nn.Tanh(),
            StridedTransposedConv(4, 4, 5, bias=False),
            nn.ConvTranspose2d(4, 2, 3, padding=1),
            nn.Flatten(),
            nn.Linear(2 * 64, 5),
        )
        self.last = nn.Linear(5, 1)
        self.unused = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layers(x).float()
        with torch.autocast("cpu", enabled=False):
            return self.last(h).squeeze(1)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network().to(memory_format=torch.channels_last)


class Casts(TorchDispatchMode):
    """Counts casts of weights, by operation."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.shapes = {p.shape for p in network.parameters() if p.dim() > 1}
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        if name == "aten::_foreach_copy_" or (name == "aten::_to_copy" and args[0].shape in self.shapes):
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def critic_loss(network: nn.Module, block, real: Tensor, fake: Tensor) -> Tensor:
    """Two forwards and a gradient penalty, as a discriminator's update has them."""
    real.requires_grad_()
    logits = []
    for x in (real, fake):
        with autocast(), block():
            logits.append(network(x))
    (slope,) = torch.autograd.grad(logits[0].sum(), real, create_graph=True)
    return logits[1].mean() - logits[0].mean() + slope.square().sum()


def test_numbers_and_gradients_are_autocasts_own_bit_for_bit(network):
    plain = deepcopy(network)
    real, fake = torch.randn(2, 5, 3, 8, 8)
    expected = critic_loss(plain, nullcontext, real.clone(), fake)
    expected.backward()
    found = critic_loss(network, Casting(network).cast, real.clone(), fake)
    found.backward()
    assert torch.equal(found, expected)
    for (name, mine), own in zip(network.named_parameters(), plain.parameters(), strict=True):
        assert (mine.grad is None) == (own.grad is None), name
        assert mine.grad is None or torch.equal(mine.grad, own.grad), name
    assert all(torch.equal(mine, own) for mine, own in zip(network.buffers(), plain.buffers(), strict=True))


def test_one_operation_casts_them(network):
    casting, x = Casting(network), torch.randn(2, 3, 8, 8)
    with Casts(network) as casts, autocast(), casting.cast():
        network(x)
    assert casts.seen == {"aten::_foreach_copy_": 1, "aten::_to_copy": 1}, "the normalised weight is autocast's"
    with Casts(network) as casts, autocast(), frozen(network), casting.cast():
        for _ in range(3):
            with casting.cast():
                network(x)
    assert casts.seen["aten::_foreach_copy_"] == 1


def test_gradients_reach_the_weights_in_a_block_without(network):
    """autocast's own cache holds what was cast without gradients, and weights behind it have none."""
    casting, x = Casting(network), torch.randn(2, 3, 8, 8)
    with torch.no_grad(), autocast(), casting.cast():
        network(x)
        with torch.enable_grad(), casting.cast():
            loss = network(x).sum()
        inside = network(x)
    loss.backward()
    assert not inside.requires_grad
    assert all(p.grad is not None for name, p in network.named_parameters() if not name.startswith("unused"))


def test_steps_are_seen_and_nothing_stays_behind(network):
    player = Player(network, SGD(lr=0.1), Runtime(torch.device("cpu"), bf16=True))
    casting = Casting(network)
    x = torch.randn(2, 3, 8, 8)
    for _ in range(2):
        with autocast(), casting.cast():
            loss = network(x).sum()
        player.minimize(loss)
    network.eval()  # the spectral norm stands still
    with torch.no_grad(), autocast():
        expected = network(x)
        with casting.cast():
            assert torch.equal(network(x), expected)
    with pytest.raises(RuntimeError), autocast(), casting.cast():
        network(torch.randn(2, 1, 8, 8))
    assert not any("forward" in vars(layer) for layer in network.modules())
    outside = network.last(torch.ones(1, 5))
    with casting.cast():
        assert torch.equal(network.last(torch.ones(1, 5)), outside), "there is no autocast"


def test_hooks_are_called(network):
    seen = []
    network.layers[2].register_forward_hook(lambda layer, given, out: seen.append(out.dtype))
    with autocast(), Casting(network).cast():
        network(torch.randn(2, 3, 8, 8))
    assert seen == [torch.bfloat16]


def test_scripted_networks_and_those_without_weights_are_left_alone():
    for module in (torch.jit.script(nn.Linear(2, 2)), nn.Sequential(nn.ReLU()), nn.Linear(2, 2).double()):
        with autocast(), Casting(module).cast():
            assert module(torch.ones(1, 2, dtype=next(iter(module.parameters()), torch.ones(())).dtype)).shape == (1, 2)
