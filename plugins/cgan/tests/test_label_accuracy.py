"""cgan.label_accuracy with samplers whose mistakes are known, and a classifier that reads the grey of an image."""

from typing import ClassVar, Literal

import attrs
import pytest
import torch
from torch import nn

from gflow_cgan.label_accuracy import confusion
from gflow_cgan.parts import LabelAccuracy
from gflow_core import (
    DataError,
    DataShape,
    Diverged,
    GflowError,
    Normal,
    Runtime,
    Source,
    Spec,
    Streams,
    Subject,
    fingerprint,
    no_progress,
)
from gflow_core.data.parts import Mnist5k
from gflow_core.encoders.parts import MnistCnn


def greys(y, classes):
    """Class k of K is grey (k + 1/2) / K of the range [-1, 1]."""
    return (2 * (y.float() + 0.5) / classes - 1).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


@attrs.frozen(kw_only=True)
class _Greys:
    """Images of one grey a class; in the test split every tenth has the label of the next class."""

    split: Literal["all", "train", "test"] = "train"
    classes: int | None = 4
    conditions: tuple[str, ...] = ()
    held: int = 200
    present: int | None = None

    def data_shape(self):
        return DataShape("image", (1, 2, 2), -1.0, 1.0, self.classes, self.conditions)

    def load(self, progress=no_progress):
        y = torch.arange(self.held) % (self.present or self.classes)
        x = ((greys(y, self.classes) + 1) * 127.5).byte().contiguous()
        if self.split == "test":
            y = torch.where(torch.arange(self.held) % 10 == 0, (y + 1) % self.classes, y)
        return Source(x, self.data_shape(), fingerprint(x, y), y)


@attrs.frozen
class _Unsplit:
    def data_shape(self):
        return _Greys().data_shape()

    def load(self, progress=no_progress):
        return _Greys().load()


class _Reader:
    """Classifies by grey. Meets contracts.Encoder."""

    name, resizer, dim = "reader", "none", 1

    def __init__(self, classes):
        self.classes, self.weights = classes, f"of {classes}"

    def __call__(self, x):
        return x.mean((1, 2, 3))[:, None]

    def classify(self, x):
        return -(self(x) - greys(torch.arange(self.classes), self.classes)[:, 0, 0, 0]).abs()


@attrs.frozen(kw_only=True)
class _Reading:
    classifies: ClassVar[bool] = True
    classes: int = 4

    def check(self, data):
        if data.kind != "image":
            yield f"reads images, the data is {data}"

    def build(self, data, device, progress=no_progress):
        return _Reader(self.classes)


@attrs.frozen
class _Part:
    conditional: bool = True
    latent: Normal = attrs.field(factory=lambda: Normal(dim=2))


class _Obeys(nn.Module):
    """Makes the class that is asked for, except where `wrong` (asked -> made) says otherwise for half of them."""

    def __init__(self, classes=4, **wrong):
        super().__init__()
        self.classes, self.wrong = classes, {int(asked[1:]): made for asked, made in wrong.items()}

    def forward(self, z, y):
        made = y.clone()
        for asked, other in self.wrong.items():
            made[(y == asked) & (z[:, 0] > 0)] = other
        return greys(made, self.classes)


def run(sampler, dataset=None, *, encoder=None, **options):
    dataset = dataset or _Greys()
    part, spec = LabelAccuracy(encoder=encoder or _Reading(), **options), Spec(dataset=dataset, sampler=_Part())
    assert list(part.check(spec)) == []
    part.prepare(spec, torch.device("cpu"), no_progress)
    runtime = Runtime(torch.device("cpu"))
    return part.build()(Subject(spec, runtime, Streams(1), step=7, data=dataset.load(), sampler=sampler))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GFLOW_CACHE", str(tmp_path))


def test_counts_are_those_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    asked, seen = (torch.randint(0, 5, (300,), generator=generator) for _ in range(2))
    wanted = torch.zeros(5, 5, dtype=torch.int64)
    for a, s in zip(asked, seen, strict=True):
        wanted[a, s] += 1
    assert torch.equal(confusion(asked, seen, 5), wanted)


