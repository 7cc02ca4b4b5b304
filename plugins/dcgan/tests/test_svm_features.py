"""dcgan.svm_features on small images whose classes are known, against scikit-learn used directly."""

from __future__ import annotations

import copy
import tracemalloc
from typing import Any, ClassVar, Literal

import attrs
import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from gflow_core import (
    DataShape,
    Diverged,
    GflowError,
    Runtime,
    Source,
    Spec,
    Streams,
    Subject,
    fingerprint,
    no_progress,
)
from gflow_core.data.parts import CelebA, Gaussian, ImageFolder, Mnist5k
from gflow_dcgan.parts.judgement import SvmFeatures
from gflow_dcgan.svm_features import (
    KMeansFeatures,
    balanced,
    conv_features,
    draws,
    extract,
    extractor,
    finite,
    lbfgs,
    liblinear,
    pooled,
    standardize,
)
from gflow_dcgan.untrained import untrained

CPU = Runtime(torch.device("cpu"))


@attrs.frozen(kw_only=True)
class Blobs:
    """Images of 8x8 noise in three classes, each bright in a place of its own."""

    n: int = 90
    strength: int = 60
    split: Literal["train", "test"] = "train"

    def data_shape(self) -> DataShape:
        return DataShape("image", (1, 8, 8), -1.0, 1.0, 3)

    def load(self, progress: Any = no_progress) -> Source:
        generator = torch.Generator().manual_seed(len(self.split))
        y = torch.randint(3, (self.n,), generator=generator)
        x = torch.randint(0, 180, (self.n, 1, 8, 8), generator=generator)
        for i, label in enumerate(y.tolist()):
            x[i, :, 2 * label : 2 * label + 3] += self.strength
        x = x.to(torch.uint8)
        return Source(x, self.data_shape(), fingerprint(x, y), y=y)


