from __future__ import annotations

import math

import attrs
import pytest
import torch
from torch import nn

from gflow_core.encoders.parts import Inception, MnistCnn
from gflow_core.machine.runtime import Runtime
from gflow_core.scores.feature_scores import PathLength


def test_a_linear_sampler_has_its_closed_form(scene):
    """E |s (z1 - z0)|^2 = 2 d s^2 along straight paths, whatever t and epsilon."""
    for epsilon in (1e-4, 0.1):
        part = PathLength(samples=4000, epsilon=epsilon, path="linear")
        result = scene.score(part, scene.Points(dim=3), scene.Affine(scale=1.5, shift=4.0))
        wanted, error = 2 * 3 * 1.5**2, result.scores["PPL(data)_se"]
        assert error == pytest.approx(wanted * math.sqrt(2 / 3 / 4000), rel=0.1), "of a chi-squared of three"
        assert abs(result.scores["PPL(data)"] - wanted) < 4 * error
        assert result.scores["PPL(data)_trimmed"] < result.scores["PPL(data)"]
    assert result.manifest.items() >= {"n_fake": 8000, "epsilon": 0.1, "path": "linear"}.items()


@attrs.frozen
class Circle:
    """z uniform on the unit circle."""

    dim: int = 2

    def draw(self, n, generator):
        angle = 2 * math.pi * torch.rand(n, generator=generator)
        return torch.stack([angle.cos(), angle.sin()], 1)


def test_on_a_circle_the_spherical_path_has_the_speed_of_its_angle(scene):
    """The angle w between two draws is uniform on [0, pi]: E w^2 = pi^2 / 3. A chord is shorter: E |z1 - z0|^2 = 2."""
    subject = scene.subject(scene.Points(dim=2), scene.Affine())
    subject.spec.sampler.latent = Circle()
    for path, wanted in (("spherical", math.pi**2 / 3), ("linear", 2.0), ("auto", 2.0)):
        scores = PathLength(samples=4000, path=path).build()(subject).scores
        assert abs(scores["PPL(data)"] - wanted) < 4 * scores["PPL(data)_se"]


def test_normal_latents_turn_on_the_sphere_and_images_are_not_rounded(scene):
    """Bytes would be steps of 1/127.5, which a path of 1e-4 meets hardly ever and then all at once."""

    class Faint(nn.Module):
        def forward(self, z, y=None):
            return (1e-3 * z).view(-1, 1, 6, 6)

    part = PathLength(encoder=scene.Encoding(), samples=50)
    result = scene.score(part, scene.Pictures(), Faint())
    assert result.manifest.items() >= {"path": "spherical", "conversion": "none", "encoder": "projection"}.items()
    again = scene.score(attrs.evolve(part, epsilon=1e-2), scene.Pictures(), Faint())
    assert result.scores["PPL(projection)"] == pytest.approx(again.scores["PPL(projection)"], rel=0.01)
    assert result.scores["PPL(projection)"] > 0


def test_it_is_computed_in_float32_where_the_run_is_in_bf16(scene):
    part, data = PathLength(samples=64), scene.Points(dim=3)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 3))
    subject = scene.subject(data, network)
    plain = part.build()(subject).scores
    bf16 = scene.subject(data, network)
    bf16.runtime = Runtime(torch.device("cpu"), bf16=True)
    assert part.build()(bf16).scores == plain


def test_an_encoder_that_rounds_is_refused(scene):
    data = scene.spec(scene.Pictures())
    assert "rounds images to bytes" in " ".join(PathLength(encoder=Inception()).check(data))
    assert list(PathLength(encoder=MnistCnn()).check(data)) == []
    assert "set encoder" in " ".join(PathLength().check(data))
