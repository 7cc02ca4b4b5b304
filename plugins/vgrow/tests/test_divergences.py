"""The divergences' formulas against each other, against quadrature, and against the GAN losses they belong to."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gflow_core import Recipe, RecipeError
from gflow_core.parts.plugins import PluginRecord
from gflow_vgrow.divergences import PUBLISHED, Divergence
from gflow_vgrow.parts import Flow

NAMES = ("kl", "js", "logd", "jeffreys")
D = torch.linspace(-6, 6, 49, dtype=torch.float64)
R = (-D).exp()


def slope(function, u: Tensor) -> Tensor:
    """Derivative at u by five-point differences, relative step 1e-3."""
    h = 1e-3 * u
    return (8 * (function(u + h) - function(u - h)) - (function(u + 2 * h) - function(u - 2 * h))) / (12 * h)


def test_the_shipped_names():
    assert set(NAMES) == set(PUBLISHED)


@pytest.mark.parametrize("name", NAMES)
def test_scale_is_r_f2_of_r(name: str):
    divergence = PUBLISHED[name]
    torch.testing.assert_close(divergence.scale(D), R * divergence.f2(R), rtol=1e-13, atol=0)
    torch.testing.assert_close(divergence.scale(D), Divergence.scale(divergence, D), rtol=1e-13, atol=0)


def test_scales_as_the_table_has_them():
    table = {"kl": D * 0 + 1, "js": 1 / (1 + (-D).exp()), "logd": 1 / (1 + D.exp()), "jeffreys": 1 + D.exp()}
    for name, expected in table.items():
        torch.testing.assert_close(PUBLISHED[name].scale(D), expected)


@pytest.mark.parametrize("name", NAMES)
def test_f1_and_f2_are_derivatives_of_f(name: str):
    divergence = PUBLISHED[name]
    torch.testing.assert_close(divergence.f1(R), slope(divergence.f, R), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(divergence.f2(R), slope(divergence.f1, R), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_f_is_convex_and_zero_at_one(name: str):
    divergence = PUBLISHED[name]
    assert abs(float(divergence.f(torch.ones((), dtype=torch.float64)))) < 1e-15
    assert (divergence.f2(R) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_estimate_from_exact_logits_is_the_divergence(name: str):
    """Quantiles of two Gaussians as samples: E_p and E_q of the estimate against the quadrature of E_p f(q/p)."""
    p, q = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.7, 1.2)
    x = torch.linspace(-14, 15, 20001, dtype=torch.float64)
    ratio = (q.log_prob(x) - p.log_prob(x)).exp()
    expected = torch.trapezoid(p.log_prob(x).exp() * PUBLISHED[name].f(ratio), x)
    levels = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    d_real, d_fake = (p.log_prob(law.icdf(levels)) - q.log_prob(law.icdf(levels)) for law in (p, q))
    found = PUBLISHED[name].estimate(d_real, d_fake)
    assert found.dim() == 0
    assert abs(float(found - expected)) < 2e-4 * float(expected)


@pytest.mark.parametrize("name", NAMES)
def test_estimate_of_an_undecided_discriminator_is_zero(name: str):
    assert abs(float(PUBLISHED[name].estimate(torch.zeros(5), torch.zeros(5)))) < 1e-6


def test_estimates_stay_finite_at_confident_logits():
    for name in ("kl", "js", "logd", "jeffreys"):
        assert math.isfinite(PUBLISHED[name].estimate(torch.full((3,), 200.0), torch.full((3,), -200.0)))


@pytest.mark.parametrize(
    ("name", "loss"),
    [("js", lambda d: -torch.log(1 - torch.sigmoid(d))), ("logd", lambda d: F.logsigmoid(d))],
)
def test_js_and_logd_flows_are_the_two_gan_generator_losses(name: str, loss):
    """v = grad of -log(1 - sigmoid(d)) for JS and of log sigmoid(d) for logD, through any d(x)."""
    x = torch.linspace(-3, 3, 50, dtype=torch.float64, requires_grad=True)
    d = torch.sin(2 * x) * 3 + x
    (grad_loss,) = torch.autograd.grad(loss(d).sum(), x, retain_graph=True)
    (grad_d,) = torch.autograd.grad(d.sum(), x)
    torch.testing.assert_close(PUBLISHED[name].scale(d.detach()) * grad_d, grad_loss)


class ChiSquared(Divergence):
    """f(u) = (u - 1)^2: two methods are a divergence."""

    def f(self, u: Tensor) -> Tensor:
        return (u - 1) ** 2

    def f2(self, u: Tensor) -> Tensor:
        return 2 * torch.ones_like(u)


@pytest.fixture
def chi2() -> Divergence:
    return ChiSquared()


def test_a_new_divergence_is_one_small_class(chi2: Divergence):
    assert Flow(divergence=chi2).divergence == chi2
    torch.testing.assert_close(chi2.scale(D), 2 * R)
    # E_p (r - 1)^2 of N(m, 1) against N(0, 1) is exp(m^2) - 1; logits d = m^2/2 - m x at quantiles of p.
    levels = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    x = torch.distributions.Normal(0.0, 1.0).icdf(levels)
    found = chi2.estimate(0.5**2 / 2 - 0.5 * x, torch.empty(0))
    assert abs(float(found) - (math.exp(0.25) - 1)) < 1e-3


MINE = """
import attrs
from gflow_core import hookimpl
from gflow_vgrow.divergences import Divergence


@attrs.frozen
class ChiSquared(Divergence):
    \"\"\"f(u) = (u - 1)^2.\"\"\"

    def f(self, u): return (u - 1) ** 2
    def f2(self, u): return 2 * u.new_ones(u.shape)


@hookimpl
def register_parts(add):
    add("vgrow.divergence", "mine.chi2", ChiSquared)
"""


def test_another_package_adds_to_the_plugins_own_kind(isolated_plugins, tmp_path, monkeypatch):
    """Whichever of the two is loaded first."""
    from gflow_vgrow import plugin

    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    mine = __import__("mine")
    early = isolated_plugins.register(mine)
    assert early.status == "ok"
    assert "vgrow.divergence" not in isolated_plugins.kinds
    isolated_plugins.register(plugin, PluginRecord("vgrow", "gflow-vgrow", "0", "gflow_vgrow.plugin"))
    assert set(isolated_plugins.registries["vgrow.divergence"]) == {*PUBLISHED, "mine.chi2"}
    assert early.parts == [("vgrow.divergence", "mine.chi2")]


def test_an_unknown_divergence_is_refused_by_name(tmp_path):
    path = tmp_path / "flow.toml"
    path.write_text('gflow = 1\n[objective]\nuse = "vgrow.flow"\ndivergence = "jefreys"\n')
    with pytest.raises(RecipeError, match='"jefreys"; did you mean "jeffreys"'):
        Recipe.load(path)
