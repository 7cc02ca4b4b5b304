"""Weights resampled in their effective values, and what the analysis says where the answer is known."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from gflow_core import GflowError, Normal, Spec, spectral_norm
from gflow_rmt import biggan_deep
from gflow_rmt.parts.comparisons import ResampleWeights
from gflow_rmt.parts.networks import MlpSampler
from gflow_rmt.resample_weights import contrast, effective_weight, layers_of, resampled
from gflow_rmt.spectra import distance


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def legacy(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in many published networks
        return nn.utils.spectral_norm(layer)


def net():
    return nn.Sequential(nn.Linear(30, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Sequential(nn.Linear(40, 20)))


# ------------------------------------------------------------------ weights


@pytest.mark.parametrize("law", ["normal", "permutation"])
def test_named_layers_get_other_values_of_the_same_law(law):
    model = net()
    nn.init.normal_(model[0].weight, 0.5, 0.1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copy = resampled(model, ["0"], law, generator())
    assert not copy.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    changed = [name for name, value in copy.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["0.weight"]
    old, new = before["0.weight"], copy[0].weight
    assert new.norm().item() == pytest.approx(old.norm().item(), rel=1e-6)
    assert new.mean().item() == pytest.approx(0.5, abs=0.02)
    assert new.std().item() == pytest.approx(0.1, rel=0.1)
    assert abs(np.corrcoef(new.detach().flatten(), old.flatten())[0, 1]) < 0.1
    assert torch.equal(new.flatten().sort().values, old.flatten().sort().values) == (law == "permutation")
    again, other = (resampled(model, ["0"], law, generator(seed))[0].weight for seed in (0, 1))
    assert torch.equal(again, new)
    assert not torch.equal(other, new)


def test_names_with_wildcards():
    model = net()
    assert list(layers_of(model)) == ["0", "3.0"]
    copy = resampled(model, ["*"], "normal", generator())
    assert not torch.equal(copy[0].weight, model[0].weight)
    assert not torch.equal(copy[3][0].weight, model[3][0].weight)
    copy = resampled(model, ["3.?"], "normal", generator())
    assert torch.equal(copy[0].weight, model[0].weight)


def test_a_name_that_fits_nothing_is_told_which_there_are():
    with pytest.raises(GflowError, match=r"no layer of the sampler is called '1'; set layers to some of: 0, 3\.0"):
        resampled(net(), ["0", "1"], "normal", generator())


X = torch.randn(5, 4, 6, 6)
NORMALISED = {
    "gflow linear": (lambda: spectral_norm(nn.Linear(6, 9), 2), F.linear),
    "gflow transposed": (lambda: spectral_norm(nn.ConvTranspose2d(4, 7, 3), 2), F.conv_transpose2d),
    "torch linear": (lambda: legacy(nn.Linear(6, 9)), F.linear),
    "torch conv": (lambda: legacy(nn.Conv2d(4, 7, 3)), F.conv2d),
    "torch transposed": (lambda: legacy(nn.ConvTranspose2d(4, 7, 3)), F.conv_transpose2d),
    "torch parametrization": (lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 7, 3)), F.conv2d),
    "torch weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 7, 3)), F.conv2d),
    "biggan linear": (lambda: biggan_deep.Linear(6, 9), F.linear),
    "biggan conv": (lambda: biggan_deep.Conv(4, 7, 3), F.conv2d),
}


@pytest.mark.parametrize("law", ["normal", "permutation"])
@pytest.mark.parametrize(("make", "apply"), NORMALISED.values(), ids=NORMALISED)
def test_what_a_norm_makes_of_a_weight_is_resampled(make, apply, law):
    """What the layer computes goes by its effective weight, whose norm stays, and the original is as it was."""
    model = nn.Sequential(make())
    for _ in range(3):
        model(X)  # in training mode: u and v move, and torch's hook leaves a weight with a graph behind
    out = model.eval()(X).detach()
    old = effective_weight(model[0])
    torch.testing.assert_close(apply(X, old, model[0].bias), out)
    copy = resampled(model.train(), ["0"], law, generator())
    new = effective_weight(copy[0])
    assert new.norm().item() == pytest.approx(old.norm().item(), rel=1e-5)
    assert not torch.allclose(new, old, atol=1e-2)
    for _ in range(2):  # vectors stand still
        torch.testing.assert_close(copy(X), apply(X, new, model[0].bias))
    torch.testing.assert_close(model.eval()(X), out)
    if law == "permutation":
        torch.testing.assert_close(new.flatten().sort().values, old.flatten().sort().values)


def old_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


@pytest.mark.parametrize("change", [old_weight_norm, lambda layer: prune.random_unstructured(layer, "weight", 0.5)])
def test_a_weight_that_cannot_be_set_is_refused(change):
    model = nn.Sequential(change(nn.Linear(3, 3)))
    with pytest.raises(GflowError, match=r"layer 0 \(Linear\) computes its weight in a way that is not known here"):
        resampled(model, ["0"], "normal", generator())


# ------------------------------------------------------------------ spectra


def test_contrast_is_the_mean_over_pairs():
    rng = np.random.default_rng(0)
    a, b = (np.sort(rng.gamma(2, size=(4, 30)) * scale)[:, ::-1] for scale in (1.0, 1.2))
    found = contrast(a, b, generator())
    for name in ("ks", "wasserstein"):
        factor = 1 if name == "ks" else 1 / a.mean()
        mean = {"ks": lambda x, y: distance(x, y).ks, "wasserstein": lambda x, y: distance(x, y).wasserstein * y.mean()}
        pairs = [(i, j) for i in range(4) for j in range(4)]
        assert found[name] == pytest.approx(factor * np.mean([mean[name](a[i], b[j]) for i, j in pairs]))
        for suffix, own in (("trained", a), ("resampled", b)):
            slow = [mean[name](own[i], own[j]) for i, j in pairs if i != j]
            assert found[f"{name}_{suffix}"] == pytest.approx(factor * np.mean(slow))


def test_p_values_of_contrast():
    """Of the ten ways to halve six spectra, those of one law take any with one probability; of two laws the first."""
    rng = np.random.default_rng(0)
    equal = [contrast(*np.sort(rng.gamma(2, size=(2, 3, 40))), generator(i))["ks_p"] for i in range(40)]
    assert 0.35 < np.mean(equal) < 0.75
    assert np.mean(np.array(equal) < 0.15) < 0.25
    far = contrast(np.sort(rng.gamma(2, size=(6, 40))), np.sort(rng.gamma(4, size=(6, 40))), generator())
    assert far["ks_p"] < 0.02  # 2 of 924
    assert far["wasserstein_p"] < 0.02


# ------------------------------------------------------------------ the analysis


class Map(nn.Module):
    """z -> A z, and y added: what a linear sampler makes."""

    def __init__(self, weight):
        super().__init__()
        self.map = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        self.map.weight.data = weight

    def forward(self, z, y=None):
        return self.map(z) if y is None else self.map(z) + y[:, None]


def run(scene, weight, *, conditional=True, **options):
    data = scene.Points(dim=weight.shape[0], classes=2 if conditional else None)
    sampler = scene.Part(conditional=conditional, latent=Normal(dim=weight.shape[1]))
    part = ResampleWeights(**{"K": 2 if conditional else 1, "N": 30, "m": 20, "repeats": 6, "reference": 3} | options)
    assert list(part.check(Spec(dataset=data, sampler=sampler))) == []
    return part.build()(scene.subject(data, Map(weight), part=sampler))


def test_a_generator_of_random_weights_is_invariant(scene):
    """Independent normal weights are what resampling makes of them; with p large, spectra hardly depend on them."""
    result = run(scene, torch.randn(3000, 8), N=70)
    assert result.scores["ks"] < 1.3 * result.scores["ks_trained"]
    assert result.scores["scale_ratio"] == pytest.approx(1, abs=0.1)
    assert [row["eigenvalue"] for row in result.tables["eigenvalues"]] == [2, 3, 4, 5, 6]
    assert all(row["ratio"] == pytest.approx(1, abs=0.15) for row in result.tables["eigenvalues"])


@pytest.mark.parametrize("redraw", [False, True])
def test_a_generator_with_structure_is_not(scene, redraw):
    """Singular values 8, 4, 2, ...: resampled they become nearly equal, their mean square as it was."""
    weight = torch.linalg.qr(torch.randn(3000, 8))[0] * 50 * 2.0 ** -torch.arange(8.0)
    result = run(scene, weight, layers=("map",), redraw=redraw)
    assert result.scores["ks"] > 2 * result.scores["ks_trained"]
    assert result.scores["shape_wasserstein"] > 2 * result.scores["shape_wasserstein_trained"]
    assert result.scores["ks_p"] < 0.02
    assert result.tables["eigenvalues"][-1]["ratio"] > 5
    assert result.scores["eigenvalue_ratio_furthest"] == result.tables["eigenvalues"][-1]["ratio"]
    (layer,) = result.tables["layers"]
    assert layer["layer"] == "map"
    assert layer["shape"] == "3000x8"
    assert layer["frobenius_norm_after"] == pytest.approx(layer["frobenius_norm"], rel=1e-6)
    assert layer["spectral_norm"] == pytest.approx(50, rel=1e-4)
    assert layer["spectral_norm_after"] < 30


def test_result_is_whole_and_repeats(scene):
    first, second = (run(scene, torch.randn(12, 4, generator=generator()), conditional=False) for _ in range(2))
    assert first.scores == second.scores
    assert set(first.figures) == {"eigenvalues", "spectra", "samples"}
    assert first.manifest["layers"] == ["map"]
    assert "batch-norm statistics are those of the trained weights" in first.manifest["remark"]
    for name in ("trained", "resampled"):
        assert 0 < first.scores[f"mixture_{name}_ks_p"] <= 1


def test_images_through_an_encoder(scene):
    sampler = scene.Part(latent=Normal(dim=3))
    network = MlpSampler(widths=(8, 8), latent=Normal(dim=3))
    data = scene.Pictures()
    part = ResampleWeights(
        encoder=scene.Encoding(), K=2, N=12, m=8, repeats=2, reference=1, layers=("hidden.*",), law="permutation"
    )
    subject = scene.subject(data, network.build(data.data_shape()).eval(), part=sampler)
    result = part.build()(subject)
    assert [row["layer"] for row in result.tables["layers"]] == ["hidden.layers.0", "hidden.layers.3"]
    left, right = (axes.images[0].get_array() for axes in result.figures["samples"].axes)
    assert left.shape == right.shape == (2 * 6 + 2, 8 * 6 + 2, 3)
    assert (left != right).any()


# ------------------------------------------------------------------ bad input


def test_too_few_images_are_refused(scene):
    data = scene.Points()
    part = ResampleWeights(K=2, N=12, m=10)
    (message,) = part.check(Spec(dataset=data, sampler=scene.Part()))
    assert message == "K (N - m) = 4 images have no eigenvalues 2 to 6; at least 6 have"


def test_missing_layers_are_missed_before_training(scene):
    data = scene.Pictures()
    trained = Spec(dataset=data, sampler=MlpSampler(widths=(8,)), objective=SimpleNamespace())
    part = ResampleWeights(encoder=scene.Encoding(), layers=("hidden.layers.1",))
    with pytest.raises(GflowError, match=r"set layers to some of: hidden\.layers\.0, out$"):
        part.prepare(trained, torch.device("cpu"), lambda *_: None)
    attrs.evolve(part, layers=("out",)).prepare(trained, torch.device("cpu"), lambda *_: None)


def test_features_that_do_not_vary_are_refused(scene):
    with pytest.raises(GflowError, match="trained weights: class 0 of 2: all 20 feature vectors are the same"):
        run(scene, torch.zeros(12, 4))


def test_features_of_one_direction_are_refused(scene):
    with pytest.raises(GflowError, match="features have one direction alone"):
        run(scene, torch.randn(1, 4), conditional=False)
