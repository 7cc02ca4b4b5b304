"""Gradient penalties: closed forms, finite differences, and what happens at zero."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gflow_core.methods.gradients import interpolate, one_centred, squared_gradient_norm, zero_centred


def points(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()


def test_of_a_linear_function_it_is_the_squared_weight():
    w = torch.tensor([3.0, -4.0], dtype=torch.float64)
    x = points(5, 2)
    square = squared_gradient_norm(x @ w, x)
    torch.testing.assert_close(square, torch.full((5,), 25.0, dtype=torch.float64))
    assert float(zero_centred(square)) == pytest.approx(25)
    assert float(one_centred(square)) == pytest.approx(16)


def test_on_the_probability_the_chain_rule_holds():
    x = points(5, 2)
    d = x.square().sum(1)
    s = torch.sigmoid(d)
    expected = (s * (1 - s)).square() * squared_gradient_norm(d, x)
    torch.testing.assert_close(squared_gradient_norm(d, x, on="probability"), expected)


@pytest.mark.parametrize("on", ["logit", "probability"])
def test_it_is_the_norm_of_finite_differences(on):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def f(x: torch.Tensor) -> torch.Tensor:
        d = net(x).squeeze(-1)
        return torch.sigmoid(d) if on == "probability" else d

    x = points(4, 3)
    square = squared_gradient_norm(net(x).squeeze(-1), x, on=on)
    h = 1e-6
    steps = torch.eye(3, dtype=torch.float64) * h
    slopes = torch.stack([(f(x + step) - f(x - step)) / (2 * h) for step in steps], 1)
    torch.testing.assert_close(square, slopes.square().sum(1), rtol=1e-7, atol=1e-9)


def test_its_gradient_reaches_the_weights():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    x = points(4, 2).detach()

    def penalty(weight: torch.Tensor) -> torch.Tensor:
        here = x.clone().requires_grad_()
        d = (torch.tanh(here @ weight.T + net[0].bias.detach()) @ net[2].weight.detach().T).squeeze(-1)
        return zero_centred(squared_gradient_norm(d, here))

    assert torch.autograd.gradcheck(penalty, net[0].weight.detach().requires_grad_())


@pytest.mark.parametrize("function", [zero_centred, one_centred])
def test_gradients_are_finite_where_the_discriminator_is_flat(function):
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    x = points(5, 2)
    penalty = function(squared_gradient_norm(x @ w, x))
    penalty.backward()
    assert torch.equal(w.grad, torch.zeros_like(w))
    assert penalty.item() == (0.0 if function is zero_centred else 1.0)


def test_items_and_replicas_have_norms_of_their_own():
    images = points(2, 3, 1, 4, 4)  # [R, B, C, H, W]
    d = images.square().sum((2, 3, 4))
    square = squared_gradient_norm(d, images)
    torch.testing.assert_close(square, 4 * d)
    torch.testing.assert_close(zero_centred(square), 4 * d.mean(-1))


def test_interpolation_runs_from_fake_to_real():
    real, fake = torch.ones(3, 2, 2), torch.zeros(3, 2, 2)
    between = interpolate(real, fake, torch.tensor([0.0, 0.25, 1.0]))
    assert between[:, 0, 0].tolist() == [0, 0.25, 1]


def test_not_a_number_is_not_hidden():
    assert one_centred(torch.tensor([1.0, float("nan")])).isnan()
