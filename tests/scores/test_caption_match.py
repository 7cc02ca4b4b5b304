"""caption_match on samplers whose score is known."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn

from gflow_core.data.parts import CaptionedDigits, Mnist5k
from gflow_core.data.strokes import asked, every_caption
from gflow_core.encoders.parts import MnistCnn
from gflow_core.machine.runtime import Runtime
from gflow_core.machine.streams import Streams
from gflow_core.parts.analysis import Subject
from gflow_core.recipes.recipe import load
from gflow_core.scores.caption_match import CaptionMatch, caption_match

RECIPE = """
gflow = 1
[dataset]
use = "captioned_digits"
limit = 2000
[sampler]
use = "cgan.mlp"
"""


class Data(nn.Module):
    """Gives back an image of the data whose caption was asked for, or of the caption after it."""

    def __init__(self, data, shift):
        super().__init__()
        self.data, self.shift = data, shift
        self.first = {caption: i for i, caption in reversed(list(enumerate(data.captions)))}

    def forward(self, z, y):
        captions = [every_caption()[(every_caption().index(self.data.caption(one)) + self.shift) % 90] for one in y]
        return self.data.batch(torch.tensor([self.first[caption] for caption in captions])).x


class Reads:
    """In place of a classifier: it knows the digits of the data."""

    classifies = True

    def __init__(self, data):
        self.known = {bytes(x.numpy().tobytes()): asked(c)[0] for x, c in zip(data.x, data.captions, strict=True)}
        self.name, self.dim, self.weights, self.resizer = "reads", 1, "0", "as it is"

    def check(self, data):
        return ()

    def build(self, data, device, progress=None):
        return self

    def __call__(self, x):
        return x.flatten(1)[:, :1]

    def classify(self, x):
        pixels = x.add(1).mul(127.5).round().to(torch.uint8)
        return nn.functional.one_hot(torch.tensor([self.known[one.numpy().tobytes()] for one in pixels]), 10).float()


@pytest.fixture
def subject(tmp_path):
    (tmp_path / "r.toml").write_text(RECIPE)
    spec = load(tmp_path / "r.toml").spec
    return Subject(spec=spec, runtime=Runtime(torch.device("cpu")), streams=Streams(0), data=spec.dataset.load())


def test_a_sampler_that_shows_what_it_is_asked_for(subject):
    result = caption_match(
        attrs.evolve(subject, sampler=Data(subject.data, 0)), encoder=Reads(subject.data), samples=180, batch_size=64
    )
    expected = {"match(reads)": 1, "digit": 1, "stroke": 1, "lean": 1, "match(reads)_real": 1, "stroke_real": 1}
    assert {name: result.scores[name] for name in expected} == expected
    assert result.scores["digit_chance"] == pytest.approx(0.1, abs=0.1)
    assert len(result.tables["captions"]) == 90
    assert {row["samples"] for row in result.tables["captions"]} == {2}


def test_one_that_shows_the_next_caption(subject):
    """Captions run through the leans first: two of three strokes stay, and all digits but the last of their nine."""
    result = caption_match(
        attrs.evolve(subject, sampler=Data(subject.data, 1)), encoder=Reads(subject.data), samples=90, batch_size=64
    )
    assert result.scores["match(reads)"] == 0
    assert result.scores["lean"] == 0
    assert result.scores["stroke"] == pytest.approx(2 / 3)
    assert result.scores["digit"] == pytest.approx(8 / 9)


def test_what_it_cannot_look_at(tmp_path, subject):
    part = CaptionMatch(encoder=MnistCnn(weights="random"))
    assert not list(part.check(subject.spec))
    other = attrs.evolve(subject.spec, dataset=Mnist5k())
    assert any("captioned_digits" in fault for fault in part.check(other))
    assert isinstance(subject.spec.dataset, CaptionedDigits)
