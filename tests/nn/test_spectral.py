"""Spectral normalisation against torch's own, finite differences and the singular values themselves."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from gflow_core.nn.spectral import SpectralNorm, spectral_norm, spectral_norms
from gflow_core.nn.strided_conv import StridedConv, StridedTransposedConv

LAYERS = {
    "conv": lambda: nn.Conv2d(3, 8, 3, padding=1),
    "linear": lambda: nn.Linear(12, 5),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1),
}
INPUTS = {"conv": (2, 3, 8, 8), "linear": (2, 12), "transposed": (2, 4, 4, 4)}


def norm_of(layer: nn.Module):
    return layer.parametrizations.weight[0]


def largest(weight: torch.Tensor, dim: int = 0) -> float:
    return torch.linalg.matrix_norm(weight.detach().movedim(dim, 0).flatten(1), ord=2).item()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("iterations", [1, 5])
def test_equals_torch(kind, iterations):
    torch.manual_seed(0)
    plain = LAYERS[kind]().double()
    ours = spectral_norm(copy.deepcopy(plain), iterations)
    theirs = parametrizations.spectral_norm(plain, n_power_iterations=iterations)
    norm_of(theirs)._u.copy_(norm_of(ours).u)
    norm_of(theirs)._v.copy_(norm_of(ours).v)
    x = torch.randn(INPUTS[kind], dtype=torch.double)
    for mode in (True, True, False):
        for layer in (ours, theirs):
            layer.train(mode)
            layer.zero_grad()
            layer(x).square().sum().backward()
        a, b = ours.parametrizations.weight.original, theirs.parametrizations.weight.original
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-12)
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(norm_of(ours).u, norm_of(theirs)._u, rtol=0, atol=1e-12)
        torch.testing.assert_close(norm_of(ours).v, norm_of(theirs)._v, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_largest_singular_value_becomes_one(kind):
    torch.manual_seed(1)
    layer = spectral_norm(LAYERS[kind](), 200)
    assert largest(layer.weight, int(kind == "transposed")) == pytest.approx(1, abs=1e-4)


def test_gradient():
    """With u, v at the singular vectors and standing still, W -> W / sigma has the true derivative."""
    torch.manual_seed(2)
    layer = spectral_norm(nn.Conv2d(2, 3, 3).double(), 500)
    assert layer.weight.shape == (3, 2, 3, 3)  # a training-mode read: the vectors have converged
    norm = norm_of(layer).eval()
    weight = layer.parametrizations.weight.original
    assert torch.autograd.gradcheck(norm, (weight,))
    exact = (weight / torch.linalg.matrix_norm(weight.flatten(1), ord=2)).square().sum()
    (expected,) = torch.autograd.grad(exact, weight)
    (got,) = torch.autograd.grad(norm(weight).square().sum(), weight)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-8)


def test_eval_mode_stands_still():
    layer = spectral_norm(nn.Linear(6, 4), 1).eval()
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    x = torch.randn(3, 6)
    assert torch.equal(layer(x), layer(x))
    assert all(torch.equal(before[k], v) for k, v in layer.state_dict().items())
    layer.train()(x)
    assert not torch.equal(before["parametrizations.weight.0.u"], norm_of(layer).u)


def test_a_forward_may_follow_before_the_backward():
    """Eval-mode graph, then a training-mode forward moves the vectors: the first still differentiates as it was."""
    torch.manual_seed(3)
    layer = spectral_norm(nn.Linear(6, 4), 1).eval()
    weight = layer.parametrizations.weight.original
    (expected,) = torch.autograd.grad(layer.weight.square().sum(), weight)
    loss = layer.weight.square().sum()
    _ = layer.train().weight
    torch.testing.assert_close(torch.autograd.grad(loss, weight)[0], expected, rtol=0, atol=0)


def test_cached_computes_once():
    layer = spectral_norm(nn.Linear(6, 4), 1)
    with parametrize.cached():
        assert layer.weight is layer.weight
        layer.zero_grad()
        (layer(torch.ones(1, 6)) + layer(torch.zeros(1, 6))).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None


def test_copies_and_state_dicts():
    layer = spectral_norm(LAYERS["conv"](), 2)
    x = torch.randn(INPUTS["conv"])
    twin = copy.deepcopy(layer)
    assert torch.equal(twin(x), layer(x))
    other = spectral_norm(LAYERS["conv"](), 2)
    other.load_state_dict(layer.state_dict())
    for one in (layer, twin, other):
        one(x)
    assert torch.equal(other.eval()(x), layer.eval()(x))
    assert torch.equal(twin.eval()(x), layer.eval()(x))
    with torch.no_grad():
        twin.parametrizations.weight.original.normal_()
    assert not torch.allclose(twin(x), layer(x))  # the copy has weights of its own


def test_autocast_does_not_reach_it():
    torch.manual_seed(4)
    layer = spectral_norm(nn.Linear(64, 32), 3).eval()
    plain = layer.weight
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.weight, plain)
        assert layer(torch.randn(2, 64)).dtype == torch.bfloat16


def test_low_precision_weights_are_normalised_in_float32():
    layer = spectral_norm(nn.Linear(64, 32).bfloat16(), 20)
    assert norm_of(layer).u.dtype == torch.float32
    assert layer.weight.dtype == torch.bfloat16
    assert largest(layer.weight.float()) == pytest.approx(1, abs=0.01)


def test_a_whole_network():
    """Every convolution and linear layer, and nothing else; 0 iterations leave all alone."""
    torch.manual_seed(5)
    network = nn.Sequential(*(LAYERS[kind]() for kind in LAYERS), nn.BatchNorm2d(3), nn.Embedding(3, 4))
    spectral_norms(network, 0)
    assert not any(parametrize.is_parametrized(layer) for layer in network)
    spectral_norms(network, 100)
    assert [parametrize.is_parametrized(layer) for layer in network] == [True] * 3 + [False] * 2
    for layer, kind in zip(network, LAYERS, strict=False):
        assert largest(layer.weight, int(kind == "transposed")) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "side", "channels"), [(StridedConv, 8, 256), (StridedTransposedConv, 4, 256), (StridedConv, 8, 4)]
)
def test_one_pass_of_the_power_method_a_forward(kind, side, channels, monkeypatch):
    """Layers that choose between two ways to compute look at their weight once."""
    layer = spectral_norm(kind(channels, channels, 5, bias=False), 1)
    seen = []
    iterate = SpectralNorm._iterate
    monkeypatch.setattr(SpectralNorm, "_iterate", lambda *given: (seen.append(1), iterate(*given)))
    layer(torch.randn(1, channels, side, side))
    assert len(seen) == 1
