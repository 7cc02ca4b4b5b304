"""Captions: their vectors, and the rule that writes those of digits."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from gflow_core.data import strokes
from gflow_core.data.parts import CaptionedDigits, Mnist5k
from gflow_core.data.text import SentenceTransformers, TfIdf
from gflow_core.errors import DataError, GflowError

TEXTS = ["a thick three", "a thin three", "a thick seven", "an eight", "an eight"]


def slow(texts, of):
    """Cosines between texts, of TF-IDF with words and pairs, written out."""
    terms = [[*(t := text.split()), *map(" ".join, pairwise(t))] for text in texts]
    known = sorted({term for text in terms for term in text})
    idf = {w: math.log((1 + len(texts)) / (1 + sum(w in text for text in terms))) + 1 for w in known}
    asked = [*(t := of.split()), *map(" ".join, pairwise(t))]
    rows = [[(1 + math.log(text.count(w))) * idf[w] if w in text else 0 for w in known] for text in (*terms, asked)]
    table = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    return table[:-1] @ table[-1]


def test_with_as_many_numbers_as_the_rank_cosines_are_those_of_tfidf():
    encode = TfIdf(dim=20).fit(TEXTS)
    x = encode(TEXTS)
    assert x.shape == (5, 20)
    torch.testing.assert_close(x.norm(dim=1), torch.ones(5))
    for i, text in enumerate(TEXTS):
        torch.testing.assert_close((x @ x[i]).double(), torch.from_numpy(slow(TEXTS, text)), atol=1e-5, rtol=0)
    assert int((x.abs().sum(0) > 1e-6).sum()) == 4  # the rank: two captions are the same


def test_fewer_numbers_keep_what_varies_most():
    x = TfIdf(dim=2).fit(TEXTS)(TEXTS)
    assert x.shape == (5, 2)
    near = (x @ x.T).double()
    assert float(near[3, 4]) == pytest.approx(1)
    assert float(near[0, 1]) > float(near[0, 3])


def test_words_that_nobody_wrote():
    encode = TfIdf(dim=4).fit(TEXTS)
    assert float(encode(["thick purple three"]) @ encode(["thick three"]).T) > 0.9
    with pytest.raises(ValueError, match="none of its words stands in the captions of the data: 'purple'"):
        encode(["an eight", "purple"])
    with pytest.raises(DataError, match=r"dataset\.text: the captions hold no words"):
        TfIdf().fit(["!", "?"])


def test_somebodys_model(sentences):
    part = SentenceTransformers(model="some/model", dim=8)
    encode = part.fit([])
    assert encode(["ab"]).norm() == pytest.approx(1)
    with pytest.raises(DataError, match=r"dataset\.text\.dim = 5: the model's vectors have 8 numbers; set it to that"):
        SentenceTransformers(model="m", dim=5).fit([])
    with pytest.raises(DataError, match="other weights than when the run began"):
        SentenceTransformers(model="another", dim=8).restored(encode.state())
    with pytest.raises(DataError, match=r"'missing': it cannot be loaded: no such model$"):
        SentenceTransformers(model="missing", dim=8).fit([])


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(GflowError, match=r'needs its package: pip install "gflow-core\[text\]"'):
        SentenceTransformers(model="m").fit([])


# ------------------------------------------------------------------ the rule


def drawn(width, degrees):
    """A straight stroke of this width that leans to the right."""
    scale = 8
    image = Image.new("L", (28 * scale, 28 * scale))
    half = 9 * math.tan(math.radians(degrees))
    ends = [((14 + half) * scale, 5 * scale), ((14 - half) * scale, 23 * scale)]
    ImageDraw.Draw(image).line(ends, fill=255, width=round(width * scale))
    return np.asarray(image.resize((28, 28), Image.Resampling.BOX))[None, None]


@pytest.mark.parametrize("width", [1.5, 2.5, 4])
@pytest.mark.parametrize("degrees", [-20, 0, 10, 30])
def test_strokes_are_measured(width, degrees):
    image = drawn(width, degrees)
    assert strokes.thickness(image)[0] == pytest.approx(width, rel=0.2)
    assert strokes.slant(image)[0] == pytest.approx(degrees, abs=1.5)
    stroke, lean = (int(kind[0]) for kind in strokes.seen(image))
    words = strokes.caption(1, stroke, lean)
    assert width == 2.5 or words.startswith({1.5: "a thin one", 4: "a thick one"}[width])
    assert degrees == 0 or words.endswith({-20: "leaning left", 10: "one", 30: "leaning right"}[degrees])


def test_captions_say_all_of_it_and_are_read_back():
    every = strokes.every_caption()
    assert len(set(every)) == 90
    assert {"an eight", "a thick eight leaning left", "a three leaning right"} <= set(every)
    assert all(strokes.caption(*strokes.asked(text)) == text for text in every)
    assert strokes.asked("a thin seven leaning left") == (7, 0, 0)


def test_captioned_digits_are_mnist5k_in_other_words():
    plain, told = Mnist5k(split="train", image_size=32).load(), CaptionedDigits(split="train", image_size=32).load()
    assert torch.equal(plain.x, told.x)
    digits, stroke, lean = np.array([strokes.asked(caption) for caption in told.captions]).T
    assert digits.tolist() == plain.y.tolist()
    for kind in (stroke, lean):  # about a third each
        assert 0.25 < np.bincount(kind).min() / len(kind) <= np.bincount(kind).max() / len(kind) < 0.42
    assert np.array_equal(np.stack(strokes.seen(plain.x.numpy())), [stroke, lean])  # padding changes nothing
    assert all(told.caption(told.y[i]) == told.captions[i] for i in range(20))
    assert told.shape.text == told.y.shape[1] == 32


def test_one_caption_has_one_vector_in_all_splits():
    train, test = CaptionedDigits(split="train").load(), CaptionedDigits(split="test").load()
    both = set(train.captions) & set(test.captions)
    for caption in sorted(both)[:5]:
        assert torch.equal(train.y[train.captions.index(caption)], test.y[test.captions.index(caption)])


def test_the_fingerprint_is_of_the_words():
    whole = CaptionedDigits(limit=30)
    assert whole.load().fingerprint == CaptionedDigits(limit=30, text=TfIdf(dim=7)).load().fingerprint
    assert whole.load().fingerprint != Mnist5k(limit=30).load().fingerprint


def test_resized_digits_are_not_measured():
    assert any("measure in pixels" in fault for fault in CaptionedDigits(image_size=20, fit="resize").check())
