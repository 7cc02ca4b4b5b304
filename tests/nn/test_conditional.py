"""Conditional batch norm against a batch norm a class, and projection by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gflow_core.nn.conditional import ConditionalBatchNorm2d, LabelledSequential, Projection


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def norm(classes=True, size=2):
    """With scales and shifts as after training."""
    module = ConditionalBatchNorm2d(5, size, classes=classes)
    for p in module.parameters():
        nn.init.normal_(p)
    return module


def per_class(module):
    """A batch norm for each class, with that class's scale and shift and the common running statistics."""
    norms = []
    for scale, shift in zip(module.scale, module.shift, strict=True):
        one = nn.BatchNorm2d(module.norm.num_features)
        one.load_state_dict({"weight": scale, "bias": shift, **module.norm.state_dict()})
        norms.append(one)
    return norms


@pytest.mark.parametrize("training", [True, False])
def test_it_is_a_batch_norm_a_class(training):
    """All items share the batch's statistics; each is scaled and shifted as its class says."""
    module, y = norm(), torch.tensor([0, 1, 1, 0, 1, 0])
    for _ in range(3):
        module(torch.randn(6, 5, 4, 4) * 2 + 1, y)  # running statistics that are not 0 and 1
    module.train(training)
    norms = [one.train(training) for one in per_class(module)]
    x = torch.randn(6, 5, 4, 4)
    whole = [one(x) for one in norms]
    torch.testing.assert_close(module(x, y), torch.stack([whole[c][i] for i, c in enumerate(y)]))
    torch.testing.assert_close(module.norm.running_var, norms[0].running_var)
    torch.testing.assert_close(module(x, F.one_hot(y, 2).float()), module(x, y))


def test_conditions_set_it_affinely():
    module, x = norm(classes=False, size=3), torch.randn(4, 5, 4, 4)
    y = torch.randn(4, 3)
    plain = module.norm(x)
    slow = torch.empty_like(x)
    for i in range(4):
        for c in range(5):
            scale = module.scale[3, c] + sum(y[i, k] * module.scale[k, c] for k in range(3))
            shift = module.shift[3, c] + sum(y[i, k] * module.shift[k, c] for k in range(3))
            slow[i, c] = scale * plain[i, c] + shift
    torch.testing.assert_close(module(x, y), slow)
    middle = module(x, (y + y.flip(0)) / 2)
    torch.testing.assert_close(middle, (module(x, y) + module(x, y.flip(0))) / 2)


@pytest.mark.parametrize("classes", [True, False])
def test_it_starts_as_batch_norm(classes):
    module, x = ConditionalBatchNorm2d(5, 3, classes=classes), torch.randn(4, 5, 4, 4)
    y = torch.tensor([0, 1, 2, 0]) if classes else torch.randn(4, 3)
    torch.testing.assert_close(module(x, y), nn.BatchNorm2d(5)(x))


@pytest.mark.parametrize("classes", [True, False])
def test_drawn_scales(classes):
    """N(1, 0.02) within five standard errors, for every class, or for conditions that are 0."""
    module = ConditionalBatchNorm2d(500, 4, classes=classes)
    module.draw_scales(0.02)
    drawn = module.scale if classes else module.scale[-1]
    assert abs(drawn.mean().item() - 1) < 5 * 0.02 / drawn.numel() ** 0.5
    assert abs(drawn.std().item() / 0.02 - 1) < 5 / (2 * drawn.numel()) ** 0.5
    assert not module.shift.any()
    assert classes or not module.scale[:-1].any()


def test_layout_precision_and_second_derivatives():
    module, y = norm(), torch.tensor([0, 1])
    x = torch.randn(2, 5, 4, 4).contiguous(memory_format=torch.channels_last)
    assert module(x, y).is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        low = module(x.bfloat16(), y)
    assert low.dtype == torch.bfloat16
    assert (low - module(x, y)).norm() <= 0.02 * low.norm()
    module, x = module.double().eval(), torch.randn(2, 5, 2, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: module(x, y).pow(3), x)


def test_labels_reach_the_layers_that_read_them():
    inner = norm()
    layers = LabelledSequential(nn.Conv2d(3, 5, 1), LabelledSequential(inner, nn.ReLU()))
    x, y = torch.randn(4, 3, 2, 2), torch.tensor([1, 0, 1, 1])
    torch.testing.assert_close(layers(x, y), inner(layers[0](x), y).relu())
    assert torch.equal(LabelledSequential(nn.ReLU())(x), x.relu())


def test_projection_by_hand():
    module = Projection(6, 3)
    assert module.embed.weight.abs().max() <= 6**-0.5
    phi, y = torch.randn(4, 6), torch.tensor([0, 2, 1, 0])
    by_class = torch.stack([sum(module.embed.weight[k, c] * phi[i, k] for k in range(6)) for i, c in enumerate(y)])
    torch.testing.assert_close(module(phi, y), by_class)
    real = torch.randn(4, 3)
    of_each = torch.stack([module(phi, torch.full((4,), c)) for c in range(3)], 1)
    torch.testing.assert_close(module(phi, real), (real * of_each).sum(1))
