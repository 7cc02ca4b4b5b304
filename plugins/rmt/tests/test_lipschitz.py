"""Lipschitz constants: exact where maps are linear, ordered where they are not, and refused where there is none."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gflow_core import StridedLabels, StridedSampler
from gflow_core.encoders.mnist_cnn import DigitsCnn
from gflow_rmt.lipschitz import Map, _plain, bound, jacobian_norms, operator_norm, ratios


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def frozen(module):
    return module.requires_grad_(False).eval()


def dense(f, z):
    """The Jacobian of f at each row of z, column by column of the identity."""
    return torch.stack([torch.autograd.functional.jacobian(lambda v: f(v[None])[0], row) for row in z])


def test_a_linear_map_is_bounded_by_its_norm_and_reaches_it():
    layer = frozen(nn.Linear(7, 11))
    exact = float(torch.linalg.matrix_norm(layer.weight, 2))
    local = jacobian_norms(layer, torch.randn(3, 7, generator=generator()), generator(), tolerance=1e-7)
    assert bound(layer, torch.zeros(1, 7)).value == pytest.approx(exact, rel=1e-4)
    assert local.tolist() == pytest.approx([exact] * 3, rel=1e-3)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        nn.Conv2d(2, 4, 3, groups=2, dilation=2, bias=False),
        nn.ConvTranspose2d(2, 3, 5, stride=2, padding=2, output_padding=1),
        nn.AvgPool2d(3, 2, padding=1),
        nn.AdaptiveAvgPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ReflectionPad2d(2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_the_norm_of_a_layer_is_that_of_its_dense_matrix(layer):
    x = torch.randn(1, 2, 6, 6, generator=generator())
    matrix = torch.autograd.functional.jacobian(frozen(layer), x).reshape(-1, x.numel())
    exact = float(torch.linalg.matrix_norm(matrix, 2))
    assert bound(layer, x).value == pytest.approx(exact, rel=1e-3)


def test_operator_norm_of_small_and_zero_maps():
    assert operator_norm(lambda x: 3 * x + 1, torch.zeros(1)) == pytest.approx(3)
    assert operator_norm(lambda x: x * torch.tensor([2.0, -5.0]), torch.zeros(2)) == pytest.approx(5)
    assert operator_norm(lambda x: 0 * x, torch.zeros(9)) == 0


def test_closed_forms():
    x = torch.randn(1, 1, 4, 4, generator=generator())
    norm = frozen(nn.BatchNorm2d(1, eps=0.0))
    norm.running_var.fill_(0.25)
    norm.weight.fill_(-3.0)
    cases = {
        math.sqrt(2): lambda v: torch.cat([v, v], 1),
        2.0: lambda v: v + v.transpose(2, 3),
        2.0 + 1e-9: lambda v: F.interpolate(v, scale_factor=2, mode="nearest"),
        1.0: lambda v: F.max_pool2d(v, 2).relu().tanh().permute(0, 2, 3, 1).flatten(1),
        2.0 + 2e-9: lambda v: F.max_pool2d(v, 3, 2),
        6.0: norm,
        0.5: lambda v: (v - v.new_tensor(7.0)) / 2,
        1.0 + 1e-9: lambda v: (v + 1).as_strided_((1, 16), (16, 1)),
        4.0: lambda v: v.expand(-1, 16, -1, -1),
        0.25: torch.sigmoid,
        3.0: lambda v: torch.addcmul(torch.ones(()), v, torch.tensor(3.0)),
        0.0: lambda v: torch.ones(1, 3),
    }
    for constant, f in cases.items():
        assert bound(f, x).value == pytest.approx(constant, rel=1e-4), constant


@pytest.mark.parametrize(
    "f", [F.gelu, F.silu, torch.sigmoid, torch.erf, F.hardswish, lambda x: F.elu(x, 2.0), F.softplus, F.hardsigmoid]
)
def test_the_slopes_of_activations(f):
    x = torch.linspace(-8, 8, 20001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(f(x).sum(), x)
    steepest, constant = float(slope.abs().max()), bound(f, torch.randn(1, 5)).value
    assert 0.99 * constant < steepest <= constant * (1 + 1e-6)


def test_work_in_place_counts_for_what_shares_the_memory():
    def halves(x):
        x = 2 * x
        x[:, :2].mul_(3)  # |6 x| on one half, |2 x| on the other
        return x

    found = bound(halves, torch.randn(1, 4, generator=generator())).value
    assert 6 <= found <= math.hypot(2, 6) + 1e-6
    assert bound(lambda x: (5 * x).view(2, 2).relu_().view(1, 4), torch.randn(1, 4)).value == pytest.approx(5)


@pytest.mark.parametrize(
    ("f", "named"),
    [
        (lambda x: x.softmax(1), "softmax"),
        (lambda x: x * x, "mul"),
        (lambda x: x @ x.mT, "mm"),
        (lambda x: torch.addcmul(x, x, 1 + x), "addcmul"),
        (lambda x: 1 / x, "reciprocal|div"),
        (lambda x: x.round(), "round"),
        (lambda x: (x + 1).as_strided((8, 4), (0, 1)), "as_strided"),
        (lambda x: F.layer_norm(x, (4,)), "layer_norm"),
        (lambda x: F.batch_norm(x.expand(3, 4), None, None, training=True), "batch"),
        (lambda x: torch.div(x, 2, rounding_mode="floor"), "div"),
        (lambda x: torch.clamp(x, min=torch.tanh(x)), "clamp"),
        (lambda x: x.sort().values.gather(1, x.argsort()), "sort"),
        (lambda x: torch.arange(9.0)[x.max(1).indices], "index"),
        (lambda x: x if float(x.sum()) > 0 else 2 * x, "number"),
        (lambda x: F.batch_norm(torch.ones(1, 4), torch.zeros(4), torch.ones(4), x[0]), "batch"),
    ],
)
def test_what_has_no_bound_is_named(f, named):
    found = bound(f, torch.randn(1, 4, generator=generator()))
    assert found.value is None
    assert any(name in found.why for name in named.split("|")), found.why


def network():
    torch.manual_seed(0)
    return frozen(nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.LeakyReLU(0.2), nn.Linear(8, 6)))


def test_local_norms_are_those_of_the_dense_jacobian():
    f, z = network().double(), torch.randn(4, 5, generator=generator(1), dtype=torch.float64)
    local = jacobian_norms(f, z, generator(), tolerance=1e-8)
    exact = torch.linalg.matrix_norm(dense(f, z), 2)
    torch.testing.assert_close(local, exact, rtol=1e-4, atol=0)
    assert float(local.max()) <= bound(f, z[:1]).value


class Once(torch.autograd.Function):
    """Twice, without a second derivative."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient


@pytest.mark.parametrize("f", [torch.round, torch.no_grad()(torch.tanh), Once.apply, lambda x: torch.igamma(x, x)])
def test_what_cannot_be_differentiated_is_told(f):
    with pytest.raises(NotImplementedError, match=r"carry no gradient|only once|derivative"):
        jacobian_norms(f, torch.ones(2, 3), generator())


@pytest.mark.parametrize(("join", "width"), [("layer", 80), ("planes", 16)])
def test_a_conditional_convolutional_sampler_and_the_digits_network(join, width):
    torch.manual_seed(1)
    sampler = StridedSampler(6, 1, 32, width=width, labels=StridedLabels(size=10, join=join))
    for layer in sampler.modules():  # statistics that are not those of the start
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.uniform_(0.2, 2)
    trunk = frozen(DigitsCnn())
    trunk.head = nn.Identity()
    own, plain = frozen(sampler), _plain(sampler)
    mapping = Map(plain, lambda x: trunk(x[:, :, 2:30, 2:30]), "")
    y, z = torch.tensor([3, 7]), torch.randn(2, 6, generator=generator())
    torch.testing.assert_close(plain(z, y), own(z, y), rtol=1e-4, atol=1e-5)

    f = mapping.at(y)
    local = jacobian_norms(f, z, generator(), tolerance=0.02)
    apart = ratios(f, z, torch.randn(2, 6, generator=generator(2)))
    found = bound(mapping.at(y[:1]), z[:1])
    assert 0 < float(apart.max()) < found.value
    assert 0 < float(local.max()) < found.value
    assert [name for name, _, _ in found.layers].count("convolution") == 3 + 2
    assert found.layers[-1][2] == found.value


def test_pairs_that_coincide_are_left_out():
    z = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    assert ratios(lambda v: 3 * v, z, torch.tensor([[1.0, 2.0], [0.0, 4.0]])).tolist() == pytest.approx([3.0])