def test_mistakes_are_found_where_they_are_made(tmp_path):
    result = run(_Obeys(_1=3), samples_per_class=60)
    rows = result.tables["classes"]
    assert [row["accuracy"] for i, row in enumerate(rows) if i != 1] == [1, 1, 1]
    assert all(row["most_frequent_wrong"] is None and row["wrong_count"] == 0 for i, row in enumerate(rows) if i != 1)
    wrong = rows[1]["wrong_count"]
    assert rows[1]["most_frequent_wrong"] == 3
    assert (rows[1]["count"], rows[1]["seen_right"]) == (60, 60 - wrong)
    assert 15 < wrong < 45
    table = result.tables["confusion"]
    assert table[1] == {"asked": 1, "seen 0": 0, "seen 1": 60 - wrong, "seen 2": 0, "seen 3": wrong}
    assert table[2] == {"asked": 2, "seen 0": 0, "seen 1": 0, "seen 2": 60, "seen 3": 0}

    p = 1 - wrong / 240
    scores = result.scores
    assert scores["label_accuracy(reader)"] == pytest.approx(p)
    assert scores["label_accuracy(reader)_se"] == pytest.approx((p * (1 - p) / 240) ** 0.5)
    assert scores["label_accuracy(reader)_worst"] == pytest.approx(1 - wrong / 60)
    assert scores["worst_class"] == "1"
    result.figures["confusion"].savefig(tmp_path / "a.png", dpi=40)


def test_the_classifier_is_calibrated_on_held_out_items():
    """Of the test split every tenth label is wrong, of the training split none."""
    result = run(_Obeys())
    assert result.scores["label_accuracy(reader)"] == 1
    assert result.scores["label_accuracy(reader)_real"] == pytest.approx(0.9)
    assert result.scores["label_accuracy(reader)_real_se"] == pytest.approx((0.09 / 200) ** 0.5)
    assert [row["accuracy_real"] for row in result.tables["classes"]] == pytest.approx([1, 5 / 6, 1, 5 / 6], abs=0.1)
    assert result.manifest["real_split"] == "test split"
    assert result.manifest["n_real"] == 200
    assert result.manifest["n_fake"] == 400
    assert "part of the training data" in run(_Obeys(), _Greys(split="all", held=80)).manifest["real_split"]
    alone = run(_Obeys(), _Unsplit())
    assert alone.scores["label_accuracy(reader)_real"] == 1
    assert "no other split" in alone.manifest["real_split"]


def test_samplers_are_asked_for_every_class_alike_whatever_the_data_have_of_each():
    asked = []

    class Remembers(_Obeys):
        def forward(self, z, y):
            asked.append(y)
            return super().forward(z, y)

    run(Remembers(), samples_per_class=70, batch_size=32)
    assert torch.bincount(torch.cat(asked)).tolist() == [70] * 4
    assert max(map(len, asked)) == 32


def test_a_sampler_that_deals_out_the_held_out_digits_scores_as_they_do():
    """Fifty of each class, one after the other, to a network of the registry; it need not be a good one."""
    test = Mnist5k(split="test").load()
    digits = test.batch(torch.arange(500)).x.view(50, 10, 1, 28, 28)  # class by class in turn

    class Deals(nn.Module):
        def forward(self, z, y):
            return digits[torch.arange(50), y]

    result = run(Deals(), Mnist5k(split="train"), encoder=MnistCnn(weights="random"), samples_per_class=50)
    name = "label_accuracy(mnist_cnn (random))"
    assert result.scores[name] == result.scores[f"{name}_real"]
    assert all(row["accuracy"] == row["accuracy_real"] for row in result.tables["classes"])
    assert result.manifest["n_real"] == 500


def test_bad_input():
    def said(dataset, part, encoder=None):
        return " ".join(LabelAccuracy(encoder=encoder or _Reading()).check(Spec(dataset=dataset, sampler=part)))

    @attrs.frozen(kw_only=True)
    class Blind(_Reading):
        classifies: ClassVar[bool] = False

    assert "reads no labels" in said(_Greys(), _Part(conditional=False))
    assert "not classes" in said(_Greys(classes=None, conditions=("Smiling",)), _Part())
    assert "does not classify" in said(_Greys(), _Part(), Blind())
    with pytest.raises(GflowError, match="reader knows 3 classes and the data has 4"):
        run(_Obeys(), encoder=_Reading(classes=3))
    with pytest.raises(DataError, match="class 3 has 0 items"):
        run(_Obeys(), _Greys(present=3))

    class Diverges(nn.Module):
        def forward(self, z, y):
            return greys(y, 4) * torch.nan

    with pytest.raises(Diverged, match="step 7"):
        run(Diverges())