class Net(nn.Module):
    """Two convolutions with batch norm and ReLU in place; `conv_features` only where it is offered."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, stride=2)
        )
        self.scale = scale

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.scale * self.body(x).mean((1, 2, 3))


@attrs.frozen(kw_only=True)
class Part:
    conditional: ClassVar[bool] = False

    def build(self, data: DataShape) -> nn.Module:
        return Net()


def spec(dataset: Any, conditional: bool = False) -> Spec:
    part = Part()
    if conditional:
        part = type("Conditional", (), {"conditional": True})()
    return Spec(dataset=dataset, discriminator=part)


def net() -> nn.Module:
    torch.manual_seed(3)
    return Net().eval()


def run(dataset: Any, module: nn.Module | None = None, progress: Any = no_progress, **options: Any):
    part = SvmFeatures(**{"C": (0.3, 3.0), **options})
    assert list(part.check(spec(dataset))) == []
    return part.build()(
        Subject(spec(dataset), CPU, Streams(1), 7, dataset.load(), None, module or net(), progress=progress)
    )


@pytest.mark.parametrize("solver", ["liblinear", "lbfgs"])
def test_accuracies_are_those_of_scikit_learn_used_directly(solver):
    data, module = Blobs(n=120, strength=40), net()
    result = run(data, module, C=(0.4,), validation=30, solver=solver)
    train, test = data.load(), attrs.evolve(data, split="test").load()

    def images(source: Source) -> Tensor:
        return source.batch(torch.arange(len(source))).x

    with torch.no_grad():
        first = module.body[0](images(train))
    moments = first.mean((0, 2, 3)), first.transpose(0, 1).flatten(1).var(1)  # the training images set batch norm

    def features(source: Source) -> np.ndarray:
        with torch.no_grad():
            first = module.body[0](images(source))
            second = module.body[3](nn.functional.batch_norm(first, *moments).relu())
        maps = [first.unflatten(2, (4, 2)).unflatten(4, (4, 2)).amax((3, 5)), second]  # 8 -> 4, and 3 stays 3
        return torch.cat([m.flatten(1) for m in maps], 1).numpy()

    scaler = StandardScaler().fit(features(train))
    x, x_test = (scaler.transform(features(source)) / np.sqrt(4 * 16 + 6 * 9) for source in (train, test))
    svm = LinearSVC(C=0.4, tol=1e-6, max_iter=10_000, dual=True).fit(x, train.y)
    (row,) = result.tables["accuracy"]
    assert row["n_features"] == 4 * 16 + 6 * 9
    assert row["test_accuracy"] == pytest.approx(svm.score(x_test, test.y), abs=0.01)
    assert row["train_accuracy"] == pytest.approx(svm.score(x, train.y), abs=0.01)
    assert 0.4 < row["test_accuracy"] < 1, "a task that tells classifiers apart"
    assert result.scores["error_discriminator"] == 1 - row["test_accuracy"]
    rows = result.tables["confusion"]
    counts = np.array([[row[f"predicted_{k}"] for k in range(3)] for row in rows])
    assert counts.sum(1).tolist() == test.y.bincount().tolist()
    assert counts.trace() / counts.sum() == pytest.approx(row["test_accuracy"])


@pytest.mark.parametrize(("n", "d", "classes"), [(60, 200, 4), (200, 30, 3), (80, 20, 2)])
def test_both_solvers_find_the_same_minimum(n, d, classes):
    rng = np.random.default_rng(n)
    y = rng.permutation(np.arange(n) % classes)
    x = (rng.normal(size=(n, d)) + 0.5 * rng.normal(size=(classes, d))[y]).astype(np.float32) / np.sqrt(d)
    target = np.where(y[:, None] == np.arange(classes), 1, -1)

    def cost(svm):
        gap = np.maximum(1 - target * (x @ svm.weight + svm.bias), 0)
        return (svm.weight**2).sum() / 2 + (svm.bias**2).sum() / 2 + 3 * (gap**2).sum()

    options = {"C": 3.0, "tolerance": 1e-5, "max_iter": 5000}
    one, other = liblinear(x, y, **options), lbfgs(x, y, **options)
    assert one.converged
    assert other.converged
    assert cost(one) == pytest.approx(cost(other), rel=1e-4)
    assert np.abs(one.weight - other.weight).max() < 0.01 * np.abs(one.weight).max()
    direct = LinearSVC(C=3.0, tol=1e-6, max_iter=50_000, dual=True).fit(x, y)
    for svm in (one, other):
        assert (svm.predict(x) == direct.predict(x)).mean() > 0.98


def test_pooled_maps_are_those_of_a_slow_loop():
    generator = torch.Generator().manual_seed(0)
    for height, width in ((8, 8), (5, 7), (4, 4), (2, 9), (1, 1)):
        h = torch.randn(2, 3, height, width, generator=generator)
        rows, columns = min(4, height), min(4, width)
        slow = torch.empty(2, 3, rows, columns)
        for i in range(rows):
            for j in range(columns):
                top, bottom = i * height // rows, -(-(i + 1) * height // rows)
                left, right = j * width // columns, -(-(j + 1) * width // columns)
                slow[:, :, i, j] = h[:, :, top:bottom, left:right].amax((2, 3))
        assert torch.equal(pooled(h, 4), slow.flatten(1))


def test_layers_are_read_by_the_networks_own_method_or_by_hooks():
    module, x = net(), torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = module.body[0](x)
        assert (first < 0).any(), "the ReLU in place must not have reached what was read"
        by_hooks = conv_features(module, x, 4)
        assert torch.equal(by_hooks[:, :64], pooled(first, 4))
        assert not any(layer._forward_hooks for layer in module.modules())
        module.conv_features = lambda x: [x, x + 1]
        assert torch.equal(conv_features(module, x, 4), torch.cat([pooled(x, 4), pooled(x, 4) + 1], 1))
    with pytest.raises(GflowError, match="Linear has no convolutional layer"):
        conv_features(nn.Linear(8, 1), x, 4)


def test_extraction_does_not_depend_on_the_pieces():
    source, module = Blobs(n=23).load(), net()
    index = np.arange(0, 23, 2)
    whole = module.body[0](source.batch(torch.from_numpy(index)).x).flatten(1).detach()
    for size in (1, 5, 50):
        found = extract(lambda x: module.body[0](x).flatten(1), source, index, size, CPU, no_progress)
        assert found.dtype == np.float32
        assert np.allclose(found, whole, atol=1e-6)


def test_draws_are_balanced_and_keep_learning_validation_and_the_rest_apart():
    y = np.repeat([0, 1, 2], [300, 60, 40])
    part = SvmFeatures(labels=60, repeats=3, validation=100)
    found = list(draws(part, y, np.arange(400), 3, torch.Generator().manual_seed(0)))
    for draw in found:
        assert np.bincount(y[draw.learn]).tolist() == [20, 20, 20]
        assert len(draw.validate) == 100
        assert len(np.unique(np.concatenate([draw.learn, draw.validate]))) == 160
    assert len({tuple(sorted(draw.learn)) for draw in found}) == 3
    (plain,) = draws(SvmFeatures(), y, np.arange(400), 3, torch.Generator().manual_seed(0))
    assert sorted([*plain.learn, *plain.validate]) == list(range(400))
    assert len(plain.validate) == 40
    assert balanced(np.array([5, 0, 2, 301, 399, 3, 302]), y, 1, 3).tolist() == [5, 301, 399]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": 150}, "class 2 has 40; lower labels to 120"),
        ({"labels": 120, "validation": 290}, "too few for validation = 290"),
        ({"validation": 400}, "too few"),
        ({"validation": 398}, "is left to learn from"),
    ],
)
def test_too_few_items_are_said(options, words):
    y = np.repeat([0, 1, 2], [300, 60, 40])
    with pytest.raises(GflowError, match=words):
        list(draws(SvmFeatures(**options), y, np.arange(400), 3, torch.Generator().manual_seed(0)))
    with pytest.raises(GflowError, match="of class 2"):
        list(draws(SvmFeatures(), y, np.arange(360), 3, torch.Generator().manual_seed(0)))


def test_few_labels_are_drawn_again_and_averaged():
    result = run(Blobs(n=200, strength=30), labels=30, repeats=3, validation=50)
    (row,) = result.tables["accuracy"]
    assert row["test_std"] > 0
    assert result.scores["accuracy_discriminator_std"] == row["test_std"]
    assert {choice["draw"] for choice in result.tables["choice_of_C"]} == {0, 1, 2}
    assert (result.manifest["n_learned"], result.manifest["n_validation"]) == (30, 50)
    assert sum(sum(list(r.values())[1:]) for r in result.tables["confusion"]) == 3 * 200
    assert run(Blobs(n=200, strength=30), labels=30, repeats=3, validation=50).scores == result.scores


def test_all_baselines_go_through_the_same(tmp_path):
    calls = []
    baselines = {"baselines": ("raw", "random", "kmeans"), "kmeans_centroids": 8, "kmeans_patches": 400}
    result = run(
        Blobs(n=150, strength=25), progress=lambda *call: calls.append(call), batch_size=40, kmeans_size=3, **baselines
    )
    rows = {row["features"]: row for row in result.tables["accuracy"]}
    assert list(rows) == ["discriminator", "raw", "random", "kmeans"]
    assert rows["raw"]["n_features"] == 64
    assert rows["random"]["n_features"] == rows["discriminator"]["n_features"]
    assert rows["kmeans"]["n_features"] == 4 * 8
    for kind, row in rows.items():
        assert row["test_accuracy"] > 0.5, f"{kind}: three places of brightness are easy"
        assert result.scores[f"accuracy_{kind}"] == row["test_accuracy"]
    for name, figure in result.figures.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 3000
    last = {what: (done, total) for what, done, total in calls}
    assert all(done == total for done, total in last.values())


def test_trained_and_random_features_differ_by_weights_alone():
    part, data, images = SvmFeatures(), Blobs().load(), torch.arange(5, 85)
    x = data.batch(torch.arange(9)).x

    def features(kind: str, subject: Subject) -> Tensor:
        with torch.no_grad():
            return extractor(kind, part, subject, data, images)(x)

    subject = Subject(spec(Blobs()), CPU, Streams(1), 7, data, None, net())
    before = copy.deepcopy(subject.discriminator.state_dict())
    trained, random = features("discriminator", subject), features("random", subject)
    assert (trained - random).abs().mean() > 0.1
    # The random weights with running statistics of something else: the images set them anew, in a copy.
    same = untrained(subject, images, 8)
    nn.init.constant_(same.body[1].running_mean, 5.0)
    assert torch.equal(features("discriminator", attrs.evolve(subject, discriminator=same)), random)
    assert (same.body[1].running_mean == 5).all()
    assert all(torch.equal(before[name], value) for name, value in subject.discriminator.state_dict().items())


def test_features_are_standardized_in_place_without_much_more_memory():
    rng = np.random.default_rng(0)
    x = (3 + rng.random((300, 16384), dtype=np.float32)) * np.arange(16384, dtype=np.float32)
    x_test, kept, scaler = x[:100] + 1, x.copy(), StandardScaler().fit(x)
    expected = [scaler.transform(array) / np.sqrt(16384) for array in (x, x_test)]
    tracemalloc.start()
    try:
        assert finite(x)
        standardize(x, x_test)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes / 2
    assert np.allclose(x, expected[0], atol=1e-6)
    assert np.allclose(x_test, expected[1], atol=1e-5)
    assert (x[:, 0] == 0).all(), "a feature without variance"
    for value in (np.nan, np.inf, -np.inf):
        kept[7, 9] = value
        assert not finite(kept)


def test_the_manifest_says_what_was_read():
    manifest = run(Blobs(), max_iter=900).manifest
    assert manifest["layers"] == "outputs of convolutions (hooks)"
    assert manifest["batch_norm"] == "statistics of training images"
    assert manifest["max_iter"] == 900
    own = net()
    own.conv_features = lambda x: [own.body(x)]
    assert run(Blobs(), own).manifest["layers"] == "activations (conv_features)"


def test_kmeans_features_are_those_of_a_slow_loop():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    features = KMeansFeatures(3, 0.1 * draw(18), draw(18, 18), draw(5, 18))
    x = draw(4, 2, 6, 7).clamp(-1, 1)
    slow = torch.zeros(4, 2, 2, 5)
    for image in range(4):
        for i in range(4):
            for j in range(5):
                patch = x[image, :, i : i + 3, j : j + 3].flatten()
                patch = (patch - patch.mean()) / (patch.var() + 10 / 127.5**2).sqrt()
                patch = (patch - features.mean) @ features.whiten
                distance = torch.stack([(patch - c).norm() for c in features.centroids])
                slow[image, i // 2, int(j >= 3)] += (distance.mean() - distance).clamp(min=0)
    assert torch.allclose(features(x), slow.flatten(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("solver", ["liblinear", "lbfgs"])
def test_a_classifier_that_did_not_converge_is_reported(caplog, solver):
    result = run(Blobs(strength=5), C=(100.0,), max_iter=1, tolerance=1e-9, solver=solver)
    assert result.tables["accuracy"][0]["converged"] is False
    assert "max_iter = 1" in caplog.text
    assert run(Blobs(), solver=solver).tables["accuracy"][0]["converged"] is True


def test_features_that_are_not_finite_are_named():
    module = net()
    nn.init.constant_(module.body[0].weight, float("nan"))
    with pytest.raises(Diverged, match="step 7: discriminator features are NaN"):
        run(Blobs(), module)


@pytest.mark.parametrize(
    ("dataset", "options", "words"),
    [
        (Gaussian(), {}, "convolutional layers of images"),
        (CelebA(split="train"), {}, "has no classes"),
        (ImageFolder(root="x", classes=4), {}, "no option split"),
        (Mnist5k(), {}, 'set it to "train"'),
        (Mnist5k(split="train"), {"labels": 1005}, "not a multiple of the 10 classes"),
        (Mnist5k(split="train"), {"repeats": 2}, "need labels"),
        (Blobs(), {"baselines": ("kmeans",), "kmeans_size": 9}, "larger than the images"),
        (Blobs(), {"kmeans_centroids": 9, "kmeans_patches": 8}, "fewer than kmeans_centroids"),
    ],
)
def test_recipes_that_cannot_work_are_refused(dataset, options, words):
    assert words in " ".join(SvmFeatures(**options).check(spec(dataset)))


def test_conditional_discriminators_are_refused():
    assert "reads labels" in " ".join(SvmFeatures().check(spec(Blobs(), conditional=True)))
    assert not list(SvmFeatures().check(spec(Blobs())))
    with pytest.raises(ValueError, match="names one twice"):
        SvmFeatures(baselines=("raw", "raw"))
